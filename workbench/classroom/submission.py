"""Grade one submission: its cells in a sandbox, its functions on drawn inputs, its marks decided out here."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import stat
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from .answers import Failed, Question, Verdict, load_answers
from .course import ClassroomError
from .executed import executed
from .notebook import MAX_BYTES, read_notebook
from .record import Mark, Record
from .sandbox import DiedError, Sandbox
from .sheet import Master, Step, repaired, sheet
from .walls import Limits

ENGINE = 1  # counts changes of grading that make older records stale
MAX_STARTS = 5
COMPANIONS = (".safetensors", ".png", ".jpg", ".jpeg", ".csv", ".txt", ".md")


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
        verdicts = {q.id: self._judge(q, measured[q.id]) for q in asked}
        before = {k: m.points / m.of if m.of else 1.0 for k, m in old.questions.items()} if old and only else {}
        play.repair(asked, verdicts, before)
        marks = dict(old.questions) if old and only else {}
        marks |= {
            q.id: Mark(round(q.points * verdicts[q.id].fraction, 4), q.points, verdicts[q.id].message) for q in asked
        }
        capstone = (old.capstone if old and only else {}) | self.capstone(measured)
        found = self._signed(
            record, begun, status="graded", questions=marks, reason="; ".join(play.notes)[:500], capstone=capstone
        )
        return found, executed(self.master, steps, play.outputs)

    def _judge(self, question: Question, results: Sequence[Any]) -> Verdict:
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


class Play:
    """One submission's runs. A cell or function that ends the process is left out, and the others run again."""

    def __init__(self, grader: Grader, steps: Sequence[Step], files: Sequence[Path]) -> None:
        self.grader, self.steps, self.files = grader, steps, files
        self.outputs: dict[int, dict[str, Any]] = {}
        self.results: dict[str, list[Any]] = {}
        self.notes: list[str] = []
        self.left_out: dict[int, str] = {}
        self._hung: set[Any] = set()
        self._at: Any = None
        self._box: Sandbox | None = None
        self._end = time.monotonic() + grader.limits.wall_s

    def _sandbox(self) -> Sandbox:
        left = max(1.0, self._end - time.monotonic())
        limits = dataclasses.replace(self.grader.limits, wall_s=left, start_s=min(left, self.grader.limits.start_s))
        return Sandbox(limits, files=self.files, hide=self.grader.hide, trusted=self.grader.trusted)

    def run(self, questions: Sequence[Question]) -> None:
        """Run all cells, then call each question's function on its inputs."""
        self.results = {q.id: [] for q in questions}
        for _ in range(MAX_STARTS):
            self._at = None
            box: Sandbox | None = None
            try:
                box = self._sandbox()
                weakref.finalize(self, box.close)
                self._cells(box)
                for question in questions:
                    self._calls(box, question)
                self._box = box
                return
            except DiedError as e:
                if box is not None:
                    box.close()
                if time.monotonic() >= self._end:
                    self.notes.append(f"stopped after {self.grader.limits.wall_s:g} s, the time of a whole submission")
                    break
                if e.hung and self._at not in self._hung:
                    self._hung.add(self._at)  # seen once in some hundred runs without a reason: once more
                else:
                    self._leave_out(str(e))
        for question in questions:
            missing = len(self.grader.inputs[question.id]) - len(self.results[question.id])
            self.results[question.id] += [Failed("the submission was stopped before this was called")] * missing

    def _leave_out(self, reason: str) -> None:
        if self._at is None:
            self._at = ("start",)
            self.notes.append(reason)
        elif self._at[0] == "cell":
            self.left_out[self._at[1]] = reason
            name = self.steps[self._at[1]].id or f"number {self._at[1] + 1}"
            self.notes.append(f"cell {name} was left out: {reason}")
        else:
            _, question, done = self._at
            rest = len(self.grader.inputs[question]) - done
            self.results[question] += [Failed(reason)] * rest

    def _cells(self, box: Sandbox) -> None:
        for i, step in enumerate(self.steps):
            if not step.runs:
                continue
            if i in self.left_out:
                self.outputs[i] = {"outputs": [], "error": f"left out: {self.left_out[i]}"}
                continue
            self._at = ("cell", i)
            self.outputs[i] = box.ask({"do": "cell", "source": step.source}, self.grader.limits.cell_s)

    def _calls(self, box: Sandbox, question: Question) -> None:
        inputs, results = self.grader.inputs[question.id], self.results[question.id]
        while len(results) < len(inputs):
            self._at = ("call", question.id, len(results))
            results.append(self._call(box, question, inputs[len(results)]))

    def _call(self, box: Sandbox, question: Question, arguments: tuple[Any, ...]) -> Any:
        request = {"do": "call", "name": question.call, "arguments": arguments}
        reply = box.ask(request, self.grader.limits.call_s)
        return reply["result"] if "result" in reply else Failed(line(str(reply.get("error", "nothing came back"))))

    def repair(self, questions: Sequence[Question], verdicts: dict[str, Verdict], before: Mapping[str, float]) -> None:
        """Judge a question that is wrong once more, with right answers in the place of earlier wrong ones.

        One question after the other, and before any solution of its own or a later one is inside: what a student's
        code could find there is worth nothing. Of these runs only the fraction and our own words come out.
        """
        fraction = dict(before) | {k: v.fraction for k, v in verdicts.items()}
        wrong = [q for q in self.grader.questions if fraction.get(q.id, 1.0) < 1]
        if not self._sound():
            self._drop()
        for question in [q for q in questions if q in wrong]:
            cells = repaired(self.steps, self.grader.master, question, wrong, self.left_out)
            if cells is None or time.monotonic() >= self._end:
                continue
            verdict = self._put_right(question, cells)
            if verdict is not None and verdict.fraction > verdicts[question.id].fraction:
                rest = "" if verdict.fraction == 1 else f"; {verdict.message}"
                message = f"{'right' if not rest else 'partly right'}, with the earlier answers put right{rest}"
                verdicts[question.id] = Verdict(verdict.fraction, line(message))
        self._drop()

    def _sound(self) -> bool:
        """Whether the process that ran everything may go on: a new one would import torch again, half of all time."""
        said = [str(o.get("error")) for o in self.outputs.values()]
        said += [r.error for results in self.results.values() for r in results if isinstance(r, Failed)]
        return not self.left_out and not self.notes and not any(s.startswith(("Memory", "Timeout")) for s in said)

    def _drop(self) -> None:
        if self._box is not None:
            self._box.close()
        self._box = None

    def _put_right(self, question: Question, cells: Sequence[str]) -> Verdict | None:
        for _ in range(2 if self._box is not None else 1):  # one that was in use may lack something: once more, anew
            try:
                if self._box is None:
                    self._box = box = self._sandbox()
                    weakref.finalize(self, box.close)
                return self._again(self._box, question, cells)
            except DiedError:
                self._drop()
        return None

    def _again(self, box: Sandbox, question: Question, cells: Sequence[str]) -> Verdict:
        limits = self.grader.limits
        box.ask({"do": "fresh"}, limits.cell_s)
        for source in cells:
            box.ask({"do": "cell", "source": source}, limits.cell_s)
        results = [self._call(box, question, a) for a in self.grader.inputs[question.id]]
        return self.grader._judge(question, question.measured(results, self.grader.seed))


def line(text: str, most: int = 300) -> str:
    """Return text on one line, printable, not too long."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:most]


def _regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def find_notebook(folder: Path, name: str) -> Path:
    """Return the notebook that was handed in: the one with the right name, else the only one.

    Raises:
        ClassroomError: none, several, or no regular file.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise ClassroomError("nothing was handed in")
    found = sorted(p for p in folder.iterdir() if p.suffix == ".ipynb")
    right = [p for p in found if p.name == f"{name}.ipynb"] or found
    if len(right) != 1:
        raise ClassroomError(f"no notebook was handed in, expected {name}.ipynb" if not right else "several notebooks")
    if not _regular(right[0]):
        raise ClassroomError(f"{line(right[0].name, 80)} is no regular file")
    size = right[0].stat().st_size
    if not size:
        raise ClassroomError(f"{line(right[0].name, 80)} is empty")
    return right[0]


def companions(folder: Path) -> list[Path]:
    """Return the small files beside the notebook, which cells may read."""
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in COMPANIONS and _regular(p)]
    return [p for p in found if p.name != "timestamp.txt" and p.stat().st_size <= MAX_BYTES][:20]


def stamp(folder: Path) -> str | None:
    """Return when it was handed in, as nbgrader's ``timestamp.txt`` says."""
    try:
        path = folder / "timestamp.txt"
        return line(path.read_text(encoding="utf-8")[:100], 40) or None if _regular(path) else None
    except (OSError, UnicodeDecodeError):
        return None


def checksum(folder: Path, source: Path, name: str) -> str:
    """Return the checksum of what was handed in and of what decides its marks."""
    found = hashlib.sha256(f"{ENGINE}".encode())
    files: list[Path] = [source / f"{name}.ipynb", source / "answers.py"]
    if folder.is_dir():
        files += sorted(p for p in folder.iterdir() if p.suffix == ".ipynb" or p.suffix.lower() in COMPANIONS)
    for path in files:
        found.update(f"\0{path.name}\0".encode("utf-8", "replace"))
        if _regular(path):
            with path.open("rb") as stream:
                found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:20]
