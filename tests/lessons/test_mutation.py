"""A lesson that computes something else fails: one number of a golden table and one assert are changed in a copy."""

from __future__ import annotations

import ast
import copy
import os
import re
import subprocess
import sys

import lesson_files as lf
import nbformat
import pytest

QUICK = "03"  # its golden table comes early


def nbval(notebook, folder) -> tuple[set[int], str]:
    """Run a copy of a lesson and return the code cells that failed, and the report."""
    file = folder / "copy.ipynb"
    nbformat.write(notebook, file)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q", "-rf", "--color=no"]
    command += ["--rootdir", str(folder), "-c", os.devnull, "--nbval-lax", "--nbval-current-env", str(file)]
    env = os.environ | {"PYTHONPATH": str(lf.ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert re.search(r"\d+ (passed|failed)", done.stdout), done.stdout + done.stderr
    return {int(n) for n in re.findall(r"^FAILED .*::Cell (\d+)", done.stdout, re.M)}, done.stdout


def up_to_golden(lesson: str):
    """Return a copy of a lesson's code that ends with its first golden table after an assert, and that cell."""
    notebook = nbformat.read(lf.path(lesson), as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    first = next(i for i, cell in enumerate(code) if asserts(cell))
    last = next(i for i, cell in enumerate(code) if i > first and lf.is_golden(cell))
    notebook.cells = code[: last + 1]
    return notebook, notebook.cells[-1]


def asserts(cell) -> list[ast.Assert]:
    """Return a cell's top-level asserts."""
    return [node for node in lf.tree(cell).body if isinstance(node, ast.Assert)]


def change_a_number(cell) -> None:
    """Add one to the last digit of the first number with at least two digits that a golden table shows."""
    (output,) = cell.outputs
    place = re.search(r"\d[\d,]*\d", output.text).end() - 1
    output.text = output.text[:place] + str((int(output.text[place]) + 1) % 10) + output.text[place + 1 :]


def turn_an_assert(cell) -> bool:
    """Negate a top-level assert, at the cell's end so that the rest of the cell still runs; False if there is none."""
    if found := asserts(cell):
        cell.source += f"\nassert not ({ast.unparse(found[0].test)})"
    return bool(found)


@pytest.mark.parametrize(
    "lesson", [n if n == QUICK else pytest.param(n, marks=pytest.mark.long) for n in lf.FINISHED if n in lf.PRESENT]
)
def test_a_changed_number_and_a_turned_assert_fail(lesson, tmp_path):
    """And nothing else does."""
    notebook, golden = up_to_golden(lesson)
    change_a_number(golden)
    others = notebook.cells[:-1]
    turned = next(i for i, cell in reversed(list(enumerate(others))) if turn_an_assert(cell))
    failed, report = nbval(notebook, tmp_path)
    assert failed == {turned, len(others)}, report
    assert "Cell outputs differ" in report
    assert "AssertionError" in report


@pytest.mark.long
@pytest.mark.parametrize("lesson", [n for n in lf.FINISHED if n in lf.PRESENT])
def test_a_solved_lesson_runs_through(lesson, tmp_path):
    """Every solution in its place, every prediction made, every question answered: all pass in one kernel."""
    from workbench.lesson.quiz import checkpoint_of

    notebook = nbformat.read(lf.path(lesson), as_version=4)
    answers = {cell.id: lf.solutions(lesson)[key] for key, (_, cell) in lf.exercise_cells(lesson).items()}
    for cell in notebook.cells:
        if cell.id in answers:
            checks = [line for line in cell.source.splitlines() if line.startswith("lesson.check(")]
            cell.source = "\n".join([answers[cell.id], *checks])
        elif cell.cell_type == "code" and "lesson.checkpoint(" in cell.source:
            right = {k: q.right for k, q in checkpoint_of(lesson).items()}
            cell.source = f"lesson.checkpoint({right!r})"
    done = copy.deepcopy(notebook.cells[0])
    done.update(cell_type="code", id="solved", outputs=[], execution_count=None)
    done.source = (
        "done = lesson.progress()\n"
        f"assert sorted(done['exercises']) == {sorted(lf.exercise_cells(lesson))}, done\n"
        "assert set(done['exercises'].values()) == {'passed'}, done\n"
        "assert done['score'][0] == done['score'][1], done"
    )
    notebook.cells.append(done)
    failed, report = nbval(notebook, tmp_path)
    assert failed == set(), report
