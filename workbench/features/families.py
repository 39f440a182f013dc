"""What only one family has: StarNet's two branches and their product, MobileOne's branches before the merge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.contract import evaluating
from ..errors import WorkbenchError
from .capture import capture, detached, resolve


@dataclass(frozen=True)
class Star:
    """The star operation of one StarNet block; all three maps are (B, rC, H, W)."""

    x1: Tensor  # the branch with the activation, act(f1(x))
    x2: Tensor  # the branch without, f2(x)
    product: Tensor  # x1 · x2, read where the next convolution receives it


def star(model: nn.Module, x: Tensor, block: str) -> Star:
    """Return both branches of a StarNet block and their product.

    Args:
        model: a network that holds the block.
        x: its input.
        block: the block's module name, such as ``"stages.2.1"``.

    Raises:
        WorkbenchError: the module is no star block.

    >>> from workbench.backbones import create_backbone
    >>> s = star(create_backbone("starnet_s1"), torch.randn(1, 3, 64, 64), "stages.0.1")
    >>> s.product.shape, torch.equal(s.product, s.x1 * s.x2)
    (torch.Size([1, 96, 16, 16]), True)
    """
    module = model.get_submodule(resolve(model, block))
    if not all(isinstance(getattr(module, n, None), nn.Module) for n in ("f1", "f2", "g", "act")):
        raise WorkbenchError(f"{block!r} is a {type(module).__name__}, not a star block (f1, f2, g, act)")
    received: list[Tensor] = []
    g: Any = module.g
    handle = g.register_forward_pre_hook(lambda _m, args: received.append(detached(args[0])))
    try:
        found = capture(model, x, [f"{block}.f1", f"{block}.f2"])
    finally:
        handle.remove()
    act: Any = module.act
    return Star(act(found[f"{block}.f1"]), found[f"{block}.f2"], received[-1])  # (B, rC, H, W) each


def branches(model: nn.Module, x: Tensor, block: str) -> dict[str, Tensor]:
    """Return what each branch of a MobileOne block adds, before the merge, and their sum.

    Args:
        model: a network that holds the block, in the training form.
        x: its input.
        block: the block's module name, such as ``"stage1.0"``.

    Returns:
        "conv 0" … "conv k−1", "scale" (the 1×1), "skip" (the bare BN), as far as they exist, and "sum"; (B, C, H, W).

    Raises:
        WorkbenchError: the module is no such block, or is merged already.

    >>> from workbench.backbones import create_backbone
    >>> list(branches(create_backbone("mobileone_s1"), torch.randn(1, 3, 64, 64), "stage1.0"))
    ['conv 0', 'scale', 'sum']
    """
    module: Any = model.get_submodule(resolve(model, block))
    if not hasattr(module, "rbr_conv"):
        raise WorkbenchError(f"{block!r} is a {type(module).__name__}, not a block with parallel branches")
    if module.rbr_conv is None:
        raise WorkbenchError(f"{block!r} is merged: the deploy form has one convolution; capture before deploy()")
    received: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _m, args: received.append(detached(args[0])))
    try:
        with evaluating(model), torch.no_grad():
            model(x)
    finally:
        handle.remove()
    parts = {f"conv {i}": m for i, m in enumerate(module.rbr_conv)}
    parts |= {n: m for n, m in (("scale", module.rbr_scale), ("skip", module.rbr_skip)) if m is not None}
    with evaluating(module), torch.no_grad():
        maps = {n: m(received[-1]) for n, m in parts.items()}  # (B, C, H, W) each
    maps["sum"] = torch.stack(list(maps.values())).sum(0)  # (B, C, H, W)
    return maps
