"""Checks of lesson 11, compare: dominance, a choice under limits, what is left of a speed-up inside a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from .exercises import exercise, expect, expect_equal, expect_function, fresh
from .quiz import Question, questions

Pair = tuple[float, ...]


def _dominates(a: Pair, b: Pair) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


@exercise(
    "ex-dominates",
    hint="two conditions: nowhere worse, and somewhere better; what should two equal networks do to each other?",
    ok="With this one line a front can be drawn in any number of dimensions.",
    wrong={
        "better everywhere": lambda a, b: all(x < y for x, y in zip(a, b, strict=True)),
        "better somewhere": lambda a, b: any(x < y for x, y in zip(a, b, strict=True)),
        "equal ones beat each other": lambda a, b: all(x <= y for x, y in zip(a, b, strict=True)),
        "smaller sum": lambda a, b: sum(a) < sum(b),
        "first cost decides": lambda a, b: a[0] < b[0],
    },
)
def _dominance(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    cases: list[tuple[Pair, Pair]] = [((1, 2), (1, 2)), ((1, 2), (1, 3)), ((1, 3), (2, 2)), ((2, 2, 2), (2, 2, 1)),
                                      ((3, 1, 1), (3, 2, 5)), ((0, 9), (1, 1)), ((0, 3), (2, 2))]  # fmt: skip
    cases += [tuple(tuple(p) for p in torch.randint(0, 3, (2, 3), generator=g).tolist()) for _ in range(20)]  # type: ignore[misc]
    for a, b in cases:
        expect_equal(answer(a, b), _dominates(a, b), f"dominates({a}, {b})")


Row = Mapping[str, Any]
Limits = Mapping[str, float]


def _choose(
    rows: Sequence[Row], limits: Limits, *, unknown: bool = False, key: Callable[[Row], Any] = lambda r: r["top1"]
) -> str | None:
    def fits(r: Row) -> bool:
        return all(unknown if r[k] is None else r[k] <= v for k, v in limits.items())

    able = [r for r in rows if r["top1"] is not None and fits(r)]
    return max(able, key=key)["name"] if able else None


@exercise(
    "ex-choose",
    hint="drop what is unknown or over a limit first, then take the largest top1; and when nothing is left?",
    ok="A limit is a fact of the task; only what passes all of them competes.",
    wrong={
        "ignores the limits": lambda rows, limits: _choose(rows, {}),
        "unknown passes": lambda rows, limits: _choose(rows, limits, unknown=True),
        "one limit is enough": lambda rows, limits: _choose(rows, dict(list(limits.items())[:1])),
        "takes the cheapest": lambda rows, limits: _choose(rows, limits, key=lambda r: -r["params"]),
        "fails when nothing is left": lambda rows, limits: max(
            (r for r in rows if r["top1"] and all(r[k] is not None and r[k] <= v for k, v in limits.items())),
            key=lambda r: r["top1"],
        )["name"],
    },
)
def _choice(answer: Any) -> None:
    expect_function(answer)
    shuffle = torch.randperm(5, generator=fresh()).tolist()
    table = [("a", 70.0, 3, 5.0), ("b", 75.0, 9, 4.0), ("c", 78.0, 4, None), ("d", 74.0, 4, 9.0), ("e", None, 1, 1.0)]
    rows = [dict(zip(("name", "top1", "params", "latency_ms"), table[i], strict=True)) for i in shuffle]
    for limits in ({"params": 10.0}, {"params": 4.0, "latency_ms": 6.0}, {"latency_ms": 9.0}, {"params": 2.0}, {}):
        came = answer(rows, limits)
        expect(came is None or isinstance(came, str), f"expected a name or None, came {type(came).__name__}")
        wanted = _choose(rows, limits)
        expect(came == wanted, f"choose(rows, {limits}): expected {wanted!r}, came {came!r}")


@exercise(
    "ex-inside",
    hint="let the whole take 1: the backbone takes share, the rest 1 − share; only one of the two becomes shorter",
    ok="Amdahl's law: what the backbone does not do, no backbone can make faster.",
    wrong={
        "the factor itself": lambda share, factor: factor,
        "share of the factor": lambda share, factor: share * factor,
        "shares the wrong way round": lambda share, factor: 1 / (share + (1 - share) / factor),
        "time left, not the speed-up": lambda share, factor: 1 - share + share / factor,
        "gain in proportion": lambda share, factor: 1 + share * (factor - 1),
    },
)
def _inside(answer: Any) -> None:
    expect_function(answer)
    share, factor = (float(v) for v in torch.rand(2, generator=fresh()) * 0.4 + 0.3)
    for s, f in ((0.5, 2.0), (0.25, 4.0), (0.9, 1.0), (1.0, 3.0), (share, 1 + factor)):
        expect_equal(answer(s, f), 1 / (1 - s + s / f), f"inside({s:.2f}, {f:.2f})", rel=1e-6)


def _dearest_in_yolo11n() -> int:
    from ..yolo.comparison import Conditions, compare

    return compare(["fasternet_t0"], Conditions(imgsz=320, host="yolo11"), time=False).rows[0]["macs"]


questions(
    Question("q1", "b", "it is beaten in one number and better in the other, so neither dominates", "section 1"),
    Question("q2", "c", "time depends on the machine, the runtime and the batch; the counts do not", "section 2"),
    Question("q3", _dearest_in_yolo11n, "result.row(...)['macs'] of the panel", "panel", code=True),
    Question("q4", 1.25, "1 / (0.6 + 0.4 / 2)", "section 3", rel=1e-6),
)
