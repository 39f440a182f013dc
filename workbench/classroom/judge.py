"""Turn results into a verdict: types and shapes first, then values; a known mistake is named and earns its share."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .answers import Failed, Verdict


class Near(NamedTuple):
    """A mistake that is recognised by its results: what it earns, how it computes, what to tell the student."""

    fraction: float
    function: Callable[..., Any]
    message: str


def difference(came: Any, wanted: Any, what: str = "the result", rel: float = 1e-4) -> str | None:
    """Return what is wrong with `came` in one line, or None when it equals `wanted`.

    Integers, strings and truth values must be equal; floats and tensors within `rel` of the largest wanted value.

    >>> difference(2.0, 2, "the count")
    'the count: expected an int, came float'
    >>> difference((1, [2, 3]), [1, (2, 3)]) is None
    True
    """
    torch = sys.modules.get("torch")  # where nobody has imported it, nothing wanted is a tensor
    if isinstance(came, Failed):
        return f"{what}: your function raised {came.error}"
    if torch is not None and isinstance(wanted, torch.Tensor):
        return _tensor(came, wanted, what, rel)
    if isinstance(wanted, bool | str | int | type(None)):
        if type(came) is not type(wanted):
            return f"{what}: expected {_kind(wanted)}, came {type(came).__name__}"
        return None if came == wanted else f"{what}: expected {_show(wanted)}, came {_show(came)}"
    if isinstance(wanted, float):
        if type(came) not in (int, float):
            return f"{what}: expected a number, came {type(came).__name__}"
        same = math.isclose(came, wanted, rel_tol=rel, abs_tol=1e-12)
        return None if same else f"{what}: expected {wanted:.6g}, came {came:.6g}"
    if isinstance(wanted, Mapping):
        if not isinstance(came, Mapping) or set(came) != set(wanted):
            keys = sorted(map(str, came)) if isinstance(came, Mapping) else type(came).__name__
            return f"{what}: expected a dict with {sorted(map(str, wanted))}, came {keys}"
        parts = [(came[k], v, f"{what}[{k!r}]") for k, v in wanted.items()]
    else:
        if type(came) not in (list, tuple) or len(came) != len(wanted):
            found = f"{len(came)} of them" if type(came) in (list, tuple) else type(came).__name__
            return f"{what}: expected {len(wanted)} values in a tuple or list, came {found}"
        parts = [(a, b, f"{what}[{i}]") for i, (a, b) in enumerate(zip(came, wanted, strict=True))]
    return next((wrong for a, b, name in parts if (wrong := difference(a, b, name, rel))), None)


def _kind(value: Any) -> str:
    return {bool: "True or False", str: "a string", int: "an int"}.get(type(value), "None")


def _show(value: Any) -> str:
    return f"{value:,}" if type(value) is int else repr(value)[:80]


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


def judge(
    right: Callable[..., Any], *near: Near, rel: float = 1e-4, name: str = "the result"
) -> Callable[[Sequence[Any], Sequence[tuple[Any, ...]]], Verdict]:
    """Return a question's ``compare``: full marks for results like `right`'s, a share for a known mistake's.

    Args:
        right: the reference; called on copies of the drawn arguments.
        *near: mistakes, tried in order; one counts only if it explains every result.
        rel: allowed difference, as a share of the largest value.
        name: of the result, in messages.
    """

    def compare(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        if len(given) != len(inputs):
            return Verdict(0.0, f"{name}: {len(inputs)} results were expected, {len(given)} came")
        wanted = [right(*copy.deepcopy(a)) for a in inputs]
        wrong = [w for came, want in zip(given, wanted, strict=True) if (w := difference(came, want, name, rel))]
        if not wrong:
            return Verdict(1.0, "right")
        for fraction, function, message in near:
            theirs = [function(*copy.deepcopy(a)) for a in inputs]
            if all(difference(came, t, name, rel) is None for came, t in zip(given, theirs, strict=True)):
                return Verdict(fraction, message)
        return Verdict(0.0, wrong[0])

    return compare
