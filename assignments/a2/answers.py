"""Answers of assignment 2. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import math
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
        # one star, a stack, one without biases, and a stack without: each rule alone, and both
        "terms-test": [
            (rng.randint(41, 900), 1, True), (rng.randint(3, 6), 3, True), (rng.randint(5, 40), 1, False),
            (rng.randint(3, 6), 3, False),
        ],
        "quadratic-test": pairs,
        "sum-test": pairs,
        "kernel-test": [(torch.randn(6, d, generator=g),) for d in (2, rng.randint(3, 7))],
        "block-test": blocks,
        "cost-test": [(8 * rng.randint(2, 6), rng.randint(7, 60), rng.randint(7, 60), r) for r in (4, 3)],
        # halves that rounding down and halves that round() gets wrong, a width that loses more than a tenth, and one
        # below the smallest multiple: in every draw
        "channels-test": [
            *((8 * n + 4, 1.0, 8) for n in (1, 2, 5, 6, rng.randint(3, 9))), (36, 0.5, 8), (rng.randint(4, 7), 0.25, 8),
            (32 * rng.randint(1, 3) + 8, 1.0, 16), (8 * rng.randint(3, 9) + 3, 1.0, 1),
            (8 * rng.randint(5, 9) + 1, 1.0, 8),  # down, which rounding up gets wrong
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


def _terms(d: int, layers: int, bias: bool, factors: int = 0) -> int:
    n, g = d + bias, factors or 2**layers
    return math.comb(n + g - 1, g)


def _quadratic(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outer = torch.outer(w1, w2)
    return (outer + outer.T) / 2, b1 * w2 + b2 * w1, b1 * b2


def _matrix(change: Any) -> Any:
    """Return what takes the form of the right answer and changes its A."""

    def form(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (change(torch.outer(w1, w2)), *_quadratic(w1, b1, w2, b2)[1:])

    return form


def _upper(outer: Tensor) -> Tensor:
    return torch.triu(outer + outer.T) - torch.diag(outer.diag())


def _gram(x: Tensor, one: float = 1, linear: float = 2, mixed: float = 2) -> tuple[Tensor, int]:
    """Return the products of all features, where constant, linear and mixed terms come so many times."""
    d = x.shape[1]
    k, squares = x @ x.T, (x**2) @ (x**2).T  # (N, N)
    return one + linear * k + squares + mixed * (k**2 - squares) / 2, (d + 1) * (d + 2) // 2 - (not one)


def _doubled(x: Tensor) -> tuple[Tensor, int]:
    return _gram(x)[0], 1 + x.shape[1] + x.shape[1] ** 2


def _output(
    dim: int, state: State, x: Tensor, acts: str = "1", shortcut: bool = True, star: bool = True, act: Any = F.relu6
) -> Tensor:
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
    a, b = act(a) if "1" in acts else a, act(b) if "2" in acts else b
    y = a * b if star else a + b  # (B, rC, H, W)
    y = conv(conv(act(y) if "3" in acts else y, "g"), "dwconv2")  # (B, C, H, W)
    return x + y if shortcut else y


def _block(**change: Any) -> Any:
    def run(dim: int, ratio: int, state: State, x: Tensor) -> tuple[dict[str, list[int]], Tensor]:
        return {k: list(v.shape) for k, v in state.items()}, _output(dim, state, x, **change)

    return run


def _cost(
    c: int, h: int, w: int, r: int, bias: int = 1, bn: int = 1, used: int = 0, double: int = 1
) -> tuple[int, int]:
    """Return (parameters, MACs) with so many biases and sets of 2 numbers for the BN, and MACs of `used` biases."""
    weights, biases, norm = 98 * c + 3 * r * c * c, (3 + 2 * r) * c, 4 * c
    return weights + bias * biases + bn * norm, double * (weights + used * biases) * h * w


def _channels(base: int, width: float, multiple: int) -> list[int]:
    return [round_channels(base * width, multiple) * 2**i for i in range(4)]


def _rounded(nearest: Any, tenth: bool = True) -> Any:
    """Return the channels where `nearest` turns a width, in multiples, into a whole number."""

    def channels(base: int, width: float, multiple: int) -> list[int]:
        wanted = base * width
        p2 = max(multiple, nearest(wanted / multiple) * multiple)
        p2 += multiple * (tenth and p2 < 0.9 * wanted)
        return [p2 * 2**i for i in range(4)]

    return channels


def _half_up(value: float) -> int:
    return int(value + 0.5)


QUESTIONS = (
    Question("terms-test", 2, "star_terms", judge(
        _terms,
        Near(0.5, lambda d, n, b: _terms(d, 1, b), "right for one star; in a stack each star doubles the degree"),
        Near(0.5, lambda d, n, b: _terms(d, n, b, 2 * n), "right for one star; a stack has degree 2ⁿ, not 2 · n"),
        Near(0.5, lambda d, n, b: _terms(d, n, True), "right with biases; without them every term has the full degree"),
        Near(0.5, lambda d, n, b: _terms(d, n, False), "right without biases; with them lower degrees are there too"),
        Near(0.5, lambda d, n, b: (d + b) ** 2**n, "ordered choices: xᵢxⱼ and xⱼxᵢ are one term"),
        Near(0.25, lambda d, n, b: _terms(d, 1, True), "right for one star with biases; layers and bias change it"),
        call="star_terms(d, layers=1, bias=True)", unit="terms",
    )),
    Question("quadratic-test", 3, "quadratic_form", judge(
        _quadratic,
        *(Near(2 / 3, _matrix(change), "the values are right, but A is not symmetric")
          for change in (lambda o: o, lambda o: o.T, _upper, lambda o: _upper(o).T)),
        Near(2 / 3, _matrix(lambda o: o + o.T), "A is twice too large: A[i, j] and A[j, i] share a coefficient"),
        Near(2 / 3, lambda w1, b1, w2, b2: (_quadratic(w1, b1, w2, b2)[0], b1 * w1 + b2 * w2, b1 * b2),
             "A and s are right; in v each bias multiplies the weights of the other branch"),
        Near(1 / 3, lambda *a: (_quadratic(*a)[0], torch.zeros_like(a[0]), a[1] * a[3]),
             "A and s are right; v is missing: each bias multiplies the other branch"),
        call="quadratic_form(w1, b1, w2, b2)", parts=("A", "v", "s"),
    )),
    Question("sum-test", 1, "collapse", judge(
        lambda w1, b1, w2, b2: (w1 + w2, b1 + b2),
        Near(0.5, lambda w1, b1, w2, b2: (w1 + w2, b1 * b2), "w is right; the biases are added too"),
        Near(0.0, lambda w1, b1, w2, b2: (w1 * w2, b1 * b2), "the branches are added here, not multiplied"),
        call="collapse(w1, b1, w2, b2)", parts=("w", "b"),
    )),
    Question("kernel-test", 2, "gram", judge(
        _gram,
        Near(0.75, lambda x: _gram(x, mixed=1), "the mixed terms come twice in the square: a factor √2"),
        Near(0.75, lambda x: _gram(x, linear=1), "the linear terms come twice in the square: a factor √2"),
        Near(0.5, lambda x: _gram(x, linear=1, mixed=1), "terms that come twice in the square need a factor √2"),
        Near(0.5, lambda x: _gram(x, linear=4, mixed=4), "a factor 2 in both points counts a term four times: use √2"),
        Near(0.5, lambda x: _gram(x, one=0), "the constant term is missing: a feature 1"),
        Near(0.5, lambda x: (_gram(x)[0], 1 + x.shape[1] + x.shape[1] ** 2),
             "the kernel is right, with xᵢxⱼ and xⱼxᵢ as two features: use one, times √2"),
        call="phi(x)", parts=("products φ(x)·φ(z)", "number of features"),
    )),
    Question("block-test", 4, "run_block", judge(
        _block(),
        Near(0.5, _block(shortcut=False), "the shortcut is missing: x + …"),
        Near(0.75, _block(act=F.relu), "ReLU on f1; this block has ReLU6, which stops at 6"),
        Near(0.5, _block(acts="2"), "the activation stands on f2; it belongs on f1"),
        Near(0.5, _block(acts="12"), "both branches have an activation; only f1 has one"),
        Near(0.5, _block(acts="3"), "the activation stands after the product; it belongs on f1"),
        Near(0.5, _block(acts=""), "the ReLU6 on f1 is missing"),
        Near(0.25, _block(star=False), "the branches are added; the star multiplies them"),
        call="run_block(dim, ratio, state, x)", parts=("tensors", "output"), rel=1e-3,
    )),
    Question("cost-test", 2, "block_cost", judge(
        _cost,
        Near(0.5, lambda *a: _cost(*a, bias=0, bn=0), "the MACs are right; biases and BN have parameters too"),
        Near(0.75, lambda *a: _cost(*a, bias=0), "the MACs are right; the five biases are parameters too"),
        Near(0.75, lambda *a: _cost(*a, bn=0), "the MACs are right; a BN has 2 parameters per channel"),
        Near(0.75, lambda *a: _cost(*a, bn=2), "the MACs are right; a BN's running statistics are no parameters"),
        Near(0.5, lambda *a: _cost(*a, double=2), "FLOPs, 2 × MACs; MACs were asked for"),
        Near(0.5, lambda *a: _cost(*a, used=1), "the parameters are right; adding a bias is no MAC"),
        Near(0.5, lambda c, h, w, r: (_cost(c, h, w, r)[0], _cost(c, h, w, r)[0] * h * w),
             "the parameters are right; biases and BN have no MACs"),
        call="block_cost(c, h, w, ratio=4)", parts=("parameters", "MACs"),
    )),
    Question("channels-test", 2, "level_channels", judge(
        _channels,
        Near(0.5, _rounded(_half_up, tenth=False), "right, but for the rule that no more than a tenth may be lost"),
        Near(0.5, _rounded(round), "halves go up; Python's round() takes them to the even neighbour"),
        Near(0.25, _rounded(int), "rounded down; the nearest multiple was asked for"),
        Near(0.25, _rounded(math.ceil), "rounded up; the nearest multiple was asked for"),
        Near(0.5, lambda b, w, m: _channels(b, w, 8), "right for multiples of 8; use multiple"),
        Near(0.25, lambda b, w, m: [round_channels(b * 2**i * w, m) for i in range(4)],
             "each level was rounded by itself; only P2 is rounded, the others are its doubles"),
        call="level_channels(base, width, multiple=8)",
    )),
)  # fmt: skip
