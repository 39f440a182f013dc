"""A course of two small assignments that need no torch inside the sandbox, so that grading one costs about a second."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

from workbench.classroom import Course

DOUBLE, TOTAL = "def double(x):\n    return 2 * x", "def total(xs):\n    return sum(double(x) for x in xs)"
ANSWERS = """
from workbench.classroom.answers import Question
from workbench.classroom.judge import Near, judge

{before}
def double(x):
    return 2 * x
def total(xs):
    return sum(2 * x for x in xs)
def INPUTS(seed):
    return {{"double-test": [(seed + i,) for i in range(3)], "total-test": [([seed, 1, 2],)]}}
QUESTIONS = (
    Question("double-test", 2, "double", {wrap}(judge(double, Near(0.5, lambda x: x * x, "that is the square")))),
    Question("total-test", 3, "total", {wrap}(judge(total))),
)
"""


def _cell(kind: str, name: str, source: str, grade: bool, solution: bool, points: float | None = None) -> Any:
    made = (v4.new_code_cell if kind == "code" else v4.new_markdown_cell)(source)
    made["id"] = name
    made.metadata["nbgrader"] = {
        "schema_version": 3, "grade_id": name, "grade": grade, "solution": solution, "locked": not solution,
        "task": False, **({"points": points} if points is not None else {}),
    }  # fmt: skip
    return made


def notebook(
    double: str = DOUBLE, total: str = TOTAL, *, name: str = "a1", more: str = "", source: bool = False
) -> Any:
    """Return a notebook: two answers to test, one text, and another cell of the student's."""
    hidden = "\n### BEGIN HIDDEN TESTS\nassert double(5) == 10\n### END HIDDEN TESTS" if source else ""

    def answer(text: str) -> str:
        return f"### BEGIN SOLUTION\n{text}\n### END SOLUTION" if source else text

    prefix = "" if name == "a1" else f"{name}-"
    cells = [
        _cell("code", "setup", "import math", False, False),
        _cell("code", f"{prefix}double-answer", answer(double), False, True),
        _cell("code", f"{prefix}double-test", f"assert double(1) == 2{hidden}", True, False, 2),
        _cell("code", f"{prefix}total-answer", answer(total), False, True),
        _cell("code", f"{prefix}total-test", f"assert total([1]) == 2{hidden}", True, False, 3),
        _cell("markdown", f"{prefix}text-answer", "Because.", True, True, 5),
    ]
    if more:
        cells.insert(1, v4.new_code_cell(more))
    for i, cell in enumerate(cells):
        cell["id"] = cell.get("id") or f"cell-{i}"
    return v4.new_notebook(cells=cells)


def text(book: Any) -> str:
    """Return a notebook as its file has it."""
    return str(nbformat.writes(nbformat.from_dict(book)))


def course(root: Path, *, before: str = "", wrap: str = "") -> Course:
    """Make a course of a1 and a2.

    Args:
        root: a new folder.
        before: what stands at the top of ``answers.py``.
        wrap: the name of a function in it that every comparison goes through.
    """
    for name in ("a1", "a2"):
        folder = root / "source" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.ipynb").write_text(text(notebook(name=name, source=True)), encoding="utf-8")
        (folder / "answers.py").write_text(ANSWERS.format(before=before, wrap=wrap), encoding="utf-8")
    (root / "nbgrader_config.py").write_text("c = get_config()\n", encoding="utf-8")
    return Course(root)


def hand_in(where: Course, student: str, book: Any) -> Path:
    """Put a notebook where `collect` would."""
    folder = where.submitted(student, "a1")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a1.ipynb"
    path.write_text(text(book), encoding="utf-8")
    return path


# --- what arrives ---------------------------------------------------------------------------------------------------

GOOD = text(notebook()).encode()
OTHER = text(notebook(more="# second thoughts")).encode()
THIRD = text(notebook(more="# third thoughts")).encode()
MONDAY, TUESDAY = (2026, 3, 2, 10, 0, 0), (2026, 3, 3, 10, 0, 0)
UNDATED = (1980, 1, 1, 0, 0, 0)


def pack(path: Path, entries: dict[str, bytes], when: tuple[int, ...] = MONDAY, **dates: tuple[int, ...]) -> Path:
    """Write an archive of path → bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name, dates.get(name, when)), data)
    return path


def taken(course: Course) -> dict[str, bytes]:
    """Student → the notebook that counts."""
    return {s: (course.submitted(s, "a1") / "a1.ipynb").read_bytes() for s in course.students("a1")}


def verdicts(found) -> dict[str, tuple[str, str]]:
    return {row.file: (row.verdict, row.note) for row in found.rows}


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
