"""The capstone's leaderboard: one page that opens anywhere, and the same rows as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import replace_text
from .course import MARKS, ClassroomError, Course
from .leaderboard_page import page
from .record import Record
from .roster import Roster
from .table import safe

FOLDER = "leaderboard"
PSEUDONYMS = "pseudonyms.json"  # student → pseudonym; stays with the teacher
NUMBERS = (
    "map50", "map50_low", "map50_high", "map50_95", "macs", "params", "latency_ratio", "latency_low", "latency_high",
    "backbone_macs", "backbone_params", "stock_macs", "stock_params", "images", "imgsz",
)  # fmt: skip
COLOURS = "amber blue bronze copper coral cyan golden green grey indigo ivory jade lilac olive pearl ruby".split()  # noqa: SIM905
ANIMALS = "badger crane dolphin falcon finch fox gecko heron ibis lynx marten otter owl puffin seal wren".split()  # noqa: SIM905


@dataclass(frozen=True)
class Board:
    """The detectors of an assignment, best first.

    Attributes:
        assignment: its name.
        rows: ``rank``, ``name`` and the numbers of each; a number that there is not is None.
        waiting: how many of those who handed in have no number, for example because their file was refused.
        same: groups of students whose files are the same to the last bit; for the teacher, not for the page.
    """

    assignment: str
    rows: tuple[dict[str, Any], ...]
    waiting: int
    same: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> str:
        """Return it as JSON; what the panel ``wb.panels.Leaderboard`` reads."""
        data = {"assignment": self.assignment, "waiting": self.waiting, "rows": self.rows}
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """Return the rows for a spreadsheet, without text that it would run as a formula."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        columns = ("rank", "name", *NUMBERS)
        writer.writerow(columns)
        writer.writerows([r[c] if _is_number(r[c]) else safe(r[c]) for c in columns] for r in self.rows)  # all digits
        return stream.getvalue()


def read_board(course: Course, assignment: str, pseudonyms: bool = False) -> Board:
    """Return the detectors that were measured, by falling mAP50; of equals, the one with fewer MACs first.

    Args:
        course: the course.
        assignment: the capstone's name.
        pseudonyms: show those instead of names; they are drawn once, by lot, and kept.

    Raises:
        ClassroomError: no such assignment, a damaged record, or nothing that was measured.
    """
    course.check(assignment)
    graded = [s for s in course.students(assignment) if (course.autograded(s, assignment) / MARKS).is_file()]
    records = {s: Record.load(course.autograded(s, assignment)).capstone for s in graded}
    shown = {s: numbers for s, record in records.items() if (numbers := _numbers(record)) is not None}
    if not shown:
        raise ClassroomError(
            f"no detector of {assignment} has been measured; grade it first: workbench class grade {assignment}"
        )
    roster = Roster(course)
    names = _pseudonyms(course, sorted(shown)) if pseudonyms else {s: roster.name_of(s) for s in shown}
    order = sorted(shown, key=lambda s: (-shown[s]["map50"], shown[s]["macs"], names[s]))
    rows = tuple({"rank": i, "name": names[s], **shown[s]} for i, s in enumerate(order, 1))
    files: dict[str, list[str]] = {}
    for s in shown:
        files.setdefault(str(records[s].get("sha256") or s), []).append(s)
    same = tuple(tuple(group) for group in files.values() if len(group) > 1)
    return Board(assignment, rows, len(graded) - len(shown), same)


def write_board(course: Course, board: Board) -> list[Path]:
    """Write ``leaderboard/ASSIGNMENT.html``, ``.csv`` and ``.json``, and return the files."""
    folder, assignment = course.root / FOLDER, board.assignment
    folder.mkdir(exist_ok=True)
    texts = {"html": page(board.assignment, board.rows, board.waiting), "csv": "\ufeff" + board.to_csv()}
    written = []
    for ending, text in (texts | {"json": board.to_json()}).items():
        path = folder / f"{assignment}.{ending}"
        replace_text(path, text)
        written.append(path)
    return written


def _numbers(capstone: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the numbers of a record; None where there was nothing to measure."""
    if capstone.get("refused") or not all(_is_number(capstone.get(k)) for k in ("map50", "map50_95", "macs", "params")):
        return None
    return {k: capstone[k] if _is_number(capstone.get(k)) else None for k in NUMBERS}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _pseudonyms(course: Course, students: Sequence[str]) -> dict[str, str]:
    """Return a pseudonym for each student: those drawn before, and new ones by lot."""
    path = course.root / PSEUDONYMS
    try:
        known = {str(k): str(v) for k, v in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        known = {}
    except (ValueError, AttributeError):
        raise ClassroomError(f"{path} cannot be read; mend it, or delete it to draw new pseudonyms") from None
    free = [f"{c} {a}" for c in COLOURS for a in ANIMALS if f"{c} {a}" not in known.values()]
    lot = random.Random(secrets.randbits(64))
    lot.shuffle(free)
    new = [s for s in students if s not in known]
    lot.shuffle(new)  # also the numbers given when the names run out follow no order
    for i, student in enumerate(new):
        known[student] = free[i] if i < len(free) else f"detector {len(known) + 1}"
    if new:
        replace_text(path, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    return {s: known[s] for s in students}
