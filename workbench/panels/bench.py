"""How long the eye waits: from a control's change to the new picture, in a real browser. ``make bench-ui``.

The panels are served as pages and driven by Playwright; the clock is the browser's, from the change of the control to
the first frame after the new picture is drawn. ``--record`` writes the medians to ``data/results/bench_ui``.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError, how_to_install
from ..files import replace_text
from ..measure.environment import environment
from ..settings import data_dir
from .pages import write_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 180_000
MORE = ("resnet18", "resnet34", "resnet50", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0",
        "convnext_atto", "regnety_002", "mobilenetv2_100", "ghostnet_100", "resnet26")  # fmt: skip
PAGES = {
    "maps": 'wb.panels.FeatureMaps("fasternet_t0", "cat", imgsz=224)',
    "compare": f"wb.panels.Compare([*wb.list_backbones(), *(f'timm:{{n}}' for n in {MORE})])",
}
# what is timed → page, label of the control, values it is given in turn, what marks a new picture, most ms wanted
CASES: dict[str, tuple[str, str, tuple[str, ...], str, int]] = {
    "FeatureMaps, 224 px, 64 channels, image not seen before": (
        "maps", "image", ("astronaut", "coffee", "rocket", "bus", "zidane", "cat"), "canvas[data-version]", 500),
    "FeatureMaps, 224 px, 64 channels, maps cached": (
        "maps", "sort by", ("energy", "variance", "sparsity", "index"), "canvas[data-version]", 150),
    "Compare, 40 networks": (
        "compare", "across", ("parameters, M", "activations, M", "MACs, M"), ".workbench-compare[data-stamp]", 200),
}  # fmt: skip
TIMED = """async ([label, value, mark]) => {
  const named = [...document.querySelectorAll('label')].find((l) => l.textContent.trim() === label);
  const control = document.getElementById(named.htmlFor) || named.parentElement.querySelector('select');
  const picture = document.querySelector(mark), key = picture.dataset.version === undefined ? 'stamp' : 'version';
  const before = picture.dataset[key];
  const start = performance.now();
  control.value = [...control.options].find((o) => o.textContent.replace(/\u00a0/g, ' ').trim() === value).value;
  control.dispatchEvent(new Event('change', { bubbles: true }));
  while (picture.dataset[key] === before) await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - start;
}"""


def measure(repeats: int = 24) -> list[dict[str, Any]]:
    """Return a row per case: ``what``, ``median_ms``, ``q1_ms``, ``q3_ms``, ``n``, ``wanted_ms``.

    Raises:
        WorkbenchError: Playwright or a browser is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise WorkbenchError(f"playwright is not installed; run: {how_to_install('dev,app')}") from None
    rows = []
    with tempfile.TemporaryDirectory(prefix="workbench-ui-") as folder, sync_playwright() as playwright:
        for name, code in PAGES.items():
            write_page(Path(folder) / f"{name}.ipynb", name, "", code)
        url, token, server = _serve(folder)
        try:
            path = next(filter(None, map(shutil.which, BROWSERS)), None)
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for what, (name, label, values, mark, wanted) in CASES.items():
                page = browser.new_page(viewport={"width": 1280, "height": 1400})
                _open(page, f"{url}/voila/render/{name}.ipynb?token={token}", mark)
                once = what.endswith("not seen before")  # a second look would find the maps in memory
                asked = [values[i % len(values)] for i in range(len(values) - 1 if once else repeats)]
                times = [page.evaluate(TIMED, [label, value, mark]) for value in asked]
                times = times if once else times[len(values) :]  # the first round fills what is kept
                quarters = statistics.quantiles(times, n=4)
                rows.append({"what": what, "median_ms": round(statistics.median(times), 1),
                             "q1_ms": round(quarters[0], 1), "q3_ms": round(quarters[2], 1), "n": len(times),
                             "wanted_ms": wanted})  # fmt: skip
                page.close()
        finally:
            server.terminate()
            server.wait(20)
    return rows


def _serve(folder: str) -> tuple[str, str, subprocess.Popen[bytes]]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "voila", folder, "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}",
               f"--token={token}"]  # fmt: skip
    away = subprocess.DEVNULL
    return (
        f"http://127.0.0.1:{port}",
        token,
        subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=away, stderr=away),
    )


def _open(page: Any, url: str, mark: str) -> None:
    for _ in range(120):
        try:
            if page.goto(url, timeout=WAIT_MS).status == 200:
                break
        except Exception:  # not listening yet
            time.sleep(0.5)
    page.wait_for_selector(mark, timeout=WAIT_MS)
    page.wait_for_timeout(1000)


def main() -> None:
    """Measure, print, and record when asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write data/results/bench_ui.csv and .json")
    parser.add_argument("--repeats", type=int, default=24)
    options = parser.parse_args()
    if options.repeats < (fewest := 2 + max(len(values) for _, _, values, _, _ in CASES.values())):
        parser.error(f"--repeats {options.repeats}: the first round is not counted; give at least {fewest}")
    rows = measure(options.repeats)
    for r in rows:
        print(f"{r['what']:58}{r['median_ms']:8.1f} ms  ({r['q1_ms']:.1f} … {r['q3_ms']:.1f}, n = {r['n']};"
              f" wanted: at most {r['wanted_ms']})")  # fmt: skip
    if options.record:
        out = io.StringIO()
        table = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        path = data_dir() / "results" / "bench_ui"
        replace_text(path.with_suffix(".csv"), out.getvalue())
        note = {"command": "make bench-ui ARGS=--record", "environment": environment("cpu", threads=1)}
        replace_text(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")


if __name__ == "__main__":
    main()
