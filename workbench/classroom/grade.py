"""Grade an assignment for a whole course: what is new or has changed, on several processes or machines."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import did_you_mean
from . import pool
from .course import ClassroomError, Course
from .gradebook import merge
from .handed import checksum
from .notebook import items_of, read_notebook
from .record import Mark, Record
from .walls import Limits, require
from .worker import Job

ENGINES = ("local", "ray")
Say = Callable[[str], object]


def grade_assignment(
    course: Course,
    assignment: str,
    *,
    students: Sequence[str] | None = None,
    question: str | None = None,
    jobs: int = 1,
    engine: str = "local",
    address: str | None = None,
    trusted: bool = False,
    again: bool = False,
    on_progress: Say | None = None,
    limits: Limits | None = None,
    seed: int | None = None,
) -> list[Record]:
    """Grade what was handed in, write ``autograded/STUDENT/ASSIGNMENT`` and nbgrader's gradebook.

    A submission that is not named is graded again only when it, or what decides its marks, has changed. A killed
    worker or driver loses nothing: the next call goes on.

    Args:
        course: the course folder.
        assignment: its name.
        students: only these, and these anew; None for all who handed in.
        question: only this one, of submissions that are graded already.
        jobs: processes at the same time; the cores are divided between them.
        engine: "local", or "ray" (extra ``cluster``).
        address: of a running Ray cluster; None starts one on this machine, on loopback only.
        trusted: run the code without a sandbox.
        again: grade what has not changed too.
        on_progress: is given a line after every submission, with the time left.
        limits: of one submission; None for the usual ones.
        seed: of the inputs; None draws one for all submissions of this call.

    Returns:
        The record of each student asked for, by name.

    Raises:
        ClassroomError: something that the course does not have, or no sandbox.
        MissingExtraError: nbgrader or Ray is not installed.
    """
    wanted = _checked(course, assignment, students, question, jobs, engine)
    require(trusted)
    limits = limits or Limits()
    limits = dataclasses.replace(limits, threads=max(1, (os.cpu_count() or 1) // jobs))
    seed = secrets.randbits(31) if seed is None else seed
    job = Job(str(course.root.resolve()), assignment, seed, trusted, question, limits)
    with course.alone("grading"):
        left = [s for s in wanted if again or question or students or not _is_current(course, assignment, s)]
        done = _Progress(course, job, len(left), len(wanted) - len(left), on_progress or (lambda _: None))
        if left:
            run = pool.local if engine == "local" else partial(pool.on_ray, address=address)
            run(job, left, jobs, done)
        records = [Record.load(course.autograded(s, assignment)) for s in wanted]
        if records:
            merge(course, assignment, records, set(left))
    return records


def _checked(
    course: Course, assignment: str, students: Sequence[str] | None, question: str | None, jobs: int, engine: str
) -> list[str]:
    """Return who is to be graded; refuse what is not there."""
    course.check(assignment)
    if engine not in ENGINES or not isinstance(jobs, int) or jobs < 1:
        raise ClassroomError(f"engine={engine!r}, jobs={jobs!r}; expected {' or '.join(ENGINES)}, and jobs above 0")
    known = course.students(assignment)
    for student in students or ():
        if student not in known:
            near = did_you_mean(student, known)
            raise ClassroomError(f"{student!r} has handed in nothing for {assignment}{near}")
    items = items_of(read_notebook(course.source(assignment) / f"{assignment}.ipynb"))
    tests = [i.id for i in items if i.kind == "test"]
    if question is not None and question not in tests:
        near = did_you_mean(question, tests) or f"; it has {', '.join(tests)}"
        raise ClassroomError(f"{assignment} has no question {question!r} that is graded automatically{near}")
    return sorted(set(students)) if students is not None else known


def _is_current(course: Course, assignment: str, student: str) -> bool:
    with contextlib.suppress(ClassroomError, OSError):
        record = Record.load(course.autograded(student, assignment))
        mark = checksum(course.submitted(student, assignment), course.source(assignment), assignment)
        return record.checksum == mark
    return False


class _Progress:
    """Say how far it is; a submission without a record gets one that says why."""

    def __init__(self, course: Course, job: Job, total: int, before: int, say: Say) -> None:
        self.course, self.job, self.total, self.say, self.n = course, job, total, say, 0
        self.start = time.monotonic()
        if before:
            say(f"{before} of {total + before} are graded already and have not changed")

    def __call__(self, student: str, error: str) -> None:
        folder = self.course.autograded(student, self.job.assignment)
        kept = f" (could not be graded again: {error}; these marks were there before)" if error else ""
        if error and not _is_current(self.course, self.job.assignment, student):
            items = items_of(read_notebook(self.course.source(self.job.assignment) / f"{self.job.assignment}.ipynb"))
            kept, reason = "", f"could not be graded: {error}; grade again"
            marks = {i.id: Mark(0.0, i.points, reason) for i in items if i.kind == "test"}
            Record(student, self.job.assignment, "failed", marks, reason).save(folder)  # without a checksum: not done
        record = Record.load(folder)
        self.n += 1
        left = (time.monotonic() - self.start) / self.n * (self.total - self.n)
        of = sum(m.of for m in record.questions.values())
        said = f"{record.points:g} of {of:g} points" + (kept or (f" ({record.reason})" if record.reason else ""))
        self.say(f"{student}: {said}; {self.n} of {self.total}, about {left:.0f} s left")
