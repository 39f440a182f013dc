"""Checks of lesson 09, other hosts: scaled rows, what a unit costs when merged, RT-DETR's projections, the ramp."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from .exercises import exercise, expect_equal, expect_function, fresh
from .quiz import Question, questions


def _row_channels(c2: int, width: float, max_channels: int) -> int:
    """Build a row ``[c2, 3, 1]`` in a YAML of that scale and return the channels of its output."""
    from ..yolo import tasks  # puts the plug in

    rows = {"backbone": [[-1, 1, "MobileOneUnit", [c2, 3, 1]]], "head": []}
    cfg = {"nc": 1, "scales": {"n": [1.0, width, max_channels]}, "scale": "n", **rows}
    with torch.device("meta"):
        layers, _ = tasks.ultralytics_tasks.parse_model(cfg, ch=3, verbose=False)
        return layers(torch.zeros(1, 3, 8, 8)).shape[1]


@exercise(
    "ex-row-channels",
    hint="first the cap, then the width, then up to a multiple of 8: math.ceil(x / 8) * 8",
    ok="Our row is scaled like any of ultralytics' own.",
    wrong={
        "not scaled": lambda c2, width, cap: c2,
        "cap forgotten": lambda c2, width, cap: math.ceil(c2 * width / 8) * 8,
        "cap after the width": lambda c2, width, cap: math.ceil(min(c2 * width, cap) / 8) * 8,
        "rounded to the nearest multiple": lambda c2, width, cap: round(min(c2, cap) * width / 8) * 8,
        "not rounded": lambda c2, width, cap: min(c2, cap) * width,
    },
)
def _channels(answer: Any) -> None:
    expect_function(answer)
    some = 8 * int(torch.randint(9, 80, (1,), generator=fresh()))
    for case in ((256, 0.25, 1024), (1024, 0.75, 768), (600, 1.25, 512), (72, 0.25, 1024), (some, 0.5, 512)):
        expect_equal(answer(*case), _row_channels(*case), "row_channels({}, {}, {})".format(*case))


def _merged_params(c1: int, c2: int, k: int) -> int:
    from ..backbones.mobileone import MobileOneUnit
    from ..backbones.reparam import to_deploy_

    with torch.device("meta"):
        return sum(p.numel() for p in to_deploy_(MobileOneUnit(c1, c2, k, 2)).parameters())


@exercise(
    "ex-unit-params",
    hint="a depthwise convolution has one k×k filter per channel; BN is folded into a bias; so is the pointwise one's",
    ok="The dense 3×3 of the stock row needs nearly nine times as many.",
    wrong={
        "biases forgotten": lambda c1, c2, k: c1 * k * k + c1 * c2,
        "dense instead of depthwise": lambda c1, c2, k: c1 * c2 * k * k + c2,
        "four branches": lambda c1, c2, k: 4 * (c1 * k * k + c1 + c1 * c2 + c2),
        "depthwise after the change of width": lambda c1, c2, k: c1 * c2 + c2 + c2 * k * k + c2,
    },
)
def _unit(answer: Any) -> None:
    expect_function(answer)
    c = 8 * torch.randint(1, 20, (2,), generator=fresh())
    for case in ((32, 64, 3), (64, 48, 5), (int(c[0]), int(c[1]) + 4, 3)):
        expect_equal(answer(*case), _merged_params(*case), "unit_params({}, {}, {})".format(*case))


def _projections(channels: tuple[int, ...]) -> int:
    """Build the three input projections as rtdetr-l's YAML has them and return their parameters."""
    from ..yolo.tasks import ultralytics_tasks

    with torch.device("meta"):
        return sum(
            p.numel() for c in channels for p in ultralytics_tasks.Conv(c, 256, 1, 1, None, 1, 1, False).parameters()
        )


@exercise(
    "ex-projections",
    hint="a 1×1 convolution without bias has c·256 weights; its BN has a weight and a bias for each of the 256 outputs",
    ok="The neck pays for the backbone's width only here.",
    wrong={
        "no BN": lambda channels: sum(256 * c for c in channels),
        "a bias instead of a BN": lambda channels: sum(256 * c + 256 for c in channels),
        "BN over the inputs": lambda channels: sum(256 * c + 2 * c for c in channels),
        "one BN for all": lambda channels: 256 * sum(channels) + 512,
        "3×3 kernels": lambda channels: sum(9 * 256 * c + 512 for c in channels),
    },
)
def _neck(answer: Any) -> None:
    expect_function(answer)
    some = tuple(int(c) for c in torch.randint(8, 3000, (3,), generator=fresh()))
    for case in ((512, 1024, 2048), some):
        expect_equal(answer(case), _projections(case), f"projection_params({case})")


def _ramp(share: float, offset: int = 0) -> Callable[[int, int], float]:
    def ramp(epoch: int, epochs: int) -> float:
        rise = int(epochs * share)
        return min(1.0, (epoch + offset) / rise) if rise else 1.0

    return ramp


@exercise(
    "ex-ramp",
    hint="it rises from 0 by equal steps, is 1 from epoch epochs // 3 on, and stays there; and if epochs // 3 is 0?",
    ok="What every public port leaves out is one line, and a callback that calls it.",
    wrong={
        "rises until the last epoch": _ramp(1.0),
        "one epoch early": _ramp(1 / 3, offset=1),
        "goes on above 1": lambda epoch, epochs: epoch / max(1, epochs // 3),
        "falls": lambda epoch, epochs: max(0.0, 1 - epoch / max(1, epochs // 3)),
        "fails under three epochs": lambda epoch, epochs: min(1.0, epoch / (epochs // 3)),
    },
)
def _schedule(answer: Any) -> None:
    from ..yolo.ramp import ramp_at

    expect_function(answer)
    for epochs in (300, 9, 10, 3, 2):
        for epoch in range(epochs):
            expect_equal(answer(epoch, epochs), ramp_at(epoch, epochs), f"ramp({epoch}, {epochs})", rel=1e-6)


def _lost_by_fusing() -> int:
    """Parameters that yolov8s-mobileoneunit loses by ``fuse()``."""
    from .. import yolo

    model: Any = yolo.YOLO("yolov8s-mobileoneunit.yaml").model
    before = sum(p.numel() for p in model.parameters())
    return before - sum(p.numel() for p in model.fuse(verbose=False).parameters())


questions(
    Question("q1", 640, "min(1024, 512) · 1.25, already a multiple of 8", "section 1"),
    Question("q2", _lost_by_fusing, "branches and BN go; one kernel and one bias stay", "section 1", code=True),
    Question("q3", "c", "no layer of RT-DETR's neck reads layer 1", "section 2"),
    Question("q4", "b", "merging is exact only at 1, so before the end only BN is folded", "section 3"),
    Question("q5", "a", "the EMA averages every floating buffer, and is what is saved", "section 3"),
)
