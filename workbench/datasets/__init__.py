"""Data to learn on: ``shapes()`` drawn on the spot, ``coco128()`` found or fetched, photos, and checks of your own."""

from __future__ import annotations

from .coco128 import NOTICE as COCO128_NOTICE
from .coco128 import coco128
from .names import COCO_NAMES
from .photos import PHOTOS, load_photo, open_photo, photo
from .shapes import shape_crops, shapes, shapes_scene
from .verify import DatasetReport, check_imgsz, verify_dataset

__all__ = [
    "COCO128_NOTICE",
    "COCO_NAMES",
    "PHOTOS",
    "DatasetReport",
    "check_imgsz",
    "coco128",
    "load_photo",
    "open_photo",
    "photo",
    "shape_crops",
    "shapes",
    "shapes_scene",
    "verify_dataset",
]
