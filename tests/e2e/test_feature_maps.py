"""The FeatureMaps panel in JupyterLab and a real browser: moved by hand, the picture follows, nothing red."""

from __future__ import annotations

import nbformat
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

NAME = "feature-maps"
CODE = """
import torch
import workbench as wb

torch.set_num_threads(1)
panel = wb.panels.FeatureMaps(["fasternet_t0", "starnet_s050"], "cat", imgsz=64, stage="P3")
panel.widget
"""
CANVAS = ".workbench-maps canvas[data-version]"
ERROR = '[data-mime-type="application/vnd.jupyter.error"]'
STDERR = '[data-mime-type="application/vnd.jupyter.stderr"]'
WAIT_MS = 90_000

pytestmark = pytest.mark.browser


@pytest.fixture
def canvas(lab, page):
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
    return page.locator(CANVAS)


def after(page, canvas, act, attribute="version"):
    """Do something and return the picture once the canvas has drawn a newer one."""
    before = canvas.get_attribute(f"data-{attribute}")
    act()
    page.wait_for_selector(f'.workbench-maps canvas:not([data-{attribute}="{before}"])', timeout=WAIT_MS)
    return canvas.screenshot()


def tile(canvas, row, column):
    """The centre of a tile of the first grid, in canvas pixels; the layout of feature_maps.js."""
    width = canvas.bounding_box()["width"]
    step = max(12, min(88, int((width - 14) // 2 // 8) - 2)) + 2
    return {"x": column * step + step / 2, "y": 20 + 208 + 26 + row * (step + 12) + 12 + step / 2}


def test_moved_by_hand_the_picture_follows(lab, page, canvas):
    first = canvas.screenshot()
    assert "80 channels of 8×8" in canvas.get_attribute("aria-label")

    handle = page.locator(".jp-OutputArea .noUi-handle").nth(1)  # the stage slider, after the overlay's
    handle.focus()
    moved = after(page, canvas, lambda: page.keyboard.press("ArrowRight"))
    assert moved != first
    assert "160 channels of 4×4" in canvas.get_attribute("aria-label")

    clicked = after(page, canvas, lambda: canvas.click(position=tile(canvas, 0, 2)), "selected")
    assert canvas.get_attribute("data-selected") == "2"
    assert clicked != moved
    after(page, canvas, lambda: canvas.press("ArrowRight"), "selected")
    assert canvas.get_attribute("data-selected") == "3"

    canvas.hover(position={"x": 60, "y": 90})
    says = page.locator(".workbench-maps-says")
    says.get_by_text("fasternet_t0").wait_for(timeout=WAIT_MS)
    text = says.inner_text()
    assert "channel 3" in text
    assert "starnet_s050" in text  # the cursor is linked

    canvas.hover(position=tile(canvas, 0, 2))
    tip = page.locator(".workbench-maps-tip")
    tip.wait_for(timeout=WAIT_MS)
    assert "channel 2: mean " in tip.inner_text()
    canvas.hover(position={"x": 60, "y": 90})
    tip.wait_for(state="hidden", timeout=WAIT_MS)

    box = page.locator(".jp-OutputArea select").filter(has_text="energy")
    after(page, canvas, lambda: box.select_option("energy"))
    assert page.locator(ERROR).count() == 0
    assert page.locator(STDERR).count() == 0, page.locator(STDERR).first.inner_text()
    assert page.get_by_text("Error displaying widget").count() == 0
    page.screenshot(path=lab.root / "feature-maps.png")


def test_nonsense_is_answered_inside_the_panel(lab, page, canvas, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    with page.expect_file_chooser() as chooser:
        page.get_by_text("upload (0)").click()
    chooser.value.set_files(text)
    page.get_by_role("alert").wait_for(timeout=WAIT_MS)
    assert "notes.txt is not an image" in page.get_by_role("alert").inner_text()
    select = page.locator(".jp-OutputArea select").filter(has_text="rocket")
    after(page, canvas, lambda: select.select_option("rocket"))
    assert page.get_by_role("alert").count() == 0
    assert page.locator(ERROR).count() == 0
