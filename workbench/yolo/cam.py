"""Which pixels a detection rests on: ultralytics' own LayerCAM, as an array instead of a file among the runs."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from ultralytics.utils import LOGGER

from ..errors import WorkbenchError


def layer_cam(
    detector: Any, image: Any, *, imgsz: int = 640, conf: float = 0.25, classes: int | list[int] | None = None
) -> NDArray[np.uint8]:
    """Return the image with the evidence for its detections laid over it, red where there is most.

    Each position of the maps that enter the head is weighted by its positive gradient towards the score of a class
    (Jiang et al., "LayerCAM", 2021); the maps of all levels and detections are merged by their maximum. Where nothing
    passes `conf`, the best near miss is explained.

    Args:
        detector: a `YOLO` or `RTDETR`; it is left as it was, not fused.
        image: a path, a PIL image or an array (H, W, 3) in BGR, as ``predict`` takes it.
        imgsz: side in pixels at which the detector looks at it.
        conf: score above which a detection is explained.
        classes: explain only these.

    Returns:
        (H, W, 3) uint8 RGB, at the size the detector saw.

    Raises:
        WorkbenchError: the detector is an exported file, which has no gradients.
    """
    network, predictor = getattr(detector, "model", None), getattr(detector, "predictor", None)
    if not isinstance(network, nn.Module):
        raise WorkbenchError(f"{network} has no gradients to explain it by; open the .pt checkpoint it was made from")
    with tempfile.TemporaryDirectory() as folder:
        detector.model, detector.predictor = copy.deepcopy(network), None  # predict fuses what it is given
        level = LOGGER.level
        LOGGER.setLevel("WARNING")  # not the name of a file that is gone in a moment
        try:
            settings = {"imgsz": imgsz, "conf": conf, "classes": classes, "project": folder, "name": "cam"}
            detector.predict(image, visualize=True, verbose=False, save=False, **settings)
        finally:
            LOGGER.setLevel(level)
            detector.model, detector.predictor = network, predictor
        with Image.open(next(Path(folder).rglob("*_cam.jpg"))) as overlay:
            return np.asarray(overlay.convert("RGB"))
