"""Checks of lesson 10, training: optimiser steps, average precision, a verdict over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .exercises import exercise, expect, expect_equal, expect_function, fresh
from .quiz import Question, questions


def _steps(images: int, batch: int, nbs: int, epochs: int, *, rounding: Any = math.ceil) -> int:
    return epochs * rounding(images / batch) // max(round(nbs / batch), 1)


@exercise(
    "ex-steps",
    hint="count the batches of the whole run, the last one of an epoch may be smaller; how many of them make a step?",
    ok="The number of steps, not of epochs, says how far an optimiser can have come.",
    wrong={
        "a step for every batch": lambda images, batch, nbs, epochs: epochs * math.ceil(images / batch),
        "dropped the smaller last batch": lambda *a: _steps(*a, rounding=math.floor),
        "started each epoch with an empty sum": lambda images, batch, nbs, epochs: (
            epochs * (math.ceil(images / batch) // max(round(nbs / batch), 1))
        ),
        "images over nbs": lambda images, batch, nbs, epochs: epochs * images // nbs,
        "divided by zero for large batches": lambda images, batch, nbs, epochs: (
            epochs * math.ceil(images / batch) // round(nbs / batch)
        ),
    },
)
def _optimizer_steps(answer: Any) -> None:
    expect_function(answer)
    sizes = [int(n) for n in torch.randint(5, 400, (3,), generator=fresh())]
    cases = [(128, 4, 64, 1), (128, 4, 4, 1), (24, 4, 64, 40), (130, 4, 64, 1), (100, 32, 8, 2)]
    for case in (*cases, *((n, 4, 64, 7) for n in sizes)):
        expect_equal(answer(*case), _steps(*case), "optimizer_steps({}, {}, {}, {})".format(*case))


def _ap(
    scores: Tensor, correct: Tensor, truths: int, *, sort: bool = True, envelope: bool = True, over: int | None = None
) -> float:
    order = scores.argsort(descending=True) if sort else torch.arange(len(scores))
    hits = correct[order].double().cumsum(0)  # (N,)
    recall = hits / (over or truths)
    precision = hits / torch.arange(1, len(hits) + 1)
    if envelope:
        precision = precision.flip(0).cummax(0).values.flip(0)
    return float((torch.diff(recall, prepend=recall.new_zeros(1)) * precision).sum())


@exercise(
    "ex-average-precision",
    hint="sort by falling score; recall divides by the number of true objects; the envelope is a cummax from the right",
    ok="Objects that were never found cost recall: the curve ends before 1 and the area with it.",
    wrong={
        "did not sort": lambda s, c, n: _ap(s, c, n, sort=False),
        "no envelope": lambda s, c, n: _ap(s, c, n, envelope=False),
        "recall over the found objects": lambda s, c, n: _ap(s, c, n, over=max(int(c.sum()), 1)),
        "precision of all detections": lambda s, c, n: float(c.double().mean()),
        "recall of all detections": lambda s, c, n: float(c.double().sum() / n),
    },
)
def _average_precision(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    fixed = (torch.tensor([0.2, 0.9, 0.6, 0.4]), torch.tensor([True, False, True, False]), 4)
    for scores, correct, truths in (fixed, *((torch.rand(30, generator=g), _flags(g), 40) for _ in range(3))):
        came = answer(scores, correct, truths)
        came = came.item() if isinstance(came, Tensor) and came.ndim == 0 else came
        expect_equal(came, _ap(scores, correct, truths), "average precision", rel=1e-4)


def _flags(g: torch.Generator) -> Tensor:
    flags = torch.rand(30, generator=g) < 0.6  # (30,)
    flags[0] = True
    return flags


def _verdict(a: Sequence[float], b: Sequence[float], *, errors: float = 2.0, mean: bool = True) -> str:
    spread = [statistics.stdev(x) ** 2 / (len(x) if mean else 1) for x in (a, b)]
    gap = statistics.mean(a) - statistics.mean(b)
    if abs(gap) <= errors * math.sqrt(sum(spread)):
        return "undecided"
    return "a" if gap > 0 else "b"


@exercise(
    "ex-verdict",
    hint="statistics.stdev(x) ** 2 / len(x) is the variance of a mean; variances of independent means add",
    ok="Two standard errors leave about one false win in twenty comparisons. Three seeds are few.",
    wrong={
        "the larger mean wins": lambda a, b: "a" if statistics.mean(a) > statistics.mean(b) else "b",
        "the best seed wins": lambda a, b: "a" if max(a) > max(b) else "b",
        "spread of runs, not of the mean": lambda a, b: _verdict(a, b, mean=False),
        "half a standard error": lambda a, b: _verdict(a, b, errors=0.5),
        "only when every seed is ahead": lambda a, b: (
            "a" if min(a) > max(b) else "b" if min(b) > max(a) else "undecided"
        ),
    },
)
def _verdict_of_seeds(answer: Any) -> None:
    expect_function(answer)
    cases = [
        ([0.50, 0.52, 0.54], [0.40, 0.42, 0.44]),
        ([0.40, 0.42, 0.44], [0.50, 0.52, 0.54]),
        ([0.50, 0.58, 0.45], [0.49, 0.47, 0.53]),
        ([0.50, 0.54, 0.46, 0.50], [0.46, 0.42, 0.50, 0.46]),
        ([0.62, 0.50, 0.56, 0.53, 0.59, 0.55], [0.48, 0.54, 0.46, 0.52, 0.47, 0.49]),
    ]
    for a, b in cases:
        came = answer(a, b)
        expect(came in ("a", "b", "undecided"), f"expected 'a', 'b' or 'undecided', came {came!r}")
        expect_equal(came, _verdict(a, b), f"the verdict on {a} and {b}")


questions(
    Question("q1", "c", "gradients were summed over 16 batches, so there were 2 steps in an epoch", "section 1"),
    Question("q2", 200, "3,200 batches, 16 to a step", "section 1", code=True),
    Question("q3", "b", "its validation images are its training images", "section 3"),
    Question("q4", 0.625, "precision 1 up to recall ½, then ½ up to recall ¾", "section 2", rel=1e-3),
)
