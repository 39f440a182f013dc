"""Turn results into a verdict: types and shapes first, then values; a known mistake is named and earns its share.

A message names the call that went wrong, as a student would type it, and the part of its result.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .answers import Failed, Verdict
from .calls import short, signature_of, written


class Near(NamedTuple):
    """A mistake that is recognised by its results: what it earns, how it computes, what to tell the student."""

    fraction: float
    function: Callable[..., Any]
    message: str


class Raises(NamedTuple):
    """In the place of a known mistake's result: the call raises, with these words."""

    words: str


def difference(
    came: Any, wanted: Any, what: str = "the result", rel: float = 1e-4, unit: str = "", parts: Sequence[str] = ()
) -> str | None:
    """Return what is wrong with `came` in one line, or None when it equals `wanted`.

    Integers, strings and truth values must be equal; floats and tensors within `rel` of the largest wanted value.

    Args:
        came: a student's result.
        wanted: the right one.
        what: it is the result of, in messages.
        rel: allowed difference, as a share of the largest value.
        unit: of a number, in messages.
        parts: names of the values in a tuple or list, or of a dict's values in their order.

    >>> difference(2.0, 2, "the count")
    'the count: expected an int, came float'
    >>> difference((1, [2, 3]), [1, (2, 3)]) is None
    True
    >>> difference(Failed("RuntimeError: sizes must match"), Raises("must match")) is None
    True
    >>> difference((4, 30), (4, 25), "cost(8)", parts=("parameters", "MACs"))
    'cost(8): MACs: expected 25, came 30'
    >>> difference({"weight": 1, "offset": 0}, {"weight": 1, "bias": 0}, "fold(4)")
    'fold(4): lacks bias; has too many: offset'
    >>> difference([8, 16, 24], [8, 16, 32], "channels(8)")
    'channels(8): expected [8, 16, 32], came [8, 16, 24]'
    """
    torch = sys.modules.get("torch")  # where nobody has imported it, nothing wanted is a tensor
    if isinstance(wanted, Raises):
        raised = isinstance(came, Failed) and wanted.words in came.error
        return None if raised else f"{what}: expected an error with {wanted.words!r}"
    if isinstance(came, Failed):
        return f"{what}: your function raised {came.error}"
    if torch is not None and isinstance(wanted, torch.Tensor):
        return _tensor(came, wanted, what, rel)
    if isinstance(wanted, bool | str | int | float | type(None)):
        return _value(came, wanted, what, rel, unit)
    if isinstance(wanted, Mapping):
        if not isinstance(came, Mapping) or set(came) != set(wanted):
            return f"{what}: {_keys(came, wanted)}"
        pairs = [(came[k], v, k) for k, v in wanted.items()]
    else:
        if type(came) not in (list, tuple) or len(came) != len(wanted):
            many = f"{len(came)} of them" if type(came) in (list, tuple) else type(came).__name__
            return f"{what}: expected {len(wanted)} values in a tuple or list, came {many}"
        pairs = [(a, b, i) for i, (a, b) in enumerate(zip(came, wanted, strict=True))]
    names = [*(f": {p}" for p in parts), *(f"[{key!r}]" for _, _, key in pairs[len(parts) :])]
    found = next((w for (a, b, _), n in zip(pairs, names, strict=True) if (w := difference(a, b, what + n, rel))), None)
    whole, theirs = (_all(wanted), _all(came)) if found and not parts else ("", "")
    return f"{what}: expected {whole}, came {theirs}" if whole and theirs else found


def _keys(came: Any, wanted: Mapping[Any, Any]) -> str:
    """Return which keys differ, the first few."""
    if not isinstance(came, Mapping):
        return f"expected a dict, came {type(came).__name__}"

    def some(keys: set[Any]) -> str:
        named = sorted(map(str, keys))
        return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")

    lacks, extra = set(wanted) - set(came), set(came) - set(wanted)
    return "; ".join(
        [*([f"lacks {some(lacks)}"] if lacks else []), *([f"has too many: {some(extra)}"] if extra else [])]
    )


def _all(values: Any) -> str:
    """Return a short list of plain values as it is; "" where it is long or holds anything else."""
    if not isinstance(values, list | tuple) or not all(type(v) in (int, float, bool, str, type(None)) for v in values):
        return ""
    text = f"[{', '.join(short(v) for v in values)}]"
    return text if len(text) <= 60 else ""


def _value(came: Any, wanted: Any, what: str, rel: float, unit: str) -> str | None:
    unit = f" {unit}".rstrip()
    if isinstance(wanted, float):
        if type(came) not in (int, float):
            return f"{what}: expected a number, came {type(came).__name__}"
        same = math.isclose(came, wanted, rel_tol=rel, abs_tol=1e-12)
        return None if same else f"{what}: expected {wanted:.6g}{unit}, came {came:.6g}"
    if type(came) is not type(wanted):
        return f"{what}: expected {_kind(wanted)}, came {type(came).__name__}"
    return None if came == wanted else f"{what}: expected {_show(wanted)}{unit}, came {_show(came)}"


def _kind(value: Any) -> str:
    return {bool: "True or False", str: "a string", int: "an int"}.get(type(value), "None")


def _show(value: Any) -> str:
    return f"{value:,}" if type(value) is int and value.bit_length() <= 100 else short(value)


def _tensor(came: Any, wanted: Any, what: str, rel: float) -> str | None:
    import torch

    if type(came) is not torch.Tensor:
        return f"{what}: expected a tensor, came {type(came).__name__}"
    if came.shape != wanted.shape:
        return f"{what}: expected shape {tuple(wanted.shape)}, came {tuple(came.shape)}"
    if not came.is_floating_point():
        return f"{what}: expected floating-point numbers, came {came.dtype}"
    if not torch.isfinite(came).all():
        return f"{what}: some values are not finite"
    if not came.numel():
        return None
    gap = float((came.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp(min=1e-12))
    return None if gap <= rel else f"{what}: off by {gap:.2g} of the largest value"


@dataclass(frozen=True)
class Judge:
    """A question's ``compare``: full marks for results like the right ones, a share for a known mistake's.

    Attributes:
        right: the reference; called on copies of the drawn arguments.
        near: mistakes, tried in order; one counts only if it explains every result.
        call: the call in messages, as its ``def`` has it: "f(a, b=1)"; "" takes `right`'s own name and parameters.
        unit: of a number, in messages.
        parts: names of the values of a tuple, in messages.
        rel: allowed difference, as a share of the largest value.
    """

    right: Callable[..., Any]
    near: tuple[Near, ...] = ()
    call: str = ""
    unit: str = ""
    parts: tuple[str, ...] = ()
    rel: float = 1e-4

    def __post_init__(self) -> None:
        signature_of(self.call or self.right)  # a slip in it is the teacher's, and shows before anything is graded

    def __call__(self, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        """Return the verdict on a student's results."""
        if len(given) != len(inputs):
            return Verdict(0.0, f"{len(inputs)} results were expected, {len(given)} came")
        wrong = [w for w in self._differences(given, inputs, self.right) if w]
        if not wrong:
            return Verdict(1.0, "right")
        for fraction, function, message in self.near:
            if not any(self._differences(given, inputs, function)):
                return Verdict(fraction, f"{message} — {wrong[0]}")
        right = len(inputs) - len(wrong)
        return Verdict(0.0, f"{wrong[0]}; right in {right} of {len(inputs)} calls" if right else wrong[0])

    def _differences(
        self, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]], function: Callable[..., Any]
    ) -> list[str | None]:
        """Return for each result what keeps it from being `function`'s."""
        found = []
        for came, arguments in zip(given, inputs, strict=True):
            what = written(self.call or self.right, arguments)
            wanted = function(*copy.deepcopy(arguments))
            found.append(difference(came, wanted, what, self.rel, self.unit, self.parts))
        return found


def judge(
    right: Callable[..., Any], *near: Near, call: str = "", unit: str = "", parts: Sequence[str] = (), rel: float = 1e-4
) -> Judge:
    """Return a question's ``compare``, see `Judge`.

    >>> compare = judge(lambda c, n=1: c // n, Near(0.5, lambda c, n: c, "n is ignored"), call="share(c, n=1)")
    >>> compare([8, 2], [(8, 1), (8, 4)])
    Verdict(fraction=1.0, message='right')
    >>> compare([8, 8], [(8, 1), (8, 4)])
    Verdict(fraction=0.5, message='n is ignored — share(8, n=4): expected 2, came 8')
    >>> compare([8, 3], [(8, 1), (8, 4)])
    Verdict(fraction=0.0, message='share(8, n=4): expected 2, came 3; right in 1 of 2 calls')
    """
    return Judge(right, near, call, unit, tuple(parts), rel)
