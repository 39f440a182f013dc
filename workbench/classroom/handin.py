"""One hand-in: a notebook and what came with it; which of a student's counts; how it comes to its place."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .archives import Incoming
from .course import Course
from .handed import moment
from .ledger import FOLDER
from .lms import Owner

STAMP = "timestamp.txt"  # nbgrader's
UNDATED = "no time says which is newer: what is collected later counts"


@dataclass
class HandIn:
    """One notebook that came, and what came with it.

    Attributes:
        owner: what its path says.
        file: where it stood, without its bytes.
        kept: its bytes, in the staging folder.
        order: counts files as they were given.
        others: name → bytes in the staging folder, of what came with it.
        note: what is remarkable.
    """

    owner: Owner
    file: Incoming
    kept: Path
    order: int
    others: dict[str, Path] = field(default_factory=dict)
    note: str = ""
    _digest: str = ""

    @property
    def time(self) -> datetime | None:
        """When it was handed in: as the path says, else as the archive says; None where neither does."""
        return self.owner.time or self.file.time

    @property
    def digest(self) -> str:
        """Checksum of everything that was handed in."""
        self._digest = self._digest or digest_of({"": self.kept, **self.others})
        return self._digest

    def supersedes(self, other: HandIn) -> bool:
        """Whether it counts more than one that was given before it.

        Canvas numbers repeated hand-ins, and the times in its archives are of the download. Where nothing says which
        is later, what is given later counts.
        """
        version, before = self.owner.version, other.owner.version
        if self.owner.shape == other.owner.shape == "Canvas" and version != before:
            return version > before
        if self.time and other.time and self.time != other.time:
            return self.time > other.time
        return version >= before


def digest_of(files: Mapping[str, Path]) -> str:
    """Return a checksum of named files."""
    found = hashlib.sha256()
    for name in sorted(files):
        found.update(f"\0{name}\0".encode("utf-8", "replace") + hashlib.sha256(files[name].read_bytes()).digest())
    return found.hexdigest()


def folder_digest(folder: Path, notebook: str) -> str:
    """Return the checksum of a hand-in that is in its place already."""
    files = {p.name: p for p in folder.iterdir() if p.name != STAMP and p.is_file() and not p.is_symlink()}
    return digest_of({"" if name == notebook else name: p for name, p in files.items()})


def choose(hand_ins: Iterable[HandIn], notebook: str) -> tuple[HandIn, list[HandIn], list[tuple[HandIn, str]]]:
    """Return the one that counts, those that came before, and those that are none with the reason.

    Of what came in one archive, the file with the right name counts, and the one that lies highest.
    """
    together: dict[str, list[HandIn]] = {}
    for one in hand_ins:
        together.setdefault(one.file.origin, []).append(one)
    left: list[HandIn] = []
    out: list[tuple[HandIn, str]] = []
    for group in together.values():
        named = [h for h in group if h.owner.file.lower() == notebook.lower()] or group
        top = min(h.owner.depth for h in named)
        right = [h for h in named if h.owner.depth == top]
        out += [(h, f"not taken: {right[0].file.path} counts") for h in group if h not in right]
        left += right
    latest, earlier = left[0], []
    for one in left[1:]:
        if one.digest != latest.digest:
            loser = latest if one.supersedes(latest) else one
            if not (one.time and latest.time) and one.owner.version == latest.owner.version:
                winner = one if loser is latest else latest
                winner.note = "; ".join(filter(None, (winner.note, UNDATED)))
        else:  # the same again, later, makes nobody late
            loser = latest if one.time and latest.time and one.time < latest.time else one
        latest = one if loser is latest else latest
        earlier.append(loser)
    return latest, earlier, out


class Shelf:
    """Where hand-ins of one assignment go: ``submitted`` or ``collected/earlier``; whole folders, by rename."""

    def __init__(self, course: Course, assignment: str, room: Path) -> None:
        self.course, self.room = course, room
        self.assignment, self.notebook = assignment, f"{assignment}.ipynb"

    def place(self, student: str, one: HandIn) -> tuple[str, str]:
        """Put a hand-in in its place unless a later one is there; return the verdict and a note."""
        target = self.course.submitted(student, self.assignment)
        if any(p.is_symlink() for p in (target, target.parent, target.parent.parent)):
            return "refused", f"submitted/{student} is a link; nothing is written through it"
        verdict, note = "taken", one.note
        if target.exists():
            there = folder_digest(target, self.notebook) if target.is_dir() else ""
            if there == one.digest:
                return "unchanged", note
            before = self.time(student)
            if before and one.time and one.time < before:
                self.put_aside(student, one)
                return "earlier", "older than the one taken before; kept in collected/earlier"
            if not (before and one.time):
                if (self._earlier(student) / one.digest[:12]).exists():
                    return "earlier", "was replaced before, and no time says that it is newer now"
                note = "; ".join(filter(None, (note, UNDATED if UNDATED not in note else "")))
            verdict = "replaced"
            self._aside(student, target, there or "other")
        made = self._made(student, one)
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
        return verdict, note

    def time(self, student: str) -> datetime | None:
        """Return when the hand-in that counts was handed in, local; None where nothing says."""
        return read_stamp(self.course.submitted(student, self.assignment) / STAMP)

    def put_aside(self, student: str, one: HandIn) -> None:
        """Keep an earlier hand-in in ``collected/earlier``."""
        if not (self._earlier(student) / one.digest[:12]).exists():
            self._aside(student, self._made(student, one), one.digest)

    def _earlier(self, student: str) -> Path:
        return self.course.root / FOLDER / "earlier" / student / self.assignment

    def _aside(self, student: str, folder: Path, digest: str) -> None:
        place = self._earlier(student)
        place.mkdir(parents=True, exist_ok=True)
        if (place / digest[:12]).exists():
            shutil.rmtree(folder)
        else:
            folder.rename(place / digest[:12])

    def _made(self, student: str, one: HandIn) -> Path:
        made = self.room / f"{one.order:07d}.{student}"
        made.mkdir()
        for name, kept in {self.notebook: one.kept, **one.others}.items():
            shutil.copyfile(kept, made / name)
        if one.time is not None:
            when = one.time.astimezone(UTC)
            (made / STAMP).write_text(f"{when:%Y-%m-%d %H:%M:%S.%f} UTC\n", encoding="utf-8")
        return made


def read_stamp(path: Path) -> datetime | None:
    """Return nbgrader's time stamp as local time; None where there is none."""
    try:
        found = moment(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.replace(tzinfo=None) if found else None
