"""What the Detections panel makes of verdicts: boxes for the canvas, sentences, a figure, feature maps of a miss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ..plots.detections import verdict_boxes
from ..plots.features import png
from ..yolo.matching import WHY, Matching
from ._detections import Found, Live, Recorded
from ._maps_controls import SIZES
from ._pictures import Picture
from .feature_maps import FeatureMaps


class DetectionCanvas(anywidget.AnyWidget):
    """The picture; see ``detections.js``."""

    _esm = Path(__file__).with_name("detections.js")
    _css = Path(__file__).with_name("detections.css")
    scene = traitlets.Dict().tag(sync=True)
    photo = traitlets.Bytes(b"").tag(sync=True)


def truth_view(picture: Picture, only: str | None) -> dict[str, Any]:
    """Return the first tile: what is in the picture."""
    boxes = [
        {"box": b.tolist(), "kind": "truth", "text": n, "say": f"{n}, the truth", "number": j}
        for j, (b, n) in enumerate(zip(picture.boxes, picture.names, strict=True))
        if only in (None, n)
    ]
    counts = f"{len(boxes)} objects" if picture.labelled else "no truth known: nothing to count"
    return {"label": "truth", "boxes": boxes, "counts": counts, "error": ""}


def view_of(label: str, picture: Picture, found: Found, m: Matching) -> dict[str, Any]:
    """Return a detector's tile."""
    counts = f"✓ {m.tp} right   ✕ {m.fp} wrong   ? {m.fn} missed" if picture.labelled else f"{len(m.kept)} found"
    return {"label": label, "boxes": _boxes(picture, found, m), "counts": counts, "error": ""}


def _boxes(picture: Picture, found: Found, m: Matching) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for k, claim, overlap, why in reversed(list(zip(m.kept, m.claims, m.overlaps, m.why, strict=True))):
        name, score = found.names[k], float(found.scores[k])
        kind = "found" if not picture.labelled else "tp" if claim >= 0 else "fp"
        say = {"found": "found", "tp": f"right, IoU {overlap:.2f}", "fp": f"wrong: {WHY.get(why, '')}"}[kind]
        made.append({
            "box": [float(v) for v in found.boxes[k]], "kind": kind, "text": f"{name} {score:.2f}", "number": int(k),
            "say": f"{name}, confidence {score:.2f}, {say}",
        })  # fmt: skip
    made.sort(key=lambda b: b["kind"] == "tp")  # right ones on top of wrong ones,
    for j in m.missed:  # and what was missed on top of all
        name = picture.names[j]
        say = f"{name}, missed; Enter or a click shows the feature maps there"
        made.append({"box": picture.boxes[j].tolist(), "kind": "fn", "text": name, "say": say, "number": int(j)})
    return made


def facts(picture: Picture, m: Matching) -> dict[str, Any]:
    """Return a detector's verdicts as plain data."""
    if not picture.labelled:
        return {"found": len(m.kept), "error": ""}
    missed, why = [picture.names[j] for j in m.missed], [w for w in m.why if w]
    return {
        "tp": m.tp, "fp": m.fp, "fn": m.fn, "precision": m.precision, "recall": m.recall, "missed": missed, "why": why,
        "error": "",
    }  # fmt: skip


def sentence(picture: Picture, m: Matching) -> str:
    """Return precision and recall in words."""
    if not picture.labelled:
        return f"{len(m.kept)} found; nobody has labelled this image"
    found, there = len(m.kept), m.tp + m.fn
    p = f"precision {m.precision:.2f} ({m.tp} of {found} detections are right)" if found else "no detection"
    r = f"recall {m.recall:.2f} ({m.tp} of {there} objects are found)" if there else "no object"
    return f"{p}, {r}"


def maps_at(detector: Live | Recorded, picture: Picture, number: int) -> FeatureMaps:
    """Return the feature maps of a detector on this picture, at the level of a true box, with the box framed."""
    net: Any = detector.network()
    size = min(SIZES, key=lambda s: abs(s - detector.imgsz))
    (h, w), (x1, y1, x2, y2) = picture.pixels.shape[:2], picture.boxes[number].tolist()
    m = max(h, w)
    dx, dy = (m - w) / 2, (m - h) / 2  # the panel pads to a square
    side = max(x2 - x1, y2 - y1) / m * size
    level = f"neck P{3 if side < 64 else 4 if side < 128 else 5}"  # about eight cells of the level's stride
    level = level if level in {p.name for p in net.feature_info} else net.feature_info[-1].name
    maps = FeatureMaps({detector.label: net}, imgsz=size, stage=level, sort="energy")
    mark = ((x1 + dx) / m, (y1 + dy) / m, (x2 + dx) / m, (y2 + dy) / m)
    return maps.offer(f"the image, {picture.names[number]} framed", png(picture.pixels), mark)


def figure_of(picture: Picture, views: Sequence[dict[str, Any]]) -> Figure:
    """Return all tiles as a figure."""
    columns = min(3, len(views))
    rows = -(-len(views) // columns)
    figure = Figure(figsize=(3.1 * columns, 3.5 * rows), layout="constrained")
    for ax in figure.subplots(rows, columns, squeeze=False).flat[len(views) :]:
        ax.set_axis_off()
    for ax, view in zip(figure.axes, views, strict=False):
        verdict_boxes(picture.pixels, view["boxes"], view["label"], view["error"] or view["counts"], ax)
    return figure


def side_of(detector: Any) -> int:
    """Return the image side a detector was trained at; 160 where that cannot be read."""
    try:
        return max(64, int(detector.imgsz))
    except (WorkbenchError, OSError, ValueError):  # said when it is asked for detections
        return 160
