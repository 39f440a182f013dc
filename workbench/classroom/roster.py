"""Who is who: ``students.csv`` of a course, from names as a system writes them to names that may be folders."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from .course import NAME, ClassroomError, Course
from .table import read_table, write_table

FILE = "students.csv"
COLUMNS = ("student", "name", "numbers")


@dataclass
class Student:
    """One row.

    Attributes:
        student: the folder's name.
        name: as the learning management system writes it.
        numbers: ``ASSIGNMENT:NUMBER`` for the numbers the system used; Moodle draws new ones for each assignment.
    """

    student: str
    name: str
    numbers: list[str] = field(default_factory=list)


class Roster:
    """The students of a course. New ones are added by `identify`; `save` writes the file, by rename.

    Raises:
        ClassroomError: the file is not a table with these columns.
    """

    def __init__(self, course: Course) -> None:
        self.path: Path = course.root / FILE
        self.rows: list[Student] = []
        self._changed = False
        if self.path.is_file():
            self._read()
        self._by_name: dict[str, list[Student]] = {}
        self._taken: set[str] = set()
        for row in self.rows:
            self._enter(row)

    def _read(self) -> None:
        for row in read_table(self.path, COLUMNS):
            student = row["student"].strip()
            if not NAME.fullmatch(student):
                raise ClassroomError(f"{self.path}: {student!r} cannot name a student's folder")
            self.rows.append(Student(student, plain(row["name"] or student), row["numbers"].split()))

    def _enter(self, row: Student) -> None:
        self._taken.add(row.student.casefold())
        for key in {_key(row.name), _key(row.student)}:
            self._by_name.setdefault(key, []).append(row)

    def name_of(self, student: str) -> str:
        """Return a student's name as the system writes it; the folder's name where nothing is known."""
        return next((r.name for r in self._by_name.get(_key(student), []) if r.student == student), student)

    def knows(self, name: str) -> bool:
        """Whether there is a student of this name, or with this folder."""
        return _key(name) in self._by_name

    def identify(self, name: str, number: str, assignment: str) -> Student:
        """Return the student of a name and, where the system gives one, a number; a new one is added.

        Two numbers under one name in the same assignment are two people.
        """
        mine = f"{assignment}:{number}"
        same = self._by_name.get(_key(name), [])
        for row in same:
            if number and mine in row.numbers:
                return row
        free = [r for r in same if not number or not any(n.startswith(f"{assignment}:") for n in r.numbers)]
        known = [r for r in free if number and any(n.endswith(f":{number}") for n in r.numbers)]  # as Canvas does
        row = (known or free)[0] if len(free) == 1 or known else self._new(name, number if same else "")
        if number:
            row.numbers.append(mine)
            self._changed = True
        return row

    def _new(self, name: str, number: str) -> Student:
        base = folder_name(name)
        student = f"{base[:48]}-{number}" if number else base
        if student.casefold() in self._taken:
            student = f"{base[:48]}-{_hash(name + number)}"
        row = Student(student, plain(name))
        self.rows.append(row)
        self._enter(row)
        self._changed = True
        return row

    def save(self) -> None:
        """Write the file if something was added."""
        if not self._changed:
            return
        rows = sorted(self.rows, key=lambda r: r.student)
        write_table(self.path, COLUMNS, [(r.student, r.name, " ".join(r.numbers)) for r in rows])
        self._changed = False


def plain(name: str) -> str:
    """Return a name on one line, without control characters, of at most 100 characters."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", name))
    return " ".join(kept.split())[:100]


def folder_name(name: str) -> str:
    """Return a name for folders from a person's: ASCII, the same every time; a checksum where letters were lost.

    >>> folder_name("José Núñez"), folder_name("王小明")
    ('jose-nunez', 'student-acf979')
    """
    if NAME.fullmatch(name):
        return name
    spread = unicodedata.normalize("NFKD", name)
    kept = "".join(c for c in spread if c.isascii())
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", kept).strip("-._").lower()[:48]
    lost = any(c.isalnum() and not c.isascii() for c in spread)
    return f"{slug or 'student'}-{_hash(name)}" if lost or not slug else slug


def _hash(text: str) -> str:
    return hashlib.sha256(plain(text).encode()).hexdigest()[:6]


def _key(name: str) -> str:
    return plain(name).casefold()
