"""Named training settings, each a plain table of ultralytics arguments.

Every preset sets ``nbs`` to its batch size. ``nbs`` is ultralytics' *nominal* batch: gradients are summed until that
many images have passed, 64 by default. coco128 in batches of 4 would then take 2 optimiser steps in an epoch instead
of 32, and a set of 24 images trained for 40 epochs ends at mAP50 0.10 instead of 0.91. Pass ``nbs=64`` to repeat an
article to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..errors import WorkbenchError, did_you_mean


@dataclass(frozen=True)
class Preset:
    """Settings under a name.

    Attributes:
        name: as given to ``train(preset=…)``.
        about: what it is for, one sentence.
        settings: ultralytics training arguments.
    """

    name: str
    about: str
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        listed = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}: {self.about} ({listed})"


def _preset(name: str, about: str, **settings: Any) -> tuple[str, Preset]:
    return name, Preset(name, about, MappingProxyType(settings | {"nbs": settings["batch"]}))


_ARTICLE = {"imgsz": 640, "batch": 4, "optimizer": "SGD", "workers": 0, "close_mosaic": 10, "amp": True, "cache": False}
# a small set and few epochs: mosaics shrink the objects and AdamW needs no long warm-up
_SHORT = {"optimizer": "AdamW", "warmup_epochs": 1, "mosaic": 0.0, "scale": 0.2, "workers": 0, "amp": False}

PRESETS: dict[str, Preset] = dict(
    (
        _preset("article-100", "the FasterNet article's run", epochs=100, **_ARTICLE),
        _preset("article-150", "the StarNet article's run", epochs=150, **_ARTICLE),
        _preset("class", "minutes on a laptop's CPU", epochs=14, imgsz=128, batch=8, lr0=0.003, **_SHORT),
        _preset("fast", "seconds, to see that it runs", epochs=2, imgsz=64, batch=8, lr0=0.003, **_SHORT),
    )
)


def get_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        WorkbenchError: there is none; the message lists them.

    >>> get_preset("article-100").settings["nbs"]
    4
    """
    if not isinstance(name, str) or name not in PRESETS:
        known = ", ".join(PRESETS)
        raise WorkbenchError(f"no preset {name!r}; there are {known}{did_you_mean(name, PRESETS)}")
    return PRESETS[name]
