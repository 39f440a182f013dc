"""What stands beside an assignment's notebook, in its ``answers.py``: the inputs drawn and the comparison made.

The student's process calls the student's function on the drawn inputs and writes the results out; it never sees this
file. Here, outside, results become marks.

``answers.py`` holds two names:

- ``INPUTS(seed) -> dict``: question id → list of argument tuples (plain numbers, lists, dicts, tensors).
- ``QUESTIONS``: a tuple of `Question`.

and may hold a third, ``CAPSTONE(measured) -> dict``: what of the measured results goes into the record of a submission.

A result is what ``call(*arguments)`` returned, one per argument tuple, in order; a call that raised is a `Failed`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ..errors import WorkbenchError


class Verdict(NamedTuple):
    """What a question's results earn: a fraction of its points, 0 to 1, and one line for the student."""

    fraction: float
    message: str


@dataclass(frozen=True)
class Failed:
    """In the place of a result: the student's function raised."""

    error: str


@dataclass(frozen=True)
class Question:
    """One auto-graded question.

    Attributes:
        id: the nbgrader ``grade_id`` of its test cell.
        points: the most it can earn; the same as in the notebook.
        call: the name of the function that is called on the inputs, after the student's cells have run.
        compare: (results, argument tuples) → `Verdict`.
        measure: (results, seed) → what `compare` gets in their place: files that the function wrote, measured out here
            (see `capstone`); None where results are compared as they are.
    """

    id: str
    points: float
    call: str
    compare: Callable[[Sequence[Any], Sequence[tuple[Any, ...]]], Verdict]
    measure: Callable[[Sequence[Any], int], list[Any]] | None = None

    def measured(self, results: Sequence[Any], seed: int) -> list[Any]:
        """Return what `compare` is given for these results."""
        return list(results) if self.measure is None else self.measure(results, seed)


def load_answers(file: str | Path) -> ModuleType:
    """Return an assignment's ``answers.py`` as a module, without putting its folder on ``sys.path``.

    Raises:
        WorkbenchError: the file is not there, or lacks ``INPUTS`` or ``QUESTIONS``.
    """
    path = Path(file)
    spec = importlib.util.spec_from_file_location(f"answers_{path.parent.name}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise WorkbenchError(f"{path} is not there; an assignment's answers stand beside its notebook")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("INPUTS", "QUESTIONS"):
        if not hasattr(module, name):
            raise WorkbenchError(f"{path} has no {name}; see workbench.classroom.answers")
    return module
