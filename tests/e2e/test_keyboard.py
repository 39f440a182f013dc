"""Every control of the panels by name and without a mouse; and the one thing a mouse does: a click on a miss."""

from __future__ import annotations

import nbformat
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

from steps import RED, RUN_MS, open_lesson, run_all, wait_for

NAME = "keyboard"
CELLS = (
    "import torch\nimport workbench as wb\n\ntorch.set_num_threads(1)\ntorch.manual_seed(0)",
    'wb.panels.FeatureMaps("starnet_s050", "cat", imgsz=64, stage="P3").widget',
    'wb.panels.Compare(["starnet_s050", "fasternet_t0"], imgsz=32).widget',
    'wb.panels.Detections({"small": wb.YOLO("yolo11n-starnet_s050.yaml")}, imgsz=64, confidence=0.9).widget',
    'wb.panels.Wiring("yolo11", "n", "starnet_s050").widget',
    'wb.panels.Training("shapes_128_class", every_s=0).widget',
    "wb.panels.ConvCost().widget",
    'wb.panels.Reparam("mobileone", channels=8).widget',
    "print('all', 'here')",
)
GO_MS = 60_000
DONE = f'{RED}, .jp-OutputArea-output pre:has-text("all here")'
MAPS, DETECTIONS = ".workbench-maps canvas[data-version]", ".workbench-detections canvas[data-stamp]"
# what can be reached by Tab in a panel, and by which name a screen reader calls it
NAMES = """() => [...document.querySelectorAll('.workbench-panel')].flatMap((panel, i) =>
  [...panel.querySelectorAll('input, select, textarea, button, canvas, [tabindex="0"]')]
    .filter((n) => n.type !== 'hidden' && n.offsetParent !== null && n.getClientRects().length)
    .map((n) => [i, n.tagName, n.className.baseVal ?? n.className,
      (n.getAttribute('aria-label') || [...(n.labels || [])].map((l) => l.textContent).join(' ')
       || (n.tagName === 'BUTTON' ? n.textContent : '') || n.title || '').trim()]))"""

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def panels(lab, browser):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.root / f"{NAME}.ipynb")
    page = browser.new_page(viewport={"width": 1400, "height": 3400})
    open_lesson(page, lab, NAME)
    run_all(page)
    wait_for(page, DONE, RUN_MS, lab.root / "keyboard-late.png")
    for selector in (MAPS, DETECTIONS, ".workbench-compare[data-stamp]"):
        page.wait_for_selector(selector, timeout=RUN_MS)
    assert page.locator(RED).count() == 0, page.locator(RED).first.inner_text()
    page.screenshot(path=lab.root / "keyboard.png")
    yield page
    page.close()


def test_everything_that_takes_the_focus_has_a_name(panels):
    found = panels.evaluate(NAMES)
    assert {i for i, *_ in found} == set(range(7))
    assert [f for f in found if not f[3]] == []


def reach(page, selector: str, backwards: bool = False, most: int = 60) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"{selector} is not reached within {most} times Tab")


def test_the_feature_maps_are_reached_by_tab_and_walked_by_arrows(panels):
    canvas = panels.locator(MAPS).first
    panels.get_by_role("button", name="pin channel").first.focus()
    reach(panels, ".workbench-maps canvas")
    assert canvas.get_attribute("role") == "application"
    assert "channels of" in canvas.get_attribute("aria-label")
    for key, channel in (("ArrowRight", "1"), ("ArrowDown", "9"), ("ArrowLeft", "8")):
        panels.keyboard.press(key)
        panels.wait_for_selector(f'.workbench-maps canvas[data-selected="{channel}"]', timeout=GO_MS)


def test_the_comparison_is_reached_by_tab_and_a_card_opened_by_enter(panels):
    panels.get_by_role("button", name="as code").focus()
    reach(panels, ".workbench-compare .point")
    panels.keyboard.press("ArrowRight")
    panels.keyboard.press("Enter")
    panels.get_by_text("levels: P2").wait_for(timeout=GO_MS)


def test_a_miss_is_reached_by_tab_opened_by_enter_and_by_a_click(panels):
    canvas = panels.locator(DETECTIONS)
    chosen = panels.get_by_label("feature maps at a miss")
    canvas.evaluate("node => node.closest('.workbench-panel').querySelector('select').focus()")
    reach(panels, ".workbench-detections canvas")
    assert "recall 0.00" in canvas.get_attribute("aria-label")
    panels.keyboard.press("ArrowLeft")  # the last box: an object that was missed
    panels.locator(".workbench-detections-says").get_by_text("missed").wait_for(timeout=GO_MS)
    panels.keyboard.press("Enter")
    panels.get_by_text("missed the").wait_for(timeout=GO_MS)
    chosen.select_option("—")
    panels.get_by_text("missed the").wait_for(state="hidden", timeout=GO_MS)

    size = canvas.bounding_box()  # two tiles: the truth, and the detector's, where a box of the same place is a miss
    for across in range(1, 12):  # a walk over the middle of the second tile, until a box is hit
        for down in range(1, 12):
            x, y = size["width"] * 0.5 + 4 + 30 * across, 18 + 28 * down
            if x < size["width"] and y < size["height"]:
                canvas.hover(position={"x": x, "y": y})
                if canvas.evaluate("node => node.style.cursor") == "pointer":
                    canvas.click(position={"x": x, "y": y})
                    panels.get_by_text("missed the").wait_for(timeout=GO_MS)
                    assert panels.locator(RED).count() == 0
                    return
    raise AssertionError("no missed object under the pointer")
