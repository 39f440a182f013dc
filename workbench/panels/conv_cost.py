"""Lesson 01's panel: what four operators cost on paper, while channels, map size, kernel and PConv's share change."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from ..measure.formulas import OperatorCost, operator_costs
from ..plots.operators import operator_cost, short
from ._lesson import LessonPanel


class ConvCost(LessonPanel):
    """MACs, bytes moved and intensity of conv, depthwise, pointwise and PConv, by formula.

    Controls: ``channels``, ``size``, ``kernel``, ``n_div``. Result: operator → `OperatorCost`.
    """

    def __init__(self, channels: int = 192, size: int = 28, kernel: int = 3, n_div: int = 4) -> None:
        controls: dict[str, Any] = {
            "channels": widgets.SelectionSlider(options=[16, 32, 64, 96, 192, 384, 768], value=channels),
            "size": widgets.SelectionSlider(options=[7, 14, 28, 56, 112], value=size, description="map side"),
            "kernel": widgets.ToggleButtons(options=[3, 5, 7], value=kernel, style={"button_width": "3em"}),
            "n_div": widgets.ToggleButtons(
                options=[2, 4, 8], value=n_div, description="PConv 1/n", style={"button_width": "3em"}
            ),
        }

        def say(costs: dict[str, OperatorCost]) -> str:
            dense = costs["conv"]
            shares = [
                f"{name} has 1/{dense.macs / c.macs:.0f} of them and moves 1/{dense.bytes_moved / c.bytes_moved:.1f} "
                "of the bytes"
                for name, c in costs.items()
                if name != "conv"
            ]
            return f"Dense convolution: {short(dense.macs)} MACs; {'; '.join(shares)}."

        super().__init__(controls, operator_costs, lambda costs, fig: operator_cost(costs, figure=fig), say, (9.2, 3.0))
