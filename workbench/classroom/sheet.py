"""One submission beside its source: which cells run, in whose words, and what stands in for a wrong earlier answer.

Cells that students leave as they are run as the source has them, without hidden tests. Cells of theirs run as they
wrote them. Marks are never read off a cell: they come from calling functions afterwards.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .answers import Question
from .course import ClassroomError
from .notebook import items_of, meta_of, read_manifest, read_notebook, source_of
from .unwritten import STUB, defined

HIDDEN = re.compile(r"[^\n]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[^\n]*\n?", re.S)
MAX_CELLS = 500
MAX_SOURCE = 200_000  # characters of a cell


@dataclass(frozen=True)
class Step:
    """One cell of a submission as it is graded.

    Attributes:
        id: its ``grade_id``; "" for a cell that the student added.
        kind: "given", "answer", "test", "text" (graded by a person), "run" (kept as it came: a measurement or a
            training) or "extra".
        source: what runs, or the text.
        cell: what it was in the submission; empty for a cell that was missing.
    """

    id: str
    kind: str
    source: str
    cell: Mapping[str, Any]

    @property
    def runs(self) -> bool:
        """Whether it is code that is run."""
        return self.kind in ("given", "answer", "test", "extra") and self.cell.get("cell_type") == "code"


class Master:
    """An assignment's source notebook.

    Attributes:
        name: of the assignment.
        notebook: as it is, with solutions and hidden tests.
        kinds: ``grade_id`` → kind, in order.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.notebook = name, read_notebook(folder / f"{name}.ipynb")
        self.cells = {str(meta_of(c)["grade_id"]): c for c in self.notebook["cells"] if meta_of(c)}
        self.kinds = {
            i.id: "run" if i.kind == "given" and i.id.endswith("-run") else i.kind for i in items_of(self.notebook)
        }
        self.order = {name: n for n, name in enumerate(self.kinds)}

    def visible(self, name: str) -> str:
        """Return a cell's text without its hidden tests."""
        return HIDDEN.sub("", source_of(self.cells[name])).rstrip()

    def answer_of(self, question: str) -> str:
        """Return the answer cell that a test looks at: the nearest above it."""
        above = [k for k in self.order if self.kinds[k] == "answer" and self.order[k] < self.order[question]]
        return above[-1] if above else ""

    def solution(self, name: str) -> str:
        """Return the solution of an answer cell."""
        return source_of(self.cells[name])


def clean(text: str) -> str:
    """Return text that can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def sheet(notebook: Mapping[str, Any], master: Master, calls: Collection[str]) -> list[Step]:
    """Return the steps of a submission, with cells that are missing put back.

    Raises:
        ClassroomError: it is another assignment's, or nobody's.
    """
    said = read_manifest(notebook)
    if said and said[0] != master.name:
        raise ClassroomError(f"this is the notebook of {said[0]!r}, not of {master.name!r}")
    steps: list[Step] = []
    seen: set[str] = set()
    for cell in [c for c in notebook["cells"] if isinstance(c, Mapping)][:MAX_CELLS]:
        name, text = str(meta_of(cell).get("grade_id", "")), clean(source_of(cell))[:MAX_SOURCE]
        kind = master.kinds.get(name, "extra")
        if kind in ("given", "test", "run"):
            if name in seen:
                continue  # a copy of a cell that is not the student's
            text = master.visible(name)
            cell = {**cell, "cell_type": master.cells[name]["cell_type"]}
        elif kind == "extra" or name in seen:
            name, kind = "", "extra"
        seen.add(name)
        steps.append(Step(name, kind, text, cell))
    known = {n for n in seen if master.kinds.get(n) in ("answer", "test")}  # every assignment has a "setup"
    code = "\n".join(s.source for s in steps if s.runs)
    if not known and not any(re.search(rf"\bdef {re.escape(c)}\b", code) for c in calls):
        raise ClassroomError(f"none of the cells of {master.name!r} is in this notebook")
    for name, kind in master.kinds.items():
        if name not in seen:
            text = "" if kind in ("answer", "text") else master.visible(name)
            steps.insert(
                _place(steps, master, name), Step(name, kind, text, {"cell_type": master.cells[name]["cell_type"]})
            )
    return steps


def _place(steps: Sequence[Step], master: Master, name: str) -> int:
    """Return where a missing cell goes: behind the nearest cell that stands above it in the source."""
    above = [k for k in master.order if master.order[k] < master.order[name]]
    places = {s.id: i for i, s in enumerate(steps) if s.id}
    return next((places[k] + 1 for k in reversed(above) if k in places), 0)


def attempted(steps: Sequence[Step], master: Master, question: Question) -> bool:
    """Return whether a question's own cell holds more than what was handed out."""
    source = next((s.source for s in steps if s.id == master.answer_of(question.id)), "")
    functions = defined(source)
    stubs = [functions[question.call]] if question.call in functions else functions.values()
    return bool(source.strip()) and not any(stubs) and not re.search(rf"^raise {STUB}", source, re.M)


def function_in(source: str, name: str) -> str:
    """Return the text of a function defined in a cell; "" where there is none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    return (ast.get_source_segment(source, found[-1]) or "") if found else ""


def repaired(
    steps: Sequence[Step], master: Master, question: Question, wrong: Sequence[Question], left_out: Collection[int] = ()
) -> list[str] | None:
    """Return the cells that lead up to one question, with the source's solution for earlier questions that are wrong.

    The question's own cell is the student's; its solution is not among them. None where that would change nothing.

    Args:
        steps: of the submission.
        master: its source.
        question: whose function is called afterwards.
        wrong: the questions that did not earn full marks.
        left_out: places of cells that end the process.
    """
    own, place = master.answer_of(question.id), master.order[question.id]
    earlier = [q for q in wrong if master.order[q.id] < place]
    cells = {master.answer_of(q.id) for q in earlier} - {own}
    beside = [q for q in earlier if master.answer_of(q.id) == own]
    helpers = [t for q in beside if (t := function_in(master.solution(own), q.call))]
    if not (cells or helpers) or not attempted(steps, master, question):
        return None
    found: list[str] = []
    for i, step in enumerate(steps):
        if step.id == question.id:
            break
        later = step.kind == "answer" and master.order[step.id] > master.order[own]
        if step.kind == "test" or later or not (step.runs or step.id in cells):
            continue
        if step.id in cells:
            found.append(master.solution(step.id))
        elif i not in left_out:
            found += [step.source, *(helpers if step.id == own else [])]
    return found
