"""A lesson in JupyterLab, as a learner sees it: opened, run from the menu, nothing red."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")

from steps import NOTEBOOKS, RED, RUN_MS, SENTINEL, open_lesson, place, run_all, wait_for

LESSONS = sorted(p.stem for p in NOTEBOOKS.glob("[0-9]*.ipynb"))
FIRST = LESSONS[0] if LESSONS else None
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}

pytestmark = [pytest.mark.browser, pytest.mark.skipif(FIRST is None, reason="no lesson is there yet")]


def test_the_server_asks_for_its_token(lab):
    assert lab.get("/api/contents", lab.token)[0] == 200
    assert lab.get("/api/contents")[0] == 403
    assert lab.get("/api/contents", "wrong")[0] == 403


def test_it_listens_on_this_machine_only(lab):
    import psutil

    port = int(lab.url.rpartition(":")[2])
    addresses = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
    assert addresses == {"127.0.0.1"}


def test_no_announcements_and_our_kernel(lab):
    import sys

    config = json.loads(lab.get("/lab", lab.token)[1].split('id="jupyter-config-data" type="application/json">')[1]
                        .split("</script>")[0])  # fmt: skip
    assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
    kernels = json.loads(lab.get("/api/kernelspecs", lab.token)[1])
    assert kernels["default"] == "python3"
    folder = kernels["kernelspecs"]["python3"]["resources"]["logo-64x64"]
    assert folder.startswith("/kernelspecs/python3/")
    assert Path(sys.prefix, "share/jupyter/kernels/python3/kernel.json").is_file()


@pytest.mark.parametrize("name", [FIRST])
def test_a_lesson_runs(lab, page, name):
    path = place(lab, name)
    open_lesson(page, lab, name)
    assert page.locator(".jp-Dialog").count() == 0  # nothing asks the learner anything first
    run_all(page)
    wait_for(page, f'{RED}, .jp-OutputArea-output pre:has-text("{SENTINEL}")', RUN_MS, lab.root / f"{name}.png")
    assert page.locator(RED).count() == 0, page.locator(RED).first.inner_text()
    assert page.get_by_text("Error displaying widget").count() == 0
    page.keyboard.press("Control+s")
    saved = _saved(page, path)
    cells = [c for c in saved.cells if c.cell_type == "code" and c.source.strip()]
    assert len(cells) > 5
    assert all(c.execution_count for c in cells)
    kinds = {o.output_type for c in cells for o in c.outputs}
    assert "error" not in kinds
    assert kinds & {"display_data", "execute_result"}, "no figure, no table"


def test_a_failing_cell_is_noticed(lab, page):
    """The guard of the test above: what it looks for is what JupyterLab shows."""
    sources = ("print('fine')", "import sys; print('a warning', file=sys.stderr)", "1 / 0", "print('never')")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=METADATA), lab.root / "failing.ipynb")
    open_lesson(page, lab, "failing")
    run_all(page)
    wait_for(page, f"{RED} >> text=ZeroDivisionError", RUN_MS, lab.root / "failing.png")
    assert page.locator(RED).count() == 2
    assert "a warning" in page.locator(RED).first.inner_text()
    assert "never" not in page.locator(".jp-OutputArea").all_inner_texts()


def _saved(page, path: Path) -> nbformat.NotebookNode:
    """Return the notebook once JupyterLab has written it with its outputs."""
    for _ in range(60):
        notebook = nbformat.read(path, as_version=4)
        if any(SENTINEL in str(o.get("text", "")) for o in notebook.cells[-1].get("outputs", [])):
            return notebook
        page.wait_for_timeout(500)
    raise AssertionError(f"{path} was not saved with its outputs")
