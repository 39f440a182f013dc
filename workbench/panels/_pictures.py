"""Images with what is in them: drawn shapes, a dataset's validation images, files and uploads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..datasets import SHAPE_NAMES, coco128, open_photo, shapes_scene
from ..errors import WorkbenchError
from ..yolo.data import DatasetReport, label_path, verify_dataset

SHAPES, COCO = "shapes, held out", "coco128, val = train"
LARGEST = 2048  # a larger image is made smaller once, when it is read: no detector here looks closer


@dataclass(frozen=True)
class Picture:
    """One image and, where it is known, what is in it."""

    key: tuple[Any, ...]
    pixels: np.ndarray  # (H, W, 3) uint8, RGB
    boxes: np.ndarray  # (M, 4), x1 y1 x2 y2 in pixels
    names: tuple[str, ...]  # M class names
    labelled: bool  # False: nobody has said what is in it
    reduced_from: tuple[int, int] | None = None  # width and height of the file, where that is larger

    @property
    def note(self) -> str:
        """A sentence where the image was made smaller."""
        if self.reduced_from is None:
            return ""
        h, w = self.pixels.shape[:2]
        return f"The image of {self.reduced_from[0]} × {self.reduced_from[1]} pixels was reduced to {w} × {h}. "


@functools.lru_cache(maxsize=8)
def dataset(path: str) -> DatasetReport:
    """Return a checked dataset; the check is done once."""
    return verify_dataset(coco128(download=False) if path == COCO else path)


def count_images(images: str) -> int:
    """Return how many validation images a set has."""
    return 100 if images == SHAPES else len(dataset(images).val.images)


def is_image(images: str, uploads: Mapping[str, bytes]) -> bool:
    """Return whether a choice of images is a single one, a file or an upload, and no set."""
    return images in uploads or (images not in (SHAPES, COCO) and Path(images).suffix.lower() not in (".yaml", ".yml"))


def read_picture(images: str, index: int, side: int, uploads: Mapping[str, bytes]) -> Picture:
    """Return one image with its truth.

    Raises:
        WorkbenchError: it cannot be read, or is not there.
    """
    if images == SHAPES:
        scene = shapes_scene(index, "val", imgsz=side)
        names = tuple(SHAPE_NAMES[int(c)] for c in scene.labels)
        return Picture((SHAPES, side, index), scene.image, scene.boxes, names, True)
    if is_image(images, uploads):
        try:
            pixels, full = _read(uploads.get(images, images))
        except WorkbenchError as e:
            raise WorkbenchError(f"{images} is not an image that can be read; give a JPEG or PNG file") from e
        return Picture((images,), pixels, np.zeros((0, 4)), (), False, full)
    report = dataset(images)
    if not 0 <= index < len(report.val.images):
        raise WorkbenchError(f"{images} has no image {index}; expected 0 to {len(report.val.images) - 1}")
    path = report.val.images[index]
    pixels, full = _read(path)
    boxes, names = _labels(label_path(path), report, *pixels.shape[:2])
    return Picture((images, index), pixels, boxes, names, True, full)


def _read(source: str | Path | bytes) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Return an image (H, W, 3) of at most `LARGEST` a side, and its own size where it was larger."""
    image = open_photo(source)
    full = image.size
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BILINEAR)
    return np.array(image), full if full != image.size else None


def _labels(path: Path, report: DatasetReport, height: int, width: int) -> tuple[np.ndarray, tuple[str, ...]]:
    rows = [[float(v) for v in line.split()] for line in path.read_text("utf-8").splitlines() if line.strip()] if (
        path.is_file()
    ) else []  # fmt: skip
    boxes = []
    for _, *values in rows:
        if len(values) == 4:
            x, y, w, h = values
            boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        else:  # a polygon, of which YOLO takes the box
            boxes.append([min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])])
    scaled = np.array(boxes, float).reshape(-1, 4) * (width, height, width, height)
    return scaled, tuple(report.names[int(row[0])] for row in rows)
