"""What `workbench class collect` did with every file: ``collected/ASSIGNMENT.csv``, and the table it prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from ..measure.tables import text_table
from .course import Course
from .table import read_table, write_table

TAKEN = ("taken", "replaced", "unchanged")  # the student's hand-in is this one
FOLDER = "collected"
LATE, NO_TIME = "late", "no time"


@dataclass(frozen=True)
class Row:
    """What became of one hand-in or file.

    Attributes:
        student, name: whose; "" where nothing said.
        verdict: "taken", "replaced" (an earlier one was there), "unchanged", "earlier" (kept aside) or "refused".
        late: "late", "no time" (nothing says when it came, so it is not held against a deadline) or "".
        submitted: local time stamp, or "".
        file, origin: path inside the archive or folder, and which.
        note: why it was refused, or what is remarkable.
    """

    student: str
    name: str
    verdict: str
    late: str
    submitted: str
    file: str
    origin: str
    note: str


COLUMNS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True)
class Collection:
    """What one call of collect did; prints as a table.

    Attributes:
        rows: one per hand-in, and one per file that was refused.
        shapes: in which shapes they came.
    """

    assignment: str
    rows: tuple[Row, ...]
    shapes: str

    def count(self, *verdicts: str) -> int:
        """Return how many rows have one of these verdicts."""
        return sum(r.verdict in verdicts for r in self.rows)

    def __str__(self) -> str:
        order = {v: i for i, v in enumerate(("refused", "earlier", "replaced", "taken", "unchanged"))}
        shown = sorted(self.rows, key=lambda r: (order[r.verdict], r.student, r.file))
        quiet = [r for r in shown if not (r.verdict == "unchanged" and not r.note)]
        body = [[r.student or "?", r.verdict, r.late, r.submitted, _short(r.file), r.note] for r in quiet]
        found = Counter(r.verdict for r in self.rows)
        total = ", ".join(f"{found[v]} {v}" for v in ("taken", "replaced", "unchanged", "earlier", "refused"))
        late, unknown = (sum(r.late == m and r.verdict in TAKEN for r in self.rows) for m in (LATE, NO_TIME))
        total += f"; {late} late{f', {unknown} without a time and not held against --due' if unknown else ''}"
        notes = [f"{self.assignment}: {total} ({self.shapes or 'none'})"]
        if not body:
            return notes[0]
        return text_table(["student", "verdict", "late", "submitted", "file", "note"], body, notes=notes)


def _short(path: str, width: int = 44) -> str:
    text = "".join(c if c.isprintable() else "?" for c in path)  # a terminal obeys escape sequences
    return text if len(text) <= width else f"…{text[1 - width :]}"


def ledger_path(course: Course, assignment: str) -> Path:
    """Return the table of everything that was ever collected of an assignment."""
    return course.root / FOLDER / f"{assignment}.csv"


def read_ledger(course: Course, assignment: str) -> list[Row]:
    """Return the rows; none where nothing was collected by us (nbgrader's own collect works too)."""
    path = ledger_path(course, assignment)
    if not path.is_file():
        return []
    return [Row(**line) for line in read_table(path, COLUMNS)]


def add_to_ledger(course: Course, assignment: str, rows: tuple[Row, ...], judged: bool = False) -> None:
    """Add rows, by rename; a file that is collected again keeps one row, and is late or not as `judged` anew."""
    table = {(r.origin, r.file): r for r in read_ledger(course, assignment)}
    now_taken = {r.student for r in rows if r.verdict in TAKEN}
    for key, row in table.items():
        if row.verdict in TAKEN and row.student in now_taken:
            table[key] = replace(row, verdict="earlier")
    for row in rows:
        before = table.get((row.origin, row.file))
        if before is not None and not judged:
            row = replace(row, late=before.late or row.late)
        if row.verdict == "unchanged" and before is not None:
            row = replace(row, verdict="taken")
        table[row.origin, row.file] = row
    rows_now = sorted(table.values(), key=lambda r: (r.student, r.origin, r.file))
    write_table(ledger_path(course, assignment), COLUMNS, map(astuple, rows_now))


def late_students(course: Course, assignment: str) -> set[str]:
    """Return whose hand-in that counts was late."""
    return {r.student for r in read_ledger(course, assignment) if r.verdict in TAKEN and r.late == LATE}
