"""Checks of lesson 07, FLOPs and latency: intensity by hand, which samples to keep, a ratio that survives drift."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .exercises import exercise, expect, expect_equal, expect_function, fresh
from .quiz import Question, questions


def _intensity(c: int, h: int, k: int, groups: int) -> float:
    weights = k * k * c * c // groups
    return 2 * h * h * weights / (4 * (2 * h * h * c + weights))


@exercise(
    "ex-intensity",
    hint="every weight works once per pixel, 2 FLOP each time; 4 bytes for each number of input, output and weights.",
    ok="A depthwise 3×3 stays near 2.25 FLOP per byte at any width: more channels never lift it over the ridge.",
    wrong={
        "MACs instead of FLOPs": lambda c, h, k, g: _intensity(c, h, k, g) / 2,
        "numbers instead of bytes": lambda c, h, k, g: 4 * _intensity(c, h, k, g),
        "forgot the groups": lambda c, h, k, g: _intensity(c, h, k, 1),
        "forgot the weights": lambda c, h, k, g: 2 * h * h * (k * k * c * c // g) / (8 * h * h * c),
        "forgot the output": lambda c, h, k, g: (
            2 * h * h * (k * k * c * c // g) / (4 * (h * h * c + k * k * c * c // g))
        ),
    },
)
def _intensity_check(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(1, 20, (2, 2), generator=fresh()).tolist()
    for c, h, k, g in ((96, 56, 3, 1), (96, 56, 3, 96), (768, 7, 1, 1), *((8 * a, b + 6, 3, 8) for a, b in picks)):
        expect_equal(answer(c, h, k, g), _intensity(c, h, k, g), f"FLOP per byte for c={c}, h={h}, k={k}, groups={g}",
                     rel=1e-6)  # fmt: skip


def _robust(samples: Sequence[tuple[float, float]]) -> float:
    return statistics.median(wall for wall, cpu in samples if cpu / wall >= 0.93)


@exercise(
    "ex-keep",
    hint="keep a sample when cpu / wall is at least 0.93; then the median of the wall times that are left.",
    ok="A sample that waited for another process says something about that process, not about your model.",
    wrong={
        "mean of all": lambda samples: statistics.fmean(w for w, _ in samples),
        "median of all": lambda samples: statistics.median(w for w, _ in samples),
        "mean of the kept": lambda samples: statistics.fmean(w for w, c in samples if c / w >= 0.93),
        "keeps the interrupted ones": lambda samples: statistics.median(w for w, c in samples if c / w < 0.93),
        "minimum": lambda samples: min(w for w, _ in samples),
    },
)
def _keep_check(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    for _ in range(3):
        own = (1 + torch.rand(13, generator=g)).tolist()
        waits = torch.randint(0, 13, (4,), generator=g).unique().tolist()
        samples = [(t * 2.5 if i in waits else t, t) for i, t in enumerate(own)]
        expect_equal(answer(samples), _robust(samples), "median of the uninterrupted samples, in seconds", rel=1e-9)


def _paired(a: Sequence[float], b: Sequence[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def _sorted_first(a: Sequence[float], b: Sequence[float]) -> float:
    return _paired(sorted(a), sorted(b))


def _rounds(truth: float, g: torch.Generator) -> tuple[list[float], list[float]]:
    """Draw 15 rounds of two candidates on a machine that changes from round to round.

    Sorting both lists before dividing sometimes meets the same median by chance: such a draw would prove nothing.
    """
    while True:
        machine = (1 + 4 * torch.rand(15, generator=g)).tolist()
        noise = (1 + 0.2 * torch.rand(2, 15, generator=g)).tolist()
        b = [m * n for m, n in zip(machine, noise[0], strict=True)]
        a = [truth * m * n for m, n in zip(machine, noise[1], strict=True)]
        if abs(_paired(a, b) / _sorted_first(a, b) - 1) > 1e-6:
            return a, b


@exercise(
    "ex-ratio",
    hint="divide within each round first, then take the median of those ratios.",
    ok="What slows a whole round cancels in its ratio; that is why rounds are interleaved.",
    wrong={
        "ratio of medians": lambda a, b: statistics.median(a) / statistics.median(b),
        "ratio of means": lambda a, b: statistics.fmean(a) / statistics.fmean(b),
        "upside down": lambda a, b: statistics.median(y / x for x, y in zip(a, b, strict=True)),
        "sorted first": _sorted_first,
        "difference": lambda a, b: statistics.median(x - y for x, y in zip(a, b, strict=True)),
    },
)
def _ratio_check(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    for truth in (1.0, 1.3):
        a, b = _rounds(truth, g)
        came = answer(a, b)
        expect_equal(came, _paired(a, b), "median of the per-round ratios", rel=1e-9)
        expect(0.8 < came / truth < 1.25, f"rounds that drift: expected a ratio near {truth}, came {came:.3g}")


def _pconv_bytes() -> int:
    from ..backbones.fasternet import PConv
    from ..measure import count

    return count(PConv(192), torch.zeros(1, 192, 28, 28)).bytes_moved


questions(
    Question("q1", "c", why="Latency is FLOPs over FLOPS: both matter, and the second is what depthwise loses.",
             see="section 1"),
    Question("q2", "b", why="2.25 FLOP per byte times the bandwidth is far below any arithmetic roof.",
             see="section 2"),
    Question("q3", "a", why="A fresh mapping is zeroed by the kernel, one fault per 4 KiB page, at every allocation.",
             see="section 3"),
    Question("q4", "b", why="What slows a round slows both candidates; the ratio inside the round does not see it.",
             see="ex-ratio"),
    Question("q5", _pconv_bytes, why="cat writes all channels again: the untouched ones are not free.",
             see="section 1: wb.measure.count(module, x).bytes_moved", code=True),
)  # fmt: skip
