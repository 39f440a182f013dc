"""Where a classifier looks: LayerCAM. For detectors use ultralytics' own (``visualize=True``)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.contract import evaluating
from ..errors import WorkbenchError
from .capture import resolve


def layer_cam(model: nn.Module, x: Tensor, name: str, class_index: int | None = None) -> Tensor:
    """Return LayerCAM of one image: which positions of a layer raise the class score.

    Each activation is weighted by its own positive gradient, so that shallow layers give sharp maps too, where Grad-CAM
    averages them away. Source: Jiang et al., "LayerCAM" (2021), equations 6 and 7.

    Args:
        model: a classifier, run in eval mode.
        x: one image (1, C, H, W).
        name: module name or level.
        class_index: class to explain; default the highest score.

    Returns:
        (H, W) of the image, between 0 and 1; all zero when nothing raises the score.

    Raises:
        WorkbenchError: the model gives no logits (1, classes), or no gradient reaches the module.
    """
    if x.ndim != 4 or x.shape[0] != 1:
        raise WorkbenchError(f"an input of shape {tuple(x.shape)} given; expected one image (1, C, H, W)")
    kept: list[Tensor] = []
    handle = model.get_submodule(resolve(model, name)).register_forward_hook(lambda _m, _a, out: kept.append(out))
    try:
        with evaluating(model), torch.enable_grad():
            logits = model(x.detach().requires_grad_())  # (1, classes)
    finally:
        handle.remove()
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise WorkbenchError(f"{type(model).__name__} gives no class scores; build it with num_classes > 0")
    if not kept or kept[-1].ndim != 4:
        raise WorkbenchError(f"{name!r} puts out no map (B, C, H, W); name a stage or a convolution")
    k = int(logits.argmax()) if class_index is None else class_index
    if not 0 <= k < logits.shape[1]:
        raise WorkbenchError(f"class_index={k} given; the classes are 0 to {logits.shape[1] - 1}")
    (gradient,) = torch.autograd.grad(logits[0, k], kept[-1])  # (1, C, h, w)
    cam = (gradient.relu() * kept[-1]).sum(1, keepdim=True).relu().detach()  # (1, 1, h, w)
    cam = F.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)[0, 0]  # (H, W)
    return cam / cam.max().clamp_min(1e-30)
