"""The FeatureMaps panel's controls, by name, each with a label and a tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets

from ..datasets import PHOTOS
from ..features.channels import SORTS
from ..plots.features import SCALES
from ._maps import SHOW, STAGE, Network

SIZES = (64, 128, 224, 320, 448, 640)
WRAP = widgets.Layout(flex_flow="row wrap", grid_gap="2px 10px")
ROWS = (("image", "index", "imgsz", "overlay"), ("stage", "layer", "show"), ("sort", "page", "per_page", "scale"))
TIPS = {
    "image": "a built-in photo, an image of coco128, or one you uploaded",
    "index": "which image of coco128",
    "imgsz": "side of the square the image is fitted into, pixels",
    "overlay": "how much of the image shines through the channels",
    "stage": "the backbone's stages, from fine to coarse",
    "layer": "any layer by its name; the stage slider then rests",
    "show": "maps; a star block's two factors and their product; the branches of a block before its merge",
    "sort": "order of the channels; numbers stay the real ones",
    "page": "more channels",
    "per_page": "channels on a page",
    "scale": "every channel its own full colour, or one for all",
}


def make_controls(networks: Sequence[Network]) -> dict[str, Any]:
    """Return the controls; stages and layers are those the networks have in common."""
    levels = list(networks[0].levels)
    start = levels[min(1, len(levels) - 1)] if levels else "—"
    slider = {"continuous_update": False}
    names = set.intersection(*({n for n, _ in net.model.named_modules() if n} for net in networks))
    ordered = [n for n, _ in networks[0].model.named_modules() if n in names]
    first = STAGE if levels else ordered[0]
    made: dict[str, Any] = {
        "image": widgets.Dropdown(options=[(p, p) for p in (*PHOTOS, "coco128")], value="cat", description="image"),
        "index": widgets.BoundedIntText(value=0, min=0, max=127, description="number", disabled=True),
        "imgsz": widgets.Dropdown(options=SIZES, value=224, description="image side"),
        "stage": widgets.SelectionSlider(options=levels or ["—"], value=start, description="stage", **slider),
        "layer": widgets.Dropdown(options=[STAGE, *ordered] if levels else ordered, value=first, description="layer"),
        "show": widgets.Dropdown(options=SHOW, description="show"),
        "sort": widgets.Dropdown(options=SORTS, description="sort by"),
        "page": widgets.BoundedIntText(value=1, min=1, max=1, description="page"),
        "per_page": widgets.Dropdown(options=(16, 32, 64, 128), value=64, description="per page"),
        "scale": widgets.Dropdown(options=SCALES, description="full colour"),
        "overlay": widgets.FloatSlider(value=0, min=0, max=0.9, step=0.1, description="image under", **slider),
    }
    for name, control in made.items():
        control.tooltip = TIPS[name]
        control.style.description_width = "auto"
        wide = "max-content" if isinstance(control, widgets.Dropdown) else "150px"
        control.layout.width = "260px" if "Slider" in type(control).__name__ else wide
    return made
