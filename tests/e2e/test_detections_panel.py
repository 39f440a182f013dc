"""The Detections panel in JupyterLab and a real browser: thresholds by hand, a miss by keyboard, nothing red."""

from __future__ import annotations

import nbformat
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

NAME = "detections"
CODE = """
import torch
import workbench as wb

torch.set_num_threads(1)
torch.manual_seed(0)
small = wb.YOLO("yolo11n-starnet_s050.yaml")
panel = wb.panels.Detections({"small": small}, imgsz=64, confidence=0.9)
panel.widget
"""
CANVAS = ".workbench-detections canvas[data-stamp]"
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
WAIT_MS = 90_000

pytestmark = pytest.mark.browser


def test_thresholds_follow_the_hand_and_a_miss_opens_feature_maps(lab, page):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(CODE, id="panel")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, lab.root / f"{NAME}.ipynb")
    page.set_viewport_size({"width": 1400, "height": 1300})
    page.goto(lab.page(f"{NAME}.ipynb"), timeout=WAIT_MS)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=WAIT_MS)
    page.get_by_text("| Idle").wait_for(timeout=WAIT_MS)
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    page.wait_for_selector(f"{CANVAS}, {ERROR}", timeout=WAIT_MS)
    assert page.locator(ERROR).count() == 0, page.locator(ERROR).first.inner_text()
    canvas = page.locator(CANVAS)
    assert "recall 0.00" in canvas.get_attribute("aria-label")
    first, stamp = canvas.screenshot(), canvas.get_attribute("data-stamp")

    page.locator(".jp-OutputArea .noUi-handle").nth(0).focus()  # the image's number
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'.workbench-detections canvas:not([data-stamp="{stamp}"])', timeout=WAIT_MS)
    page.wait_for_timeout(300)  # the image is decoded after the boxes are drawn
    assert canvas.screenshot() != first

    canvas.press("ArrowLeft")  # the last box: a missed object
    page.locator(".workbench-detections-says").get_by_text("missed").wait_for(timeout=WAIT_MS)
    canvas.press("Enter")
    page.wait_for_selector(f".workbench-maps canvas[data-version], {ERROR}", timeout=WAIT_MS)
    assert "channels of" in page.locator(".workbench-maps canvas").get_attribute("aria-label")
    assert page.locator(ERROR).count() == 0
    assert page.locator(STDERR).count() == 0, page.locator(STDERR).first.inner_text()
    assert page.get_by_text("Error displaying widget").count() == 0
    page.screenshot(path=lab.root / "detections.png")
