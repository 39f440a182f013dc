"""Weights in a transplanted detector: freezing."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import WorkbenchError
from .layer import BackboneLayer


def freeze_backbone(detector: Any) -> str:
    """Freeze a detector's backbone, parameters and BN statistics, and say what was frozen.

    Ultralytics' trainer unfreezes whatever its ``freeze`` argument does not name, so the layers are also written into
    the arguments that ``detector.train()`` starts from.

    Args:
        detector: a `YOLO` or `RTDETR`, with one of our backbones or its own.

    Returns:
        One sentence: which layers, and how many of the parameters.

    Raises:
        WorkbenchError: it holds no PyTorch model, so there is nothing to freeze.
    """
    network: Any = getattr(detector, "model", None)
    layers: Any = getattr(network, "model", None)
    if not isinstance(layers, nn.Sequential) or not hasattr(detector, "overrides"):
        raise WorkbenchError(f"a {type(detector).__name__} given; freeze_backbone expects wb.YOLO(…) or wb.RTDETR(…)")
    ours = [i for i, layer in enumerate(layers) if isinstance(layer, BackboneLayer)]
    chosen = ours or list(range(len(network.yaml["backbone"])))
    before = detector.overrides.get("freeze") or []
    before = list(range(before)) if isinstance(before, int) else list(before)
    detector.overrides["freeze"] = sorted({*before, *chosen})
    for i in chosen:
        layers[i].requires_grad_(False)
    frozen = sum(p.numel() for i in chosen for p in layers[i].parameters())
    total = sum(p.numel() for p in network.parameters())
    names = [layer.spec["name"] for layer in layers if isinstance(layer, BackboneLayer)]
    what = ", ".join(names) or "the backbone section of its YAML"
    where = f"layer {chosen[0]}" if len(chosen) == 1 else f"layers {chosen[0]} to {chosen[-1]}"
    return f"froze {where} ({what}): {frozen:,} of {total:,} parameters, BN statistics included"
