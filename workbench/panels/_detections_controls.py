"""The Detections panel's controls, by name, each with a label and a tooltip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from ._detections import FLOOR
from ._pictures import COCO, SHAPES

ALL, NONE = "every class", "—"
LEGEND = "solid blue ✓ right · dashed orange ✕ wrong · dotted purple ? missed"
TIPS = {
    "images": "where images come from",
    "index": "which validation image",
    "confidence": "detections below it are left out; no network runs again",
    "iou": "least overlap of a right detection",
    "only": "look at one class",
    "shown": "detectors shown; Ctrl or Shift for several",
    "miss": "open the feature maps of the detector that missed the object",
}


def make_controls(detectors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the controls; no confidence can be chosen below what the detectors keep."""
    floor = max(0.01, *(d.floor for d in detectors.values()), FLOOR)
    labels = tuple(detectors)
    wide, fit = widgets.Layout(width="300px"), widgets.Layout(width="max-content")
    made: dict[str, Any] = {
        "images": widgets.Dropdown(options=(SHAPES, COCO), description="images", layout=fit),
        "index": widgets.IntSlider(0, 0, 7, description="number", continuous_update=False, layout=wide),
        "confidence": widgets.FloatSlider(0.25, min=floor, max=0.95, step=0.01, description="confidence ≥"),
        "iou": widgets.FloatSlider(0.5, min=0.05, max=0.95, step=0.05, description="IoU ≥"),
        "only": widgets.Dropdown(options=(ALL,), description="class", layout=fit),
        "shown": widgets.SelectMultiple(
            options=labels, value=labels, rows=min(5, len(labels)), description="detectors"
        ),
        "miss": widgets.Dropdown(options=[(NONE, None)], description="feature maps at a miss", layout=fit),
    }  # fmt: skip
    for name, control in made.items():
        control.tooltip = TIPS[name]
        control.style.description_width = "auto"
    return made
