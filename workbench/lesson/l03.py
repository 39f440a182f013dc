"""Checks of lesson 03, StarNet: the terms of a product, the star with its one activation, the article's widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..backbones.starnet import round_channels
from .exercises import exercise, expect, expect_equal, expect_function, expect_tensor, fresh
from .quiz import Question, questions


@exercise(
    "ex-coefficients",
    hint="x_i·x_j and x_j·x_i are the same term: off the diagonal two products meet, on it only one.",
    ok="Two vectors of n weights set n(n+1)/2 coefficients: many terms, but not independently of each other.",
    wrong={
        "forgot that x_i·x_j meets x_j·x_i": lambda w, v: torch.triu(torch.outer(w, v)),
        "did not merge equal terms": lambda w, v: torch.outer(w, v),
        "counted the squares twice": lambda w, v: torch.triu(torch.outer(w, v) + torch.outer(v, w)),
        "a sum, not a product": lambda w, v: torch.triu(w[:, None] + v[None, :]),
        "lower triangle": lambda w, v: torch.tril(torch.outer(w, v) + torch.outer(v, w)) - torch.diag(w * v),
    },
)
def _coefficients(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    for n in (2, 3, 6):
        w, v, x = (torch.randn(n, generator=g) for _ in range(3))  # (n,) each
        expected = torch.triu(torch.outer(w, v) + torch.outer(v, w)) - torch.diag(w * v)  # (n, n)
        came = answer(w.clone(), v.clone())
        expect_tensor(came, expected, f"coefficients for n = {n}")
        terms = (came * torch.outer(x, x)).sum()  # the polynomial itself
        expect_tensor(terms, (w @ x) * (v @ x), "Σ α_ij·x_i·x_j", rel=1e-3)


@exercise(
    "ex-star-block",
    hint="the activation is F.relu6 and stands on the first branch only, before the product.",
    ok="One branch bounded by ReLU6 to [0, 6] acts as a gate on the other, which keeps its sign.",
    wrong={
        "activation on both branches": lambda x, f1, f2: F.relu6(f1(x)) * F.relu6(f2(x)),
        "activation on the product": lambda x, f1, f2: F.relu6(f1(x) * f2(x)),
        "ReLU instead of ReLU6": lambda x, f1, f2: F.relu(f1(x)) * f2(x),
        "sum instead of star": lambda x, f1, f2: F.relu6(f1(x)) + f2(x),
        "activation on the second branch": lambda x, f1, f2: f1(x) * F.relu6(f2(x)),
        "one branch used twice": lambda x, f1, f2: F.relu6(f1(x)) * f1(x),
    },
)
def _star_block(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    x = torch.randn(2, 8, 5, 5, generator=g)  # (B, C, H, W)
    weights = 3 * torch.randn(2, 16, 8, 1, 1, generator=g)  # two 1×1 convolutions, large enough to reach 6

    def branch(k: int) -> Callable[[Tensor], Tensor]:
        return lambda t: F.conv2d(t, weights[k])  # (B, 16, H, W)

    expected = branch(0)(x).clamp(0, 6) * branch(1)(x)  # (B, 16, H, W)
    before = x.clone()
    expect_tensor(answer(x, branch(0), branch(1)), expected, "star(x, f1, f2)")
    expect(torch.equal(x, before), "the input x was overwritten; the block still needs it for its shortcut")


def _nearest_8(value: float) -> int:
    return max(8, int(value + 4) // 8 * 8)


@exercise(
    "ex-article-widths",
    hint="scale and round P2 alone, to the nearest multiple of 8 and at least 8; each next level doubles the last.",
    ok="The rounding decides P2, the doubling does the rest: the variants stop differing in width.",
    wrong={
        "rounded down": lambda base, width: [max(1, int(base * width) // 8 * 8) * 2**i for i in range(4)],
        "no rounding": lambda base, width: [int(base * width) * 2**i for i in range(4)],
        "rounded each level by itself": lambda base, width: [_nearest_8(base * width * 2**i) for i in range(4)],
        "rounded before scaling": lambda base, width: [int(_nearest_8(base) * width) * 2**i for i in range(4)],
    },
)
def _article_widths(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(1, 12, (3,), generator=fresh()).tolist()
    cases = [(24, 0.25), (32, 0.25), (24, 0.5), (20, 1.0), (32, 1.5), (12, 0.5), *((8 * k, 0.5) for k in picks)]
    for base, width in cases:
        p2 = round_channels(base * width, 8)
        came = list(answer(base, width))
        expect_equal(came, [p2 * 2**i for i in range(4)], f"channels for base {base}, width {width}")


def _s1_star_elements() -> int:
    from ..measure import count

    rows = {u.op: u for u in count("starnet_s1").uncounted}
    return rows["mul"].elements


questions(
    Question(
        "q1",
        "c",
        why="One star layer is a polynomial of degree 2, its boundary a conic; two hooks need degree 3 at least.",
        see="section 2",
    ),
    Question("q2", 20 * 21 // 2, why="(d + 1)(d + 2)/2 terms, the constant among them.", see="section 1"),
    Question("q3", "b", why="Degree doubles with each layer: 2, 4, 8.", see="section 2"),
    Question(
        "q4",
        _s1_star_elements,
        why="It writes that many numbers, and no counter of MACs sees one of them.",
        see="the question: print that list, its row 'mul' holds the products, and section 3",
        code=True,
    ),
)
