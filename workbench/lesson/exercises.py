"""Exercises: a registered check per exercise, with the wrong answers it must catch.

A lesson's file (``l03.py``) holds its checks::

    @exercise(
        "ex-terms",
        hint="Count the squares and the mixed products separately.",
        ok="A product of two maps of d inputs has that many distinct terms.",
        wrong={
            "forgot the squares": lambda d: d * (d + 1) // 2,
            "ordered pairs": lambda d: (d + 1) ** 2,
            "linear": lambda d: d + 1,
        },
    )
    def _terms(answer):
        expect_function(answer)
        for d in (1, 2, int(torch.randint(3, 40, (1,), generator=fresh()))):
            expect_equal(answer(d), (d + 1) * (d + 2) // 2, f"terms for d = {d}")

The check receives the learner's answer. It raises ``AssertionError``, or returns a string: what is wrong. Returning
None means right. Check types before values, and on fresh random input (`fresh`), so that an answer cannot be typed in.
`wrong` names at least three plausible mistakes: a test requires each of them to fail, and the lesson's own solution to
pass; a learner who makes one is told its name. An answer that is ``...``, holds ``...``, or returns ``...`` when called
was not attempted, which is no error, so *Restart & Run All* works on an unsolved lesson. Stubs therefore end in
``return ...``.
"""

from __future__ import annotations

import dis
import functools
import importlib
import math
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError, did_you_mean
from .mistakes import as_text, draws, recognise, times
from .mistakes import fresh as fresh  # lessons take it from here
from .session import current

if TYPE_CHECKING:
    import torch


class WrongAnswer(AssertionError):  # noqa: N818 - the learner reads the name
    """A wrong answer. A notebook shows its message and the learner's own lines; the check's would give it away."""

    def _render_traceback_(self) -> list[str]:  # asked for by IPython
        frames = traceback.extract_tb(self.__cause__.__traceback__) if self.__cause__ else []
        hidden = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
        own = [f for f in frames if not f.filename.startswith(hidden)]
        return [*str(self).splitlines(), *(f"  line {f.lineno}, in {f.name}:  {f.line}" for f in own)]


class NotAttempted(Exception):  # noqa: N818 - a signal, not a fault
    """The answer is still ``...`` somewhere."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: its check, its hint, and what the check must refuse."""

    key: str
    lesson: str
    run: Callable[[Any], str | None]
    hint: str
    ok: str = ""
    wrong: Mapping[str, Any] = field(default_factory=dict)


_EXERCISES: dict[str, dict[str, Exercise]] = {}  # lesson → key → exercise


def exercise(
    key: str, *, hint: str, wrong: Mapping[str, Any], ok: str = ""
) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Register the decorated check under `key` for the lesson whose file it stands in (``l03.py`` → ``"03"``).

    Args:
        key: as in the notebook, ``"ex-…"``.
        hint: one sentence that helps without giving the answer away.
        wrong: name → an answer with that mistake; at least three.
        ok: one sentence of meaning, printed after ✓.
    """
    if not key.startswith("ex-"):
        raise WorkbenchError(f"exercise {key!r}: the key must start with 'ex-'")
    if len(wrong) < 3:
        raise WorkbenchError(f"exercise {key!r} names {len(wrong)} wrong answers; at least 3 are needed")

    def register(run: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        lesson = run.__module__.rsplit(".", 1)[-1].removeprefix("l")
        _EXERCISES.setdefault(lesson, {})[key] = Exercise(key, lesson, run, hint, ok, dict(wrong))
        return run

    return register


def exercises(lesson: str) -> dict[str, Exercise]:
    """Return the exercises of a lesson, by key."""
    try:
        importlib.import_module(f"{__package__}.l{lesson}")
    except ModuleNotFoundError as e:
        if e.name != f"{__package__}.l{lesson}":
            raise
    return _EXERCISES.setdefault(lesson, {})


def check(key: str, answer: Any = ...) -> None:
    """Check an answer: print "not attempted" or ✓, or raise ``AssertionError`` with expected, came and a hint.

    Raises:
        WrongAnswer: an ``AssertionError``: the answer is wrong, or raised an error itself.
        WorkbenchError: no exercise of that name in the lesson that is running.
    """
    state = current()
    known = exercises(state.lesson)
    if key not in known:
        began = "" if state.lesson else "; run lesson.begin(…) first"
        raise WorkbenchError(f"lesson {state.lesson or '—'} has no exercise {key!r}{began or did_you_mean(key, known)}")
    ex, seed = known[key], secrets.randbits(63)
    try:
        complaint, cause = _complaint(ex, answer, seed)
    except NotAttempted:
        state.exercises[key] = "not attempted"
        print(f"… {key}: not attempted")
        return
    if complaint:
        state.exercises[key] = "wrong"
        named = recognise(complaint, lambda wrong: _complaint(ex, wrong, seed)[0], ex.wrong)
        same = f"\n  the same comes out with this mistake: {named}" if named else ""
        raise WrongAnswer(f"✗ {key}: {complaint}{same}\n  hint: {ex.hint}") from cause
    state.exercises[key] = "passed"
    print(f"✓ {key}" + (f": {ex.ok}" if ex.ok else ""))


def _complaint(ex: Exercise, answer: Any, seed: int) -> tuple[str, Exception | None]:
    """Return what the check says of an answer, "" if it is right, and the error that the answer itself raised."""
    try:
        with draws(seed):
            return ex.run(_guard(answer)) or "", None
    except NotAttempted:
        raise
    except AssertionError as e:
        return str(e) or "the answer is not right", None
    except Exception as e:  # the learner's code failed, or returned something the check could not read
        return f"your answer raised {type(e).__name__}: {e}", e


def _is_stub(code: CodeType) -> bool:
    """Return whether a function's body is only a docstring, ``...`` or ``pass``."""
    names = {i.opname for i in dis.get_instructions(code)}
    idle = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "COPY_FREE_VARS"}
    return names <= idle and {c for c in code.co_consts if not isinstance(c, str)} <= {None, ...}


def _guard(answer: Any) -> Any:
    """Return the answer with every ``...`` turned into `NotAttempted`, also when a function returns it later."""
    if answer is ...:
        raise NotAttempted
    if isinstance(answer, Mapping):
        return {k: _guard(v) for k, v in answer.items()}
    if isinstance(answer, list | tuple) and type(answer) in (list, tuple):
        return type(answer)(_guard(v) for v in answer)
    if callable(answer) and not isinstance(answer, type) and hasattr(answer, "__code__"):
        if _is_stub(answer.__code__):
            raise NotAttempted

        @functools.wraps(answer)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            result = answer(*args, **kwargs)
            return _guard(result) if result is ... or isinstance(result, list | tuple) else result

        return guarded
    return answer


def expect(condition: bool, message: str) -> None:
    """Require a condition, also under ``python -O``.

    Raises:
        AssertionError: it does not hold.
    """
    if not condition:
        raise AssertionError(message)


def expect_function(answer: Any) -> None:
    """Require a callable.

    Raises:
        AssertionError: it is something else.
    """
    expect(callable(answer), f"expected a function, came {type(answer).__name__}; pass the function, do not call it")


def expect_number(came: Any, what: str = "the answer") -> float:
    """Require a plain number and return it; a tensor of one element counts."""
    if came is ...:
        raise NotAttempted
    item = came.item() if hasattr(came, "item") and getattr(came, "ndim", 1) == 0 else came
    ok = isinstance(item, int | float) and not isinstance(item, bool)
    expect(ok, f"{what}: expected a number, came {type(came).__name__} {came!r}")
    expect(math.isfinite(item), f"{what}: expected a finite number, came {item!r}")
    return item


def expect_equal(came: Any, expected: Any, what: str = "the answer", rel: float = 0.0) -> None:
    """Require `came` to equal `expected`: numbers within the relative tolerance `rel`, sequences item by item."""
    if came is ...:
        raise NotAttempted
    if isinstance(expected, bool | str):
        expect(type(came) is type(expected) and came == expected, f"{what}: expected {expected!r}, came {came!r}")
    elif isinstance(expected, int | float):
        number = expect_number(came, what)
        close = number == expected if rel == 0 else math.isclose(number, expected, rel_tol=rel)
        expect(close, f"{what}: expected {as_text(expected)}, came {as_text(number)}{times(number, expected)}")
    elif isinstance(expected, Sequence):
        expect(isinstance(came, Sequence) and not isinstance(came, str), f"{what}: expected a sequence, came {came!r}")
        same = len(came) == len(expected)
        expect(same, f"{what}: expected {len(expected)} items {tuple(expected)}, came {tuple(came)}")
        for i, (a, b) in enumerate(zip(came, expected, strict=True)):
            expect_equal(a, b, f"{what}, item {i}", rel)
    else:
        raise TypeError(f"expect_equal cannot compare with {type(expected).__name__}")


def expect_tensor(came: Any, expected: torch.Tensor, what: str = "the output", rel: float = 1e-4) -> None:
    """Require a tensor of the same shape and, up to `rel` of the largest value, the same values."""
    import torch

    if came is ...:
        raise NotAttempted
    expect(isinstance(came, torch.Tensor), f"{what}: expected a tensor, came {type(came).__name__}")
    shapes = tuple(came.shape), tuple(expected.shape)
    expect(shapes[0] == shapes[1], f"{what}: expected shape {shapes[1]}, came {shapes[0]}")
    scale = max(expected.abs().max().item(), 1e-12)
    apart = (came.detach().to(expected.dtype) - expected).abs()
    off = apart.max().item() / scale
    if off <= rel:
        return
    at = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
    where = f"; farthest at {list(at)}: expected {expected[at].item():.4g}, came {came[at].item():.4g}" if at else ""
    expect(False, f"{what}: the shape is right, values are off by {off:.1%} of the largest (allowed {rel:.1g}){where}")
