"""Answers of assignment 1. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.classroom.answers import Question
from workbench.classroom.judge import Near, judge


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    # odd sides, stride 2 and groups in every draw, so that no mistake is right by luck
    shapes = [
        (8 * n * rng.randint(1, 4), 16 * n, 2 * rng.randint(8, 20) + 1, 2 * rng.randint(8, 20) + 1, 3, stride, groups)
        for n, stride, groups in ((1, 1, 1), (2, 2, 1), (2, 2, 4), (1, 1, 8))
    ]
    parts = [(rng.choice((50, 66, 90)), rng.randint(7, 30), rng.randint(7, 30), k, n) for k, n in ((3, 4), (5, 3))]
    layers = [(rng.randint(10**7, 10**8), rng.randint(10**3, 10**4)), (10**5, rng.randint(10**6, 10**7))]
    four, six, three = (n * rng.randint(5, 20) for n in (4, 4, 3))
    budgets = [
        (_block_macs(four, 14, 14, 4, 2), 14, 14, 4, 2),  # met exactly
        (_block_macs(six, 28, 28, 4, 2) - 1, 28, 28, 4, 2),
        (_block_macs(three, 9, 9, 3, 4) + 7, 9, 9, 3, 4),
    ]
    return {
        "conv-macs-test": shapes,
        "numbers-moved-test": shapes,
        "intensity-test": shapes,
        "pconv-cost-test": parts,
        "pconv-test": [
            (torch.randn(2, c, 6, 7, generator=g), torch.randn(p, p, k, k, generator=g))
            for c, p, k in ((8, 2, 3), (11, 3, 5))
        ],
        "block-test": [(torch.randn(2, c, 6, 5, generator=g), _block_state(c, g)) for c in (8, 12)],
        "roofline-test": [(*pair, rng.randint(100, 300), rng.randint(20, 60)) for pair in layers],
        "widest-test": [*budgets, (50, 20, 20, 4, 2)],
    }


def _block_state(c: int, g: torch.Generator) -> dict[str, Tensor]:
    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    return {
        "spatial_mixing.partial_conv3.weight": draw(c // 4, c // 4, 3, 3),
        "mlp.0.weight": draw(2 * c, c, 1, 1),
        "mlp.1.weight": draw(2 * c),
        "mlp.1.bias": draw(2 * c),
        "mlp.1.running_mean": draw(2 * c),
        "mlp.1.running_var": torch.rand(2 * c, generator=g) + 0.1,
        "mlp.3.weight": draw(c, 2 * c, 1, 1),
    }


def _out(side: int, stride: int) -> int:
    return -(-side // stride)


def _macs(c_in: int, c_out: int, h: int, w: int, k: int, stride: int = 1, groups: int = 1) -> int:
    return _out(h, stride) * _out(w, stride) * c_out * (c_in // groups) * k * k


def _moved(c_in: int, c_out: int, h: int, w: int, k: int, stride: int = 1, groups: int = 1) -> int:
    return c_in * h * w + c_out * (c_in // groups) * k * k + c_out * _out(h, stride) * _out(w, stride)


def _intensity(*shape: int) -> float:
    return 2 * _macs(*shape) / (4 * _moved(*shape))


def _pconv_cost(c: int, h: int, w: int, k: int, n_div: int) -> tuple[int, int]:
    p = c // n_div
    return _macs(p, p, h, w, k), _moved(p, p, h, w, k)


def _pconv(x: Tensor, weight: Tensor) -> Tensor:
    p = len(weight)
    return torch.cat((F.conv2d(x[:, :p], weight, padding=weight.shape[-1] // 2), x[:, p:]), 1)  # (B, C, H, W)


def _last(x: Tensor, weight: Tensor) -> Tensor:
    p = len(weight)
    return torch.cat((x[:, :-p], F.conv2d(x[:, -p:], weight, padding=weight.shape[-1] // 2)), 1)  # (B, C, H, W)


def _block(
    x: Tensor, s: dict[str, Tensor], training: bool = False, early: bool = False, shortcut: bool = True
) -> Tensor:
    y = F.conv2d(_pconv(x, s["spatial_mixing.partial_conv3.weight"]), s["mlp.0.weight"])  # (B, 2C, H, W)
    y = F.gelu(y) if early else y
    y = F.batch_norm(
        y, s["mlp.1.running_mean"], s["mlp.1.running_var"], s["mlp.1.weight"], s["mlp.1.bias"], training, 0.1, 1e-5
    )
    y = F.conv2d(y if early else F.gelu(y), s["mlp.3.weight"])  # (B, C, H, W)
    return x + y if shortcut else y


def _overwritten(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    changed = _pconv(x, s["spatial_mixing.partial_conv3.weight"])
    return changed - x + _block(x, s)  # (B, C, H, W): the shortcut carries the changed channels


def _roofline(macs: int, moved: int, roof: float, bandwidth: float) -> float:
    return max(2 * macs / roof, 4 * moved / bandwidth) / 1e6


def _block_macs(c: int, h: int, w: int, n_div: int, ratio: int) -> int:
    return h * w * (9 * (c // n_div) ** 2 + 2 * ratio * c * c)


def _widest(budget: int, h: int, w: int, n_div: int, ratio: int) -> int:
    c = 0
    while _block_macs(c + n_div, h, w, n_div, ratio) <= budget:
        c += n_div
    return c


def _above(*a: int) -> int:
    return _widest(*a) + a[3]


QUESTIONS = (
    Question("conv-macs-test", 2, "conv_macs", judge(
        _macs,
        Near(0.5, lambda *a: 2 * _macs(*a), "these are FLOPs, 2 × MACs; MACs were asked for"),
        Near(0.5, lambda *a: _macs(*a[:6], 1), "right for groups = 1; a group sees c_in / groups channels only"),
        Near(0.5, lambda *a: _macs(*a[:5], 1, a[6]), "right for stride 1; count output pixels, not input pixels"),
        call="conv_macs(c_in, c_out, h, w, k, stride=1, groups=1)", unit="MACs",
    )),
    Question("numbers-moved-test", 1, "numbers_moved", judge(
        _moved,
        Near(0.5, lambda *a: _moved(*a) - a[1] * (a[0] // a[6]) * a[4] ** 2, "the weights are read too"),
        call="numbers_moved(c_in, c_out, h, w, k, stride=1, groups=1)", unit="numbers",
    )),
    Question("intensity-test", 1, "intensity", judge(
        _intensity,
        Near(0.5, lambda *a: _intensity(*a) / 2, "MACs per byte; a MAC is two FLOP"),
        Near(0.5, lambda *a: _intensity(*a) * 4, "FLOP per number; a float32 has four bytes"),
        call="intensity(c_in, c_out, h, w, k, stride=1, groups=1)", unit="FLOP/byte",
    )),
    Question("pconv-cost-test", 2, "pconv_cost", judge(
        _pconv_cost,
        Near(0.5, lambda c, h, w, k, n: (_pconv_cost(c, h, w, k, n)[0], 2 * c * h * w + (c // n) ** 2 * k * k),
             "the MACs are right; untouched channels need not be moved"),
            Near(0.5, lambda c, h, w, k, n: (_pconv_cost(c, h, w, k, n)[0], 2 * (c // n) * h * w),
             "the weights are moved too"),
        Near(0.5, lambda c, h, w, k, n: (_macs(c // n, c, h, w, k), _pconv_cost(c, h, w, k, n)[1]),
             "the numbers moved are right; PConv also writes only c // n_div channels: 1/16, not 1/4"),
        call="pconv_cost(c, h, w, k=3, n_div=4)", parts=("MACs", "numbers moved"),
    )),
    Question("pconv-test", 2, "pconv", judge(
        _pconv, Near(0.5, _last, "this convolves the last channels; PConv convolves the first"),
        call="pconv(x, weight)",
    )),
    Question("block-test", 3, "block_forward", judge(
        _block,
        Near(2 / 3, lambda x, s: _block(x, s, shortcut=False), "the shortcut is missing: x + …"),
        Near(2 / 3, _overwritten, "PConv changed x, and the shortcut then added the changed channels"),
        Near(1 / 3, lambda x, s: _block(x, s, training=True), "BN used the batch's statistics, not the running ones"),
        Near(1 / 3, lambda x, s: _block(x, s, early=True), "the activation stands before BN; it belongs after"),
        call="block_forward(x, state)",
    )),
    Question("roofline-test", 2, "roofline_ms", judge(
        _roofline,
        Near(0.5, lambda m, n, r, b: (2 * m / r + 4 * n / b) / 1e6, "the two times were added; they overlap"),
        Near(0.5, lambda m, n, r, b: max(m / r, 4 * n / b) / 1e6, "the roof is in FLOP, and a MAC is two of them"),
        call="roofline_ms(macs, moved, roof_gflops, bandwidth_gbs)", unit="ms",
    )),
    Question("widest-test", 2, "widest_block", judge(
        _widest,
        Near(0.5, lambda b, *a: _widest(b - 1, *a), "a budget that is met exactly is met: <=, not <"),
        Near(0.25, _above, "one step too far: this block is over the budget"),
        call="widest_block(budget_macs, h, w, n_div=4, ratio=2)", unit="channels",
    )),
)  # fmt: skip
