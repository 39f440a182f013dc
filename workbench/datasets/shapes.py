"""The embedded default dataset: a detection set a small network truly learns, drawn on the spot, no download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from PIL import Image

from ..errors import WorkbenchError
from .cache import build_once
from .draw import NAMES, Scene, background, draw_scene, fill, paste, shape_mask

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1  # of the drawing; raise it whenever a pixel or a label changes, so that old caches are not used
PER_IMAGE = (2, 6)  # shapes drawn per image, inclusive
SPLITS = ("train", "val")


def shapes(n_train: int = 400, n_val: int = 100, imgsz: int = 160, seed: int = 0) -> Path:
    """Return the data YAML of a synthetic detection set with eight classes, drawing it on the first call.

    Circles, squares, triangles, stars, crosses, rings, crescents and hearts on textured backgrounds, in any colour,
    size and rotation, partly hidden by each other. Image `i` of a split depends on `seed`, split and `i` alone: a
    larger set begins with the smaller one, and the same call gives the same bytes again.

    Args:
        n_train: training images.
        n_val: validation images, drawn independently of the training images.
        imgsz: image side, pixels.
        seed: of every random choice.

    Raises:
        WorkbenchError: a count below 1, a side below 64, or a cache folder that cannot be written.

    >>> shapes(n_train=2, n_val=1, imgsz=64).name
    'shapes.yaml'
    """
    for name, value, least in (("n_train", n_train, 1), ("n_val", n_val, 1), ("imgsz", imgsz, 64), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            raise WorkbenchError(f"{name}={value!r} describes no shapes set; give an integer of at least {least}")
    folder = f"shapes-v{VERSION}-train{n_train}-val{n_val}-{imgsz}px-seed{seed}"

    def build(root: Path) -> None:
        for split, count in zip(SPLITS, (n_train, n_val), strict=True):
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for index in range(count):
                scene = shapes_scene(index, split, imgsz, seed)
                Image.fromarray(scene.image).save(root / "images" / split / f"{index:05d}.png", compress_level=3)
                (root / "labels" / split / f"{index:05d}.txt").write_text(_yolo_lines(scene), encoding="utf-8")
        # no `path:` key: ultralytics then resolves against the YAML's own folder, which may be moved
        data = {"train": "images/train", "val": "images/val", "names": dict(enumerate(NAMES))}
        (root / "shapes.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")

    return build_once(folder, build) / "shapes.yaml"


def shapes_scene(index: int = 0, split: str = "val", imgsz: int = 160, seed: int = 0) -> Scene:
    """Draw image `index` of a split, with its boxes, without touching the disk.

    >>> scene = shapes_scene(3, "val", imgsz=128)
    >>> scene.image.shape, scene.boxes.shape[1]
    ((128, 128, 3), 4)
    """
    if split not in SPLITS:
        raise WorkbenchError(f"split={split!r} is unknown; the shapes set has 'train' and 'val'")
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    return draw_scene(rng, imgsz, int(rng.integers(PER_IMAGE[0], PER_IMAGE[1] + 1)))


def shape_crops(n: int, imgsz: int = 64, seed: int = 0) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return single shapes for training a classifier: images, labels, class names.

    Every class appears n/8 times (± 1). Images of different seeds are independent: take one seed to train on and
    another to test on.

    Args:
        n: images.
        imgsz: image side, pixels.
        seed: of every random choice.

    Returns:
        images (n, 3, imgsz, imgsz) float in [0, 1], labels (n,) int64, the eight names.

    >>> x, y, names = shape_crops(16, imgsz=32)
    >>> x.shape, y[:3], names[0]
    (torch.Size([16, 3, 32, 32]), tensor([0, 1, 2]), 'circle')
    """
    import torch

    if not isinstance(n, int) or n < 1 or not isinstance(imgsz, int) or imgsz < 16:
        raise WorkbenchError(f"n={n!r}, imgsz={imgsz!r} describe no crops; give integers, n >= 1 and imgsz >= 16")
    images = np.stack([_crop(index, imgsz, seed) for index in range(n)])  # (N, H, W, 3)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.arange(n) % len(NAMES), NAMES


def _crop(index: int, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, len(SPLITS), index])
    canvas, avoid = background(rng, size)
    radius = size * rng.uniform(0.24, 0.46)
    mask = shape_mask(NAMES[index % len(NAMES)], radius, rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1))
    slack = 0.5 * size - 0.85 * radius  # the shape may touch the border, barely
    top, left = (int(size / 2 + offset) - mask.shape[0] // 2 for offset in rng.uniform(-slack, slack, 2))
    paste(canvas, mask, fill(rng, mask.shape[0], avoid), top, left)
    return canvas.astype(np.float32)  # (H, W, 3)


def _yolo_lines(scene: Scene) -> str:
    size = scene.image.shape[0]
    x1, y1, x2, y2 = scene.boxes.T / size
    rows = zip(scene.labels, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, strict=True)
    return "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, x, y, w, h in rows)
