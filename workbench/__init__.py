"""Backbone Workbench: build, see, measure, wire and train efficient vision backbones.

Importing this costs milliseconds and no torch: every public name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name → (module, attribute); attribute None is the module itself
_PUBLIC: dict[str, tuple[str, str | None]] = {
    "list_backbones": ("backbones.registry", "list_backbones"),
    "create_backbone": ("backbones.registry", "create_backbone"),
    "register": ("backbones.custom", "register"),
    "deploy": ("backbones.reparam", "deploy"),
    "load_weights": ("backbones.weights", "load_weights"),
    "YOLO": ("yolo", "YOLO"),
    "RTDETR": ("yolo", "RTDETR"),
    "detector_yaml": ("yolo", "detector_yaml"),
    "freeze_backbone": ("yolo", "freeze_backbone"),
    "backbones": ("backbones", None),
    "measure": ("measure", None),
    "features": ("features", None),
    "datasets": ("datasets", None),
    "plots": ("plots", None),
    "panels": ("panels", None),
    "lesson": ("lesson", None),
    "train": ("train", None),  # a callable module: wb.train(...) is one run
    "sweep": ("sweep", None),  # likewise: wb.sweep(...) is many
    "doctor": ("health", "doctor"),
}
__all__ = [*_PUBLIC, "__version__"]

if TYPE_CHECKING:
    from . import backbones as backbones
    from . import datasets as datasets
    from . import features as features
    from . import lesson as lesson
    from . import measure as measure
    from . import panels as panels
    from . import plots as plots
    from . import sweep as sweep
    from . import train as train
    from .backbones.custom import register as register
    from .backbones.registry import create_backbone as create_backbone
    from .backbones.registry import list_backbones as list_backbones
    from .backbones.reparam import deploy as deploy
    from .backbones.weights import load_weights as load_weights
    from .health import doctor as doctor
    from .yolo import RTDETR as RTDETR
    from .yolo import YOLO as YOLO
    from .yolo import detector_yaml as detector_yaml
    from .yolo import freeze_backbone as freeze_backbone


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(f"{__name__}.{module}")
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
