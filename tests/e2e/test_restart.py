"""A kernel restarted in the middle: panels keep their picture, say what happened, and come back when run again."""

from __future__ import annotations

import nbformat
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

from steps import RED, RUN_MS, open_lesson, run_all, wait_for

NAME = "restart"
CELLS = (
    "import workbench as wb\nfrom torch import set_num_threads\n\nset_num_threads(1)",
    'wb.panels.FeatureMaps("starnet_s050", "cat", imgsz=64, stage="P3").widget',
    'wb.panels.Compare(["starnet_s050", "fasternet_t0"], imgsz=32).widget',
    "wb.panels.ConvCost().widget",
    "print('all', 'here')",
)
DONE = f'{RED}, .jp-OutputArea-output pre:has-text("all here")'
NOTICE = ".workbench-notice:not([hidden])"
GONE_MS = 60_000

pytestmark = pytest.mark.browser


def command(page, menu: str, name: str) -> None:
    page.locator(".lm-MenuBar-itemLabel", has_text=menu).first.click()
    page.locator(f'.lm-Menu-item[data-command="{name}"]').click()


def test_a_restarted_kernel_is_said_and_running_again_goes_on(lab, page):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.root / f"{NAME}.ipynb")
    page.set_viewport_size({"width": 1400, "height": 2400})
    open_lesson(page, lab, NAME)
    run_all(page)
    wait_for(page, DONE, RUN_MS, lab.root / "restart-late.png")
    page.wait_for_selector(".workbench-maps canvas[data-version]", timeout=RUN_MS)
    page.wait_for_selector(".workbench-compare[data-stamp]", timeout=RUN_MS)
    assert page.locator(NOTICE).count() == 0
    before = page.locator(".workbench-maps canvas").screenshot()

    command(page, "Kernel", "kernelmenu:restart")
    page.locator(".jp-Dialog button", has_text="Restart").click()
    page.locator(NOTICE).first.wait_for(timeout=GONE_MS)
    page.wait_for_function(f"document.querySelectorAll('{NOTICE}').length === 3", timeout=GONE_MS)
    assert "Run this cell again" in page.locator(NOTICE).first.inner_text()
    assert page.locator(".workbench-maps canvas").screenshot() == before  # the last picture stays
    assert page.locator(".workbench-compare svg").count() >= 1
    page.get_by_label("across", exact=True).select_option("parameters, M")  # a hand that did not read it
    page.locator(".jp-OutputArea .noUi-handle").nth(1).press("ArrowRight")
    assert page.locator(RED).count() == 0
    page.screenshot(path=lab.root / "restart.png")

    page.get_by_text("| Idle").wait_for(timeout=RUN_MS)
    page.locator(".jp-OutputArea-output pre:has-text('all here')").evaluate("node => node.remove()")
    run_all(page)
    wait_for(page, DONE, RUN_MS, lab.root / "restart-late.png")
    page.wait_for_function(f"document.querySelectorAll('{NOTICE}').length === 0", timeout=GONE_MS)
    canvas = page.locator(".workbench-maps canvas[data-version]")
    version = canvas.get_attribute("data-version")
    page.locator(".jp-OutputArea .noUi-handle").nth(1).press("ArrowRight")
    page.wait_for_selector(f'.workbench-maps canvas:not([data-version="{version}"])', timeout=RUN_MS)
    assert page.locator(RED).count() == 0
