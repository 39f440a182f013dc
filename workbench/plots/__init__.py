"""Every figure of the course: one function, one figure; plain results in, matplotlib Axes out.

Modules are loaded when a figure is first asked for. To add figures, write ``plots/<module>.py`` and give each public
function one line in `_FIGURES`.
"""

from __future__ import annotations

import importlib
from typing import Any

_FIGURES: dict[str, str] = {  # function → module
    "family_colour": "style",
    "label_points": "style",
    "PALETTE": "style",
    "classified": "classified",
    "comparison_scatter": "compare",
    "achieved_rates": "latency",
    "cost_against_latency": "latency",
    "latency_bars": "latency",
    "pareto_front": "latency",
    "rate_against_macs": "latency",
    "table1_heatmap": "latency",
    "waterfall": "latency",
    "cka_heatmap": "features",
    "feature_grid": "features",
    "receptive_fields": "features",
    "survival": "features",
    "leaderboard_scatter": "leaderboard",
    "channel_change": "levels",
    "channel_reach": "levels",
    "level_maps": "levels",
    "stacked_shares": "levels",
    "operator_cost": "operators",
    "roofline": "operators",
    "activation_ramp": "reparam",
    "branch_kernels": "reparam",
    "image_grid": "reparam",
    "merge_error": "reparam",
    "ramp_runs": "reparam",
    "ablation": "star",
    "boxes_on": "training",
    "verdict_boxes": "detections",
    "losses": "training",
    "seen_and_unseen": "training",
    "training_curves": "training",
    "boundaries": "star",
    "decision_boundary": "star",
    "rank_growth": "star",
}
__all__ = list(_FIGURES)


def __getattr__(name: str) -> Any:
    if name not in _FIGURES:
        raise AttributeError(f"module 'workbench.plots' has no figure {name!r}; it has {', '.join(sorted(_FIGURES))}")
    value = getattr(importlib.import_module(f"{__name__}.{_FIGURES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FIGURES})
