"""From what a learning management system hands out to ``submitted/STUDENT/ASSIGNMENT``; nothing is ever written beside.

Every file is read under limits (`archives`), its owner is read off its path (`lms`), its student is found or added
(`roster`). The latest hand-in counts; earlier ones are kept in ``collected/earlier``. The same call again changes
nothing.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from .archives import Incoming, incoming
from .course import NAME, ClassroomError, Course
from .ledger import FOLDER, Collection, Row, add_to_ledger
from .lms import Owner, owner_of, shapes
from .notebook import items_of, read_notebook
from .roster import Roster

COMPANIONS = (".safetensors", ".png", ".jpg", ".jpeg", ".csv", ".txt", ".md")  # taken along with a notebook
MAX_COMPANIONS = 20
NOISE = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "onlinetext.html")
STAMP = "timestamp.txt"  # nbgrader's
DUE = "%Y-%m-%d %H:%M"


@dataclass
class HandIn:
    """One notebook that came, and what came with it."""

    owner: Owner
    file: Incoming
    kept: Path  # its bytes, in the staging folder
    digest: str
    order: int
    others: dict[str, Path] = field(default_factory=dict)
    note: str = ""

    @property
    def time(self) -> datetime | None:
        """When it was handed in: as the path says, else as the archive says."""
        return self.owner.time or self.file.time

    @property
    def rank(self) -> tuple[int, datetime, int, int]:
        """Later is larger. Canvas numbers repeated hand-ins, and the times in its archives are of the download."""
        version = self.owner.version
        return version if self.owner.shape == "Canvas" else 0, self.time or datetime.min, version, self.order


def collect(
    course: Course, assignment: str, paths: Sequence[str | Path], *, student: str = "", due: str | None = None
) -> Collection:
    """Take in hand-ins of one assignment, and say what became of each file.

    Args:
        course: where to.
        assignment: its name.
        paths: archives of Moodle, Canvas, Blackboard or Brightspace, folders, single notebooks.
        student: whose all of it is, for notebooks that do not say.
        due: local time ``2026-11-28 23:59``; what came after it is marked late.

    Raises:
        ClassroomError: no such assignment, a path that is no archive, folder or notebook, a bad name or time.
    """
    course.check(assignment)
    if student and not NAME.fullmatch(student):
        raise ClassroomError(
            f"--student {student!r} cannot name a folder; use letters, digits, dot, dash and underscore"
        )
    deadline = _deadline(due)
    if not paths:
        raise ClassroomError("nothing to collect; give zips, folders or notebooks")
    for stale in course.root.glob(".collecting-*"):  # of a call that was killed
        shutil.rmtree(stale, ignore_errors=True)
    room = Path(tempfile.mkdtemp(prefix=".collecting-", dir=course.root))
    try:
        work = _Work(course, assignment, room, deadline, student)
        for path in paths:
            for one in incoming(Path(path)):
                work.sort_in(one)
        rows = (*work.place(), *work.refused)
        work.roster.save()
        add_to_ledger(course, assignment, rows)
        return Collection(assignment, rows, shapes(h.owner for hs in work.found.values() for h in hs))
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _deadline(due: str | None) -> datetime | None:
    try:
        return datetime.strptime(due, DUE) if due else None
    except ValueError:
        raise ClassroomError(f"--due {due!r} is no time; write it like '2026-11-28 23:59'") from None


class _Work:
    """One call: files are sorted in as they come, then each student's latest hand-in is put in its place."""

    def __init__(self, course: Course, assignment: str, room: Path, due: datetime | None, student: str) -> None:
        self.course, self.assignment, self.room, self.due, self.student = course, assignment, room, due, student
        self.roster = Roster(course)
        self.refused: list[Row] = []
        self.found: dict[str, list[HandIn]] = {}
        self.names: dict[str, str] = {}
        self._companions: dict[tuple[str, str], dict[str, Path]] = {}
        self._count = 0
        self._tests = {a: _test_ids(course, a) for a in course.assignments()}

    def sort_in(self, one: Incoming) -> None:
        """Note one file: a hand-in, something that belongs to one, or refused."""
        parts = [p.lower() for p in PurePosixPath(one.path).parts]
        if any(p in NOISE for p in parts) or (parts and parts[-1].startswith("._")):
            return
        owner = self._owner(one)
        suffix = PurePosixPath(one.path).suffix.lower()
        if one.refused or one.data is None:
            self._refuse(one, owner, one.refused)
        elif suffix not in (".ipynb", *COMPANIONS):
            self._refuse(one, owner, f"not taken: {suffix or 'a file without an ending'} is no notebook")
        elif owner is None:
            self._refuse(
                one, None, f"does not say whose it is; name it STUDENT_{self.assignment}.ipynb or give --student"
            )
        else:
            self._keep(one, owner, one.data, suffix)

    def _owner(self, one: Incoming) -> Owner | None:
        where = one.outer or one.path
        found = owner_of(where, self.assignment)
        if found is None and not self.student:
            found = owner_of(one.origin, self.assignment)  # ada_a1.zip
        if found is None and self.student:
            found = Owner(self.student, PurePosixPath(where).name, "file")
        if found is not None and (one.outer or found.file == one.origin):
            inner = owner_of(f"x/{PurePosixPath(one.path).name}", self.assignment)
            found = replace(found, file=inner.file if inner else PurePosixPath(one.path).name)
        return found if found is None or not self.student else replace(found, name=self.student, number="")

    def _refuse(self, one: Incoming, owner: Owner | None, why: str) -> None:
        name = owner.name if owner else ""
        self.refused.append(Row("", name, "refused", "", _stamp(one.time), one.path, one.origin, why))

    def _keep(self, one: Incoming, owner: Owner, data: bytes, suffix: str) -> None:
        person = self.roster.identify(owner.name, owner.number, self.assignment)
        self.names[person.student] = person.name
        self._count += 1
        kept = self.room / f"{self._count:07d}"
        kept.write_bytes(data)
        light = replace(one, data=b"")
        if suffix != ".ipynb":
            beside = self._companions.setdefault((person.student, one.origin), {})
            name = PurePosixPath(owner.file).name
            if len(beside) < MAX_COMPANIONS and re.fullmatch(r"\w[\w .()-]{0,99}", name) and name != STAMP:
                beside.setdefault(name, kept)
            else:
                self._refuse(one, owner, "not taken: its name, or too many files")
            return
        other = self._other_assignment(kept, owner)
        if other:
            self._refuse(one, owner, f"this is assignment {other}, not {self.assignment}")
            return
        digest = hashlib.sha256(data).hexdigest()
        note = "" if owner.file == f"{self.assignment}.ipynb" else f"was named {owner.file}"
        self.found.setdefault(person.student, []).append(HandIn(owner, light, kept, digest, self._count, note=note))

    def _other_assignment(self, path: Path, owner: Owner) -> str:
        """Return which other assignment a notebook is of, or "" (also for a notebook that cannot be read)."""
        try:
            given = {i.id for i in items_of(read_notebook(path))}
        except ClassroomError:
            stem = PurePosixPath(owner.file).stem.lower()
            return stem if stem != self.assignment and stem in self._tests else ""
        shares = {a: len(ids & given) for a, ids in self._tests.items()}
        best = max(shares, key=lambda a: (shares[a], a == self.assignment))
        few = 2 * shares[self.assignment] < len(self._tests[self.assignment])  # two assignments may share a cell's name
        return best if few and shares[best] > shares[self.assignment] else ""

    def place(self) -> Iterable[Row]:
        """Put every student's latest hand-in in its place; yield what became of each."""
        for student, hand_ins in sorted(self.found.items()):
            right = [h for h in hand_ins if h.owner.file.lower() == f"{self.assignment}.ipynb".lower()]
            for extra in hand_ins if right else ():
                if extra not in right:
                    yield self._row(student, extra, "refused", f"not taken: {self.assignment}.ipynb is there too")
            *earlier, latest = sorted(right or hand_ins, key=lambda h: h.rank)
            latest.others = self._companions.get((student, latest.file.origin), {})
            yield self._place(student, latest)
            for one in earlier:
                if one.digest != latest.digest:
                    self._aside(student, one)
                yield self._row(student, one, "earlier", "kept in collected/earlier")

    def _place(self, student: str, one: HandIn) -> Row:
        target = self.course.submitted(student, self.assignment)
        if any(p.is_symlink() for p in (target, target.parent, target.parent.parent)):
            return self._row(student, one, "refused", f"submitted/{student} is a link; nothing is written through it")
        there = target / f"{self.assignment}.ipynb"
        verdict = "taken"
        if target.exists():
            if (
                there.is_file()
                and _digest(there) == one.digest
                and set(one.others) <= {p.name for p in target.iterdir()}
            ):
                return self._row(student, one, "unchanged", one.note)
            before = _read_stamp(target / STAMP)
            if before and one.time and one.time < before:
                self._aside(student, one)
                return self._row(student, one, "earlier", "older than the one taken before; kept in collected/earlier")
            verdict = "replaced"
        made = self._folder(student, one)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            self._put_aside(student, target, _digest(there) if there.is_file() else "other")
        made.rename(target)
        return self._row(student, one, verdict, one.note)

    def _folder(self, student: str, one: HandIn) -> Path:
        made = self.room / f"{one.order:07d}.{student}"
        made.mkdir()
        shutil.copyfile(one.kept, made / f"{self.assignment}.ipynb")
        for name, kept in one.others.items():
            shutil.copyfile(kept, made / name)
        if one.time is not None:
            when = one.time.astimezone(UTC)
            (made / STAMP).write_text(f"{when:%Y-%m-%d %H:%M:%S.%f} UTC\n", encoding="utf-8")
        return made

    def _aside(self, student: str, one: HandIn) -> None:
        self._put_aside(student, self._folder(student, one), one.digest)

    def _put_aside(self, student: str, folder: Path, digest: str) -> None:
        place = self.course.root / FOLDER / "earlier" / student / self.assignment
        place.mkdir(parents=True, exist_ok=True)
        if (place / digest[:12]).exists():
            shutil.rmtree(folder)
        else:
            folder.rename(place / digest[:12])

    def _row(self, student: str, one: HandIn, verdict: str, note: str) -> Row:
        late = one.owner.late or bool(self.due and one.time and one.time > self.due)
        when, name = _stamp(one.time), self.names[student]
        return Row(student, name, verdict, "late" if late else "", when, one.file.path, one.file.origin, note)


def _test_ids(course: Course, assignment: str) -> set[str]:
    notebook = read_notebook(course.source(assignment) / f"{assignment}.ipynb")
    return {i.id for i in items_of(notebook) if i.kind == "test"}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stamp(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else ""


def _read_stamp(path: Path) -> datetime | None:
    """Return nbgrader's time stamp as local time; None where there is none."""
    try:
        text = path.read_text(encoding="utf-8").strip().removesuffix(" UTC")
        return datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
    except (OSError, ValueError):
        return None
