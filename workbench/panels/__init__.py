"""Interactive panels, one file each: ``panel.widget`` to show, ``panel.set(...)`` to drive, ``panel.result`` to read.

A panel is loaded when it is first asked for. To add one, write ``panels/<module>.py`` and give its class one line here.
"""

from __future__ import annotations

import importlib
from typing import Any

_PANELS: dict[str, str] = {  # class → module
    "ChannelReach": "channel_reach",
    "Compare": "compare",
    "ConvCost": "conv_cost",
    "Detections": "detections",
    "FeatureMaps": "feature_maps",
    "Leaderboard": "leaderboard",
    "OperatorLab": "operator_lab",
    "Reparam": "reparam",
    "StarBoundary": "star_boundary",
    "Training": "training",
    "Wiring": "wiring",
}
__all__ = list(_PANELS)


def __getattr__(name: str) -> Any:
    if name not in _PANELS:
        raise AttributeError(f"module 'workbench.panels' has no panel {name!r}; it has {', '.join(sorted(_PANELS))}")
    value = getattr(importlib.import_module(f"{__name__}.{_PANELS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PANELS})
