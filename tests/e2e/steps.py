"""What a learner's hand does in JupyterLab: open a lesson, run it from the menu, wait, and leave a picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from playwright.sync_api import TimeoutError as PlaywrightTimeout

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SENTINEL = "every cell has run"
OPEN_MS, RUN_MS = 90_000, 240_000
RED = (
    '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'  # tracebacks
)


def place(lab, name: str) -> Path:
    """Copy a lesson into the server's folder, with one more cell that says when the others are done."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(f"print({SENTINEL!r})", id="sentinel"))
    path = lab.root / f"{name}.ipynb"
    nbformat.write(notebook, path)
    for folder in NOTEBOOKS.iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            shutil.copytree(folder, lab.root / folder.name, dirs_exist_ok=True)
    return path


def run_all(page) -> None:
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()


def wait_for(page, selector: str, timeout_ms: int, picture: Path) -> None:
    """Wait for a selector; on a timeout say which cells have not run, and leave a picture."""
    try:
        page.wait_for_selector(selector, timeout=timeout_ms)
    except PlaywrightTimeout:
        page.screenshot(path=picture)
        prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts()
        message = f"no {selector} within {timeout_ms / 1e3:g} s; prompts {prompts}; see {picture}"
        raise AssertionError(message) from None


def open_lesson(page, lab, name: str) -> None:
    page.goto(lab.page(f"{name}.ipynb"), timeout=OPEN_MS)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=OPEN_MS)
    page.get_by_text("| Idle").wait_for(timeout=OPEN_MS)  # before there is a kernel, Run All asks which one


def do_lesson(page, lab, name: str, width: int, height: int) -> None:
    """Open a lesson, run it from the menu to its last cell, and look that nothing is red."""
    place(lab, name)
    page.set_viewport_size({"width": width, "height": height})
    open_lesson(page, lab, name)
    run_all(page)
    wait_for(page, f'{RED}, .jp-OutputArea-output pre:has-text("{SENTINEL}")', RUN_MS, lab.root / f"{name}-late.png")
    assert page.locator(RED).count() == 0, page.locator(RED).first.inner_text()
