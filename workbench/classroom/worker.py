"""One grading process: submissions one after the other, records written as soon as they are decided.

``python -m workbench.classroom.worker JOB`` reads one student a line from standard input and says one line for each.
It ends with the driver that started it, and its sandbox ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import WorkbenchError
from ..files import replace_text
from .course import ClassroomError, Course
from .handed import checksum
from .record import Record
from .submission import Grader
from .walls import Limits


@dataclass(frozen=True)
class Job:
    """What all submissions of one call have in common.

    Attributes:
        course: the course folder.
        assignment: its name.
        seed: of the inputs.
        trusted: no sandbox.
        question: the only one to grade; None for all.
        limits: of a submission.
    """

    course: str
    assignment: str
    seed: int
    trusted: bool = False
    question: str | None = None
    limits: Limits = field(default_factory=Limits)

    def to_json(self) -> str:
        """Return it as text for a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return what `to_json` wrote."""
        data = json.loads(text)
        return cls(**data | {"limits": Limits(**data["limits"])})

    def grader(self, source: Path | None = None) -> Grader:
        """Return what grades its submissions."""
        root = Path(self.course)
        folder = source or Course(root).source(self.assignment)
        return Grader(folder, self.assignment, self.seed, self.limits, self.trusted, hide=root)


def grade_one(job: Job, grader: Grader, student: str) -> Record:
    """Grade one student's submission, write it to ``autograded`` and return the record."""
    course = Course(Path(job.course))
    folder = course.submitted(student, job.assignment)
    mark = checksum(folder, course.source(job.assignment), job.assignment)
    record, text = grader.grade(student, folder, *_before(job, course, student, mark))
    return write(course, dataclasses.replace(record, checksum=mark), text)


def _before(job: Job, course: Course, student: str, mark: str) -> tuple[Record | None, str | None]:
    if job.question is None:
        return None, None
    with contextlib.suppress(ClassroomError):
        old = Record.load(course.autograded(student, job.assignment))
        if old.checksum == mark and job.question in old.questions and old.status == "graded":
            return old, job.question
    return None, None  # another hand-in: all of it


def write(course: Course, record: Record, text: str) -> Record:
    """Write notebook and record of one submission; the record last, by rename: with it, everything is there."""
    folder = course.autograded(record.student, record.assignment)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.assignment}.ipynb"
    if text:
        replace_text(path, text)
    else:
        path.unlink(missing_ok=True)
    record.save(folder)
    return record


def main() -> None:
    """Grade the students named on standard input."""
    if sys.platform == "linux":  # die with the driver, however it dies
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:
        return
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no reply
    job = Job.from_json(sys.argv[1])
    try:
        grader = job.grader()
    except WorkbenchError as e:  # no such assignment, or a package that opens what was handed in is missing
        print(json.dumps({"refused": str(e)}), file=said, flush=True)
        return
    for line in sys.stdin:
        student = json.loads(line)
        try:
            grade_one(job, grader, student)
            print(json.dumps({"student": student}), file=said, flush=True)
        except Exception as e:
            print(json.dumps({"student": student, "error": f"{type(e).__name__}: {e}"}), file=said, flush=True)


if __name__ == "__main__":
    main()
