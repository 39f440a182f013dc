"""Whose file it is: the shapes in which Moodle, Canvas, Blackboard, Brightspace and plain folders name hand-ins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_(?P<what>file|onlinetext)_?(?P<file>[^/]+)?$")
CANVAS = re.compile(r"(?P<name>[^_/]+?)_(?P<late>LATE_|late_)?(?P<number>\d+)_(?P<upload>\d+)_(?P<file>.+)$")
BLACKBOARD = re.compile(r".+_(?P<name>[^_/]+)_attempt_(?P<time>\d{4}(?:-\d{2}){5})(?:_(?P<file>.+))?$")
BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ - (?P<name>.+?) - (?P<time>[A-Z][a-z]{2,8} \d{1,2}, \d{4} \d{3,4} [AP]M)$"
)
COPY = re.compile(r"(?P<stem>.+?)(?: ?\((?P<a>\d{1,3})\)|-(?P<b>\d{1,3}))$")  # a1 (1), a1(1): browsers; a1-2: Canvas
SCAFFOLD = ("submitted", "submissions", "__macosx", "")


@dataclass(frozen=True)
class Owner:
    """What a path says about a hand-in.

    Attributes:
        name: the student's, as written.
        number: the system's for the student, "" where there is none.
        file: the file's own name, without what the system put around it.
        late: the system says so.
        time: of the hand-in where the path holds it, local.
        version: of repeated hand-ins, from names such as ``a1-2.ipynb``.
        shape: "Moodle", "Canvas", "Blackboard", "Brightspace", "folder" or "file".
    """

    name: str
    file: str
    shape: str
    number: str = ""
    late: bool = False
    time: datetime | None = None
    version: int = 0


def owner_of(path: str, assignment: str) -> Owner | None:
    """Return whose hand-in a file of `assignment` is, from its path inside an archive or folder; None if it says not.

    >>> owner_of("Ada Lovelace_12345_assignsubmission_file_/a1.ipynb", "a1").name
    'Ada Lovelace'
    >>> owner_of("lovelaceada_LATE_12345_67890_a1-2.ipynb", "a1")
    Owner(name='lovelaceada', file='a1.ipynb', shape='Canvas', number='12345', late=True, time=None, version=2)
    >>> owner_of("a1.ipynb", "a1") is None
    True
    """
    parts = [p for p in path.replace("\\", "/").split("/") if p not in ("", ".")]
    if not parts:
        return None
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if (found := _system(part, parts[-1], last)) is not None:
            return _versioned(found, assignment)
    *folders, file = parts
    while folders and (folders[-1].lower() == assignment.lower() or folders[-1].lower() in SCAFFOLD):
        folders.pop()  # STUDENT/a1/a1.ipynb, as nbgrader keeps them
    if folders:
        return _versioned(Owner(folders[-1].strip(), file, "folder"), assignment)
    return _named(file, assignment)


def _system(part: str, file: str, last: bool) -> Owner | None:
    """Return the owner that one part of a path names, in the way of one of the systems."""
    if (m := MOODLE.match(part)) and (not last or m["file"]):
        return Owner(m["name"].strip(), m["file"] if last else file, "Moodle", m["number"])
    if (m := BLACKBOARD.match(part)) and (not last or m["file"]):
        when = datetime.strptime(m["time"], "%Y-%m-%d-%H-%M-%S") if _is_time(m["time"], "%Y-%m-%d-%H-%M-%S") else None
        return Owner(m["name"].strip(), m["file"] if last else file, "Blackboard", time=when)
    if (m := BRIGHTSPACE.match(part)) and not last:
        clock = re.sub(r"(\d{1,2})(\d{2}) ([AP]M)$", r"\1:\2 \3", m["time"])
        forms = [f for f in ("%b %d, %Y %I:%M %p", "%B %d, %Y %I:%M %p") if _is_time(clock, f)]
        when = datetime.strptime(clock, forms[0]) if forms else None
        return Owner(m["name"].strip(), file, "Brightspace", m["number"], time=when)
    if last and (m := CANVAS.match(part)):
        return Owner(m["name"].strip(), m["file"], "Canvas", m["number"], bool(m["late"]))
    return None


def _is_time(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _versioned(owner: Owner, assignment: str) -> Owner:
    """Take a copy's number off a file's name: ``a1-2.ipynb`` is the second ``a1.ipynb``."""
    stem, dot, suffix = owner.file.rpartition(".")
    if dot and (m := COPY.match(stem)) and m["stem"].lower() == assignment.lower():
        file, version = f"{m['stem']}.{suffix}", int(m["a"] or m["b"])
        return Owner(owner.name, file, owner.shape, owner.number, owner.late, owner.time, version)
    return owner


def _named(file: str, assignment: str) -> Owner | None:
    """Return the owner of a single file such as ``ada_a1.ipynb`` or ``a1-ada.ipynb``."""
    stem, _, suffix = file.rpartition(".")
    name = re.escape(assignment)
    m = re.fullmatch(rf"(?P<who>.+?)[ _-]+{name}", stem, re.I) or re.fullmatch(rf"{name}[ _-]+(?P<who>.+)", stem, re.I)
    if m is None or (m["who"].isdigit() and len(m["who"]) < 4):
        return None
    return Owner(m["who"].strip(), f"{assignment}.{suffix}", "file")


def shapes(owners: Iterable[Owner]) -> str:
    """Return the shapes that occurred, most frequent first: for the report."""
    found: dict[str, int] = {}
    for owner in owners:
        found[owner.shape] = found.get(owner.shape, 0) + 1
    return ", ".join(f"{n} × {shape}" for shape, n in sorted(found.items(), key=lambda item: -item[1]))
