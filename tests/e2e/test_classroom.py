"""An assignment as a student has it: unpacked, opened in JupyterLab, one task solved by typing, saved, checked."""

from __future__ import annotations

import re
import zipfile

import nbformat
import pytest

from workbench.cli import main

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")

OPEN_MS, RUN_MS = 60_000, 120_000
RED = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
SOLVED = "return -(-h // stride) * -(-w // stride) * c_out * (c_in // groups) * k * k"
QUESTIONS = 8

pytestmark = pytest.mark.browser


@pytest.fixture
def handed_out(lab, tmp_path, monkeypatch):
    """What a teacher's commands make, unpacked where the student's JupyterLab looks; the notebook's path."""
    assert main(["class", "init", str(tmp_path / "term")]) == 0
    monkeypatch.chdir(tmp_path / "term")
    assert main(["class", "build", "a1"]) == 0
    assert main(["class", "release", "a1"]) == 0
    with zipfile.ZipFile("release/a1.zip") as archive:
        archive.extractall(lab.root)
    return lab.root / "a1" / "a1.ipynb"


def test_a_student_solves_a_task_and_checks(lab, page, handed_out):
    before = {c.id: c.source for c in nbformat.read(handed_out, as_version=4).cells}
    page.goto(lab.page("a1/a1.ipynb"), timeout=OPEN_MS)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=OPEN_MS)
    page.get_by_text("| Idle").wait_for(timeout=OPEN_MS)
    assert page.locator(".jp-Dialog").count() == 0

    line = page.locator(".jp-CodeCell", has_text="def conv_macs").first.locator(".cm-line", has_text="raise NotImpl")
    line.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(SOLVED)
    page.locator(".jp-Cell").first.click()
    page.keyboard.press("Escape")
    for _ in range(5):  # title, setup, task, answer, test
        page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        "document.querySelectorAll('.jp-CodeCell')[2].querySelector('.jp-InputPrompt').innerText.includes('[3]')",
        timeout=RUN_MS,
    )
    assert page.locator(RED).count() == 0, page.locator(RED).first.inner_text()
    page.keyboard.press("Control+s")
    assert _on_disk(page, handed_out, SOLVED)

    page.locator(".jp-Cell").last.click()
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type("!workbench class check a1")
    page.keyboard.press("Control+s")  # with this cell in it: the check runs a notebook that asks for a check
    assert _on_disk(page, handed_out, "!workbench class check a1")
    saved = handed_out.read_bytes()
    page.keyboard.press("Shift+Enter")
    report = page.locator(".jp-OutputArea-output pre", has_text="visible tests pass")
    try:
        report.wait_for(timeout=RUN_MS)
    finally:
        page.screenshot(path=handed_out.with_suffix(".png"))
    said = report.inner_text()
    assert re.findall(r"^✓ (.+): passes$", said, re.M) == ["1 · MACs of any convolution"]
    assert len(re.findall(r"^○ \d · .+: left out$", said, re.M)) == QUESTIONS - 1
    assert f"a1: 1 of {QUESTIONS} visible tests pass; hidden tests decide the marks" in said
    assert not re.search(r"^!|Traceback|Error: ", said, re.M), said  # nothing to mend, and nothing else went wrong
    assert page.locator(RED).count() == 0
    assert page.get_by_text("Error displaying").count() == 0

    found = nbformat.reads(saved.decode(), as_version=4)
    after = {c.id: c.source for c in found.cells}
    changed = {k for k in before if after[k] != before[k]}
    assert changed == {"conv-macs-answer"}
    assert after["conv-macs-answer"].count(SOLVED) == 1


def _on_disk(page, path, text: str) -> bool:
    """Wait until JupyterLab has written a notebook that holds a text."""
    for _ in range(60):
        if text in path.read_text(encoding="utf-8"):
            return True
        page.wait_for_timeout(250)
    return False
