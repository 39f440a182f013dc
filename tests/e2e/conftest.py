"""A real JupyterLab and a real browser. Where there is no browser, these tests are skipped and say so."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_S = 90
ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"  # what the browser showed last, kept for people
SETTINGS = {  # every cell is in the page, not only those in view
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": '{"windowingMode": "none"}',
}


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    url: str
    token: str
    root: Path
    log: Path

    def page(self, notebook: str) -> str:
        return f"{self.url}/lab/tree/{notebook}?token={self.token}&reset"

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        query = f"?token={token}" if token else ""
        try:
            with urllib.request.urlopen(f"{self.url}{path}{query}", timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, ""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Lab]:
    """``workbench lab`` as a learner starts it, on an empty folder."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    for name, text in SETTINGS.items():
        (home / "settings" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "settings" / name).write_text(text)
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "WORKBENCH_CACHE": os.environ.get("WORKBENCH_CACHE") or str(home / "cache"),
    }
    lab = Lab(f"http://127.0.0.1:{(port := free_port())}", secrets.token_hex(16), root, home / "lab.log")
    command = [
        sys.executable, "-m", "workbench", "lab", "--no-browser", "--port", str(port), "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}", f"--ServerApp.root_dir={root}",
    ]  # fmt: skip
    with lab.log.open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(lab):
            assert server.poll() is None, lab.log.read_text()
            assert time.monotonic() < deadline, f"JupyterLab did not answer within {START_S} s\n{lab.log.read_text()}"
            time.sleep(0.3)
        yield lab
    finally:
        for picture in root.glob("*.png"):
            ARTEFACTS.mkdir(exist_ok=True)
            shutil.copy(picture, ARTEFACTS / picture.name)
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(lab: Lab) -> bool:
    try:
        return lab.get("/api/status", lab.token)[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def browser():
    """A Chromium: the system's, or the one Playwright keeps."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path, and Playwright has none")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield page
    page.close()
