"""Which detection finds which object: true and false positives and misses, as COCO and ultralytics count them.

Detections take their turn by falling confidence. Each claims, among the still unclaimed true boxes of its own class,
the one it overlaps most, if the IoU reaches the threshold. So a detection of low confidence never takes a box away
from a surer one, and raising the confidence threshold removes verdicts without changing those that stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import WorkbenchError

NEAR = 0.1  # IoU from which a detection is taken to mean an object it does not fit
WHY = {
    "duplicate": "the object is already found by a surer detection",
    "wrong class": "there is an object, of another class",
    "loose box": "the object is there, the box overlaps it too little",
    "background": "there is no object",
}
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Matching:
    """What became of every detection and every true box at one pair of thresholds.

    Attributes:
        kept: (K,) numbers of the detections at or above the confidence threshold, by falling confidence.
        claims: (K,) the true box each of them finds, −1 for a false positive.
        overlaps: (K,) IoU with the claimed box; of a false positive, the largest with any true box of its class.
        why: K reasons, "" for a true positive, else a key of `WHY`.
        missed: (M,) numbers of the true boxes that nobody claims.
    """

    kept: Ints
    claims: Ints
    overlaps: Floats
    why: tuple[str, ...]
    missed: Ints

    @property
    def tp(self) -> int:
        """True positives: detections that found an object."""
        return int((self.claims >= 0).sum())

    @property
    def fp(self) -> int:
        """False positives: detections that found none."""
        return len(self.kept) - self.tp

    @property
    def fn(self) -> int:
        """False negatives: objects that were missed."""
        return len(self.missed)

    @property
    def precision(self) -> float:
        """Share of the detections that are right; nan without a detection."""
        return self.tp / len(self.kept) if len(self.kept) else float("nan")

    @property
    def recall(self) -> float:
        """Share of the objects that are found; nan without an object."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else float("nan")


def match(
    boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike, true_boxes: ArrayLike, true_labels: ArrayLike,
    *, iou: float = 0.5, confidence: float = 0.25,
) -> Matching:  # fmt: skip
    """Match detections with the truth, greedily by falling confidence, each class by itself.

    The rule of COCO's evaluation (Lin et al. 2014, pycocotools, without its crowd regions) and of ultralytics'
    ``BaseValidator.match_predictions``.

    Args:
        boxes: (N, 4) ``x1 y1 x2 y2`` of the detections, in pixels.
        labels: (N,) their classes.
        scores: (N,) their confidences; equals keep their order.
        true_boxes: (M, 4) of the truth.
        true_labels: (M,) its classes.
        iou: least IoU of a true positive, above 0 to 1.
        confidence: detections below it are left out.

    Raises:
        WorkbenchError: arrays that do not belong together, numbers that are not finite, or a threshold out of range.

    >>> found = [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]]
    >>> m = match(found, [0, 0, 1], [0.9, 0.8, 0.7], [[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0])
    >>> m.claims.tolist(), m.why, m.missed.tolist()
    ([0, -1, -1], ('', 'duplicate', 'background'), [1])
    >>> m.precision, m.recall
    (0.3333333333333333, 0.5)
    """
    if not 0 < iou <= 1:
        raise WorkbenchError(f"iou={iou!r} is no IoU threshold; expected a number above 0, at most 1")
    if not 0 <= confidence <= 1:
        raise WorkbenchError(f"confidence={confidence!r} is no confidence; expected a number from 0 to 1")
    found, names = _boxes("boxes", boxes, labels)
    true, true_names = _boxes("true_boxes", true_boxes, true_labels)
    sure = np.asarray(scores, np.float64).reshape(-1)  # (N,)
    if len(sure) != len(found) or not np.isfinite(sure).all():
        raise WorkbenchError(f"{len(sure)} scores given for {len(found)} boxes; expected one finite number for each")
    order = np.argsort(-sure, kind="stable")
    kept = order[sure[order] >= confidence]  # (K,)
    overlap = box_iou(found[kept], true)  # (K, M)
    own = np.where(names[kept][:, None] == true_names[None], overlap, 0.0)  # (K, M), with boxes of its class
    free = np.ones(len(true), bool)
    claims = np.full(len(kept), -1, np.int64)
    for k in np.flatnonzero(own.max(1, initial=0) >= iou):
        best = int(np.where(free, own[k], 0).argmax())
        if free[best] and own[k, best] >= iou:
            claims[k], free[best] = best, False
    best_own = own.max(1, initial=0)  # (K,)
    overlaps = np.where(claims >= 0, own[np.arange(len(kept)), claims], best_own) if len(true) else best_own
    why = tuple(_why(int(c), own[k], overlap[k], iou) for k, c in enumerate(claims))
    return Matching(kept, claims, overlaps, why, np.flatnonzero(free))


def box_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Return the IoU of every box of `a` (N, 4) with every box of `b` (M, 4), (N, M); 0 for boxes without area.

    >>> box_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 5, 5]]).round(3).tolist()
    [[1.0, 0.333, 0.0]]
    """
    p, q = (np.asarray(x, np.float64).reshape(-1, 4) for x in (a, b))
    corners = np.minimum(p[:, None, 2:], q[None, :, 2:]) - np.maximum(p[:, None, :2], q[None, :, :2])
    shared = corners.clip(0).prod(2)  # (N, M)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clip(0).prod(1) for x in (p, q))
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _boxes(name: str, boxes: Any, labels: Any) -> tuple[Floats, Ints]:
    boxes, labels = np.asarray(boxes, np.float64), np.asarray(labels)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise WorkbenchError(f"{name} of shape {boxes.shape} given; expected (N, 4) finite numbers, x1 y1 x2 y2")
    if labels.size != len(boxes):
        raise WorkbenchError(f"{labels.size} labels given for {len(boxes)} {name}; expected one for each")
    return boxes, labels.reshape(-1).astype(np.int64)


def _why(claim: int, own: Floats, overlap: Floats, iou: float) -> str:
    """Say why a detection is a false positive, by its IoU with boxes of its class and with all boxes."""
    if claim >= 0:
        return ""
    if own.max(initial=0) >= iou:
        return "duplicate"
    if overlap.max(initial=0) >= iou:
        return "wrong class"
    return "loose box" if own.max(initial=0) >= NEAR else "background"
