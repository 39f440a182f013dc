"""Grade one submission: its cells in a sandbox, its functions on drawn inputs, its marks decided out here."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from .answers import Failed, Question, Verdict, load_answers
from .course import ClassroomError
from .executed import executed
from .handed import companions, find_notebook, line, stamp
from .notebook import read_notebook
from .play import WAITS, Play
from .record import Mark, Record
from .sheet import Master, attempted, sheet
from .unwritten import LEFT_OUT, STUB
from .walls import Limits


class Grader:
    """Everything that is the same for all submissions of one assignment.

    Args:
        folder: of the source: the notebook and ``answers.py``.
        name: of the assignment.
        seed: of the inputs.
        limits: of one submission.
        trusted: without a sandbox.
        hide: a folder no submission may see: the course.
    """

    def __init__(
        self, folder: Path, name: str, seed: int, limits: Limits, trusted: bool = False, hide: Path | None = None
    ) -> None:
        self.master = Master(folder, name)
        answers = load_answers(folder / "answers.py")
        self.name, self.seed, self.limits, self.trusted, self.hide = name, seed, limits, trusted, hide
        self.questions: tuple[Question, ...] = tuple(sorted(answers.QUESTIONS, key=lambda q: self.master.order[q.id]))
        self.inputs: dict[str, list[tuple[Any, ...]]] = answers.INPUTS(seed)
        self.capstone: Callable[[Mapping[str, Any]], dict[str, Any]] = getattr(answers, "CAPSTONE", lambda _: {})
        if any(q.measure for q in self.questions):
            from .capstone import require

            require()

    def grade(
        self, student: str, folder: Path, old: Record | None = None, only: str | None = None
    ) -> tuple[Record, str]:
        """Return the record and the notebook as executed ("" where it cannot be run).

        Args:
            student: whose.
            folder: what was handed in.
            old: the record that `only` is graded into.
            only: one question; None for all.
        """
        begun = time.monotonic()
        record = Record(student, self.name, "failed", {}, submitted=stamp(folder))
        try:
            path = find_notebook(folder, self.name)
            steps = sheet(read_notebook(path), self.master, [q.call for q in self.questions])
        except ClassroomError as e:
            marks = {q.id: Mark(0.0, q.points, str(e)) for q in self.questions}
            return self._signed(record, begun, questions=marks, reason=str(e)), ""
        asked = [q for q in self.questions if only in (None, q.id)]
        play = Play(self, steps, companions(folder))
        play.run(asked)
        measured = {q.id: q.measured(play.results[q.id], self.seed) for q in asked}
        verdicts = {q.id: self._verdict(q, play, measured[q.id]) for q in asked}
        before = {k: m.points / m.of if m.of else 1.0 for k, m in old.questions.items()} if old and only else {}
        play.repair(asked, verdicts, before)
        marks = dict(old.questions) if old and only else {}
        for q in asked:
            points, said = round(q.points * verdicts[q.id].fraction, 4), verdicts[q.id].message
            marks[q.id] = Mark(points, q.points, said, q.id in play.put_right)
        capstone = (old.capstone if old and only else {}) | self.capstone(measured)
        found = self._signed(
            record, begun, status="graded", questions=marks, reason="; ".join(play.notes)[:500], capstone=capstone
        )
        return found, executed(self.master, steps, play.outputs)

    def _verdict(self, question: Question, play: Play, results: Sequence[Any]) -> Verdict:
        """Judge what came out of the first run, and say it where a function is not written."""
        verdict, came = self.judge(question, results), play.results[question.id]
        gone = f"there is no {question.call}"
        if verdict.message.startswith(f"{question.call} failed: NameError: {gone}"):
            error = play.error_of(self.master.answer_of(question.id))
            return Verdict(0.0, line(f"{gone}, because its cell ends with {error}")) if error else verdict
        if verdict.fraction or not any(isinstance(r, Failed) and r.error == STUB for r in came):
            return verdict
        written = attempted(play.steps, self.master, question)
        return Verdict(0.0, f"{question.call} {WAITS}" if written else LEFT_OUT)

    def judge(self, question: Question, results: Sequence[Any]) -> Verdict:
        """Return what results earn, whatever a comparison does with them."""
        errors = {r.error for r in results if isinstance(r, Failed)}
        if len(errors) == 1 and all(isinstance(r, Failed) for r in results):
            return Verdict(0.0, line(f"{question.call} failed: {errors.pop()}"))
        try:
            fraction, message = question.compare(results, self.inputs[question.id])
            return Verdict(min(1.0, max(0.0, float(fraction))), line(message))
        except Exception as e:  # results are a stranger's: whatever they break, they earn nothing
            return Verdict(0.0, f"the results of {question.call} cannot be compared ({type(e).__name__})")

    def _signed(self, record: Record, begun: float, **fields: Any) -> Record:
        provenance = {
            "seed": self.seed, "seconds": round(time.monotonic() - begun, 2), "sandbox": not self.trusted,
            "workbench": __version__, "python": platform.python_version(), "torch": metadata.version("torch"),
        }  # fmt: skip
        return dataclasses.replace(record, provenance=provenance, **fields)
