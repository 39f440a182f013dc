"""From what a learning management system hands out to ``submitted/STUDENT/ASSIGNMENT``; nothing is ever written beside.

Every file is read under limits (`archives`), its owner is read off its path (`lms`), its student is found or added
(`roster`). The latest hand-in counts; earlier ones are kept in ``collected/earlier`` (`handin`). The same call again
changes nothing.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath

from .archives import Incoming, incoming
from .course import NAME, ClassroomError, Course
from .handin import STAMP, HandIn, Shelf, choose
from .ledger import LATE, NO_TIME, Collection, Row, add_to_ledger
from .lms import Owner, owner_of, settle, shapes
from .notebook import items_of, read_notebook
from .roster import Roster

COMPANIONS = (".safetensors", ".png", ".jpg", ".jpeg", ".csv", ".txt", ".md")  # taken along with a notebook
MAX_COMPANIONS = 20
NOISE = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini", ".ipynb_checkpoints", "onlinetext.html")
DUE = "%Y-%m-%d %H:%M"


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
    with course.alone("collecting"):
        for stale in course.root.glob(".collecting-*"):  # of a call that was killed
            shutil.rmtree(stale, ignore_errors=True)
        room = Path(tempfile.mkdtemp(prefix=".collecting-", dir=course.root))
        try:
            work = _Work(course, assignment, room, deadline, student)
            for path in paths:
                work.take_in(incoming(Path(path)))
            rows = (*work.place(), *work.refused)
            work.roster.save()
            add_to_ledger(course, assignment, rows, judged=deadline is not None)
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
        self.shelf = Shelf(course, assignment, room)
        self.refused: list[Row] = []
        self.found: dict[str, list[HandIn]] = {}
        self.names: dict[str, str] = {}
        self._count = 0
        self._tests = {a: _test_ids(course, a) for a in course.assignments()}

    def take_in(self, files: Iterable[Incoming]) -> None:
        """Stage what came in one archive or folder, then decide whose it is: only all paths together say that."""
        notebooks: list[tuple[Incoming, Owner, Path]] = []
        others: list[tuple[Incoming, Owner, Path]] = []
        for one in files:
            parts = [p.lower() for p in PurePosixPath(one.path).parts]
            if any(p in NOISE for p in parts) or (parts and parts[-1].startswith("._")):
                continue
            owner, suffix = self._owner(one), PurePosixPath(one.path).suffix.lower()
            if one.refused or one.data is None:
                self._refuse(one, owner, one.refused)
            elif suffix not in (".ipynb", *COMPANIONS):
                self._refuse(one, owner, f"not taken: {suffix or 'a file without an ending'} is no notebook")
            elif owner is None:
                fix = f"name it STUDENT_{self.assignment}.ipynb or give --student"
                self._refuse(one, None, f"does not say whose it is; {fix}")
            else:
                (notebooks if suffix == ".ipynb" else others).append((replace(one, data=b""), owner, self._stage(one)))
        owners = settle([owner for _, owner, _ in notebooks], self.roster.knows)
        mine: dict[tuple[str, ...], list[HandIn]] = {}
        for (one, _, kept), owner in zip(notebooks, owners, strict=True):
            if (hand_in := self._keep(one, owner, kept)) is not None:
                mine.setdefault(owner.keys[0], []).append(hand_in)
        self._companions(others, mine)

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
            found = replace(found, depth=_depth(one, self.assignment))
        if found is None or not self.student:
            return found
        return replace(found, name=self.student, number="", folders=())

    def _stage(self, one: Incoming) -> Path:
        self._count += 1
        kept = self.room / f"{self._count:07d}"
        kept.write_bytes(one.data or b"")
        return kept

    def _refuse(self, one: Incoming, owner: Owner | None, why: str) -> None:
        name = owner.name if owner else ""
        self.refused.append(Row("", name, "refused", "", _stamp(one.time), *_where(one), why))

    def _keep(self, one: Incoming, owner: Owner, kept: Path) -> HandIn | None:
        if other := self._other_assignment(kept, owner):
            self._refuse(one, owner, f"this is assignment {other}, not {self.assignment}")
            return None
        person = self.roster.identify(owner.name, owner.number, self.assignment)
        self.names[person.student] = person.name
        note = "" if owner.file == f"{self.assignment}.ipynb" else f"was named {owner.file}"
        hand_in = HandIn(owner, one, kept, int(kept.name), note=note)
        self.found.setdefault(person.student, []).append(hand_in)
        return hand_in

    def _companions(
        self, files: Sequence[tuple[Incoming, Owner, Path]], mine: Mapping[tuple[str, ...], list[HandIn]]
    ) -> None:
        """Give each hand-in what came with it, what lies highest first."""
        for one, owner, kept in sorted(files, key=lambda f: (f[1].depth + len(f[1].folders), -f[1].version)):
            hand_ins = next((mine[key] for key in owner.keys if key in mine), [])
            if not hand_ins:
                self._refuse(one, owner, "not taken: no notebook came with it")
            for hand_in in hand_ins:
                good = re.fullmatch(r"\w[\w .()-]{0,99}", owner.file) and owner.file != STAMP
                if good and owner.file not in hand_in.others and len(hand_in.others) < MAX_COMPANIONS:
                    hand_in.others[owner.file] = kept
                elif hand_in is hand_ins[-1]:
                    self._refuse(one, owner, "not taken: its name, or too many files")

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

    def place(self) -> Iterator[Row]:
        """Put every student's latest hand-in in its place; yield what became of each."""
        for student, hand_ins in sorted(self.found.items()):
            latest, earlier, out = choose(hand_ins, self.shelf.notebook)
            for one, why in out:
                yield self._row(student, one, "refused", why)
            yield self._row(student, latest, *self.shelf.place(student, latest))
            for one in earlier:
                if one.digest == latest.digest:
                    yield self._row(student, one, "earlier", "the same as the one that counts")
                else:
                    self.shelf.put_aside(student, one)
                    yield self._row(student, one, "earlier", "kept in collected/earlier")

    def _row(self, student: str, one: HandIn, verdict: str, note: str) -> Row:
        late = one.owner.late or bool(self.due and one.time and one.time > self.due)
        if late and verdict == "unchanged" and self.due:  # the same again, later, makes nobody late
            first = self.shelf.time(student)
            late = first is None or first > self.due
        mark = LATE if late else NO_TIME if self.due and one.time is None else ""
        return Row(student, self.names[student], verdict, mark, _stamp(one.time), *_where(one.file), note)


def _test_ids(course: Course, assignment: str) -> set[str]:
    notebook = read_notebook(course.source(assignment) / f"{assignment}.ipynb")
    return {i.id for i in items_of(notebook) if i.kind == "test"}


def _depth(one: Incoming, assignment: str) -> int:
    """Return how many folders of a student's own zip lie around a file."""
    inside = one.path.removeprefix(f"{one.outer[:-4]}/") if one.outer else one.path
    found = owner_of(f"x_1_assignsubmission_file_/{inside}", assignment)
    return found.depth if found else 0


def _where(one: Incoming) -> tuple[str, str]:
    """Return path and origin for a table: on one line, nothing that a terminal obeys."""
    path, origin = ("".join(c if c.isprintable() else "?" for c in text) for text in (one.path, one.origin))
    return path, origin


def _stamp(when: datetime | None) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else ""
