"""The course folder: nbgrader's layout, and where everything of an assignment lies in it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import WorkbenchError, did_you_mean

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a student or an assignment; never a path
MARKS = "marks.json"  # one submission's record, written by rename; see `Record`


def megabytes(size: int) -> str:
    """Return a size in MB, rounded up, so that what is over a limit also reads so.

    >>> megabytes(20 * 2**20), megabytes(20 * 2**20 + 1)
    ('20 MB', '20.1 MB')
    """
    return f"{-(-size * 10 // 2**20) / 10:,.10g} MB"


class ClassroomError(WorkbenchError):
    """A classroom command was given something it cannot use. The message says what, and the fix."""


@dataclass(frozen=True)
class Course:
    """A course folder.

    Attributes:
        root: holds ``source/ release/ submitted/ autograded/ feedback/`` and ``gradebook.db``, as nbgrader has them.
    """

    root: Path

    @classmethod
    def here(cls, folder: str | Path = ".") -> Course:
        """Return the course that `folder` lies in, looking upwards.

        Raises:
            ClassroomError: neither the folder nor one above it is a course.
        """
        start = Path(folder).resolve()
        for place in (start, *start.parents):
            if (place / "nbgrader_config.py").is_file() and (place / "source").is_dir():
                return cls(place)
        raise ClassroomError(f"{start} is no course folder; make one with: workbench class init DIR")

    def source(self, assignment: str) -> Path:
        """Return the folder of the source notebook, ``answers.py`` and ``wrong.py``: for teachers only."""
        return self.root / "source" / assignment

    def release(self, assignment: str) -> Path:
        """Return the folder that students get."""
        return self.root / "release" / assignment

    def submitted(self, student: str, assignment: str) -> Path:
        """Return the folder of what one student handed in, untouched."""
        return self.root / "submitted" / student / assignment

    def autograded(self, student: str, assignment: str) -> Path:
        """Return the folder of one graded submission: its notebook with messages, and ``marks.json``."""
        return self.root / "autograded" / student / assignment

    def feedback(self, student: str, assignment: str) -> Path:
        """Return the folder of the HTML that one student gets back."""
        return self.root / "feedback" / student / assignment

    @property
    def gradebook(self) -> Path:
        """The database of nbgrader; made from the records, so that a lost one can be made again."""
        return self.root / "gradebook.db"

    @contextlib.contextmanager
    def alone(self, doing: str) -> Iterator[None]:
        """One grading, and one collecting, of a course at a time: gradebook and tables have one writer.

        Raises:
            ClassroomError: another one is running.
        """
        try:
            import fcntl
        except ImportError:  # no Unix
            yield
            return
        with (self.root / f".{doing}.lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ClassroomError(f"another {doing} is running in {self.root}; wait for it, or end it") from None
            yield

    def assignments(self) -> list[str]:
        """Return the assignments that have a source notebook, sorted."""
        return sorted(p.parent.name for p in self.root.glob("source/*/*.ipynb") if p.stem == p.parent.name)

    def check(self, assignment: str) -> str:
        """Return `assignment` if the course has it.

        Raises:
            ClassroomError: it has not.
        """
        known = self.assignments()
        if assignment not in known:
            near = did_you_mean(assignment, known) or f"; it has {', '.join(known) or 'none'}"
            raise ClassroomError(f"no assignment {assignment!r} in {self.root / 'source'}{near}")
        return assignment

    def students(self, assignment: str) -> list[str]:
        """Return who handed in `assignment`, sorted."""
        folders = (p for p in self.root.glob(f"submitted/*/{assignment}") if p.is_dir())
        return sorted(p.parent.name for p in folders if NAME.fullmatch(p.parent.name))
