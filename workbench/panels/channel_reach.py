"""Lesson 02's panel: how far information travels between channels when most of them are left alone."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from ..lesson.reach import Reach, channel_reach
from ..plots.levels import reach_pair
from ._lesson import LessonPanel


class ChannelReach(LessonPanel):
    """For each (output, input) channel pair of a stack of blocks, the window of the input that is seen.

    Controls: ``n_div`` (PConv convolves 1/n_div of the channels), ``blocks``. Result: a dictionary with the `Reach`
    ``without`` and ``with`` the 1×1 convolutions.
    """

    def __init__(self, n_div: int = 4, blocks: int = 1) -> None:
        controls: dict[str, Any] = {
            "n_div": widgets.ToggleButtons(
                options=[1, 2, 4, 8], value=n_div, description="convolved 1/n", style={"button_width": "3em"}
            ),
            "blocks": widgets.IntSlider(blocks, 1, 6, continuous_update=False),
        }

        def compute(n_div: int, blocks: int) -> dict[str, Reach]:
            return {name: channel_reach(16, n_div, blocks, name == "with") for name in ("without", "with")}

        def draw(runs: dict[str, Reach], figure: Any) -> None:
            reach_pair([(f"{name} 1×1 convolutions", r.radius) for name, r in runs.items()], figure)

        def say(runs: dict[str, Reach]) -> str:
            without, full = runs["without"], runs["with"]
            return (
                f"Without the 1×1 convolutions {100 * without.seeing:g} % of the output channels see beyond their own "
                f"pixel, and {100 * without.connected:.0f} % of the channel pairs are connected; with them "
                f"{100 * full.seeing:g} % and {100 * full.connected:.0f} %. The widest window is "
                f"{full.field} × {full.field} pixels either way: each block adds 2."
            )

        super().__init__(controls, compute, draw, say, (9.2, 3.8))
