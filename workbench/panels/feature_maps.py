"""FeatureMaps: what every channel of every stage does with an image, for up to three networks side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..plots.features import feature_grid, png, sheet
from ._careful import ByHand, no_control, put
from ._frame import Frame, as_png
from ._maps import STAGE, View, networks, read_image, views
from ._maps_controls import ROWS, WRAP, make_controls
from ._scene import COLUMNS, MapCanvas, Sheet, describe, escape, scene_view, sheets, thumbnail

WIDE = 800  # pixels, of the picture without a kernel
Mark = tuple[float, float, float, float]  # x1 y1 x2 y2, as fractions of the square image


@dataclass(frozen=True)
class Shown:
    """What the panel shows, as plain data."""

    image: str
    imgsz: int
    selected: int
    views: dict[str, View]

    def __repr__(self) -> str:
        return f"Shown({self.image!r}, imgsz={self.imgsz}, selected={self.selected}, views={list(self.views)})"


class FeatureMaps(ByHand):
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
        self._marks: dict[str, Mark | None] = {}
        self._result: Shown | None = None
        self._sheets: tuple[int, list[Sheet]] = (0, [])
        self._busy, self._stamp = True, 0
        self.canvas = MapCanvas()
        self.words = widgets.HTML()
        self.message = widgets.HTML()
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="upload")
        self.upload.tooltip = "an image of yours, a JPEG or PNG file"
        self.pin = widgets.Button(description="pin channel", tooltip="keep the selected channel on the first page")
        self.controls = make_controls(self.networks)
        for control in self.controls.values():
            control.observe(lambda _: self._by_hand(self._update), names="value")
        self.canvas.observe(lambda _: self._by_hand(self._update, pictures=False), names="selected")
        self.canvas.on_msg(lambda _w, content, _b: self._toggle_pin(content.get("pin")))
        self.upload.observe(self._uploaded, names="value")
        self.pin.on_click(lambda _: self._toggle_pin(self.canvas.selected))
        rows = [widgets.HBox([self.controls[n] for n in names], layout=WRAP) for names in ROWS]
        rows[0].children = (*rows[0].children, self.upload)
        rows[1].children = (*rows[1].children, self.pin)
        self.widget = Frame([*rows, self.message, self.canvas, self.words], self._picture)
        self._pinned: list[int] = []
        self._busy = False
        self.set(image=image, imgsz=imgsz, **state)

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

        def work() -> None:
            for name, value in values.items():
                self._put(name, value)
            self._update()

        self._by_call(work)
        return self

    def _put(self, name: str, value: Any) -> None:
        if name == "selected":
            self.canvas.selected = int(value)
        elif name == "pinned":
            self._pinned = [int(c) for c in value]
        elif name not in self.controls:
            raise no_control("FeatureMaps", name, self.controls)
        else:
            control = self.controls[name]
            if name == "image" and isinstance(value, str | Path) and Path(value).expanduser().is_file():
                self._offer_image(str(value))
            if name == "page" and isinstance(value, int):
                control.max = max(control.max, value)
            put(name, control, str(value) if name == "image" else value)

    def offer(self, name: str, data: bytes, mark: Mark | None = None) -> FeatureMaps:
        """Show an encoded image under a name, as an upload does; `mark` frames a place in it.

        Args:
            name: of the choice in the image control.
            data: a JPEG or PNG file's bytes.
            mark: ``x1 y1 x2 y2`` as fractions of the square image.
        """
        self._uploads[name], self._marks[name], self._image = data, mark, None
        self._offer_image(name)
        return self.set(image=name)

    # --- reacting ---

    def _uploaded(self, change: Any) -> None:
        for file in change["new"]:
            name = f"upload: {file['name']}"
            again = sum(n.startswith(name) for n in self._uploads)
            name += f" ({again + 1})" if again else ""  # maps are cached under the name
            self._by_hand(self._take, name, bytes(file["content"]))
            if name not in self._images():  # it could not be shown
                del self._uploads[name]

    def _take(self, name: str, data: bytes) -> None:
        self._uploads[name] = data
        self._offer_image(name)
        self.controls["image"].value = name
        self._update()

    def _snapshot(self) -> Any:
        return self.state, tuple(self.controls["image"].options)

    def _put_back(self, snapshot: Any) -> None:
        state, images = snapshot
        self.controls["image"].options = images
        for name, value in state.items():
            self._put(name, value)

    def _images(self) -> list[str]:
        return [value for _label, value in self.controls["image"].options]

    def _offer_image(self, name: str) -> None:
        """Add a choice to the image control; ipywidgets would jump to the first choice meanwhile."""
        control, busy = self.controls["image"], self._busy
        self._busy, value = True, control.value
        if name not in self._images():
            short = name if name in self._uploads else Path(name).name  # a path is long, its end tells
            taken = any(label == short for label, _value in control.options)
            control.options = (*control.options, (name if taken else short, name))
            control.value = value
        self._busy = busy

    def _toggle_pin(self, channel: Any) -> None:
        if isinstance(channel, int):  # what else a canvas may say is not for us
            pinned = [c for c in self._pinned if c != channel]
            self._pinned = pinned if len(pinned) < len(self._pinned) else [*pinned, channel]
            self._by_hand(self._update)

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
            "photo": self._photo, "mark": self._marks.get(self.controls["image"].value),
        }  # fmt: skip
        self.words.value = f"<div>{escape(words)}</div>"

    # --- without a kernel ---

    def static(self) -> Figure:
        """Return the first view as a figure, for a reader without a kernel."""
        v = next(iter(self.result.views.values()))
        figure = Figure(figsize=(9.2, 1.2 * -(-len(v.channels) // COLUMNS) + 0.5))
        title = f"{v.label}, {v.module}: {v.shape[0]} channels of {v.shape[1]}×{v.shape[2]}"
        return feature_grid(v.maps, v.channels, columns=COLUMNS, title=title, dead=v.dead, figure=figure)

    def _picture(self) -> dict[str, str]:
        v = next(iter(self.result.views.values()))
        rows = list(v.channels)
        tiles = sheet(v.maps[rows], v.top[rows], COLUMNS)
        times = max(1, WIDE // tiles.shape[1])  # drawn at once, where `static` with its labels takes a second
        return as_png(png(tiles.repeat(times, 0).repeat(times, 1)))
