"""Detections: several detectors on the same image beside the truth; what is right, what is wrong, what is missed."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets
from matplotlib.figure import Figure

from ..errors import WorkbenchError, did_you_mean
from ..plots.features import png
from ._detections import COCO, FLOOR, SHAPES, Found, Picture, Recorded, count_images, detectors, read_picture, verdict
from ._scene import escape
from ._verdicts import DetectionCanvas, facts, figure_of, maps_at, sentence, side_of, truth_view, view_of
from .feature_maps import FeatureMaps

ALL, NONE = "every class", "—"
LEGEND = "solid blue ✓ right · dashed orange ✕ wrong · dotted purple ? missed"
SHOWN_SIDE = 640  # a larger image is made smaller for the browser


class Detections:
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
        self._found: dict[str, Found | str] = {}
        self._result: dict[str, dict[str, Any]] = {}
        self._views: list[dict[str, Any]] = []
        self._busy, self._stamp = True, 0
        self.maps: FeatureMaps | None = None
        self.canvas, self.message, self.words = DetectionCanvas(), widgets.HTML(), widgets.HTML()
        self.below = widgets.VBox()
        self.upload = widgets.FileUpload(accept="image/*", multiple=False, description="upload")
        self.upload.tooltip = "an image of yours; nobody has labelled it, so nothing is counted"
        self.controls = self._make_controls()
        for name, control in self.controls.items():
            control.style.description_width = "auto"
            control.observe(lambda _, n=name: self._changed(n), names="value")
        self.canvas.on_msg(lambda _w, content, _b: self._clicked(content.get("open")))
        self.upload.observe(self._uploaded, names="value")
        c, wrap = self.controls, widgets.Layout(flex_flow="row wrap", grid_gap="2px 12px")
        self.widget = widgets.VBox([
            widgets.HBox([c["images"], c["index"], self.upload, c["only"]], layout=wrap),
            widgets.HBox([c["confidence"], c["iou"], c["shown"], c["miss"]], layout=wrap),
            self.message, widgets.HTML(f"<small>{LEGEND}</small>"), self.canvas, self.words, self.below,
        ])  # fmt: skip
        self._busy = False
        self.set(images=str(images), **state)

    def _make_controls(self) -> dict[str, Any]:
        floor = max(0.01, *(d.floor for d in self.detectors.values()), FLOOR)
        most = [d.images for d in self.detectors.values() if isinstance(d, Recorded)]
        self._recorded = min(most) if len(most) == len(self.detectors) else None
        wide, fit = widgets.Layout(width="300px"), widgets.Layout(width="max-content")
        labels = tuple(self.detectors)
        made = {
            "images": widgets.Dropdown(options=(SHAPES, COCO), description="images", layout=fit),
            "index": widgets.IntSlider(0, 0, 7, description="number", continuous_update=False, layout=wide),
            "confidence": widgets.FloatSlider(0.25, min=floor, max=0.95, step=0.01, description="confidence ≥"),
            "iou": widgets.FloatSlider(0.5, min=0.05, max=0.95, step=0.05, description="IoU ≥"),
            "only": widgets.Dropdown(options=(ALL,), description="class", layout=fit),
            "shown": widgets.SelectMultiple(
                options=labels, value=labels, rows=min(5, len(labels)), description="detectors"
            ),
            "miss": widgets.Dropdown(options=[(NONE, None)], description="feature maps at a miss", layout=fit),
        }
        for name, tip in _TIPS.items():
            made[name].tooltip = tip
        return made

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
        before, self._busy = (self.state, self.controls["images"].options), True
        try:
            try:
                for name in sorted(values, key=[*self.controls, *values].index):
                    if name == "miss" and values[name] is not None:
                        self._update()  # which objects are missed depends on all others
                    self._put(name, values[name])
                self._update()
                self._look()
            except WorkbenchError:
                self.controls["images"].options = before[1]
                for name, value in before[0].items():
                    if name != "miss":
                        self._put(name, value)
                raise
        finally:
            self._busy = False
        self.message.value = ""
        return self

    def _put(self, name: str, value: Any) -> None:
        if name not in self.controls:
            hint = did_you_mean(name, self.controls) or f"; it has {', '.join(self.controls)}"
            raise WorkbenchError(f"Detections has no control {name!r}{hint}")
        control = self.controls[name]
        if name == "images":
            value = str(value)
            if value not in control.options and Path(value).expanduser().is_file():
                control.options = (*control.options, value)
            own = value in control.options and value != SHAPES and not self._is_image(value)
            self.controls["index"].max = (count_images(value) if own else self._recorded or count_images(SHAPES)) - 1
        if name == "only" and isinstance(value, str) and value != ALL:
            known = {n for p in [self._picture] if p for n in p.names} | set(control.options)
            if value not in known:
                raise WorkbenchError(f"only={value!r} is in no box here; expected {', '.join(control.options)}")
        try:
            given = control.value
            control.value = value
            if hasattr(control, "min") and control.value != value:  # ipywidgets moves it to the nearest end
                control.value = given
                raise WorkbenchError(f"{name}={value!r} is out of range; expected {control.min:g} to {control.max:g}")
        except (traitlets.TraitError, TypeError) as e:  # ipywidgets trips over a pair it does not have
            offer = ", ".join(str(o) for o in getattr(control, "options", ())) or f"{control.min:g} to {control.max:g}"
            raise WorkbenchError(f"{name}={value!r} is not a value of this control; expected {offer}") from e

    # --- reacting ---

    def _changed(self, name: str) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            if name == "images":
                self._put("images", self.controls["images"].value)
            self._update()
            if name == "miss":
                self._look()
            self.message.value = ""
        except (WorkbenchError, MemoryError, RuntimeError) as e:
            reason = "not enough memory for this choice" if isinstance(e, MemoryError) else str(e).splitlines()[0]
            self.message.value = f'<div role="alert" style="color:#8a3b00"><b>Not possible:</b> {escape(reason)}</div>'
        finally:
            self._busy = False

    def _uploaded(self, change: Any) -> None:
        for file in change["new"]:
            name = f"upload: {file['name']}"
            while name in self._uploads:
                name += " (again)"
            self._uploads[name] = bytes(file["content"])
            busy, self._busy, control = self._busy, True, self.controls["images"]
            value = control.value
            control.options = (*control.options, name)
            control.value, self._busy = value, busy
            control.value = name

    def _clicked(self, pair: Any) -> None:
        if pair:
            value = (str(pair[0]), int(pair[1]))
            options = [v for _, v in self.controls["miss"].options]
            if value in options:
                self.controls["miss"].value = value

    def _is_image(self, images: str) -> bool:
        return images in self._uploads or (
            images not in (SHAPES, COCO) and Path(images).suffix not in (".yaml", ".yml")
        )

    def _update(self) -> None:
        c = self.controls
        picture = read_picture(c["images"].value, c["index"].value, self.side, self._uploads)
        c["index"].disabled = self._is_image(c["images"].value)
        if self._picture is None or picture.key != self._picture.key:
            self._picture, self._found = picture, {}
            step = max(1, math.ceil(max(picture.pixels.shape[:2]) / SHOWN_SIDE))
            self.canvas.photo = png(picture.pixels[::step, ::step])
        for label in c["shown"].value:
            if label not in self._found or isinstance(self._found[label], str):
                try:
                    self._found[label] = self.detectors[label].find(picture)
                except (WorkbenchError, MemoryError, RuntimeError, OSError) as e:
                    self._found[label] = str(e).splitlines()[0] if str(e) else "not enough memory"
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
        rule = f"At IoU ≥ {c['iou'].value:.2f} and confidence ≥ {c['confidence'].value:.2f}. "
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

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        buffer = io.BytesIO()
        self.static().savefig(buffer, format="png", dpi=90)
        bundle = dict(self.widget._repr_mimebundle_(**kwargs))
        return bundle | {"image/png": base64.b64encode(buffer.getvalue()).decode()}


_TIPS = {
    "images": "where images come from", "index": "which validation image",
    "confidence": "detections below it are left out; no network runs again",
    "iou": "least overlap of a right detection",
    "only": "look at one class", "shown": "detectors shown; Ctrl or Shift for several",
    "miss": "open the feature maps of the detector that missed the object",
}  # fmt: skip
