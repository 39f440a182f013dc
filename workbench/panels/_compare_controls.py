"""The Compare panel's controls: ticks for networks in the order they were ticked, and the rest by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import torch

from ..backbones.registry import FAMILIES, family_of, list_backbones
from ..measure.candidates import FORMS, LAYOUTS
from ..measure.runtimes import available
from ..yolo.comparison import STOCK
from ..yolo.hosts import HOSTS
from ._compare import FIELDS

ALONE = "alone"
CONDITIONS = ("form", "imgsz", "batch", "threads", "device", "layout", "runtime", "host", "scale")
VIEW = ("x", "xlog", "y", "ylog", "filter", "differences")
WRAP = widgets.Layout(flex_flow="row wrap", grid_gap="0px 10px", align_items="center")


class Ticks:
    """A tick box per network. The order is that of ticking; the first is the baseline."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed, self._quiet = changed, False
        self.names: list[str] = []
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.rows = {f: widgets.HBox(layout=WRAP) for f in (*FAMILIES, "other")}
        self.also = widgets.Text(
            placeholder="timm:resnet18, or one you registered", description="add", continuous_update=False,
            tooltip="names to compare too, with commas between", style={"description_width": "initial"},
        )  # fmt: skip
        for family, box in self.rows.items():
            if family == "other":
                box.children = (self.also,)
                continue
            every = widgets.Button(description=family, tooltip=f"tick or clear every {family}")
            every.layout.width = "92px"
            every.on_click(lambda _b, family=family: self._all(family))
            box.children = (every,)
        for name in (*list_backbones(), STOCK):
            self.offer(name)
        self.widget = widgets.VBox(list(self.rows.values()))

    def offer(self, name: str) -> None:
        """Add a tick box for a network that has none."""
        if name in self.boxes:
            return
        tip = "the host as it comes; only inside a host" if name == STOCK else name
        box = widgets.Checkbox(value=False, description=name, indent=False, tooltip=tip)
        box.layout.width = "max-content"
        box.observe(lambda change, name=name: self._ticked(name, change["new"]), names="value")
        self.boxes[name] = box
        row = self.rows[family_of(name) or "other"]
        row.children = (*row.children, box)

    def set(self, names: Sequence[str]) -> None:
        """Tick exactly these, in this order, without a word to the panel."""
        self._quiet = True
        for name in names:
            self.offer(name)
        for name, box in self.boxes.items():
            box.value = name in names
        self.names, self._quiet = list(names), False

    def _ticked(self, name: str, on: bool) -> None:
        if self._quiet:
            return
        self.names = [n for n in self.names if n != name] + ([name] if on else [])
        self._changed()

    def _all(self, family: str) -> None:
        mine = [n for n in self.boxes if family_of(n) == family]
        on = not all(n in self.names for n in mine)
        kept = [n for n in self.names if n not in mine]
        self.set([*self.names, *(n for n in mine if n not in self.names)] if on else kept)
        self._changed()


def make_controls() -> dict[str, Any]:
    """Return the controls but the ticks, by name, each with a label and a tooltip."""
    axes = [(f.title, key) for key, f in FIELDS.items()]
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    number = widgets.BoundedIntText
    made: dict[str, tuple[Any, str]] = {
        "form": (widgets.Dropdown(options=FORMS), "deploy: branches merged, batch norm folded"),
        "imgsz": (number(value=224, min=16, max=2048, step=32, description="image side"), "pixels"),
        "batch": (number(value=1, min=1, max=1024), "images per run"),
        "threads": (number(value=1, min=1, max=max(os.cpu_count() or 1, 2)), "of PyTorch, or of the runtime"),
        "device": (widgets.Dropdown(options=("cpu", *cuda)), "where it runs"),
        "layout": (widgets.Dropdown(options=LAYOUTS), "of images in memory"),
        "runtime": (widgets.Dropdown(options=available()), "what runs the network"),
        "host": (widgets.Dropdown(options=(ALONE, *HOSTS), description="inside"), "a detector, or alone"),
        "scale": (widgets.Dropdown(options=("n", "s", "m", "l", "x")), "size of the detector"),
        "x": (widgets.Dropdown(options=axes, value="macs", description="across"), "horizontal axis"),
        "xlog": (widgets.Checkbox(value=True, description="log", indent=False), "horizontal axis logarithmic"),
        "y": (widgets.Dropdown(options=axes, value="top1", description="up"), "vertical axis"),
        "ylog": (widgets.Checkbox(value=True, description="log", indent=False), "vertical axis logarithmic"),
        "filter": (
            widgets.Text(placeholder="macs<500M latency<20 star", description="filter", continuous_update=False),
            "properties with < or > and a number, and parts of names; all must hold",
        ),
        "differences": (
            widgets.Checkbox(description="differences only", indent=False),
            "leave out of the table what is the same for all",
        ),
        "budget_s": (widgets.BoundedFloatText(value=20, min=1, max=3600, description="within, s"), "longest measuring"),
    }
    for name, (control, tip) in made.items():
        control.description = control.description or name
        control.tooltip = tip
        control.style.description_width = "initial"
        narrow = isinstance(control, widgets.BoundedIntText | widgets.BoundedFloatText)
        control.layout.width = "140px" if narrow else "230px" if name == "filter" else "max-content"
    return {name: control for name, (control, _) in made.items()}
