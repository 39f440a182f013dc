"""mAP of raw detections on annotated images, as ultralytics counts it, with an interval over the draw of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import ap_per_class, box_iou
from ultralytics.utils.nms import non_max_suppression

from ..errors import WorkbenchError

CONFIDENCE, NMS_IOU, MOST = 0.001, 0.7, 300  # ultralytics' own for validation
IOUS = torch.linspace(0.5, 0.95, 10)
Array = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """How good detections are.

    Attributes:
        map50: mean average precision at IoU 0.5.
        map50_95: the mean of those at IoU 0.5, 0.55 … 0.95.
        low, high: the middle 95 % of `map50` when images are drawn again from these, with replacement.
        images, objects: it was computed on.
    """

    map50: float
    map50_95: float
    low: float
    high: float
    images: int
    objects: int


def score(
    outputs: ArrayLike, truth: Sequence[tuple[ArrayLike, ArrayLike]], *, resamples: int = 200, seed: int = 0
) -> Score:
    """Score a detector's raw output, before suppression of duplicates.

    Args:
        outputs: (N, 4 + classes, places): box centre, width and height in pixels, then a confidence for each class.
        truth: for each image boxes (M, 4) ``x1 y1 x2 y2`` in pixels and labels (M,).
        resamples: of the images, for the interval.
        seed: of the resamples.

    Raises:
        WorkbenchError: shapes that do not belong together, or numbers that are not finite.

    >>> found = np.array([[[8.0], [8.0], [8.0], [8.0], [0.9], [0.0]]])  # one place, two classes
    >>> score(found, [([[4, 4, 12, 12]], [0])]).map50.__round__(3)
    0.995
    """
    raw = torch.as_tensor(np.asarray(outputs, np.float32))
    if raw.ndim != 3 or raw.shape[1] < 5 or len(raw) != len(truth) or not len(raw):
        raise WorkbenchError(
            f"outputs of shape {tuple(raw.shape)} given for {len(truth)} images; expected (N, 4 + classes, places)"
        )
    if not torch.isfinite(raw).all():
        raise WorkbenchError("some detections are not finite numbers")
    rows = [_match(one, *true) for one, true in zip(raw, truth, strict=True)]
    ap = _ap(rows, range(len(rows)))  # (classes, 10)
    rng = np.random.default_rng(seed)
    draws = [float(_ap(rows, rng.integers(0, len(rows), len(rows)), 1).mean()) for _ in range(resamples)]
    low, high = (float(q) for q in np.quantile(draws, (0.025, 0.975))) if draws else (0.0, 1.0)
    objects = sum(len(row[3]) for row in rows)
    return Score(float(ap[:, 0].mean()), float(ap.mean()), low, high, len(rows), objects)


class _Matcher(BaseValidator):
    """Ultralytics' own matching, without a validation around it."""

    def __init__(self) -> None:
        self.iouv: Any = IOUS


def _match(raw: torch.Tensor, boxes: ArrayLike, labels: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Return hits (n, 10), confidences and classes (n,) of an image's detections, and its true classes (M,)."""
    found = non_max_suppression(raw[None], CONFIDENCE, NMS_IOU, multi_label=True, max_det=MOST, max_time_img=1e6)[0]
    true, names = torch.as_tensor(np.asarray(boxes, np.float32)).reshape(-1, 4), np.asarray(labels).reshape(-1)
    hits = np.zeros((len(found), len(IOUS)), bool)
    if len(found) and len(names):
        overlaps = box_iou(true, found[:, :4])  # (M, n)
        hits = _Matcher().match_predictions(found[:, 5], torch.as_tensor(names), overlaps).numpy()
    return hits, found[:, 4].numpy(), found[:, 5].numpy(), names


def _ap(rows: Sequence[tuple[Array, Array, Array, Array]], which: Any, columns: int = 10) -> Array:
    """Return the average precision of each class at each IoU, (classes, columns), over some of the images."""
    hits, sure, found, true = (np.concatenate([rows[i][k] for i in which]) for k in range(4))
    if not len(true):
        return np.zeros((1, columns))
    return np.asarray(ap_per_class(hits[:, :columns], sure, found, true)[5])
