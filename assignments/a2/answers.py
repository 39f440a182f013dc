"""Answers of assignment 2. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.backbones.starnet import Block, round_channels
from workbench.classroom.answers import Question
from workbench.classroom.judge import Near, judge

State = dict[str, Tensor]


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    pairs = [
        tuple(torch.randn(s, generator=g) for s in ((d,), (), (d,), ()))
        for d in (2, rng.randint(3, 6), rng.randint(7, 9))
    ]
    blocks = [(dim, r, _state(dim, r, g), 2 * torch.randn(2, dim, 9, 8, generator=g)) for dim, r in ((8, 4), (12, 3))]
    return {
        "terms-test": [(1,), (rng.randint(5, 40),), (rng.randint(41, 900),)],
        "quadratic-test": pairs,
        "sum-test": pairs,
        "kernel-test": [(torch.randn(6, d, generator=g),) for d in (2, rng.randint(3, 7))],
        "block-test": blocks,
        "cost-test": [(8 * rng.randint(2, 6), rng.randint(7, 60), rng.randint(7, 60), r) for r in (4, 3)],
        # halves that rounding down and halves that round() gets wrong, a width that loses more than a tenth, and one
        # below the smallest multiple: in every draw
        "channels-test": [
            *((8 * n + 4, 1.0, 8) for n in (1, 2, 5, 6, rng.randint(3, 9))), (36, 0.5, 8), (rng.randint(4, 7), 0.25, 8)
        ],
    }  # fmt: skip


def _state(dim: int, ratio: int, g: torch.Generator) -> State:
    state: State = Block(dim, ratio).state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=g) * 0.4)
            if name.endswith("running_var"):
                value.abs_().add_(0.1)
    return state


def _quadratic(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outer = torch.outer(w1, w2)
    return (outer + outer.T) / 2, b1 * w2 + b2 * w1, b1 * b2


def _gram(x: Tensor) -> tuple[Tensor, int]:
    d = x.shape[1]
    return (1 + x @ x.T) ** 2, (d + 1) * (d + 2) // 2


def _unscaled(x: Tensor) -> tuple[Tensor, int]:
    """Return the products of the plain terms, without √2."""
    k = x @ x.T  # (N, N)
    mixed = (k**2 + (x**2) @ (x**2).T) / 2  # Σ over i ≤ j of xᵢxⱼzᵢzⱼ
    return 1 + k + mixed, _gram(x)[1]


def _doubled(x: Tensor) -> tuple[Tensor, int]:
    return _gram(x)[0], 1 + x.shape[1] + x.shape[1] ** 2


def _output(dim: int, state: State, x: Tensor, acts: str = "1", shortcut: bool = True, star: bool = True) -> Tensor:
    def conv(y: Tensor, name: str) -> Tensor:
        w = state[f"{name}.conv.weight"]
        groups = dim if name.startswith("dw") else 1
        y = F.conv2d(y, w, state[f"{name}.conv.bias"], padding=w.shape[-1] // 2, groups=groups)
        if f"{name}.bn.weight" not in state:
            return y
        mean, var, weight, bias = (state[f"{name}.bn.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, weight, bias)

    y = conv(x, "dwconv")  # (B, C, H, W)
    a, b = conv(y, "f1"), conv(y, "f2")  # (B, rC, H, W)
    a, b = F.relu6(a) if "1" in acts else a, F.relu6(b) if "2" in acts else b
    y = a * b if star else a + b  # (B, rC, H, W)
    y = conv(conv(F.relu6(y) if "3" in acts else y, "g"), "dwconv2")  # (B, C, H, W)
    return x + y if shortcut else y


def _block(**change: Any) -> Any:
    def run(dim: int, ratio: int, state: State, x: Tensor) -> tuple[dict[str, list[int]], Tensor]:
        return {k: list(v.shape) for k, v in state.items()}, _output(dim, state, x, **change)

    return run


def _cost(c: int, h: int, w: int, ratio: int) -> tuple[int, int]:
    weights = 2 * 49 * c + 3 * ratio * c * c
    return weights + 7 * c + 2 * ratio * c, weights * h * w


def _channels(base: int, width: float, multiple: int) -> list[int]:
    return [round_channels(base * width, multiple) * 2**i for i in range(4)]


def _nearest(base: int, width: float, multiple: int) -> list[int]:
    p2 = max(multiple, int(base * width + multiple / 2) // multiple * multiple)
    return [p2 * 2**i for i in range(4)]


QUESTIONS = (
    Question("terms-test", 2, "star_terms", judge(
        lambda d: (d + 1) * (d + 2) // 2,
        Near(0.5, lambda d: d * (d + 1) // 2, "the linear terms and the constant are missing"),
        Near(0.5, lambda d: (d + 1) ** 2, "ordered pairs: xᵢxⱼ and xⱼxᵢ are one term"),
        call="star_terms(d)", unit="terms",
    )),
    Question("quadratic-test", 3, "quadratic_form", judge(
        _quadratic,
        Near(2 / 3, lambda *a: (torch.outer(a[0], a[2]), *_quadratic(*a)[1:]),
             "the values are right, but A is not symmetric"),
        Near(1 / 3, lambda *a: (_quadratic(*a)[0], torch.zeros_like(a[0]), a[1] * a[3]),
             "A and s are right; v is missing: each bias multiplies the other branch"),
        call="quadratic_form(w1, b1, w2, b2)", parts=("A", "v", "s"),
    )),
    Question("sum-test", 1, "collapse", judge(
        lambda w1, b1, w2, b2: (w1 + w2, b1 + b2), call="collapse(w1, b1, w2, b2)", parts=("w", "b"),
    )),
    Question("kernel-test", 2, "gram", judge(
        _gram,
        Near(0.5, _unscaled, "all terms are there; those that come twice in the square need a factor √2"),
        Near(0.5, _doubled, "the kernel is right, with xᵢxⱼ and xⱼxᵢ as two features: use one, times √2"),
        call="phi(x)", parts=("products φ(x)·φ(z)", "number of features"),
    )),
    Question("block-test", 4, "run_block", judge(
        _block(),
        Near(0.5, _block(shortcut=False), "the shortcut is missing: x + …"),
        Near(0.5, _block(acts="12"), "both branches have an activation; only f1 has one"),
        Near(0.5, _block(acts="3"), "the activation stands after the product; it belongs on f1"),
        Near(0.5, _block(acts=""), "the ReLU6 on f1 is missing"),
        Near(0.25, _block(star=False), "the branches are added; the star multiplies them"),
        call="run_block(dim, ratio, state, x)", parts=("tensors", "output"), rel=1e-3,
    )),
    Question("cost-test", 2, "block_cost", judge(
        _cost,
        Near(0.5, lambda c, h, w, r: (_cost(c, h, w, r)[1] // (h * w), _cost(c, h, w, r)[1]),
             "the MACs are right; biases and BN have parameters too"),
        Near(0.5, lambda c, h, w, r: (_cost(c, h, w, r)[0], 2 * _cost(c, h, w, r)[1]),
             "FLOPs, 2 × MACs; MACs were asked for"),
        Near(0.5, lambda c, h, w, r: (_cost(c, h, w, r)[0], _cost(c, h, w, r)[0] * h * w),
             "the parameters are right; biases and BN have no MACs"),
        call="block_cost(c, h, w, ratio=4)", parts=("parameters", "MACs"),
    )),
    Question("channels-test", 2, "level_channels", judge(
        _channels,
        Near(0.5, _nearest, "right, but for the rule that no more than a tenth may be lost"),
        Near(0.25, lambda b, w, m: [round_channels(b * 2**i * w, m) for i in range(4)],
             "each level was rounded by itself; only P2 is rounded, the others are its doubles"),
        call="level_channels(base, width, multiple=8)",
    )),
)  # fmt: skip
