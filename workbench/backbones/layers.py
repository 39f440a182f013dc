"""Small parts the families share: the level contract, stochastic depth, initialisation, conv + BN folding.

A family file imports nothing of the workbench but this one, so the two can be lifted out together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Level(NamedTuple):
    """One row of a backbone's ``feature_info``: what one of its four output maps is.

    >>> Level("P3", 80, 8, "stages.2")["channels"]
    80
    """

    name: str  # P2, P3, P4, P5
    channels: int
    stride: int  # input pixels per map pixel
    module: str  # the submodule whose output it is

    def __getitem__(self, key: Any) -> Any:  # level["channels"] beside level.channels and level[1]
        return getattr(self, key) if isinstance(key, str) else tuple.__getitem__(self, key)


def levels(channels: tuple[int, ...], modules: tuple[str, ...], strides: tuple[int, ...] = (4, 8, 16, 32)) -> list[Level]:
    """Return the ``feature_info`` of a four-level backbone, P2 to P5."""
    return [Level(f"P{i + 2}", c, s, m) for i, (c, s, m) in enumerate(zip(channels, strides, modules, strict=True))]


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a sample's whole residual branch with probability `p`, and rescale.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016), section 3.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = float(p)

    def forward(self, x: Tensor) -> Tensor:
        if self.p == 0.0 or not self.training:
            return x
        keep = 1.0 - self.p
        mask = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(keep)  # (B, 1, 1, 1)
        return x * mask / keep  # (B, C, H, W)

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def trunc_normal_init(module: nn.Module, std: float = 0.02) -> None:
    """Initialise every Linear and Conv2d weight from a truncated normal, and every bias to zero, in place."""
    for m in module.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(m.weight, std=std)
            if m.bias is not None:
                nn.init.zeros_(m.bias)


def fold_conv_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution with bias that equals `conv` followed by `bn` in eval mode.

    BN is y = γ·(x − μ)/√(σ² + ε) + β per channel, so W' = W·γ/√(σ² + ε) and b' = β + (b − μ)·γ/√(σ² + ε).
    Kernel, stride, dilation, groups and padding mode are kept; the result is trainable like `conv`.
    """
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)  # (C_out,)
    bias = conv.bias if conv.bias is not None else torch.zeros_like(bn.running_mean)
    folded = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
        conv.groups, bias=True, padding_mode=conv.padding_mode, device=conv.weight.device, dtype=conv.weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        folded.weight.copy_(conv.weight * scale.reshape(-1, 1, 1, 1))  # (C_out, C_in/g, k, k)
        folded.bias.copy_(bn.bias + (bias - bn.running_mean) * scale)  # (C_out,)
    return folded.train(conv.training).requires_grad_(conv.weight.requires_grad)
