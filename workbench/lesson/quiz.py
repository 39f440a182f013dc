"""The checkpoint at the end of a lesson: three to five questions, scored offline.

The questions stand in the notebook; their answers here, in the lesson's file::

    questions(
        Question("q1", "b", why="PConv reads a quarter of the channels.", see="section 1"),
        Question("q2", lambda: 40 * 56 * 56, why="…", see="section 2", code=True),
    )
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WorkbenchError, did_you_mean
from .exercises import exercises
from .session import current


@dataclass(frozen=True)
class Question:
    """One question: its right answer, why it is right, where to read again, and whether it needs code."""

    key: str
    answer: Any  # a letter, a number, a shape; or a function without arguments that computes it
    why: str
    see: str
    rel: float = 0.0  # tolerance of a number, relative
    code: bool = False  # cannot be answered without running something

    @functools.cached_property
    def right(self) -> Any:
        """The answer itself; a function is called once."""
        return self.answer() if callable(self.answer) else self.answer

    def is_right(self, came: Any) -> bool:
        """Return whether `came` is the answer; letters ignore case, numbers allow `rel`, lists equal tuples."""
        right = self.right
        if isinstance(right, str):
            return isinstance(came, str) and came.strip().lower() == right.lower()
        if isinstance(right, list | tuple):
            return isinstance(came, list | tuple) and tuple(came) == tuple(right)
        if isinstance(right, bool) or isinstance(came, bool):
            return came is right
        if hasattr(came, "item") and getattr(came, "ndim", 1) == 0:
            came = came.item()
        return isinstance(came, int | float) and math.isclose(came, right, rel_tol=self.rel, abs_tol=0.0)


_QUESTIONS: dict[str, dict[str, Question]] = {}  # lesson → key → question


def questions(*items: Question) -> None:
    """Register the checkpoint of the lesson whose file calls this; three to five questions, one that needs code."""
    frame = inspect.currentframe()
    module = frame.f_back.f_globals["__name__"] if frame and frame.f_back else ""
    lesson = str(module).rsplit(".", 1)[-1].removeprefix("l")
    if not 3 <= len(items) <= 5 or not any(q.code for q in items):
        raise WorkbenchError(f"lesson {lesson}: a checkpoint has 3 to 5 questions, at least one with code=True")
    _QUESTIONS[lesson] = {q.key: q for q in items}


def checkpoint_of(lesson: str) -> dict[str, Question]:
    """Return a lesson's checkpoint questions, by key."""
    exercises(lesson)  # imports the lesson's file
    return _QUESTIONS.get(lesson, {})


def checkpoint(answers: Mapping[str, Any]) -> None:
    """Score the checkpoint and print one line per question. ``...`` is "not answered"; a wrong answer never raises.

    Raises:
        WorkbenchError: a key that is no question of the lesson that is running.
    """
    state = current()
    known = checkpoint_of(state.lesson)
    for key in answers:
        if key not in known:
            hint = did_you_mean(key, known) or f"; expected {', '.join(known) or 'lesson.begin(…) first'}"
            raise WorkbenchError(f"lesson {state.lesson or '—'} has no checkpoint question {key!r}{hint}")
    right = 0
    for key, q in known.items():
        came = answers.get(key, ...)
        if came is ...:
            print(f"… {key}: not answered")
        elif q.is_right(came):
            right += 1
            print(f"✓ {key}: {q.why}")
        else:
            print(f"✗ {key}: {came!r} is not it; read {q.see} again")
    state.score = (right, len(known))
    print(f"checkpoint {state.lesson}: {right} of {len(known)}")
