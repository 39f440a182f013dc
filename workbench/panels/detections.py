"""Detections: several detectors on the same image beside the truth; what is right, what is wrong, what is missed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..errors import WorkbenchError
from ..plots.features import png
from ._careful import ByHand, no_control, put
from ._detections import Found, Recorded, detectors, verdict
from ._detections_controls import ALL, LEGEND, NONE, make_controls
from ._frame import Frame, as_png, png_of
from ._pictures import SHAPES, Picture, count_images, is_image, read_picture
from ._reason import reason
from ._scene import escape
from ._verdicts import DetectionCanvas, facts, figure_of, maps_at, sentence, side_of, truth_view, view_of
from .feature_maps import FeatureMaps

SHOWN_SIDE = 640  # a larger image is made smaller for the browser


class Detections(ByHand):
    """Look at what detectors find. Move the thresholds; click a missed object to see the feature maps there.

    A detection is right (✓, solid) when it claims a true object of its class, wrong (✕, dashed) otherwise; an object
    that nobody claims is missed (?, dotted). Each detector runs once per image; thresholds only choose among what it
    found.

    Args:
        models: name of recorded results (``"shapes_128_converged"``); or a run folder, `Run`, checkpoint, `YOLO` or
            `RTDETR`; a list of these; or {label: either}.
        images: "shapes, held out", "coco128, val = train", a dataset YAML, or an image file.
        imgsz: side at which shapes are drawn; default the side the first detector was trained at.
        **state: further controls, as for `set`.

    Raises:
        WorkbenchError: unknown results or control. Any other fault is shown inside the panel, which goes on working.

    >>> panel = Detections("shapes_128_converged", index=0)
    >>> panel.result["stock-seed0"]["tp"] + panel.result["stock-seed0"]["fn"]
    4
    """

    def __init__(self, models: Any, images: str | Path = SHAPES, *, imgsz: int | None = None, **state: Any) -> None:
        self.detectors = detectors(models)
        first = next(iter(self.detectors.values()))
        self.side = imgsz or (side_of(first) if str(images) == SHAPES else 160)
        self._uploads: dict[str, bytes] = {}
        self._picture: Picture | None = None
        self._asked: tuple[str, int] | None = None
        self._read: Picture | None = None
        self._found: dict[str, Found | str] = {}
        self._result: dict[str, dict[str, Any]] = {}
        self._views: list[dict[str, Any]] = []
        self._busy, self._stamp = True, 0
        self.maps: FeatureMaps | None = None
        self.canvas, self.message, self.words = DetectionCanvas(), widgets.HTML(), widgets.HTML()
        self.below = widgets.VBox()
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="upload")
        self.upload.tooltip = "an image of yours; nobody has labelled it, so nothing is counted"
        self.controls = make_controls(self.detectors)
        most = [d.images for d in self.detectors.values() if isinstance(d, Recorded)]
        self._recorded = min(most) if len(most) == len(self.detectors) else None
        for name, control in self.controls.items():
            control.observe(lambda _, n=name: self._by_hand(self._move, n), names="value")
        self.canvas.on_msg(lambda _w, content, _b: self._clicked(content.get("open")))
        self.upload.observe(self._uploaded, names="value")
        c, wrap = self.controls, widgets.Layout(flex_flow="row wrap", grid_gap="2px 12px")
        parts = [
            widgets.HBox([c["images"], c["index"], self.upload, c["only"]], layout=wrap),
            widgets.HBox([c["confidence"], c["iou"], c["shown"], c["miss"]], layout=wrap),
            self.message, widgets.HTML(f"<small>{LEGEND}</small>"), self.canvas, self.words, self.below,
        ]  # fmt: skip
        self.widget = Frame(parts, lambda: as_png(png_of(self.static(), dpi=90)))
        self._busy = False
        self.set(images=str(images), **state)

    # --- driving it ---

    @property
    def result(self) -> dict[str, dict[str, Any]]:
        """Detector → ``tp``, ``fp``, ``fn``, ``precision``, ``recall``, ``missed``, ``why`` wrong, ``error``."""
        return self._result

    @property
    def state(self) -> dict[str, Any]:
        """The controls' values: ``panel.set(**state)`` restores them."""
        return {name: control.value for name, control in self.controls.items()}

    def code(self) -> str:
        """Return the line of code that brings a panel of these detectors into this state."""
        return f"panel.set({', '.join(f'{k}={v!r}' for k, v in self.state.items())})"

    def set(self, **values: Any) -> Detections:
        """Set controls by name, as a hand would, and return the panel.

        Args:
            **values: any of `state`; ``images`` also takes an image file or a dataset YAML, ``miss`` a pair (detector,
                number of the true box).

        Raises:
            WorkbenchError: an unknown control, a value it cannot take, or an image that cannot be shown; the panel is
                then as before.
        """

        def work() -> None:
            for name in sorted(values, key=[*self.controls, *values].index):
                if name == "miss" and values[name] is not None:
                    self._update()  # which objects are missed depends on all others
                self._put(name, values[name])
            self._update()
            self._look()

        self._by_call(work)
        return self

    def _put(self, name: str, value: Any) -> None:
        if name not in self.controls:
            raise no_control("Detections", name, self.controls)
        control = self.controls[name]
        if name == "images":
            value = str(value)
            if value not in control.options and Path(value).expanduser().is_file():
                control.options = (*control.options, value)
            own = value in control.options and value != SHAPES and not is_image(value, self._uploads)
            self.controls["index"].max = (count_images(value) if own else self._recorded or count_images(SHAPES)) - 1
        if name == "only" and isinstance(value, str) and value != ALL:
            known = {n for p in [self._picture] if p for n in p.names} | set(control.options)
            if value not in known:
                raise WorkbenchError(f"only={value!r} is in no box here; expected {', '.join(control.options)}")
        put(name, control, value)

    # --- reacting ---

    def _move(self, name: str) -> None:
        if name == "images":
            self._put("images", self.controls["images"].value)
        self._update()
        if name == "miss":
            self._look()

    def _snapshot(self) -> Any:
        return self.state, self.controls["images"].options

    def _put_back(self, snapshot: Any) -> None:
        state, images = snapshot
        self.controls["images"].options = images
        for name, value in state.items():
            if name != "miss":
                self._put(name, value)
        known = [v for _, v in self.controls["miss"].options]
        self.controls["miss"].value = state["miss"] if state["miss"] in known else None

    def _uploaded(self, change: Any) -> None:
        for file in change["new"]:
            name = f"upload: {file['name']}"
            while name in self._uploads:
                name += " (again)"
            self._by_hand(self._take, name, bytes(file["content"]))
            if name not in self.controls["images"].options:  # it could not be shown
                del self._uploads[name]

    def _take(self, name: str, data: bytes) -> None:
        self._uploads[name], control = data, self.controls["images"]
        control.options = (*control.options, name)
        control.value = name
        self._move("images")

    def _clicked(self, pair: Any) -> None:
        options = {str(v): v for _, v in self.controls["miss"].options if v}
        if isinstance(pair, list | tuple) and str(tuple(pair)) in options:
            self.controls["miss"].value = options[str(tuple(pair))]

    def _update(self) -> None:
        c = self.controls
        single = is_image(c["images"].value, self._uploads)
        asked = (c["images"].value, 0 if single else c["index"].value)
        if asked != self._asked:
            self._read, self._asked = read_picture(*asked, self.side, self._uploads), asked
        assert self._read is not None
        picture = self._read
        c["index"].disabled = single
        if self._picture is None or picture.key != self._picture.key:
            self._picture, self._found = picture, {}
            step = max(1, math.ceil(max(picture.pixels.shape[:2]) / SHOWN_SIDE))
            self.canvas.photo = png(np.asarray(Image.fromarray(picture.pixels).reduce(step)))
        for label in c["shown"].value:
            if label not in self._found or isinstance(self._found[label], str):
                try:
                    self._found[label] = self.detectors[label].find(picture)
                except Exception as e:  # one detector that fails does not stop the others
                    self._found[label] = reason(e)
        self._offer_classes(picture)
        self._show(picture)

    def _offer_classes(self, picture: Picture) -> None:
        found = {n for f in self._found.values() if isinstance(f, Found) for n in f.names}
        control = self.controls["only"]
        names = sorted({*picture.names, *found} | ({control.value} - {ALL}))
        if tuple(control.options) != (ALL, *names):
            value, control.options = control.value, (ALL, *names)
            control.value = value

    def _show(self, picture: Picture) -> None:
        c = self.controls
        only = None if c["only"].value == ALL else c["only"].value
        self._views, self._result, lines = [truth_view(picture, only)], {}, []
        misses: list[tuple[str, Any]] = [(NONE, None)]
        for label in c["shown"].value:
            found = self._found[label]
            if isinstance(found, str):
                self._views.append({"label": label, "boxes": [], "counts": "", "error": found})
                self._result[label] = {"error": found}
                lines.append(f"{label}: {found}")
                continue
            m = verdict(picture, found, only, c["iou"].value, c["confidence"].value)
            self._views.append(view_of(label, picture, found, m))
            self._result[label] = facts(picture, m)
            misses += [(f"{label}: {picture.names[j]} ({j})", (label, int(j))) for j in m.missed]
            lines.append(f"{label}: {sentence(picture, m)}")
        chosen = self.controls["miss"].value
        if [v for _, v in self.controls["miss"].options] != [v for _, v in misses]:
            self.controls["miss"].options = misses
            self.controls["miss"].value = chosen if chosen in [v for _, v in misses] else None
        rule = f"At IoU ≥ {c['iou'].value:.2f} and confidence ≥ {c['confidence'].value:.2f}. {picture.note}"
        self.words.value = f"<div>{escape(rule)}<br>{'<br>'.join(map(escape, lines))}</div>"
        self._stamp += 1
        self.canvas.scene = {
            "views": self._views, "size": list(picture.pixels.shape[:2]), "stamp": self._stamp,
            "words": rule + "; ".join(lines),
        }  # fmt: skip

    def _look(self) -> None:
        """Open the feature maps of the detector that missed the chosen object, with the object framed."""
        chosen, picture = self.controls["miss"].value, self._picture
        if chosen is None or picture is None:
            self.maps, self.below.children = None, ()
            return
        label, number = chosen
        self.maps = maps_at(self.detectors[label], picture, number)
        title = f"<b>{escape(label)} missed the {escape(picture.names[number])}</b>: what it sees there"
        self.below.children = (widgets.HTML(title), self.maps.widget)

    # --- without a kernel ---

    def static(self) -> Figure:
        """Return the picture as a figure, for a reader without a kernel."""
        assert self._picture is not None
        return figure_of(self._picture, self._views)
