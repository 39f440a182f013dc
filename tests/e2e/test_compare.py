"""The Compare panel in JupyterLab and, without code, in Voilà: lesson 11 runs, and the picture follows the hand."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

from steps import RED, do_lesson

NAME = "11_compare"
PANEL = ".workbench-compare[data-stamp]"
WAIT_MS = 120_000

pytestmark = pytest.mark.browser


def after(page, panel, act):
    """Do something and return the panel's picture once a newer one is drawn."""
    before = panel.get_attribute("data-stamp")
    act()
    page.wait_for_selector(f'.workbench-compare[data-stamp]:not([data-stamp="{before}"])', timeout=WAIT_MS)
    return panel.screenshot()


def touch_everything(page, panel):
    """What a hand does; returns the pictures, which must all differ."""
    pictures = [panel.screenshot()]
    across = page.get_by_label("across", exact=True)
    pictures.append(after(page, panel, lambda: across.select_option("parameters, M")))
    assert "parameters, M across" in panel.locator("svg").get_attribute("aria-label")
    pictures.append(after(page, panel, lambda: page.get_by_label("starnet_s050", exact=True).click()))
    assert panel.locator("thead button", has_text="starnet_s050").count() == 1
    pictures.append(after(page, panel, lambda: panel.locator("thead button", has_text="starnet_s050").click()))
    assert panel.locator("thead button").first.inner_text() == "starnet_s050"
    field = page.get_by_label("filter", exact=True)
    field.fill("macs<nonsense")
    field.press("Enter")
    page.get_by_role("alert").get_by_text("is no filter").wait_for(timeout=WAIT_MS)
    field.fill("params<6M")

    pictures.append(after(page, panel, lambda: field.press("Enter")))
    assert page.get_by_role("alert").count() == 0
    first = panel.locator(".point").first
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_text("levels: P2").wait_for(timeout=WAIT_MS)
    assert len(set(pictures)) == len(pictures)


def test_lesson_11_runs_and_its_panel_follows_the_hand(lab, page):
    do_lesson(page, lab, NAME, 1500, 1400)
    panel = page.locator(PANEL)
    panel.scroll_into_view_if_needed()
    assert panel.locator("thead button").all_inner_texts() == ["stock", "fasternet_t0", "vanillanet_5"]
    moved = after(page, panel, lambda: page.get_by_label("up", exact=True).select_option("peak memory, MiB"))
    assert moved != after(page, panel, lambda: page.get_by_label("starnet_s050", exact=True).click())
    assert page.locator(RED).count() == 0
    page.screenshot(path=lab.root / "lesson-11.png")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """``workbench app`` as an instructor starts it."""
    pytest.importorskip("voila", reason="Voilà is not installed (extra app)")
    home = tmp_path_factory.mktemp("app")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url, token, log = f"http://127.0.0.1:{port}", secrets.token_hex(16), home / "app.log"
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(home / "runtime"), "WORKBENCH_CACHE": str(home / "cache")}
    command = [sys.executable, "-m", "workbench", "app", "--no-browser", f"--port={port}", f"--token={token}"]
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=home)
    try:
        deadline = time.monotonic() + 90
        while _status(url, token) != 200:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield url, token
    finally:
        server.terminate()
        server.wait(20)


def _status(url, token):
    try:
        with urllib.request.urlopen(f"{url}/?token={token}", timeout=10) as reply:
            return reply.status if "voila-tree-main" in reply.read().decode() else 0  # not the login page
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def test_the_app_shows_the_panel_without_code_and_only_with_its_token(app, page):
    url, token = app
    assert _status(url, "wrong") in (0, 403)  # a login page, not the list
    refused: list[tuple[str, str]] = []
    answered = []  # by another machine, such as the CDN that Voilà's own template asks for icons
    page.on("response", lambda r: None if r.url.startswith((url, "data:", "blob:")) else answered.append(r.url))
    page.on("requestfailed", lambda r: None if r.url.startswith(url) else refused.append((r.url, r.failure)))
    page.set_viewport_size({"width": 1500, "height": 1400})
    page.goto(f"{url}/voila/render/1-compare.ipynb?token={token}", timeout=WAIT_MS)
    page.wait_for_selector(PANEL, timeout=WAIT_MS)
    assert not answered, "the page reaches for another machine"
    assert {why for _, why in refused} <= {"csp"}, "it was the network that failed, and not our rule that refused"
    assert page.get_by_text("import workbench").count() == 0
    touch_everything(page, page.locator(PANEL))
