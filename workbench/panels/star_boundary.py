"""Lesson 03's panel: train the sum and the star network on points in the plane, and compare their boundaries."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets

from ..lesson.star_toy import ACTIVATIONS, DATASETS, ToyRun, train_toy
from ..plots.star import boundaries
from ._lesson import LessonPanel


class StarBoundary(LessonPanel):
    """Two toy networks, equal but for the sign between their branches.

    Controls: ``data``, ``act`` on the first branch, ``layers``, ``width`` of each branch, ``steps`` of training.
    Result: operation → `ToyRun` with its accuracy on points it has not seen.
    """

    def __init__(
        self, data: str = "ring", width: int = 4, act: str = "none", layers: int = 1, steps: int = 300
    ) -> None:
        controls: dict[str, Any] = {
            "data": widgets.ToggleButtons(options=DATASETS, value=data, style={"button_width": "5em"}),
            "act": widgets.ToggleButtons(
                options=ACTIVATIONS, value=act, description="activation", style={"button_width": "5em"}
            ),
            "layers": widgets.ToggleButtons(options=[1, 2, 3], value=layers, style={"button_width": "3em"}),
            "width": widgets.SelectionSlider(options=[1, 2, 3, 4, 8, 16, 32], value=width, continuous_update=False),
            "steps": widgets.SelectionSlider(options=[0, 10, 30, 100, 300, 1000], value=steps, continuous_update=False),
        }

        def compute(**chosen: Any) -> dict[str, ToyRun]:
            return {op: train_toy(op, **chosen) for op in ("sum", "star")}

        def say(runs: dict[str, ToyRun]) -> str:
            each = " and ".join(f"<b>{op}</b> gets {run.accuracy:.1%} of new points right" for op, run in runs.items())
            return f"With {next(iter(runs.values())).params} parameters each: {each}."

        super().__init__(controls, compute, lambda runs, fig: boundaries([list(runs.values())], fig), say, (7.0, 3.6))
