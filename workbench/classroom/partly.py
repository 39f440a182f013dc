"""Shares of a question's points: for results that are right in some of the calls, or in some of their parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .answers import Verdict
from .judge import Judge, difference

Compare = Callable[[Sequence[Any], Sequence[tuple[Any, ...]]], Verdict]


@dataclass(frozen=True)
class OnlyWhere:
    """A comparison that gives a share to results which are right where `holds`, and nowhere else.

    For an oversight that ends in an error or in something else in every student's code, so that no function computes
    what it results in. What `compare` has a share for already stays as it is.

    Attributes:
        compare: a question's comparison.
        holds: whether the arguments of a call are of the kind that such an oversight gets right.
        fraction: of the points.
        message: to the student, before the first difference.

    >>> from workbench.classroom.judge import judge
    >>> decide = OnlyWhere(judge(lambda c, n: c // n, call="share(c, n)"), lambda c, n: n == 1, 0.5, "n is ignored")
    >>> decide([8, 9], [(8, 1), (8, 2)])
    Verdict(fraction=0.5, message='n is ignored — share(8, 2): expected 4, came 9; right in 1 of 2 calls')
    >>> decide([7, 9], [(8, 1), (8, 2)]).fraction
    0.0
    """

    compare: Compare
    holds: Callable[..., object]
    fraction: float
    message: str

    def __call__(self, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        """Return the verdict on a student's results."""
        verdict = self.compare(given, inputs)
        if verdict.fraction or len(given) != len(inputs):
            return verdict
        right = [self.compare([came], [a]).fraction == 1 for came, a in zip(given, inputs, strict=True)]
        if any(right) and right == [bool(self.holds(*a)) for a in inputs]:
            return Verdict(self.fraction, f"{self.message} — {verdict.message}")
        return verdict


@dataclass(frozen=True)
class ByPart:
    """A comparison that gives each part of a tuple its share, if that part is right in every call.

    Attributes:
        compare: a judge whose results are tuples, with a name for each part.
        shares: of the points, in the order of the parts; together 1.

    >>> from workbench.classroom.judge import judge
    >>> decide = ByPart(judge(lambda c: (c, 2 * c), call="cost(c)", parts=("parameters", "MACs")), (0.25, 0.75))
    >>> decide([(8, 16), (9, 27)], [(8,), (9,)])
    Verdict(fraction=0.25, message='cost(9): MACs: expected 18, came 27; right: parameters')
    """

    compare: Judge
    shares: Sequence[float]

    def __call__(self, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        """Return the verdict on a student's results."""
        verdict = self.compare(given, inputs)
        n = len(self.shares)
        if (
            verdict.fraction
            or len(given) != len(inputs)
            or not all(type(r) in (list, tuple) and len(r) == n for r in given)
        ):
            return verdict
        wanted = [self.compare.right(*copy.deepcopy(a)) for a in inputs]
        pairs = list(zip(given, wanted, strict=True))
        right = [
            all(difference(came[i], want[i], rel=self.compare.rel) is None for came, want in pairs) for i in range(n)
        ]
        if not any(right):
            return verdict
        names = ", ".join(name for name, good in zip(self.compare.parts, right, strict=True) if good)
        earned = sum(share for share, good in zip(self.shares, right, strict=True) if good)
        return Verdict(earned, f"{verdict.message.partition('; right in ')[0]}; right: {names}")
