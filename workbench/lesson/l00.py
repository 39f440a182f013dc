"""Checks of lesson 00, the tour: map sizes, other people's GFLOPs, detector names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .exercises import exercise, expect_equal, expect_function, fresh
from .quiz import Question, questions


@exercise(
    "ex-map-size",
    hint="P2 has stride 4, P3 stride 8: what is the stride of Pk? (// keeps integers.)",
    ok="Every detector in this course reads maps of these sizes.",
    wrong={
        "divided by the level": lambda imgsz, level: imgsz // level,
        "one level off": lambda imgsz, level: imgsz // 2 ** (level - 1),
        "one level too deep": lambda imgsz, level: imgsz // 2 ** (level + 1),
        "the stride, not the size": lambda imgsz, level: 2**level,
    },
)
def _map_size(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    pick = 32 * int(torch.randint(3, 40, (1,), generator=fresh()))
    for imgsz, level in ((224, 2), (224, 5), (640, 3), (640, 4), (pick, 3), (pick, 5)):
        expect_equal(answer(imgsz, level), imgsz // 2**level, f"side of P{level} for a {imgsz} × {imgsz} image")


@exercise(
    "ex-gflops",
    hint="2 FLOP per MAC; the number of pixels grows with the square of the side; G is 10⁹.",
    ok="Now two tables that seem to disagree can be compared.",
    wrong={
        "MACs instead of FLOPs": lambda macs, imgsz: macs * (imgsz / 224) ** 2 / 1e9,
        "side instead of area": lambda macs, imgsz: 2 * macs * (imgsz / 224) / 1e9,
        "forgot the giga": lambda macs, imgsz: 2 * macs * (imgsz / 224) ** 2,
        "ignored the size": lambda macs, imgsz: 2 * macs / 1e9,
        "upside down": lambda macs, imgsz: 2 * macs * (224 / imgsz) ** 2 / 1e9,
    },
)
def _gflops(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    pick = float(torch.randint(10**8, 10**10, (1,), generator=fresh()))
    for macs, imgsz in ((335422720, 640), (421877376, 224), (pick, 320), (pick, 1280)):
        expected = 2 * macs * (imgsz / 224) ** 2 / 1e9
        expect_equal(answer(macs, imgsz), expected, f"GFLOPs at {imgsz} for {macs:,.0f} MACs at 224", rel=1e-6)


@exercise(
    "ex-name",
    hint="host, scale, a hyphen, the backbone's name as list_backbones gives it, .yaml",
    ok="Any host and any backbone combine this way; lesson 08 shows what happens behind the name.",
    wrong={
        "no scale": lambda host, scale, backbone: f"{host}-{backbone}.yaml",
        "underscore": lambda host, scale, backbone: f"{host}{scale}_{backbone}.yaml",
        "backbone first": lambda host, scale, backbone: f"{backbone}-{host}{scale}.yaml",
        "no .yaml": lambda host, scale, backbone: f"{host}{scale}-{backbone}",
        "always n": lambda host, scale, backbone: f"{host}n-{backbone}.yaml",
    },
)
def _name(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    cases = [("yolo11", "n", "fasternet_t0"), ("yolo11", "s", "starnet_s1"), ("yolov8", "m", "mobileone_s0")]
    for host, scale, backbone in cases:
        expect_equal(answer(host, scale, backbone), f"{host}{scale}-{backbone}.yaml", f"{backbone} in {host}{scale}")


def _p5_of_starnet() -> int:
    from ..backbones import create_backbone

    info: Any = create_backbone("starnet_s1").feature_info
    return info[-1].channels


questions(
    Question(
        "q1",
        "b",
        why="P3 to P5: strides 8, 16 and 32. P2 is there for those who want it.",
        see="section 1, the drawing",
    ),
    Question("q2", "c", why="Convolutions slide over the map: more pixels, same weights.", see="section 2"),
    Question("q3", 20, why="640 / 32.", see="section 1"),
    Question("q4", _p5_of_starnet, why="feature_info says so without running the network.", see="section 1", code=True),
)
