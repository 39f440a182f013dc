"""The Wiring panel: host × scale × backbone → layer map old → new, channels, strides, cost, and the YAML to copy."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as widgets

from ..backbones import list_backbones
from ..errors import WorkbenchError, did_you_mean
from ..yolo.hosts import HOSTS, read_host
from ..yolo.rows import SLOTS
from ..yolo.wiring import Layer, wiring
from ..yolo.wiring import Wiring as Result
from ._careful import ByHand, no_control
from ._frame import Frame

TINT = {4: "#f3f7fb", 8: "#dcebf7", 16: "#c3dcf1", 32: "#a6cbe9"}  # a map's row, darker with its stride
CELL = "padding:1px 10px;white-space:nowrap"


class Wiring(ByHand):
    """A detector's layers before and after its backbone is exchanged.

    Args:
        host: ``"yolo11"``, ``"yolov8-seg"``, ``"rtdetr-l"`` …
        scale: of neck and head; the host's own where it has one only.
        backbone: any backbone's name, those you registered included.

    ``panel.widget`` is shown by a notebook; ``panel.set(...)`` moves controls; ``panel.result`` is a
    `workbench.yolo.wiring.Wiring`, which prints as the map and holds the YAML.

    >>> panel = Wiring("yolo11", "n", "fasternet_t0")
    >>> panel.result.levels["P5"].channels
    320
    """

    def __init__(self, host: str = "yolo11", scale: str = "n", backbone: str = "fasternet_t0") -> None:
        self._busy = True
        self._result: Result | None = None
        self._scale = scale  # what was chosen last; RT-DETR, which has one scale only, does not overwrite it
        wide = {"description_width": "5em"}
        self.controls: dict[str, Any] = {
            "host": widgets.Dropdown(options=HOSTS, description="host", style=wide),
            "scale": widgets.Dropdown(options=["n"], description="scale", style=wide, layout={"width": "10em"}),
            "backbone": widgets.Dropdown(options=list_backbones(), description="backbone", style=wide),
        }
        tips = {"host": "the detector that gets another backbone", "scale": "the size of its neck and head"}
        for name, control in self.controls.items():
            control.tooltip = tips.get(name, "the backbone it gets")
            control.observe(lambda _: self._by_hand(self._draw), names="value")
        self.message, self.words = widgets.HTML(), widgets.HTML()
        self.table = widgets.HTML(layout=widgets.Layout(overflow="auto"))
        self.yaml = widgets.Textarea(
            description="YAML", rows=14, layout=widgets.Layout(width="64em", max_width="100%"), style=wide
        )
        fold = widgets.Accordion([self.yaml], titles=("YAML to copy",))
        row = widgets.HBox(list(self.controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
        parts = [row, self.message, self.words, self.table, fold]
        self.widget = Frame(parts, lambda: {"text/html": f"<p>{self.words.value}</p>{self.table.value}"})
        self.set(host=host, scale=scale, backbone=backbone)

    @property
    def result(self) -> Result:
        """What the panel shows now."""
        assert self._result is not None
        return self._result

    def set(self, **values: str) -> Wiring:
        """Set controls by name, as a hand would, and redraw once; on a bad value the panel stays as it was.

        Raises:
            WorkbenchError: no such control or value, or a backbone that no detector can read.
        """

        def work() -> None:
            for name in values:
                if name not in self.controls:
                    raise no_control("the panel", name, self.controls)
            for name in self.controls:  # the host first: it decides which scales there are
                if name in values:
                    self._put(name, values[name])
                self._fit()
            self._draw()

        self._by_call(work)
        return self

    def code(self) -> str:
        """Return the line of code that makes this panel again in this state."""
        return f"wb.panels.Wiring({', '.join(f'{k}={c.value!r}' for k, c in self.controls.items())})"

    def _put(self, name: str, value: str) -> None:
        control = self.controls[name]
        if name == "backbone":
            control.options = list_backbones()  # one may have been registered since
        if value not in control.options:
            hint = did_you_mean(value, control.options) or f"; expected one of {', '.join(control.options)}"
            raise WorkbenchError(f"{name}={value!r} is not a value of this control{hint}")
        control.value = value

    def _fit(self) -> None:
        """Offer the scales of the chosen host, and take the one chosen last where the host has it."""
        scales, scale = read_host(self.controls["host"].value).scales, self.controls["scale"]
        if tuple(scale.options) != scales:
            scale.options = scales
            scale.value = self._scale if self._scale in scales else scales[0]
        elif len(scales) > 1:
            self._scale = scale.value

    def _put_back(self, snapshot: Any) -> None:
        for name, value in snapshot.items():
            self.controls[name].value = value
            self._fit()

    def _draw(self) -> None:
        self._fit()
        host, scale, backbone = (c.value for c in self.controls.values())
        self.message.value = f"Building {html.escape(backbone)} in {host} …"
        self._result = wiring(host, backbone, scale)
        self.words.value = html.escape(self._result.summary)
        self.table.value, self.yaml.value = as_html(self._result), self._result.yaml


def as_html(result: Result) -> str:
    """Return the layer map as a table; rows are tinted by stride, and the number is written too."""
    heads = ("old", "new", "layer", "reads", "channels", "stride", "parameters", "read by")
    head = "".join(f"<th scope='col' style='{CELL};text-align:left'>{h}</th>" for h in heads)
    readers = {n: ", ".join(str(x.new) for x in result.layers if n in x.reads) for n in range(len(result.layers))}
    body = "".join(_row(layer, readers[layer.new]) for layer in result.layers)
    caption = f"{result.backbone} in {result.host}, scale {result.scale}: layer numbers old → new"
    style = "border-collapse:collapse;color:#111"
    return f"<table style='{style}'><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"


def _row(layer: Layer, readers: str) -> str:
    weight = ";font-weight:600" if layer.new < SLOTS else ""
    numbers = (layer.channels, layer.stride, f"{layer.params:,}")
    reads = ", ".join("image" if n < 0 else str(n) for n in layer.reads)
    cells = [layer.old or "—", f"{layer.new}", html.escape(layer.type), reads]
    cells += ["—" if v is None else str(v) for v in numbers] + [readers or "—"]
    tds = "".join(
        f"<td style='{CELL};text-align:{'right' if i in (0, 1, 4, 5, 6) else 'left'}{weight}'>{c}</td>"
        for i, c in enumerate(cells)
    )
    return f"<tr style='background:{TINT.get(layer.stride or 0, '#ffffff')}'>{tds}</tr>"
