"""Submissions made up for trials: a course of students who are right, nearly right, wrong, or gave up."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .build import build
from .course import Course
from .init import init_course
from .notebook import read_notebook

MARKS = re.compile(r"^ *### (BEGIN|END) SOLUTION\n?", re.M)
MIX = ("right", "one wrong", "right", "two wrong", "right", "one wrong", "gave up half way", "right", "one wrong",
       "right", "one wrong", "does not parse", "right", "two wrong", "right", "one wrong", "right", "gave up half way",
       "one wrong", "blank")  # fmt: skip


def made_course(folder: Path, assignment: str = "a1") -> Course:
    """Return a new course with a built assignment whose measurement is left out.

    That cell carries no marks. We keep what it showed the student; plain nbgrader runs it again, seconds each time, and
    would look slow for it.
    """
    import nbformat

    course, _ = init_course(folder)
    path = course.source(assignment) / f"{assignment}.ipynb"
    source = read_notebook(path)
    for cell in source.cells:
        if cell.get("id", "").endswith("-run"):
            cell["source"] = "pass"
    nbformat.write(source, path)
    build(course, assignment)
    return course


def hand_in_made(course: Course, assignment: str, students: Sequence[str], first: int = 0) -> None:
    """Hand in for `students`, the first of whom is number `first` of an endless course with the shares of `MIX`."""
    import nbformat

    right = _solutions(course, assignment)
    wrong: dict[str, list[str]] = {}  # cell → what may stand in it
    for cell, text, _ in _wrong(course.source(assignment) / "wrong.py").values():
        wrong.setdefault(cell, []).append(text)
    for number, student in enumerate(students, first):
        notebook = read_notebook(course.release(assignment) / f"{assignment}.ipynb")
        answers = dict(_answers(MIX[number % len(MIX)], number, right, wrong))
        for cell in notebook.cells:
            if cell.get("id") in answers:
                cell["source"] = answers[cell["id"]]
        folder = course.submitted(student, assignment)
        folder.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, folder / f"{assignment}.ipynb")


def _answers(kind: str, number: int, right: dict[str, str], wrong: dict[str, list[str]]) -> dict[str, str]:
    if kind == "blank":
        return {}
    if kind == "gave up half way":
        return dict(list(right.items())[: len(right) // 2])
    found = dict(right)
    if kind == "does not parse":
        last = list(found)[-1]
        found[last] = found[last].replace("return", "return (", 1)
    for i in range({"one wrong": 1, "two wrong": 2}.get(kind, 0)):
        cell = list(wrong)[(number + i) % len(wrong)]
        found[cell] = wrong[cell][number % len(wrong[cell])]
    return found


def _solutions(course: Course, assignment: str) -> dict[str, str]:
    """Return code answer cell → the source's solution, without its marks, in order."""
    cells = read_notebook(course.source(assignment) / f"{assignment}.ipynb").cells
    code = [c for c in cells if c.cell_type == "code" and c.get("id", "").endswith("-answer")]
    return {c["id"]: MARKS.sub("", c["source"]) for c in code}


def _wrong(path: Path) -> dict[str, tuple[str, str, Any]]:
    """Return the named wrong approaches of an assignment."""
    spec = importlib.util.spec_from_file_location(f"wrong_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.WRONG)
