"""One submission's runs: cells in a sandbox, functions on drawn inputs, once more with right earlier answers."""

from __future__ import annotations

import dataclasses
import re
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .answers import Failed, Question, Verdict
from .handed import line
from .sandbox import DiedError, Sandbox
from .sheet import Step, repaired

if TYPE_CHECKING:
    from .submission import Grader

MAX_STARTS = 5
IN_CELL = re.compile(r"\([^()]*, line(?= \d+\)$)")  # IPython's own name of a cell
PUT_RIGHT = ", with the earlier answers put right"
WAITS = "calls a function that is not written yet"


class Play:
    """One submission's runs. A cell or function that ends the process is left out, and the others run again."""

    def __init__(self, grader: Grader, steps: Sequence[Step], files: Sequence[Path]) -> None:
        self.grader, self.steps, self.files = grader, steps, files
        self.outputs: dict[int, dict[str, Any]] = {}
        self.results: dict[str, list[Any]] = {}
        self.notes: list[str] = []
        self.left_out: dict[int, str] = {}
        self.put_right: set[str] = set()  # questions whose verdict came from a run with right earlier answers
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

    def error_of(self, cell: str) -> str:
        """Return what one of the student's cells ended with; "" where it ran."""
        place = next((i for i, step in enumerate(self.steps) if step.id == cell), -1)
        return IN_CELL.sub("(line", str(self.outputs.get(place, {}).get("error") or ""))

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
            old, verdict = verdicts[question.id], self._put_right(question, cells)
            if verdict is None or verdict.fraction < old.fraction:
                continue
            if verdict.fraction > old.fraction or old.message.endswith(WAITS):
                verdicts[question.id] = Verdict(verdict.fraction, _with_others_right(verdict))
                self.put_right.add(question.id)
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
        return self.grader.judge(question, question.measured(results, self.grader.seed))


def _with_others_right(verdict: Verdict) -> str:
    share = "right" if verdict.fraction == 1 else "partly right" if verdict.fraction else "wrong"
    return line(f"{share}{PUT_RIGHT}{'' if verdict.fraction == 1 else f'; {verdict.message}'}")
