"""What the plug costs: ``python -m workbench.yolo.bench``. Ratios from interleaved rounds, one thread.

Two promises. A stock yolo11n runs as fast with the plug in as without it. A transplant is built in at most 1.1 × the
time of its parts: the backbone with the one 256 pixel image that ultralytics sends through every detector it builds,
and the host's own neck and head on maps that cost nothing.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.contract import STRIDES
from ..measure import Ratio, paired_ratio, set_allocator
from ..measure.stats import Sample
from ..settings import set_threads
from . import install, uninstall
from .hosts import detector_yaml
from .rows import build, channels_of, expand
from .tasks import ultralytics_tasks

BACKBONES = ("fasternet_t0", "starnet_s1", "mobileone_s0")
ROUNDS = 41


def overhead(rounds: int = ROUNDS) -> Ratio:
    """Return the time of a stock yolo11n's forward pass at 320 with the plug in, over the time without it."""
    net = ultralytics_tasks.DetectionModel("yolo11n.yaml", verbose=False).eval()
    x = torch.zeros(1, 3, 320, 320)

    def forward() -> None:
        with torch.inference_mode():
            net(x)

    def without() -> float:
        uninstall()
        try:
            return _seconds(forward, 3)
        finally:
            install()

    return _ratio(lambda: _seconds(forward, 3), without, rounds)


def building(backbone: str, rounds: int = ROUNDS) -> Ratio:
    """Return the time to build a yolo11n with `backbone`, over the time of its two parts."""
    cfg = detector_yaml("yolo11", backbone)
    spec = expand(copy.deepcopy(cfg))["backbone"][0][3][1]
    rest = expand(copy.deepcopy(cfg))
    rest["backbone"][0] = [-1, 1, "FreeMaps", [list(channels_of(spec))]]

    def alone() -> None:
        build(spec, 3).eval().forward_features(torch.zeros(1, 3, 256, 256))

    def detector(yaml: dict[str, Any]) -> None:
        vars(ultralytics_tasks)["FreeMaps"] = FreeMaps
        try:
            ultralytics_tasks.DetectionModel(copy.deepcopy(yaml), verbose=False)
        finally:
            del vars(ultralytics_tasks)["FreeMaps"]

    def parts() -> float:
        return _seconds(alone) + _seconds(lambda: detector(rest))

    return _ratio(lambda: _seconds(lambda: detector(cfg)), parts, rounds)


class FreeMaps(nn.Module):
    """Four maps of zeros, for nothing: what is left is the neck and the head."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        b, _, h, w = x.shape
        return [x.new_zeros(b, c, h // s, w // s) for c, s in zip(self.channels, STRIDES, strict=True)]


def _seconds(work: Callable[[], None], repeat: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeat):
        work()
    return (time.process_time() - start) / repeat


def _ratio(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Ratio:
    ours(), theirs()
    sides: tuple[list[Sample], list[Sample]] = ([], [])
    for n in range(rounds):
        for side, work in sorted(enumerate((ours, theirs)), reverse=n % 2 == 0):  # each first by turns
            sides[side].append(Sample(n, work(), None, 1, 0.0))
    return paired_ratio(*sides)


def show(what: str, ratio: Ratio) -> str:
    """Return a line with a ratio.

    >>> show("a / b", Ratio(1.004, 0.998, 1.01, 0.95, 41))
    'a / b                                   1.004  (95 % interval 0.998 to 1.010, n = 41)'
    """
    interval = f"{100 * ratio.level:.0f} % interval {ratio.low:.3f} to {ratio.high:.3f}, n = {ratio.n}"
    return f"{what:<38}  {ratio.ratio:.3f}  ({interval})"


def main() -> None:
    """Print all ratios."""
    before = set_threads(1)
    set_allocator("kept")  # page faults of a fresh mapping would be charged to whoever builds the larger network
    print(show("yolo11n forward, plug in / plug out", overhead()))
    for backbone in BACKBONES:
        print(show(f"building yolo11n-{backbone} / its parts", building(backbone)), flush=True)
    set_threads(before)


if __name__ == "__main__":
    main()
