"""Records into nbgrader's ``gradebook.db``: one process, once, at the end; nbgrader's own tools then see the marks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from .build import _our_commands_on_path
from .course import Course
from .notebook import meta_of, source_of
from .record import Record
from .sheet import Master


def merge(course: Course, assignment: str, records: Sequence[Record], changed: Collection[str]) -> Path:
    """Write the marks of `records` into the gradebook, and leave manual marks as they are.

    Args:
        course: where to.
        assignment: of all records.
        records: one per student.
        changed: students who were graded anew: what a person marked is to be looked at again.

    Raises:
        MissingExtraError: nbgrader is not installed.
    """
    try:
        from nbgrader.api import Gradebook
    except ImportError:
        raise MissingExtraError("nbgrader", "classroom") from None
    with (
        warnings.catch_warnings(),
        _our_commands_on_path(),
        Gradebook(f"sqlite:///{course.gradebook}") as book,
    ):
        warnings.filterwarnings("ignore", message="Object of type")  # nbgrader's, at every new submission
        _assignment(book, Master(course.source(assignment), assignment))
        for record in records:
            _submission(book, assignment, record, record.student in changed)
        book.db.commit()
    return course.gradebook


def _assignment(book: Any, master: Master) -> None:
    """Make sure that the gradebook knows the assignment and its cells."""
    name = master.name
    book.update_or_create_assignment(name)
    book.update_or_create_notebook(name, name)
    for key, cell in master.cells.items():
        meta = meta_of(cell)
        if meta.get("grade"):
            fields = {"max_score": float(meta.get("points") or 0), "cell_type": cell["cell_type"]}
            book.update_or_create_grade_cell(key, name, name, **fields)
        if meta.get("solution"):
            book.update_or_create_solution_cell(key, name, name)
        known = {c.name for c in book.find_notebook(name, name).source_cells}
        if key not in known:  # `build` has written them, solutions taken out
            source = "" if meta.get("solution") else source_of(cell)
            fields = {"cell_type": cell["cell_type"], "locked": not meta.get("solution"), "source": source}
            book.update_or_create_source_cell(key, name, name, **fields)


def _submission(book: Any, assignment: str, record: Record, changed: bool) -> None:
    from nbgrader.utils import parse_utc

    book.update_or_create_student(record.student)
    fields: dict[str, Any] = {}
    if record.submitted:
        with contextlib.suppress(ValueError, OverflowError, TypeError):  # written by hand; the record keeps it
            fields["timestamp"] = parse_utc(record.submitted)
    submission = book.update_or_create_submission(assignment, record.student, **fields)
    for notebook in submission.notebooks:
        for grade in notebook.grades:
            mark = record.questions.get(grade.name)
            if mark is not None:
                grade.auto_score = mark.points
                grade.needs_manual_grade = grade.manual_score is not None and changed
            elif record.status == "failed":
                grade.auto_score, grade.needs_manual_grade = 0.0, False
            else:
                grade.auto_score = None
                if changed or grade.manual_score is None:
                    grade.needs_manual_grade = True
