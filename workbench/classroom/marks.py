"""All marks of an assignment: one table from the records, as CSV for a spreadsheet and as a summary for the teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from ..measure.tables import text_table
from .course import MARKS, ClassroomError, Course
from .ledger import late_students
from .notebook import Item, items_of, read_notebook
from .outline import Outline, outline
from .record import Record
from .roster import Roster
from .table import columns_of, read_table, table_text, write_table

BY_HAND = "by_hand"  # folder of the tables in which people enter what people mark
COLUMNS = ("student", "name", "points", "comment")
MISSING, UNGRADED, STRANGER = "not handed in", "not graded", "marked by hand and no student of this course"


@dataclass(frozen=True)
class Line:
    """One student's row.

    Attributes:
        record: what grading found; None for a student without one.
        status: the record's; "not handed in", "not graded", or that only the table by hand knows the name.
        by_hand: points a person gave, or None.
        comment: of that person.
    """

    student: str
    name: str
    status: str
    late: bool
    record: Record | None
    by_hand: float | None = None
    comment: str = ""

    @property
    def total(self) -> float | None:
        """All points there are so far; None for a student without a record."""
        return None if self.record is None else self.record.points + (self.by_hand or 0.0)


@dataclass(frozen=True)
class Marks:
    """The marks of an assignment; prints as a summary by question.

    Attributes:
        questions: the graded cells, in the notebook's order; kind "test" or "text".
        lines: one per student, sorted.
        outline: what the notebook's headings call them.
    """

    assignment: str
    questions: tuple[Item, ...]
    lines: tuple[Line, ...]
    outline: Outline = field(default_factory=lambda: Outline({}, {}, ()))

    @property
    def graded(self) -> list[Line]:
        """The lines that have a record."""
        return [line for line in self.lines if line.record is not None]

    @property
    def tests(self) -> list[Item]:
        """The questions that are graded by comparing answers."""
        return [q for q in self.questions if q.kind == "test"]

    def shares(self) -> dict[str, list[float]]:
        """Question → earned / possible, one per graded student."""
        found: dict[str, list[float]] = {q.id: [] for q in self.tests}
        for line in self.graded:
            for q in self.tests:
                mark = line.record.questions.get(q.id) if line.record else None
                found[q.id].append(mark.points / mark.of if mark and mark.of else 0.0)
        return found

    def to_csv(self) -> str:
        """Return the table for a spreadsheet: quoted, and without text that a spreadsheet would run as a formula."""
        of = sum(q.points for q in self.questions)
        columns = ["student", "name", "status", "submitted", "late", *(q.id for q in self.tests)]
        columns += ["by tests", "by hand", "total", "of", "reason", "comment"]
        rows: list[list[object]] = []
        for line in self.lines:
            r = line.record
            earned = [r.questions[q.id].points if r and q.id in r.questions else None for q in self.tests]
            row = [line.student, line.name, line.status, r.submitted if r else None, "late" if line.late else ""]
            end = [r.points if r else None, line.by_hand, line.total, of, r.reason if r else "", line.comment]
            rows.append([*row, *earned, *end])
        return table_text(columns, rows)

    def __str__(self) -> str:
        rows: list[list[str | int | float | None]] = []
        shares, n = self.shares(), max(len(self.graded), 1)
        for q in self.tests:
            s = shares[q.id]
            full, none = sum(x >= 1 for x in s), sum(x <= 0 for x in s)
            rows.append([q.id, f"{q.points:g}", f"{q.points * sum(s) / n:.2f}", full, len(s) - full - none, none])
        header = ["question", "of", "mean", "full", "part", "none"]
        return text_table(header, rows, title=f"{self.assignment}: {len(self.graded)} graded", notes=self._notes())

    def _notes(self) -> list[str]:
        points = sorted(line.record.points for line in self.graded if line.record)
        of = sum(q.points for q in self.tests)
        notes = []
        if points:
            middle = (points[(len(points) - 1) // 2] + points[len(points) // 2]) / 2
            notes.append(f"by tests: median {middle:g} of {of:g}, lowest {points[0]:g}, highest {points[-1]:g}")
        for status in dict.fromkeys(line.status for line in self.lines if line.status != "graded"):
            who = [line.student for line in self.lines if line.status == status]
            notes.append(f"{status}: {len(who)} ({', '.join(who[:6])}{', …' if len(who) > 6 else ''})")
        text = [q for q in self.questions if q.kind == "text"]
        waiting = sum(line.by_hand is None for line in self.graded)
        if text and waiting:
            notes.append(f"{waiting} × {text[0].id} ({text[0].points:g} points) wait for a person: marks --by-hand")
        return notes


def read_marks(course: Course, assignment: str) -> Marks:
    """Return the marks of everybody who handed in, and a line for each other student the course knows.

    Raises:
        ClassroomError: no such assignment, a damaged record, or a table of marks by hand that cannot be used.
    """
    course.check(assignment)
    notebook = read_notebook(course.source(assignment) / f"{assignment}.ipynb")
    questions = tuple(i for i in items_of(notebook) if i.kind in ("test", "text"))
    roster, late = Roster(course), late_students(course, assignment)
    given = read_by_hand(course, assignment, sum(q.points for q in questions if q.kind == "text"))
    handed_in = set(course.students(assignment))
    lines = []
    known = handed_in | {row.student for row in roster.rows}
    for student in sorted(known | given.keys()):
        folder = course.autograded(student, assignment)
        record = Record.load(folder) if (folder / MARKS).is_file() else None
        status = UNGRADED if student in handed_in else MISSING if student in known else STRANGER
        status = record.status if record else status
        points, comment = given.get(student, (None, ""))
        lines.append(Line(student, roster.name_of(student), status, student in late, record, points, comment))
    return Marks(assignment, questions, tuple(lines), outline(notebook))


def by_hand_path(course: Course, assignment: str) -> Path:
    """Return the table in which people enter their marks."""
    return course.root / BY_HAND / f"{assignment}.csv"


def read_by_hand(course: Course, assignment: str, most: float) -> dict[str, tuple[float | None, str]]:
    """Return student → (points or None, comment).

    Raises:
        ClassroomError: no table with these columns, or points that are no number from 0 to `most`.
    """
    path = by_hand_path(course, assignment)
    if not path.is_file():
        return {}
    found: dict[str, tuple[float | None, str]] = {}
    for row in read_table(path, ("student", "points"), optional=("comment",)):
        student, text = row["student"].strip(), row["points"].strip().replace(",", ".")
        try:
            points = float(text) if text else None
        except ValueError:
            points = math.nan
        if points is not None and not 0 <= points <= most:
            raise ClassroomError(f"{path.name}: {student} has {text[:20]} points; expected a number from 0 to {most:g}")
        if student and (points is not None or row["comment"] or student not in found):
            found[student] = (points, row["comment"].strip())
    return found


def write_by_hand(course: Course, marks: Marks) -> Path:
    """Write the table for marks by hand: what was entered stays, columns of your own too; new students get a row."""
    path = by_hand_path(course, marks.assignment)
    own = [c for c in columns_of(path) if c and c not in COLUMNS]
    kept = {row["student"].strip(): [row[c] for c in own] for row in _rows_of(path, own)}
    entered = [x for x in marks.lines if x.record is not None or x.by_hand is not None or x.comment]
    rows = [(x.student, x.name, x.by_hand, x.comment, *kept.get(x.student, [""] * len(own))) for x in entered]
    return write_table(path, [*COLUMNS, *own], rows, mark=True)


def _rows_of(path: Path, own: list[str]) -> list[dict[str, str]]:
    return read_table(path, ("student",), optional=own) if own else []
