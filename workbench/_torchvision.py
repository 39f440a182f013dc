"""Make ``import torchvision`` work on a torch that cannot load torchvision's compiled operators.

A CPU build of torch beside the torchvision wheel of the package registry (built for CUDA) cannot load ``_C.so``;
torchvision then stops at "operator torchvision::nms does not exist", and with it ultralytics' val and predict, and
timm. Detection needs exactly one of the compiled operators, non-maximum suppression, so that one is supplied here in
plain torch. Where the compiled operators load, nothing is touched.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path

import torch
from torch import Tensor

BLOCK = 128  # boxes compared at once; small enough for the cache, large enough to spare Python the loop

_lock = threading.Lock()
_library: torch.library.Library | None = None  # the operators live as long as this object
_state: str | None = None


def ensure() -> str:
    """Import torchvision, supplying its NMS operators when the compiled ones do not load. Repeatable, thread safe.

    Returns:
        ``"compiled"`` (torchvision's own operators), ``"repaired"`` (NMS is ours) or ``"absent"`` (no torchvision).

    >>> ensure() in ("compiled", "repaired", "absent")
    True
    """
    global _state
    with _lock:
        if _state is None:
            _state = _import_torchvision()
        return _state


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression: keep the best box, drop what overlaps it by more than the threshold, repeat.

    Args:
        boxes: (N, 4), x1 y1 x2 y2 in pixels.
        scores: (N,), higher is better; equal scores keep their order.
        iou_threshold: a box with a larger intersection over union than this is dropped.

    Returns:
        (K,) int64, indices of the kept boxes by falling score, as ``torchvision.ops.nms`` returns them.

    >>> nms(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]), torch.tensor([0.9, 0.8, 0.7]), 0.5)
    tensor([0, 2])
    """
    order = scores.argsort(dim=0, descending=True, stable=True)  # (N,)
    kept, masks = boxes[:0], [order.new_empty(0, dtype=torch.bool)]
    for block in boxes[order].split(BLOCK):  # (M, 4), best first: whole rows at once, not one box after the other
        free = ~(_iou(kept, block) > iou_threshold).any(dim=0)  # (M,), NaN of boxes without area is no overlap
        rivals = (_iou(block, block) > iou_threshold).triu_(diagonal=1)  # (M, M), better row overlaps worse column
        keep = free
        while not torch.equal(keep, stays := free & ~(rivals & keep[:, None]).any(dim=0)):
            keep = stays  # box i is settled after at most i rounds, because only better boxes decide about it
        masks.append(keep)
        kept = torch.cat((kept, block[keep]))  # (K, 4)
    return order[torch.cat(masks)]


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the (N, M) intersection over union of (N, 4) with (M, 4) boxes."""
    ax1, ay1, ax2, ay2 = a[:, :, None].unbind(1)  # (N, 1) each
    bx1, by1, bx2, by2 = b.unbind(1)  # (M,) each
    width = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp_(min=0)  # (N, M)
    height = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp_(min=0)  # (N, M)
    overlap = width.mul_(height)  # (N, M)
    return overlap / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - overlap)


def _import_torchvision() -> str:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return "absent"
    if not _compiled_ops_load(Path(next(iter(spec.submodule_search_locations)))):
        _define_ops()
    import torchvision

    if _library is None:
        return "compiled"
    torchvision.extension._has_ops = lambda: True  # torchvision.ops.nms asks before it calls the operator
    return "repaired"


def _compiled_ops_load(folder: Path) -> bool:
    """Load ``_C`` as torchvision itself will; loading a library twice is harmless, a failed import is not."""
    if sys.platform == "win32":
        os.add_dll_directory(str(folder))
    for path in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(path)
        except (ImportError, OSError):
            continue
        return hasattr(torch.ops.torchvision, "nms")
    return False


def _define_ops() -> None:
    global _library
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for name, kernel in (("nms", nms), ("qnms", _qnms)):
        if not hasattr(torch.ops.torchvision, name):
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _library.impl(name, kernel, "CompositeExplicitAutograd")  # one kernel, for the CPU and any other device


def _qnms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """NMS on the integers of quantised boxes; overlap does not depend on the quantisation step."""
    return nms(boxes.float(), scores.float(), iou_threshold)
