"""Lesson 06 in JupyterLab, as a learner does it: run from the menu, then the panel moved by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

from steps import RED, do_lesson

NAME = "06_feature_maps"
CANVAS = ".workbench-maps canvas[data-version]"

pytestmark = pytest.mark.browser


def test_lesson_06_runs_and_its_panel_follows_the_hand(lab, page):
    do_lesson(page, lab, NAME, 1400, 1300)

    canvas = page.locator(CANVAS)
    canvas.scroll_into_view_if_needed()
    assert "48 channels of 8×8" in canvas.get_attribute("aria-label")  # P3, where the cell below the panel left it

    def after(act):
        before = canvas.get_attribute("data-version")
        act()
        page.wait_for_selector(f'.workbench-maps canvas:not([data-version="{before}"])', timeout=60_000)
        return canvas.screenshot()

    pictures = [canvas.screenshot()]
    stage = page.locator(".jp-OutputArea .noUi-handle").nth(1)  # after the overlay's
    stage.focus()
    pictures.append(after(lambda: page.keyboard.press("ArrowRight")))
    assert "96 channels of 4×4" in canvas.get_attribute("aria-label")  # P4
    pictures.append(after(lambda: page.keyboard.press("ArrowRight")))
    assert "192 channels of 2×2" in canvas.get_attribute("aria-label")  # P5
    assert len(set(pictures)) == len(pictures)
    assert page.locator(RED).count() == 0
    page.screenshot(path=lab.root / "lesson-06.png")
