"""Commit to an answer before running, and see it beside the measurement."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ..errors import WorkbenchError
from .session import current


def show(value: Any) -> str:
    """Return `value` as a reader wants it: numbers with 4 significant digits, large integers grouped, shapes with ×.

    >>> show(0.0625), show(3905500), show((1, 40, 56, 56))
    ('0.0625', '3,905,500', '1×40×56×56')
    """
    if value is ...:
        return "—"
    if isinstance(value, bool) or not isinstance(value, Real | Sequence) or isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return (
            "×".join(show(v) for v in value) if all(isinstance(v, int) for v in value) else ", ".join(map(show, value))
        )
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 1e4 else f"{number:.4g}"


def as_number(text: str, unit: str = "") -> float | str:
    """Return the number that a text writes out, or the text itself: a learner may type ``"1/16"`` or ``"71 %"``.

    >>> as_number("1/16"), as_number("71 %"), as_number("71 %", unit="% of the MACs"), as_number("P3")
    (0.0625, 0.71, 71.0, 'P3')
    """
    written = re.fullmatch(r"([-+\d.,e]+)(?:/([\d.,]+))?(%?)", text.replace(" ", ""))
    try:
        top, bottom, percent = (written[1], written[2] or "1", written[3]) if written else ("", "1", "")
        value = float(top.replace(",", "")) / float(bottom.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return text
    return value / 100 if percent and not unit.startswith("%") else value


def predict(key: str, answer: Any = ..., unit: str = "", *, choices: Sequence[Any] | None = None) -> None:
    """Record what you expect, before you run it. ``...`` means "not committed yet" and is no error.

    Args:
        key: the name `reveal` will use.
        answer: a number, a shape, a word; ``...`` for not yet.
        unit: of the answer, as in ``"ms"``.
        choices: the permitted answers, where the question offers some.

    Raises:
        WorkbenchError: the answer is not among `choices`.

    >>> predict("depth", 13, unit="layers")
    ✎ depth: your prediction is 13 layers
    """
    state = current()
    if isinstance(answer, str) and choices is None:
        answer = as_number(answer, unit)
    if choices is not None and answer is not ... and answer not in choices:
        raise WorkbenchError(f"predict({key!r}): {answer!r} is not one of the choices {', '.join(map(repr, choices))}")
    late = (
        " (made after the measurement)"
        if key in state.revealed and state.predictions.get(key, (...,))[0] is ...
        else ""
    )
    state.predictions[key] = (answer, unit)
    if answer is ...:
        offer = f": one of {', '.join(map(repr, choices))}" if choices is not None else ""
        print(f"✎ {key}: no prediction yet; replace the ... by your answer{offer}")
    else:
        print(f"✎ {key}: your prediction is {show(answer)}{' ' + unit if unit else ''}{late}")


def _verdict(predicted: Any, measured: Any) -> str:
    numbers = all(isinstance(v, Real) and not isinstance(v, bool) for v in (predicted, measured))
    if predicted is ...:
        return ""
    if not numbers:
        same = tuple(predicted) == tuple(measured) if isinstance(predicted, list | tuple) else predicted == measured
        return "as predicted" if same else "different"
    if math.isclose(predicted, measured, rel_tol=1e-3):
        return "as predicted"
    if predicted * measured <= 0:
        return "different"
    ratio = measured / predicted
    return f"measured is {ratio:.3g} × predicted" if ratio >= 1 else f"predicted is {1 / ratio:.3g} × measured"


def reveal(key: str, measured: Any, unit: str = "", why: str = "") -> None:
    """Print the prediction beside the measurement, and why they may differ. Works without a prediction.

    Args:
        key: as given to `predict`.
        measured: what came out: a number, shape or word.
        unit: of `measured`; the prediction's unit is the default.
        why: one or two sentences.

    >>> reveal("never-predicted", 4, unit="ms")
                     predicted  measured
    never-predicted          —      4 ms
    """
    state = current()
    state.revealed.add(key)
    predicted, unit_then = state.predictions.get(key, (..., ""))
    unit = unit or unit_then
    tail = f" {unit}" if unit else ""
    left = show(predicted) + (tail if predicted is not ... else "")
    right, verdict = show(measured) + tail, _verdict(predicted, measured)
    w0, w1, w2 = len(key), max(len("predicted"), len(left)), max(len("measured"), len(right))
    print(f"{'':{w0}}  {'predicted':>{w1}}  {'measured':>{w2}}")
    print(f"{key:{w0}}  {left:>{w1}}  {right:>{w2}}" + (f"  {verdict}" if verdict else ""))
    if why:
        print(textwrap.fill(why, 110) + "\n")
