"""The notebook runner has none of nbval's blind spots."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import lesson_files as lf
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

KEPT = {"tags": ["keep_output", "nbval-check-output"]}


def run(folder: Path, *cells, options: tuple[str, ...] = ()) -> str:
    """Run a notebook of these cells with the project's conftest, and return pytest's report."""
    file = folder / "notebook.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), file)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", "-ra", "--color=no"]
    command += ["--rootdir", str(folder), "-c", os.devnull, "--nbval-lax", "--nbval-current-env", *options, str(file)]
    env = os.environ | {"PYTHONPATH": str(lf.ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120).stdout


def kept(source: str, text: str):
    return new_code_cell(source, metadata=KEPT, outputs=[new_output("stream", name="stdout", text=text)])


@pytest.fixture(scope="module")
def conftest():
    spec = importlib.util.spec_from_file_location("root_conftest", lf.ROOT / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wrong_outputs_asserts_and_errors_fail(tmp_path):
    """A kept output is compared although its execution count was stripped; the cache is not the user's."""
    home = "import os; print(os.environ['WORKBENCH_CACHE'].startswith({!r}))".format(os.path.expanduser("~/.cache"))
    cells = [kept("print(6 * 7)", "42\n"), kept("print(6 * 7)", "43\n"), new_code_cell("assert 1 + 1 == 3")]
    cells += [new_code_cell("1 / 0"), new_code_cell("pass"), kept(home, "False\n")]
    report = run(tmp_path, *cells)
    assert "3 failed, 3 passed" in report
    assert [n for n in range(6) if f"FAILED notebook.ipynb::Cell {n} " in report] == [1, 2, 3]


def test_after_a_timeout_the_cells_that_follow_fail(tmp_path):
    cells = [new_code_cell("import time; time.sleep(60)"), new_code_cell("x = 1"), new_code_cell("x + 1")]
    report = run(tmp_path, *cells, options=("--nbval-cell-timeout=1",))
    assert "3 failed" in report
    assert "xfailed" not in report
    assert "xpassed" not in report


def test_output_wait_is_long(conftest):
    item = SimpleNamespace(cell_num=0, output_timeout=5, cell=new_code_cell("1"), path=lf.ROOT / "x.ipynb")
    config = SimpleNamespace(args=[], getoption=lambda name, default: name == "nbval_lax")
    conftest.pytest_collection_modifyitems(config, [item])
    assert item.output_timeout == 60


def test_a_notebook_or_cell_that_was_not_collected_is_missed(conftest, monkeypatch, tmp_path):
    notebook = tmp_path / "lost.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1"), new_code_cell("2")]), notebook)
    monkeypatch.setattr(conftest, "ROOT", tmp_path)
    monkeypatch.setattr(conftest, "tracked_notebooks", lambda: [notebook])
    item = SimpleNamespace(cell_num=0, output_timeout=5, cell=new_code_cell("1"), path=notebook)
    config = SimpleNamespace(args=[str(tmp_path)], getoption=lambda name, default: name == "nbval_lax")
    for items, seen in (([], 0), ([item], 1)):
        with pytest.raises(pytest.UsageError, match=f"lost.ipynb: {seen} of 2 code cells"):
            conftest.pytest_collection_modifyitems(config, items)
    conftest.pytest_collection_modifyitems(config, [item, item])
    config.args = [str(tmp_path / "elsewhere.ipynb")]
    conftest.pytest_collection_modifyitems(config, [])


def test_every_lesson_file_is_tracked(conftest):
    tracked = {p.name for p in conftest.tracked_notebooks() if p.parent == lf.NOTEBOOKS}
    assert tracked == {p.name for p in lf.NOTEBOOKS.glob("*.ipynb")}
    assert tracked <= {f"{stem}.ipynb" for stem in lf.FILES.values()}


def test_files_left_beside_the_notebooks_are_a_failure(conftest, monkeypatch, tmp_path):
    monkeypatch.setattr(conftest, "ROOT", tmp_path)
    (tmp_path / "notebooks").mkdir()
    config = SimpleNamespace(stash={}, getoption=lambda name, default: name == "nbval_lax")
    config.pluginmanager = SimpleNamespace(get_plugin=lambda name: None)
    config.stash[conftest._notebooks_before] = conftest._beside_notebooks()
    session = SimpleNamespace(config=config, exitstatus=0)
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == 0
    (tmp_path / "notebooks" / "yolo11n.pt").write_text("")
    conftest.pytest_sessionfinish(session)
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
