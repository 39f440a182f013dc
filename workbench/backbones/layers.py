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


def levels(
    channels: tuple[int, ...], modules: tuple[str, ...], strides: tuple[int, ...] = (4, 8, 16, 32)
) -> list[Level]:
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


def conv_from(like: nn.Conv2d, weight: Tensor, bias: Tensor, **changes: Any) -> nn.Conv2d:
    """Return a convolution with the given weight and bias and otherwise the settings of `like`.

    It is built on the meta device first, so no random initialisation is computed and no random number is drawn.

    Args:
        like: gives stride, padding, dilation, groups, padding mode, mode (train or eval) and whether it trains.
        weight: (C_out, C_in / groups, k, k).
        bias: (C_out,).
        **changes: settings that differ from `like`, such as ``padding=1``.

    >>> conv_from(nn.Conv2d(8, 16, 1, stride=2), torch.zeros(4, 8, 3, 3), torch.zeros(4), padding=1)
    Conv2d(8, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    """
    keep = ("stride", "padding", "dilation", "groups", "padding_mode")
    settings = {key: getattr(like, key) for key in keep} | changes
    out_channels, per_group, *kernel_size = weight.shape
    conv = nn.Conv2d(per_group * settings["groups"], out_channels, kernel_size, **settings, device="meta")  # type: ignore[arg-type]
    trains = like.weight.requires_grad
    conv.weight = nn.Parameter(weight.detach().to(like.weight.dtype), requires_grad=trains)
    conv.bias = nn.Parameter(bias.detach().to(like.weight.dtype), requires_grad=trains)
    return conv.train(like.training)


def bn_scale_shift(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what BN does in eval mode, as one multiply-add per channel: scale and shift, both (C,).

    y = γ·(x − μ)/√(σ² + ε) + β, so scale = γ/√(σ² + ε) and shift = β − μ·scale. Both are float64 where the
    device has it, so that weights folded with them are rounded only once.

    >>> scale, shift = bn_scale_shift(nn.BatchNorm2d(2, eps=0.0))
    >>> scale.tolist(), shift.tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(
            "a BN without running statistics depends on its batch and cannot fold; use track_running_stats=True"
        )
    wide = torch.float32 if bn.running_var.device.type == "mps" else torch.float64
    scale = torch.rsqrt(bn.running_var.to(wide) + bn.eps)  # (C,)
    if bn.weight is not None:
        scale = scale * bn.weight.detach()  # (C,)
    shift = -bn.running_mean.to(wide) * scale  # (C,)
    return scale, shift if bn.bias is None else shift + bn.bias.detach()


def folded(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight (C_out, C_in / groups, k, k) and bias (C_out,) of `conv` followed by `bn` in eval mode.

    With BN as scale·x + shift per channel: W' = W·scale and b' = b·scale + shift.
    """
    scale, shift = bn_scale_shift(bn)  # (C_out,), (C_out,)
    bias = shift if conv.bias is None else conv.bias.detach() * scale + shift  # (C_out,)
    return conv.weight.detach() * scale.reshape(-1, 1, 1, 1), bias


def fold_conv_bn(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution with bias that equals `conv` followed by `bn` in eval mode.

    Stride, padding, dilation, groups and padding mode are kept; the result is trainable like `conv`.

    >>> fold_conv_bn(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).bias.shape
    torch.Size([8])
    """
    return conv_from(conv, *folded(conv, bn))


def merge_convs(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Return one convolution that equals `first` and then the 1×1 convolution `second`: W = W₂W₁, b = W₂b₁ + b₂.

    Args:
        first: any convolution without groups; its kernel, stride and padding are the result's.
        second: 1×1, stride 1, without groups.

    Raises:
        ValueError: the two do not merge in this way.

    >>> merge_convs(nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 1))
    Conv2d(3, 16, kernel_size=(4, 4), stride=(4, 4))
    """
    if (first.groups, second.groups, *second.kernel_size, *second.stride) != (1,) * 6:
        raise ValueError(f"{first} and {second} do not merge; expected no groups, and a second one of 1×1, stride 1")
    wide = torch.promote_types(first.weight.dtype, torch.float32)
    outer = second.weight.detach()[:, :, 0, 0].to(wide)  # (C_out, C_mid)
    weight = torch.einsum("om,mikl->oikl", outer, first.weight.detach().to(wide))  # (C_out, C_in, k, k)
    bias = torch.zeros(len(outer), dtype=wide, device=outer.device)  # (C_out,)
    if first.bias is not None:
        bias = bias + outer @ first.bias.detach().to(wide)
    if second.bias is not None:
        bias = bias + second.bias.detach()
    return conv_from(first, weight, bias)
