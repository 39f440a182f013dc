"""Shares of a question's points: for results that are right in some of the calls, or in some of their parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from .answers import Verdict
from .judge import Judge, difference

Compare = Callable[[Sequence[Any], Sequence[tuple[Any, ...]]], Verdict]


def only_where(compare: Compare, holds: Callable[..., object], fraction: float, message: str) -> Compare:
    """Return a comparison that gives a share to results which are right where `holds`, and nowhere else.

    For an oversight that ends in an error or in something else in every student's code, so that no function computes
    what it results in. What `compare` has a share for already stays as it is.

    Args:
        compare: a question's comparison.
        holds: whether the arguments of a call are of the kind that such an oversight gets right.
        fraction: of the points.
        message: to the student, before the first difference.

    >>> from workbench.classroom.judge import judge
    >>> right = judge(lambda c, n: c // n, call="share(c, n)")
    >>> decide = only_where(right, lambda c, n: n == 1, 0.5, "n is ignored")
    >>> decide([8, 9], [(8, 1), (8, 2)])
    Verdict(fraction=0.5, message='n is ignored — share(8, 2): expected 4, came 9; right in 1 of 2 calls')
    >>> decide([7, 9], [(8, 1), (8, 2)]).fraction
    0.0
    """

    def decide(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        verdict = compare(given, inputs)
        if verdict.fraction or len(given) != len(inputs):
            return verdict
        right = [compare([came], [a]).fraction == 1 for came, a in zip(given, inputs, strict=True)]
        if any(right) and right == [bool(holds(*a)) for a in inputs]:
            return Verdict(fraction, f"{message} — {verdict.message}")
        return verdict

    return decide


def by_part(compare: Judge, shares: Sequence[float]) -> Compare:
    """Return a comparison that gives each part of a tuple its share, if that part is right in every call.

    Args:
        compare: a judge whose results are tuples, with a name for each part.
        shares: of the points, in the order of the parts; together 1.

    >>> from workbench.classroom.judge import judge
    >>> decide = by_part(judge(lambda c: (c, 2 * c), call="cost(c)", parts=("parameters", "MACs")), (0.25, 0.75))
    >>> decide([(8, 16), (9, 27)], [(8,), (9,)])
    Verdict(fraction=0.25, message='cost(9): MACs: expected 18, came 27; right: parameters')
    """

    def decide(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        verdict = compare(given, inputs)
        whole = len(given) == len(inputs) and all(type(r) in (list, tuple) and len(r) == len(shares) for r in given)
        if verdict.fraction or not whole:
            return verdict
        wanted = [compare.right(*copy.deepcopy(a)) for a in inputs]
        right = [
            all(difference(came[i], want[i], rel=compare.rel) is None for came, want in zip(given, wanted, strict=True))
            for i in range(len(shares))
        ]
        if not any(right):
            return verdict
        names = ", ".join(name for name, good in zip(compare.parts, right, strict=True) if good)
        earned = sum(share for share, good in zip(shares, right, strict=True) if good)
        return Verdict(earned, f"{verdict.message.partition('; right in ')[0]}; right: {names}")

    return decide
