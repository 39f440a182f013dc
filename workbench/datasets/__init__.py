"""Data to learn on: ``shapes()`` drawn on the spot, ``coco128()`` found or fetched, photos, and checks of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .coco128 import coco128
from .draw import NAMES as SHAPE_NAMES
from .names import COCO_NAMES
from .photos import PHOTOS, load_photo, open_photo, photo
from .shapes import shape_crops, shapes, shapes_scene

if TYPE_CHECKING:
    from ..yolo.data import DatasetReport

__all__ = [
    "COCO_NAMES",
    "PHOTOS",
    "SHAPE_NAMES",
    "coco128",
    "load_photo",
    "open_photo",
    "photo",
    "shape_crops",
    "shapes",
    "shapes_scene",
    "verify_dataset",
]


def verify_dataset(data: str | Path, max_missing: float = 0.1) -> DatasetReport:
    """Check a dataset YAML of your own and return what it holds; see `workbench.yolo.data.verify_dataset`.

    >>> print(verify_dataset(shapes(n_train=2, n_val=1, imgsz=64)).val)
    val: 1 images (0 without a box), 4 boxes of 3 classes
    """
    from ..yolo.data import verify_dataset as verify  # loads ultralytics, which the rest of this package never needs

    return verify(data, max_missing)
