"""Whose file it is: the shapes in which Moodle, Canvas, Blackboard, Brightspace and plain folders name hand-ins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_(?P<what>file|onlinetext)_?(?P<file>[^/]+)?$")
CANVAS = re.compile(r"(?P<name>[^_/]+?)_(?P<late>LATE_|late_)?(?P<number>\d+)_(?P<upload>\d+)_(?P<file>.+)$")
BLACKBOARD = re.compile(r".+_(?P<name>[^_/]+)_attempt_(?P<time>\d{4}(?:-\d{2}){5})(?:_(?P<file>.+))?$")
BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ - (?P<name>.+?) - (?P<time>[A-Z][a-z]{2,8} \d{1,2}, \d{4} \d{3,4} [AP]M)$"
)
COPY = re.compile(r"(?P<stem>.+?)(?: ?\((?P<a>\d{1,3})\)|-(?P<b>\d{1,3}))$")  # a1 (1), a1(1): browsers; a1-2: Canvas
SCAFFOLD = ("submitted", "submissions", "__macosx", "")
ASIDE = re.compile(r"(old|older|backups?|archives?|previous|drafts?|tmp|copy|versions?|v)([ _-]?\d+)?", re.I)


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
        folders: in the shape "folder", down to the student's; before `settle`, to the last that may be.
        depth: how many folders of the student's own lie around the file.
        shape: "Moodle", "Canvas", "Blackboard", "Brightspace", "folder" or "file".
    """

    name: str
    file: str
    shape: str
    number: str = ""
    late: bool = False
    time: datetime | None = None
    version: int = 0
    folders: tuple[str, ...] = ()
    depth: int = 0

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """What files of one hand-in have in common, innermost folder first."""
        return [self.folders[:n] for n in range(len(self.folders), 0, -1)] or [(self.name, self.number)]


def owner_of(path: str, assignment: str) -> Owner | None:
    """Return whose hand-in a file of `assignment` is, from its path inside an archive or folder; None if it says not.

    >>> owner_of("Ada Lovelace_12345_assignsubmission_file_/a1.ipynb", "a1").name
    'Ada Lovelace'
    >>> found = owner_of("lovelaceada_LATE_12345_67890_a1-2.ipynb", "a1")
    >>> found.name, found.file, found.shape, found.number, found.late, found.version
    ('lovelaceada', 'a1.ipynb', 'Canvas', '12345', True, 2)
    >>> owner_of("a1.ipynb", "a1") is None
    True
    """
    parts = [p for p in path.replace("\\", "/").split("/") if p not in ("", ".")]
    if not parts:
        return None
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if (found := _system(part, parts[-1], last)) is not None:
            return _versioned(replace(found, depth=len(_own(parts[i + 1 : -1], assignment))), assignment)
    *folders, file = parts
    folders = _own(folders, assignment)
    outer = [f for f in folders if not ASIDE.fullmatch(f.strip())] or folders
    if outer:  # ada/old/a1.ipynb is Ada's
        found = Owner(outer[-1].strip(), file, "folder", folders=tuple(outer), depth=len(folders) - len(outer))
        return _versioned(found, assignment)
    return _named(file, assignment)


def _own(folders: Sequence[str], assignment: str) -> list[str]:
    """Leave out the folders that a system or an assignment's name put there: STUDENT/a1/a1.ipynb."""
    return [f for f in folders if f.strip().lower() != assignment.lower() and f.strip().lower() not in SCAFFOLD]


def settle(owners: Sequence[Owner], known: Callable[[str], bool]) -> list[Owner]:
    """Decide which of several folders above a notebook is the student's, from all notebooks of one archive or folder.

    The one whose name is known; else the level at which the notebooks nearest to the top have theirs.

    >>> paths = ["term/ada/a1.ipynb", "term/bob/mine/a1.ipynb"]
    >>> [o.name for o in settle([owner_of(p, "a1") for p in paths], lambda name: False)]
    ['ada', 'bob']
    """
    lists = [o.folders for o in owners if o.folders]
    level = min(map(len, lists), default=1) - 1
    while level > 0 and len({f[level] for f in lists}) == 1 < len({f[:level] for f in lists}):
        level -= 1  # ada/mine/a1.ipynb, bob/mine/a1.ipynb
    return [_settled(o, level, known) if len(o.folders) > 1 else o for o in owners]


def _settled(owner: Owner, level: int, known: Callable[[str], bool]) -> Owner:
    hits = [i for i, name in enumerate(owner.folders) if known(name)]
    at = hits[0] if len(hits) == 1 else min(level, len(owner.folders) - 1)
    inner = len(owner.folders) - 1 - at
    return replace(owner, name=owner.folders[at].strip(), folders=owner.folders[: at + 1], depth=owner.depth + inner)


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
        return replace(owner, file=file, version=version)
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
