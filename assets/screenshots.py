"""Photograph the panels for the README: ``python assets/screenshots.py`` serves them as pages and opens a browser.

Needs the extra ``app``, playwright and a Chromium. The timings in the picture are of the machine that takes it.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
WAIT_MS = 180_000
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


PAGES: dict[str, tuple[Callable[[Any], None], int]] = {  # page → what a hand does, width in pixels
    "1-compare": (compare, 1180),
    "2-feature-maps": (feature_maps, 1180),
    "3-detections": (detections, 1180),
}


def main() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "workbench", "app", "--no-browser", f"--port={port}", f"--token={token}"]
    server = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        with sync_playwright() as playwright:
            path = next(filter(None, map(shutil.which, BROWSERS)), None)
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for name, (act, width) in PAGES.items():
                page = browser.new_page(viewport={"width": width, "height": 1000})
                shoot(page, f"http://127.0.0.1:{port}/voila/render/{name}.ipynb?token={token}", act)
                photo = Image.open(io.BytesIO(page.screenshot(full_page=True)))
                photo.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(
                    HERE / f"{name[2:]}.png", optimize=True
                )
                page.close()
    finally:
        server.terminate()
        server.wait(20)


def shoot(page: Any, url: str, act: Callable[[Any], None]) -> None:
    """Open the page, once the server is there, and do what a hand would."""
    for _ in range(60):
        try:
            if page.goto(url, timeout=WAIT_MS).status == 200:
                break
        except Exception:  # not listening yet
            time.sleep(1)
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
