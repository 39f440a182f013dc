"""What the Detections panel shows, without any widget: detectors, what they find, and how that is judged."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..datasets import SHAPE_NAMES
from ..errors import WorkbenchError
from ..train.models import open_detector
from ..train.results import load_results, recorded
from ..train.run import Run
from ..yolo import RTDETR, YOLO, BackboneLayer
from ..yolo.matching import Matching, match
from ._pictures import SHAPES, Picture
from ._reason import reason

FLOOR = 0.001  # confidence from which detections are kept; thresholds above it need no second run
OLD_FLOOR = 0.25  # of recordings that do not say theirs
KEPT = 64  # images per detector whose detections stay in memory


@dataclass(frozen=True)
class Found:
    """What one detector finds in one image, down to its floor."""

    boxes: np.ndarray  # (N, 4)
    names: tuple[str, ...]
    scores: np.ndarray  # (N,)


class Place(NamedTuple):
    """A level of a detector, for the feature maps."""

    name: str
    module: str


class Live:
    """A detector that can be run: a run folder, a checkpoint, or an open YOLO or RTDETR."""

    floor = FLOOR

    def __init__(self, label: str, source: Any) -> None:
        self.label, self.source = label, source
        self._detector: Any = None
        self._cache: dict[tuple[Any, ...], Found] = {}
        if isinstance(source, YOLO | RTDETR):
            self.source = _copy(source)  # predicting merges layers in place: the caller's detector stays trainable

    def open(self) -> Any:
        """Return the detector, newly opened.

        Raises:
            WorkbenchError: it cannot be.
        """
        if isinstance(self.source, YOLO | RTDETR):
            return _copy(self.source)
        if isinstance(self.source, Run):
            return open_detector(self.source.best)
        path = Path(self.source).expanduser()
        return open_detector(path if path.suffix == ".pt" else Run(path).best)

    def find(self, picture: Picture) -> Found:
        """Return what it finds; an image it has seen is not run again."""
        if picture.key not in self._cache:
            if self._detector is None:
                self._detector = self.open()
            threads = torch.get_num_threads()
            try:
                result = self._detector.predict(
                    picture.pixels[..., ::-1].copy(), conf=FLOOR, imgsz=self.imgsz, verbose=False
                )[0]
            except Exception as e:  # whatever a network answers to an image, the panel goes on
                raise WorkbenchError(f"{self.label} cannot run on this image: {reason(e)}") from e
            finally:
                torch.set_num_threads(threads)  # selecting a device changes them
            boxes = result.boxes
            names = tuple(str(result.names[int(c)]) for c in boxes.cls.tolist())
            while len(self._cache) >= KEPT:
                self._cache.pop(next(iter(self._cache)))
            self._cache[picture.key] = Found(boxes.xyxy.cpu().numpy(), names, boxes.conf.cpu().numpy())
        return self._cache[picture.key]

    @property
    def imgsz(self) -> int:
        """The image side it was trained at."""
        if self._detector is None:
            self._detector = self.open()
        size = self._detector.overrides.get("imgsz", 640)
        return int(size if isinstance(size, int) else max(size))

    def network(self) -> torch.nn.Module:
        """Return its network for looking inside, with its backbone's levels and what the head reads as levels."""
        net = self.open().model.float().eval()
        places = []
        for i, layer in enumerate(net.model):
            if isinstance(layer, BackboneLayer):
                places += [Place(lv.name, f"model.{i}.backbone.{lv.module}") for lv in layer.feature_info]
        head = net.model[-1]
        strides = getattr(head, "stride", None)
        reads = head.f if isinstance(head.f, list) else [head.f]
        for j, source in enumerate(reads):
            level = int(math.log2(strides[j])) if strides is not None and len(strides) == len(reads) else j + 3
            places.append(Place(f"neck P{level}", f"model.{source}"))
        net.feature_info = places
        return net


def _copy(detector: Any) -> Any:
    """Copy a YOLO or RTDETR without what hangs on it: a predictor holds a lock, a trainer whole datasets."""
    kept = {name: getattr(detector, name, None) for name in ("predictor", "trainer", "metrics")}
    try:
        for name in kept:
            setattr(detector, name, None)
        return copy.deepcopy(detector)
    finally:
        for name, value in kept.items():
            setattr(detector, name, value)


class Recorded:
    """What a recorded run found in the images that were kept."""

    def __init__(self, label: str, record: Mapping[str, Any]) -> None:
        self.label, self.imgsz = label, int(record["imgsz"])
        self._kept = {int(k.split()[-1]): v for k, v in record["detections"].items()}
        self.floor = float(record.get("detections_from", {}).get("confidence", OLD_FLOOR))

    @property
    def images(self) -> int:
        """How many validation images were kept."""
        return len(self._kept)

    def find(self, picture: Picture) -> Found:
        """Return what was recorded.

        Raises:
            WorkbenchError: this image was not recorded.
        """
        if picture.key[:2] != (SHAPES, self.imgsz) or picture.key[2] not in self._kept:
            raise WorkbenchError(
                f"recorded only for the first {self.images} images of {SHAPES!r} at {self.imgsz} px; "
                "give a run folder or a checkpoint to run a detector on any image"
            )
        kept = self._kept[picture.key[2]]
        names = tuple(SHAPE_NAMES[i] for i in kept["labels"])
        return Found(np.array(kept["boxes"], float).reshape(-1, 4), names, np.array(kept["scores"], float))

    def network(self) -> torch.nn.Module:
        """Refuse.

        Raises:
            WorkbenchError: a recording holds no weights.
        """
        raise WorkbenchError(
            f"{self.label} is a recording: boxes were kept, weights were not, so there are no feature maps to look at; "
            "train the run and give its folder"
        )


def detectors(given: Any) -> dict[str, Live | Recorded]:
    """Return label → detector from what a caller may give; a checkpoint is opened when it is first needed.

    Raises:
        WorkbenchError: nothing given, or something that is no detector.
    """
    if isinstance(given, str) and given in recorded():
        runs = load_results(given).runs
        found = {label: Recorded(label, record) for label, record in runs.items() if "detections" in record}
        if not found:
            raise WorkbenchError(f"{given!r} keeps no detections; shapes_128_converged does")
        return dict(found)
    if isinstance(given, str) and not Path(given).expanduser().exists():
        load_results(given)  # its error names what there is
    if not isinstance(given, Mapping):
        items = list(given) if isinstance(given, list | tuple) else [given]
        given = {_label(item, i): item for i, item in enumerate(items)}
    if not given:
        raise WorkbenchError("no detector given; expected recorded results, run folders, checkpoints or YOLO objects")
    for label, source in given.items():
        if not isinstance(source, str | Path | Run | YOLO | RTDETR):
            kind = type(source).__name__
            raise WorkbenchError(f"{label!r} is a {kind}; expected a run folder, a Run, a checkpoint or a YOLO")
    return {str(label): Live(str(label), source) for label, source in given.items()}


def _label(item: Any, i: int) -> str:
    if isinstance(item, Run):
        return item.folder.name
    if isinstance(item, str | Path):
        path = Path(item)
        return path.parents[1].name if path.suffix == ".pt" and len(path.parents) > 2 else path.stem
    return f"detector {i + 1}"


def verdict(picture: Picture, found: Found, only: str | None, iou: float, confidence: float) -> Matching:
    """Match one detector's findings with the truth, of one class or of all; classes are compared by name.

    Numbers in the matching are those of `picture` and `found`, whatever the class asked for.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys((*picture.names, *found.names)))}
    keep = np.array([only in (None, n) for n in found.names], bool)
    true = np.array([only in (None, n) for n in picture.names], bool)
    labels, truths = np.array([number[n] for n in found.names], int), np.array([number[n] for n in picture.names], int)
    m = match(
        found.boxes[keep], labels[keep], found.scores[keep], picture.boxes[true], truths[true],
        iou=iou, confidence=confidence,
    )  # fmt: skip
    mine, theirs = np.flatnonzero(keep), np.flatnonzero(true)
    claims = np.array([theirs[c] if c >= 0 else -1 for c in m.claims], np.int64)
    return Matching(mine[m.kept], claims, m.overlaps, m.why, theirs[m.missed])
