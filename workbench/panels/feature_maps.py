"""FeatureMaps: what every channel of every stage does with an image, for up to three networks side by side."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import traitlets
from matplotlib.figure import Figure

from ..datasets import PHOTOS
from ..errors import WorkbenchError, did_you_mean
from ..features.channels import SORTS
from ..plots.features import SCALES, feature_grid, png, sheet
from ._maps import SHOW, STAGE, View, networks, read_image, views
from ._scene import COLUMNS, MapCanvas, Sheet, describe, escape, scene_view, sheets, thumbnail

SIZES = (64, 128, 224, 320, 448, 640)


@dataclass(frozen=True)
class Shown:
    """What the panel shows, as plain data."""

    image: str
    imgsz: int
    selected: int
    views: dict[str, View]

    def __repr__(self) -> str:
        return f"Shown({self.image!r}, imgsz={self.imgsz}, selected={self.selected}, views={list(self.views)})"


class FeatureMaps:
    """Look at channels. Choose image, stage and order; click a channel for its large view, press p to pin it.

    Zero is white, positive blue, negative orange. Numbers are the real channel numbers; a green frame and * mark the
    channels a PConv computes, a bar through a tile a dead channel, • a pinned one.

    Args:
        models: a variant's name (random weights, seed 0), a module, a list of up to three, or {label: either}.
        image: a built-in photo, an image file, or "coco128".
        imgsz: image side.
        **state: further controls, as for `set`.

    Raises:
        WorkbenchError: a network or a control that does not exist. A fault while the panel is used (a text file as
            image, too little memory) is shown inside the panel, which goes on working.

    >>> panel = FeatureMaps("starnet_s050", "cat", imgsz=64, stage="P4")
    >>> view = panel.result.views["starnet_s050 (random weights)"]
    >>> view.shape, view.channels[:3]
    ((64, 4, 4), (0, 1, 2))
    """

    def __init__(self, models: Any = "fasternet_t0", image: str = "cat", *, imgsz: int = 224, **state: Any) -> None:
        self.networks = networks(models)
        self._uploads: dict[str, bytes] = {}
        self._image: tuple[tuple[Any, ...], Any] | None = None
        self._photo = b""
        self._mark: tuple[float, float, float, float] | None = None
        self._result: Shown | None = None
        self._sheets: tuple[int, list[Sheet]] = (0, [])
        self._busy, self._stamp = True, 0
        self.canvas = MapCanvas()
        self.words = widgets.HTML()
        self.message = widgets.HTML()
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="upload")
        self.pin = widgets.Button(description="pin channel", tooltip="keep the selected channel on the first page")
        self.controls = self._make_controls()
        for control in self.controls.values():
            control.style.description_width = "auto"
            wide = "max-content" if isinstance(control, widgets.Dropdown) else "150px"
            control.layout.width = "260px" if "Slider" in type(control).__name__ else wide
            control.observe(lambda _: self._changed(), names="value")
        self.canvas.observe(lambda _: self._changed(pictures=False), names="selected")
        self.canvas.on_msg(lambda _w, content, _b: self._toggle_pin(content.get("pin")))
        self.upload.observe(self._uploaded, names="value")
        self.pin.on_click(lambda _: self._toggle_pin(self.canvas.selected))
        rows = [widgets.HBox([self.controls[n] for n in names], layout=_WRAP) for names in _ROWS]
        rows[0].children = (*rows[0].children, self.upload)
        rows[1].children = (*rows[1].children, self.pin)
        self.widget = widgets.VBox([*rows, self.message, self.canvas, self.words])
        self._pinned: list[int] = []
        self._busy = False
        self.set(image=image, imgsz=imgsz, **state)

    def _make_controls(self) -> dict[str, Any]:
        levels = list(self.networks[0].levels)
        start = levels[min(1, len(levels) - 1)] if levels else "—"
        slider = {"continuous_update": False}
        names = set.intersection(*({n for n, _ in net.model.named_modules() if n} for net in self.networks))
        ordered = [n for n, _ in self.networks[0].model.named_modules() if n in names]
        first = STAGE if levels else ordered[0]
        return {
            "image": widgets.Dropdown(options=[*PHOTOS, "coco128"], value="cat", description="image"),
            "index": widgets.BoundedIntText(value=0, min=0, max=127, description="number", disabled=True),
            "imgsz": widgets.Dropdown(options=SIZES, value=224, description="image side"),
            "stage": widgets.SelectionSlider(options=levels or ["—"], value=start, description="stage", **slider),
            "layer": widgets.Dropdown(
                options=[STAGE, *ordered] if levels else ordered, value=first, description="layer"
            ),
            "show": widgets.Dropdown(options=SHOW, description="show"),
            "sort": widgets.Dropdown(options=SORTS, description="sort by"),
            "page": widgets.BoundedIntText(value=1, min=1, max=1, description="page"),
            "per_page": widgets.Dropdown(options=(16, 32, 64, 128), value=64, description="per page"),
            "scale": widgets.Dropdown(options=SCALES, description="full colour"),
            "overlay": widgets.FloatSlider(value=0, min=0, max=0.9, step=0.1, description="image under", **slider),
        }

    # --- driving it ---

    @property
    def result(self) -> Shown:
        """What the panel shows now."""
        assert self._result is not None
        return self._result

    @property
    def state(self) -> dict[str, Any]:
        """Every control's value: ``panel.set(**state)`` restores them."""
        values = {name: control.value for name, control in self.controls.items()}
        return values | {"selected": self.canvas.selected, "pinned": tuple(self._pinned)}

    def code(self) -> str:
        """Return the line of code that brings a panel of these networks into this state."""
        return f"panel.set({', '.join(f'{k}={v!r}' for k, v in self.state.items())})"

    def set(self, **values: Any) -> FeatureMaps:
        """Set controls by name, as a hand would, and return the panel.

        Args:
            **values: any of `state`; ``image`` also takes the path of an image file.

        Raises:
            WorkbenchError: an unknown control, a value it cannot take, or nothing that can be shown; the panel is then
                as before.
        """
        before, self._busy = (self.state, tuple(self.controls["image"].options)), True
        try:
            try:
                for name, value in values.items():
                    self._put(name, value)
                self._update()
            except WorkbenchError:
                self.controls["image"].options = before[1]
                for name, value in before[0].items():
                    self._put(name, value)
                raise
        finally:
            self._busy = False
        self.message.value = ""
        return self

    def _put(self, name: str, value: Any) -> None:
        if name == "selected":
            self.canvas.selected = int(value)
        elif name == "pinned":
            self._pinned = [int(c) for c in value]
        elif name not in self.controls:
            hint = did_you_mean(name, self.controls) or f"; it has {', '.join(self.controls)}"
            raise WorkbenchError(f"FeatureMaps has no control {name!r}{hint}")
        else:
            control = self.controls[name]
            if name == "image" and Path(value).expanduser().is_file():
                self._offer_image(str(value))
            if name == "page" and isinstance(value, int):
                control.max = max(control.max, value)
            try:
                control.value = str(value) if name == "image" else value
            except traitlets.TraitError as e:
                offer = ", ".join(map(str, getattr(control, "options", ()))) or f"{control.min} to {control.max}"
                raise WorkbenchError(f"{name}={value!r} is not a value of this control; expected {offer}") from e

    def offer(self, name: str, data: bytes, mark: tuple[float, float, float, float] | None = None) -> FeatureMaps:
        """Show an encoded image under a name, as an upload does; `mark` frames a place in it in every picture.

        Args:
            name: of the choice in the image control.
            data: a JPEG or PNG file's bytes.
            mark: ``x1 y1 x2 y2`` as fractions of the square image.
        """
        self._uploads[name], self._mark, self._image = data, mark, None
        self._offer_image(name)
        return self.set(image=name)

    # --- reacting ---

    def _changed(self, pictures: bool = True) -> None:
        """Show the new state, or say inside the panel why it cannot be shown; never raise into the front end."""
        if self._busy:
            return
        self._busy = True
        try:
            self._update(pictures)
            self.message.value = ""
        except (WorkbenchError, MemoryError) as e:
            reason = "not enough memory for this choice" if isinstance(e, MemoryError) else escape(str(e))
            self.message.value = f'<div role="alert" style="color:#8a3b00"><b>Not possible:</b> {reason}</div>'
        finally:
            self._busy = False

    def _uploaded(self, change: Any) -> None:
        for file in change["new"]:
            name = f"upload: {file['name']}"
            again = sum(n.startswith(name) for n in self._uploads)
            name += f" ({again + 1})" if again else ""  # maps are cached under the name
            self._uploads[name] = bytes(file["content"])
            self._offer_image(name)
            self._image = None
            self.controls["image"].value = name

    def _offer_image(self, name: str) -> None:
        """Add a choice to the image control; ipywidgets would jump to the first choice meanwhile."""
        control, busy = self.controls["image"], self._busy
        self._busy, value = True, control.value
        if name not in control.options:
            control.options = (*control.options, name)
            control.value = value
        self._busy = busy

    def _toggle_pin(self, channel: int | None) -> None:
        if channel is None:
            return
        pinned = [c for c in self._pinned if c != channel]
        self._pinned = pinned if len(pinned) < len(self._pinned) else [*pinned, int(channel)]
        self._changed()

    def _update(self, pictures: bool = True) -> None:
        c = {name: control.value for name, control in self.controls.items()}
        key = (c["image"], c["index"] if c["image"] == "coco128" else 0, c["imgsz"])
        if self._image is None or self._image[0] != key:
            self._image = (key, read_image(c["image"], c["index"], self._uploads, c["imgsz"]))
            self._photo = png(thumbnail(self._image[1], 224))
        names = ("stage", "layer", "show", "sort", "page", "per_page", "scale")
        found = views(self.networks, key, self._image[1], pinned=self._pinned, **{n: c[n] for n in names})
        least = min(v.shape[0] for v in found)
        self.controls["index"].disabled = c["image"] != "coco128"
        self.controls["stage"].disabled = c["layer"] != STAGE
        self.controls["page"].max = max(1, -(-max(v.shape[0] for v in found) // c["per_page"]))
        if not 0 <= self.canvas.selected < least:
            self.canvas.selected = found[0].channels[0] if found[0].channels[0] < least else 0
        self._result = Shown(c["image"], c["imgsz"], self.canvas.selected, {v.label: v for v in found})
        self._show(found, c["overlay"], pictures)

    def _show(self, found: list[View], overlay: float, pictures: bool) -> None:
        if pictures or len(self._sheets[1]) != len(found):
            under = thumbnail(self._image[1]) if overlay > 0 and self._image else None
            self._sheets = (self._sheets[0] + 1, sheets(found, under, overlay))
        self._stamp += 1
        words = describe(found, self.canvas.selected)
        shown = [
            scene_view(v, s, self.canvas.selected, self._pinned) for v, s in zip(found, self._sheets[1], strict=True)
        ]
        self.canvas.scene = {
            "version": self._sheets[0], "stamp": self._stamp, "columns": COLUMNS, "words": words, "views": shown,
            "photo": self._photo, "mark": self._mark,
        }  # fmt: skip
        self.words.value = f"<div>{escape(words)}</div>"

    # --- without a kernel ---

    def static(self) -> Figure:
        """Return the first view as a figure, for a reader without a kernel."""
        v = next(iter(self.result.views.values()))
        figure = Figure(figsize=(9.2, 1.2 * -(-len(v.channels) // COLUMNS) + 0.5))
        title = f"{v.label}, {v.module}: {v.shape[0]} channels of {v.shape[1]}×{v.shape[2]}"
        return feature_grid(v.maps, v.channels, columns=COLUMNS, title=title, dead=v.dead, figure=figure)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = dict(self.widget._repr_mimebundle_(**kwargs))
        v = next(iter(self.result.views.values()))
        picture = png(
            np.repeat(np.repeat(sheet(v.maps[list(v.channels)], v.top[list(v.channels)], COLUMNS), 2, 0), 2, 1)
        )
        return bundle | {"image/png": base64.b64encode(picture).decode()}


_WRAP = widgets.Layout(flex_flow="row wrap", grid_gap="2px 10px")
_ROWS = (("image", "index", "imgsz", "overlay"), ("stage", "layer", "show"), ("sort", "page", "per_page", "scale"))
