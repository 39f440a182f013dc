"""The backbone's weights in a detector: loaded by hand, kept through training, frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from ultralytics.utils import LOGGER

from ..backbones.weights import LoadReport, load_weights
from ..errors import WorkbenchError
from .layer import BackboneLayer, backbone_layers


def load_backbone(detector: Any, source: Any = "imagenet", *, strict: bool = True) -> LoadReport:
    """Load weights into a detector's backbone, and keep them when it is trained.

    Args:
        detector: a `YOLO` or `RTDETR` with one of our backbones.
        source: a path, a state dict or ``"imagenet"``, as `load_weights` takes it.
        strict: as in `load_weights`.

    Raises:
        WorkbenchError: the detector has no backbone of ours, or the weights do not fit it; nothing was loaded.
    """
    network = getattr(detector, "model", None)
    layers = backbone_layers(network) if isinstance(network, nn.Module) else []
    if len(layers) != 1:
        raise WorkbenchError(f"the detector has {len(layers)} backbones of the workbench; load_backbone expects one")
    return load_weights(layers[0].backbone, source, strict=strict)


def keep_hand_loaded(detector: Any, arguments: dict[str, Any]) -> None:
    """Make ``detector.train()`` start from backbone weights that were loaded by hand.

    A detector built from a YAML is built a second time by its trainer, from the YAML; only when ``ckpt`` is set does
    the trainer copy the weights of the first one. The price is said in the log: the layers that were not loaded then
    keep the random weights they have, so seed before building if the run is to be repeated.

    Raises:
        WorkbenchError: the network has been fused by ``predict`` or ``val``, and cannot be trained in that form.
    """
    network = getattr(detector, "model", None)
    if detector.ckpt or not isinstance(network, nn.Module) or arguments.get("pretrained") is False:
        return
    touched = [layer for layer in backbone_layers(network) if layer.touched]
    if not touched:
        return
    name = touched[0].spec["name"]
    if network.is_fused():  # type: ignore[operator]
        raise WorkbenchError(
            f"the weights loaded into {name} are merged for inference, as predict() and val() do; build the detector "
            "again, load them and train before predicting"
        )
    if isinstance(arguments.get("pretrained"), str | Path):
        detector.load(arguments.pop("pretrained"))  # the rest of the detector, by meaning
    detector.ckpt = {"model": network}
    LOGGER.info(f"training starts from the weights now in {name} and the rest of the detector, not from new ones")


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
