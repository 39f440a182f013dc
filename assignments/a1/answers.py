"""Answers of assignment 1. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.classroom.answers import Question
from workbench.classroom.judge import Near, Raises, judge


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    # odd sides, stride 2, groups and two kernels in every draw, so that no mistake is right by luck
    shapes = [
        (8 * n * rng.randint(1, 4), 16 * n, 2 * rng.randint(8, 20) + 1, 2 * rng.randint(8, 20) + 1, k, stride, groups)
        for n, k, stride, groups in ((1, 3, 1, 1), (2, 5, 2, 1), (2, 3, 2, 4), (1, 5, 1, 8))
    ]
    parts = [(rng.choice((50, 66, 90)), rng.randint(7, 30), rng.randint(7, 30), k, n) for k, n in ((3, 4), (5, 3))]
    layers = [(rng.randint(10**7, 10**8), rng.randint(10**3, 10**4)), (10**5, rng.randint(10**6, 10**7))]
    four, six = 4 * rng.randint(5, 20), 4 * rng.randint(5, 20)
    three = 3 * rng.randrange(5, 20, 2)  # odd, so that no multiple of 4 is right by luck
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


def _out(side: int, stride: int, up: bool = True) -> int:
    return -(-side // stride) if up else side // stride


def _macs(c_in: int, c_out: int, h: int, w: int, k: int, stride: int = 1, groups: int = 1, up: bool = True) -> int:
    return _out(h, stride, up) * _out(w, stride, up) * c_out * (c_in // groups) * k * k


def _weights(c_in: int, c_out: int, k: int, groups: int) -> int:
    return c_out * (c_in // groups) * k * k


def _moved(c_in: int, c_out: int, h: int, w: int, k: int, stride: int = 1, groups: int = 1, up: bool = True) -> int:
    return c_in * h * w + _weights(c_in, c_out, k, groups) + c_out * _out(h, stride, up) * _out(w, stride, up)


def _intensity(*shape: int) -> float:
    return 2 * _macs(*shape) / (4 * _moved(*shape))


def _pconv_cost(c: int, h: int, w: int, k: int, n_div: int) -> tuple[int, int]:
    return _on(c // n_div, h, w, k)


def _on(p: int, h: int, w: int, k: int) -> tuple[int, int]:
    return _macs(p, p, h, w, k), _moved(p, p, h, w, k)


def _pconv(x: Tensor, weight: Tensor, padding: int | None = None, rest: float = 1.0) -> Tensor:
    p = len(weight)
    padding = weight.shape[-1] // 2 if padding is None else padding
    return torch.cat((F.conv2d(x[:, :p], weight, padding=padding), rest * x[:, p:]), 1)  # (B, C, H, W)


def _last(x: Tensor, weight: Tensor) -> Tensor:
    p = len(weight)
    return torch.cat((x[:, :-p], F.conv2d(x[:, -p:], weight, padding=weight.shape[-1] // 2)), 1)  # (B, C, H, W)


def _run(function: Callable[..., Tensor]) -> Callable[..., Any]:
    """Return what the notebook's run_pconv returns: the output, and x as it was."""
    return lambda x, weight: (function(x, weight), x)


def _padded_by_one(x: Tensor, weight: Tensor) -> Any:
    return (_pconv(x, weight), x) if weight.shape[-1] == 3 else SHRUNK


def _block(
    x: Tensor, s: dict[str, Tensor], training: bool = False, early: bool = False, shortcut: str = "x", act: Any = F.gelu
) -> Tensor:
    partial = _pconv(x, s["spatial_mixing.partial_conv3.weight"])
    y = F.conv2d(partial, s["mlp.0.weight"])  # (B, 2C, H, W)
    y = act(y) if early else y
    y = F.batch_norm(
        y, s["mlp.1.running_mean"], s["mlp.1.running_var"], s["mlp.1.weight"], s["mlp.1.bias"], training, 0.1, 1e-5
    )
    y = F.conv2d(y if early else act(y), s["mlp.3.weight"])  # (B, C, H, W)
    return y + {"x": x, "partial": partial, "none": 0}[shortcut]


def _times(macs: int, moved: int, roof: float, bandwidth: float) -> tuple[float, float]:
    """Return arithmetic's and memory's time in ms."""
    return 2 * macs / roof / 1e6, 4 * moved / bandwidth / 1e6


def _roofline(*a: Any) -> float:
    return max(_times(*a))


def _block_macs(c: int, h: int, w: int, n_div: int, ratio: int) -> int:
    return h * w * (9 * (c // n_div) ** 2 + 2 * ratio * c * c)


def _widest(budget: int, h: int, w: int, n_div: int, ratio: int, step: int = 0) -> int:
    c, step = 0, step or n_div
    while _block_macs(c + step, h, w, n_div, ratio) <= budget:
        c += step
    return c


SHAPE = "c_in, c_out, h, w, k, stride=1, groups=1"
SHRUNK = Raises("must match")  # torch.cat, or an assignment, of maps of two sizes
TOO_SMALL = "without padding the map gets smaller; padding = k // 2 keeps its size"
QUESTIONS = (
    Question("conv-macs-test", 2, "conv_macs", judge(
        _macs,
        Near(0.5, lambda *a: 2 * _macs(*a), "these are FLOPs, 2 × MACs; MACs were asked for"),
        Near(0.5, lambda *a: _macs(*a[:6], 1), "right for groups = 1; a group sees c_in / groups channels only"),
        Near(0.5, lambda *a: _macs(*a[:5], 1, a[6]), "right for stride 1; count output pixels, not input pixels"),
        Near(0.75, lambda *a: _macs(*a, up=False), "right where the stride divides the side; other sides round up"),
        Near(0.5, lambda *a: _macs(*a[:4], 3, *a[5:]), "right for k = 3; the kernel is k × k"),
        call=f"conv_macs({SHAPE})", unit="MACs",
    )),
    Question("numbers-moved-test", 1, "numbers_moved", judge(
        _moved,
        Near(0.5, lambda *a: _moved(*a) - _weights(a[0], a[1], a[4], a[6]), "the weights are read too"),
        Near(0.5, lambda *a: _moved(*a[:5], 1, a[6]), "with a stride fewer numbers are written than at stride 1"),
        Near(0.5, lambda *a: _moved(*a[:6], 1), "a kernel has weights for the c_in / groups channels of its group"),
        Near(0.75, lambda *a: _moved(*a, up=False), "right where the stride divides the side; other sides round up"),
        call=f"numbers_moved({SHAPE})", unit="numbers",
    )),
    Question("intensity-test", 1, "intensity", judge(
        _intensity,
        Near(0.5, lambda *a: _intensity(*a) / 2, "MACs per byte; a MAC is two FLOP"),
        Near(0.5, lambda *a: _intensity(*a) * 4, "FLOP per number; a float32 has four bytes"),
        Near(0.25, lambda *a: _intensity(*a) * 2, "MACs per number; a MAC is two FLOP, and a float32 has four bytes"),
        Near(0.5, lambda *a: _intensity(*a[:5]), "right for stride and groups of 1; pass yours on"),
        call=f"intensity({SHAPE})", unit="FLOP/byte",
    )),
    Question("pconv-cost-test", 2, "pconv_cost", judge(
        _pconv_cost,
        Near(0.5, lambda c, h, w, k, n: (_pconv_cost(c, h, w, k, n)[0], 2 * c * h * w + (c // n) ** 2 * k * k),
             "the MACs are right; untouched channels need not be moved"),
        Near(0.5, lambda c, h, w, k, n: (_pconv_cost(c, h, w, k, n)[0], 2 * (c // n) * h * w),
             "the weights are moved too"),
        Near(0.5, lambda c, h, w, k, n: (_macs(c // n, c, h, w, k), _pconv_cost(c, h, w, k, n)[1]),
             "the numbers moved are right; PConv also writes only c // n_div channels: 1/16, not 1/4"),
        Near(0.5, lambda c, h, w, k, n: _pconv_cost(c, h, w, k, 4), "right for n_div = 4; use n_div"),
        Near(0.5, lambda c, h, w, k, n: _pconv_cost(c, h, w, 3, n), "right for k = 3; pass k on"),
        Near(0.75, lambda c, h, w, k, n: _on(-(-c // n), h, w, k), "c // n_div rounds down: 50 channels, 12 convolved"),
        call="pconv_cost(c, h, w, k=3, n_div=4)", parts=("MACs", "numbers moved"),
    )),
    Question("pconv-test", 2, "run_pconv", judge(
        _run(_pconv),
        Near(0.5, lambda x, w: (_pconv(x, w),) * 2, "the output is right; x has changed, and a block still needs it"),
        Near(0.5, _run(_last), "this convolves the last channels; PConv convolves the first"),
        Near(0.5, _padded_by_one, "right for k = 3; padding = k // 2 keeps the size for every odd k"),
        Near(0.0, lambda x, w: SHRUNK, TOO_SMALL),
        Near(0.25, _run(lambda x, w: _pconv(x, w)[:, : len(w)]), "only the convolved channels came; pass the rest on"),
        Near(0.25, _run(lambda x, w: _pconv(x, w, rest=0.0)), "the other channels came as zeros; pass them on"),
        call="run_pconv(x, weight)", parts=("output", "x afterwards"),
    )),
    Question("block-test", 3, "block_forward", judge(
        _block,
        Near(2 / 3, lambda x, s: _block(x, s, shortcut="none"), "the shortcut is missing: x + …"),
        Near(2 / 3, lambda x, s: _block(x, s, shortcut="partial"), "the shortcut added PConv's output; add x itself"),
        Near(2 / 3, lambda x, s: _block(x, s, act=F.relu), "ReLU; this block has GELU"),
        Near(1 / 3, lambda x, s: _block(x, s, training=True), "BN used the batch's statistics, not the running ones"),
        Near(1 / 3, lambda x, s: _block(x, s, early=True), "the activation stands before BN; it belongs after"),
        call="block_forward(x, state)",
    )),
    Question("roofline-test", 2, "roofline_ms", judge(
        _roofline,
        Near(0.5, lambda *a: sum(_times(*a)), "the two times were added; they overlap"),
        Near(0.5, lambda m, n, r, b: max(m / r, 4 * n / b) / 1e6, "the roof is in FLOP, and a MAC is two of them"),
        Near(0.5, lambda m, n, r, b: max(2 * m / r, n / b) / 1e6, "the bandwidth is in bytes; a number has four"),
        Near(0.5, lambda *a: min(_times(*a)), "the shorter of the two times; the layer has to wait for the longer"),
        Near(0.5, lambda *a: _times(*a)[0], "arithmetic only; moving the numbers may take longer"),
        *(Near(0.75, lambda *a, f=f: f * _roofline(*a), f"these are {unit}; milliseconds were asked for")
          for f, unit in ((1e-3, "seconds"), (1e3, "microseconds"), (1e6, "nanoseconds"))),
        call="roofline_ms(macs, moved, roof_gflops, bandwidth_gbs)", unit="ms",
    )),
    Question("widest-test", 2, "widest_block", judge(
        _widest,
        Near(0.75, lambda b, *a: _widest(b - 1, *a), "a budget that is met exactly is met: <=, not <"),
        Near(0.75, lambda *a: max(a[3], _widest(*a)), "right, but for the budget that not even n_div channels meet: 0"),
        Near(0.5, lambda *a: _widest(*a[:3], 4, a[4]), "right for n_div = 4; use n_div"),
        Near(0.5, lambda *a: _widest(*a[:4], 2), "right for ratio = 2; use ratio"),
        Near(0.5, lambda *a: _widest(*a, step=1), "the channels have to be a multiple of n_div"),
        Near(0.25, lambda *a: _widest(*a) + a[3], "one step too far: this block is over the budget"),
        call="widest_block(budget_macs, h, w, n_div=4, ratio=2)", unit="channels",
    )),
)  # fmt: skip
