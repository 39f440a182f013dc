"""Checks of lesson 01: MACs of any convolution, intensity, the time a roofline predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .exercises import exercise, expect_equal, expect_function, fresh
from .quiz import Question, questions


def _macs(c_in: int, c_out: int, k: int, size: int, stride: int = 1, groups: int = 1) -> int:
    out = (size - 1) // stride + 1  # padding k // 2
    return out * out * k * k * (c_in // groups) * c_out


@exercise(
    "ex-macs",
    hint="count the weights, then the positions at which the kernel is placed: those of the output map.",
    ok="Weights × output positions: that is all there is to a convolution's MACs.",
    wrong={
        "forgot the groups": lambda a, b, k, s, stride, g: _macs(a, b, k, s, stride),
        "input map instead of output map": lambda a, b, k, s, stride, g: _macs(a, b, k, s, 1, g),
        "weights only": lambda a, b, k, s, stride, g: k * k * (a // g) * b,
        "FLOPs": lambda a, b, k, s, stride, g: 2 * _macs(a, b, k, s, stride, g),
        "kernel counted once": lambda a, b, k, s, stride, g: _macs(a, b, k, s, stride, g) // k,
        "divided by the groups twice": lambda a, b, k, s, stride, g: _macs(a, b, k, s, stride, g) // g,
    },
)
def _any_conv(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(2, 9, (4,), generator=fresh()).tolist()
    cases = [(3, 32, 3, 224, 2, 1), (64, 64, 3, 56, 1, 64), (96, 24, 1, 28, 1, 1), (48, 48, 5, 15, 2, 4)]
    cases.append((8 * picks[0], 8 * picks[1], 3, 7 * picks[2], 2, picks[3] % 3 * 2 or 8))
    for c_in, c_out, k, size, stride, groups in cases:
        what = f"MACs of {c_in} → {c_out} channels, k = {k}, {size}×{size}, stride {stride}, groups = {groups}"
        expect_equal(answer(c_in, c_out, k, size, stride, groups), _macs(c_in, c_out, k, size, stride, groups), what)


def _intensity(c: int, h: int, groups: int, unit: float = 4.0, work: float = 2.0, maps: int = 2) -> float:
    weights = 9 * c * c // groups
    return work * h * h * weights / (unit * (maps * h * h * c + weights))


@exercise(
    "ex-intensity",
    hint="FLOP = 2 × MACs; bytes = 4 × (input map + weights + output map).",
    ok="Dense layers on large maps are rich in arithmetic; depthwise stays near 2, whatever its size.",
    wrong={
        "MACs instead of FLOPs": lambda c, h, g: _intensity(c, h, g, work=1.0),
        "numbers instead of bytes": lambda c, h, g: _intensity(c, h, g, unit=1.0),
        "forgot the output": lambda c, h, g: _intensity(c, h, g, maps=1),
        "forgot the weights": lambda c, h, g: 2 * 9 * c // g / (4 * 2),
        "upside down": lambda c, h, g: 1 / _intensity(c, h, g),
    },
)
def _intensities(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    pick = int(torch.randint(2, 30, (1,), generator=fresh()))
    for c, h, groups in ((192, 28, 1), (192, 28, 192), (768, 7, 1), (8 * pick, pick + 5, 8)):
        expected = _intensity(c, h, groups)
        expect_equal(answer(c, h, groups), expected, f"FLOP per byte for c = {c}, h = {h}, groups = {groups}", rel=1e-3)


@exercise(
    "ex-roofline",
    hint="two times, one for arithmetic and one for memory; they overlap, so the longer one counts. Mind the units.",
    ok="The smaller of two rates is the longer of two times.",
    wrong={
        "added the two times": lambda f, b, peak, bw: f / peak / 1e6 + b / bw / 1e6,
        "the shorter time": lambda f, b, peak, bw: min(f / peak, b / bw) / 1e6,
        "seconds": lambda f, b, peak, bw: max(f / peak, b / bw) / 1e9,
        "arithmetic only": lambda f, b, peak, bw: f / peak / 1e6,
        "memory only": lambda f, b, peak, bw: b / bw / 1e6,
        "swapped the rates": lambda f, b, peak, bw: max(f / bw, b / peak) / 1e6,
    },
)
def _roofline(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    scale = 1 + torch.rand(2, generator=fresh()).tolist()[0]
    for flops, moved, peak, bandwidth in ((4e9, 1e6, 100, 10), (1e6, 4e8, 100, 10), (3e8 * scale, 9e6, 80, 12.5)):
        expected = max(flops / peak, moved / bandwidth) / 1e6
        what = f"ms for {flops:.3g} FLOP, {moved:.3g} bytes, {peak} GFLOP/s, {bandwidth} GB/s"
        expect_equal(answer(flops, moved, peak, bandwidth), expected, what, rel=1e-3)


def _starnet_intensity() -> float:
    from ..measure import count

    return count("starnet_s1").intensity


questions(
    Question("q1", "b", why="It reads and writes all channels for nine multiplications each.", see="section 2"),
    Question("q2", 28 * 28 * 9 * 64 * 128, why="28² output positions × 9 · 64 · 128 weights.", see="section 1"),
    Question("q3", "b", why="MACs and bytes both double, so their ratio stays.", see="section 2"),
    Question(
        "q4", "a", why="Its bytes are almost all weights, which a batch reads once for all images.", see="section 2"
    ),
    Question(
        "q5", _starnet_intensity, rel=0.01, code=True,
        why="Its depthwise 7×7 and its many element-wise operators move much and multiply little.",
        see="section 3: wb.measure.count(name).intensity",
    ),
)  # fmt: skip
