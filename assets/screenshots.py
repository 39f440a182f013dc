"""Photograph the workbench for the README: ``python assets/screenshots.py [NAME …]`` serves it and opens a browser.

Panels as pages (extra ``app``), a lesson in JupyterLab, a student's feedback (extra ``classroom`` and the sandbox it
grades in). Needs playwright and a Chromium. The timings in the pictures are of the machine that takes them.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from workbench.cli.app import app_arguments, write_pages
from workbench.panels.pages import write_page

HERE = Path(__file__).resolve().parent
WAIT_MS = 180_000
NOTEBOOKS = HERE.parent / "notebooks"
LESSON, TOP, LAST_WORDS = "03_starnet", "# train_toy is the same network", "independent functions instead of"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def compare(page: Any) -> None:
    page.wait_for_selector(".workbench-compare[data-stamp]", timeout=WAIT_MS)
    page.get_by_role("button", name="measure").click()
    page.wait_for_function("document.querySelectorAll('.workbench-compare tbody tr').length >= 13", timeout=WAIT_MS)
    page.get_by_label("up", exact=True).select_option("latency, ms")
    page.wait_for_timeout(1500)
    page.locator(".workbench-compare .point").nth(2).click()


def feature_maps(page: Any) -> None:
    page.wait_for_selector(".workbench-maps canvas[data-version]", timeout=WAIT_MS)
    page.get_by_label("sort by").select_option("energy")


def detections(page: Any) -> None:
    page.wait_for_selector(".workbench-detections", timeout=WAIT_MS)


def training(page: Any) -> None:
    page.wait_for_selector("img.widget-image", timeout=WAIT_MS)


def wiring(page: Any) -> None:
    page.get_by_text("YAML to copy").wait_for(timeout=WAIT_MS)


OWN = {  # beside the app's pages: file → heading, text, code
    "wiring": ("What changes in the detector?", "Host, scale and backbone; below, every layer before and after.",
               'wb.panels.Wiring("yolo11", "n", "starnet_s1")'),
    "training": ("Is it learning?", "Curves of running and recorded trainings; a running one can be paused.",
                 'wb.panels.Training("shapes_128_converged", every_s=0)'),
}  # fmt: skip
PAGES: dict[str, Callable[[Any], None]] = {  # picture → what a hand does
    "compare": compare,
    "feature-maps": feature_maps,
    "detections": detections,
    "wiring": wiring,
    "training": training,
}
WIDTH = 1180  # pixels


@contextmanager
def served(command: list[str], environment: dict[str, str] | None = None) -> Iterator[str]:
    """Start a server on a free port of this machine, and yield the form of its addresses."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    filled = [part.format(port=port, token=token) for part in command]
    server = subprocess.Popen(filled, env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}))
    try:
        yield f"http://127.0.0.1:{port}/{{}}?token={token}"
    finally:
        server.terminate()
        server.wait(20)


def panels(browser: Any, names: list[str]) -> None:
    """Photograph panels, as pages without code."""
    with tempfile.TemporaryDirectory() as folder:
        pages = write_pages(Path(folder))
        for name, (heading, text, code) in OWN.items():
            write_page(pages / f"{name}.ipynb", heading, text, code)
        files = {p.stem.lstrip("0123456789-"): p.name for p in pages.glob("*.ipynb")}
        arguments = app_arguments(pages, ["--no-browser", "--port={port}", "--token={token}"])
        with served([sys.executable, "-m", "voila", *arguments]) as address:
            for name in names:
                page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
                shoot(page, address.format(f"voila/render/{files[name]}"), PAGES[name])
                keep(page.screenshot(full_page=True), name)
                page.close()


def lesson(browser: Any) -> None:
    """Photograph a lesson in JupyterLab, run to its end, where a prediction meets what was computed."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (NOTEBOOKS / f"{LESSON}.ipynb", NOTEBOOKS / "images"):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, Path(folder, path.name))
        settings = Path(folder, ".settings", "@jupyterlab", "notebook-extension", "tracker.jupyterlab-settings")
        settings.parent.mkdir(parents=True)
        settings.write_text('{"windowingMode": "none"}', encoding="utf-8")  # every cell is in the page
        own = {f"JUPYTERLAB_{what}_DIR": str(Path(folder, f".{what.lower()}")) for what in ("SETTINGS", "WORKSPACES")}
        lab = ["lab", "--no-browser", "--port={port}", "--IdentityProvider.token={token}"]
        command = [sys.executable, "-m", "workbench", *lab, f"--ServerApp.root_dir={folder}"]
        with served(command, own) as address:
            page = browser.new_page(viewport={"width": WIDTH, "height": 1150})
            reach(page, address.format(f"doc/tree/{LESSON}.ipynb"))
            page.get_by_text("| Idle").or_(page.locator("[data-status=idle]")).first.wait_for(timeout=WAIT_MS)
            page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
            page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
            page.locator(".jp-OutputArea-output", has_text=LAST_WORDS).wait_for(timeout=WAIT_MS)
            page.locator(".jp-CodeCell", has_text=TOP).first.evaluate("e => e.scrollIntoView()")
            page.wait_for_timeout(1500)
            keep(page.screenshot(), "lesson")
            page.close()


def feedback(browser: Any) -> None:
    """Photograph what a student gets back: graded in the sandbox, one answer wrong."""
    from workbench.classroom.feedback import feedback as write
    from workbench.classroom.grade import grade_assignment
    from workbench.classroom.made import hand_in_made, made_course

    with tempfile.TemporaryDirectory() as folder:
        course = made_course(Path(folder, "course"))
        hand_in_made(course, "a1", ["ada"], first=1)
        grade_assignment(course, "a1")
        (path,) = write(course, "a1")
        page = browser.new_page(viewport={"width": 860, "height": 400})
        page.goto(path.as_uri())
        keep(page.screenshot(full_page=True), "feedback")
        page.close()


def keep(photo: bytes, name: str) -> None:
    """Write a picture with 256 colours, a third of the bytes."""
    small = Image.open(io.BytesIO(photo)).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    small.save(HERE / f"{name}.png", optimize=True)


def main() -> None:
    others: dict[str, Callable[[Any], None]] = {"lesson": lesson, "feedback": feedback}
    chosen = sys.argv[1:] or [*PAGES, *others]
    if unknown := set(chosen) - {*PAGES, *others}:
        sys.exit(f"no picture is called {', '.join(sorted(unknown))}; there are {', '.join([*PAGES, *others])}")
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if pages := [name for name in PAGES if name in chosen]:
            panels(browser, pages)
        for name in others.keys() & set(chosen):
            others[name](browser)


def reach(page: Any, url: str) -> None:
    """Open the page, once the server is there."""
    for _ in range(60):
        try:
            if page.goto(url, timeout=WAIT_MS).status == 200:
                return
        except Exception:  # not listening yet
            time.sleep(1)


def shoot(page: Any, url: str, act: Callable[[Any], None]) -> None:
    """Open the page, do what a hand would, and make the window as tall as what it shows."""
    reach(page, url)
    act(page)
    page.wait_for_timeout(1500)
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height(page)})
    page.wait_for_timeout(1000)


def height(page: Any) -> int:
    """Return how tall what the page shows is."""
    bottoms = "[...document.querySelectorAll('.jp-OutputArea')].map(e => e.getBoundingClientRect().bottom)"
    return int(page.evaluate(f"Math.max(...{bottoms})")) + 20


if __name__ == "__main__":
    main()
