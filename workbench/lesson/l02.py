"""Checks of lesson 02, FasterNet: PConv by slicing, a block's parameters, a stage's MACs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .exercises import exercise, expect, expect_equal, expect_function, expect_tensor, fresh
from .quiz import Question, questions


def _reference(x: Tensor, conv: nn.Module, touched: int) -> Tensor:
    return torch.cat((conv(x[:, :touched]), x[:, touched:]), dim=1)  # (B, C, H, W)


def _overwrite(x: Tensor, conv: nn.Module, touched: int) -> Tensor:
    x[:, :touched] = conv(x[:, :touched])
    return x


def _last(x: Tensor, conv: nn.Module, touched: int) -> Tensor:
    y = x.clone()
    y[:, -touched:] = conv(x[:, -touched:])
    return y


def _added(x: Tensor, conv: nn.Module, touched: int) -> Tensor:
    y = x.clone()
    y[:, :touched] += conv(x[:, :touched])
    return y


@exercise(
    "ex-slicing",
    hint="clone x first, then assign the convolved channels into y[:, :touched].",
    ok="Same output as split_cat. But the assignment overwrites values that autograd may need: for inference only.",
    wrong={
        "overwrites its input": _overwrite,
        "convolves the last channels": _last,
        "drops the untouched channels": lambda x, conv, touched: conv(x[:, :touched]),
        "adds instead of replacing": _added,
        "puts the untouched channels first": lambda x, conv, touched: torch.cat(
            (x[:, touched:], conv(x[:, :touched])), dim=1
        ),
    },
)
def _slicing(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    for channels, touched in ((8, 2), (12, 6), (5, 1)):
        conv = nn.Conv2d(touched, touched, 3, padding=1, bias=False)
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=g))
            x = torch.randn(2, channels, 6, 7, generator=g)  # (B, C, H, W)
            before, expected = x.clone(), _reference(x, conv, touched)
            came = answer(x, conv, touched)
            expect_tensor(came, expected, f"PConv of {touched} of {channels} channels", rel=1e-5)
            expect(torch.equal(x, before), "the input x was overwritten; the block still needs it for its shortcut")


def _block_params(c: int, n_div: int, ratio: int) -> int:
    return 9 * (c // n_div) ** 2 + 2 * ratio * c * c + 2 * ratio * c


@exercise(
    "ex-block-params",
    hint="PConv: 9·(c/n)²; two 1×1 convolutions between c and ratio·c channels; BN: two numbers per channel.",
    ok="No biases anywhere: the BN or the next layer would swallow them.",
    wrong={
        "forgot the batch norm": lambda c, n, r: 9 * (c // n) ** 2 + 2 * r * c * c,
        "dense 3×3": lambda c, n, r: 9 * c * c + 2 * r * c * c + 2 * r * c,
        "PConv counted as depthwise": lambda c, n, r: 9 * (c // n) + 2 * r * c * c + 2 * r * c,
        "one 1×1 convolution": lambda c, n, r: 9 * (c // n) ** 2 + r * c * c + 2 * r * c,
        "batch norm on c channels": lambda c, n, r: 9 * (c // n) ** 2 + 2 * r * c * c + 2 * c,
    },
)
def _params(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(2, 40, (2,), generator=fresh()).tolist()
    for c, n_div, ratio in ((40, 4, 2), (64, 2, 3), *((8 * k, 4, 2) for k in picks)):
        what = f"parameters for c = {c}, n_div = {n_div}, ratio = {ratio}"
        expect_equal(answer(c, n_div, ratio), _block_params(c, n_div, ratio), what)


@exercise(
    "ex-stage-macs",
    hint="every weight of a convolution is used once per output pixel; BN and activation have no MACs.",
    ok="Halving the map and doubling the channels keeps a block's MACs: stage by stage, depth decides.",
    wrong={
        "one pixel": lambda c, h, blocks: blocks * (9 * (c // 4) ** 2 + 4 * c * c),
        "one block": lambda c, h, blocks: h * h * (9 * (c // 4) ** 2 + 4 * c * c),
        "one 1×1 convolution": lambda c, h, blocks: blocks * h * h * (9 * (c // 4) ** 2 + 2 * c * c),
        "no 3×3 kernel": lambda c, h, blocks: blocks * h * h * ((c // 4) ** 2 + 4 * c * c),
        "FLOPs": lambda c, h, blocks: 2 * blocks * h * h * (9 * (c // 4) ** 2 + 4 * c * c),
    },
)
def _stage_macs(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(1, 30, (2,), generator=fresh()).tolist()
    for c, h, blocks in ((40, 56, 1), (160, 14, 8), *((8 * k, k + 3, k) for k in picks)):
        expected = blocks * h * h * (9 * (c // 4) ** 2 + 4 * c * c)
        expect_equal(answer(c, h, blocks), expected, f"MACs for c = {c}, h = {h}, blocks = {blocks}")


def _t0_at_320() -> int:
    from ..backbones import create_backbone
    from ..measure import count

    return count(create_backbone("fasternet_t0"), imgsz=320).macs


questions(
    Question("q1", 64, why="(1/8)²: both the inputs read and the outputs written shrink.", see="section 1"),
    Question("q2", 72, why="96 − 96/4 channels pass through bit by bit.", see="section 1"),
    Question("q3", "b", why="The gradient of the 3×3 kernel needs the values that were overwritten.", see="ex-slicing"),
    Question("q4", "b", why="More work per second, but sixteen to forty times more work to do.", see="run-table1"),
    Question(
        "q5", _t0_at_320, why="(320/224)² times the cost at 224: the map grows, the weights do not.",
        see="section 3 (a name is counted with its classifier, a network as it was built; count takes imgsz=)",
        code=True,
    ),
)  # fmt: skip
