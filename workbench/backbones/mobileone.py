"""MobileOne: many parallel branches in training, one convolution in use.

Vasu et al., "MobileOne: An Improved One Millisecond Mobile Backbone", CVPR 2023. Branches make a network easier to
train and slower to run, because every branch reads and writes its own map. But convolution and eval-mode BN are both
linear, so parallel branches of them add up to a single convolution ("MobileOne Architecture"): train wide, deploy thin.

    image → stage0 (3×3, stride 2) → [depthwise 3×3 → pointwise 1×1] × n, four times → P2, P3, P4, P5

One block in training:  ReLU( SE( Σ k × [conv → BN] + [1×1 conv → BN] + [BN] ) );  in use:  ReLU( SE( conv ) )
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import bn_scale_shift, conv_from, folded, levels

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
STAGE_CHANNELS = (64, 128, 256, 512)  # of stage1 to stage4, before the width multipliers


@dataclass(frozen=True)
class MobileOneConfig:
    """The official configuration keywords. The official class has no default widths; ours are S0's."""

    num_blocks_per_stage: tuple[int, ...] = (2, 8, 10, 1)  # pairs of depthwise and pointwise block, stage1 to stage4
    width_multipliers: tuple[float, ...] = (0.75, 1.0, 1.0, 2.0)  # of the channels 64, 128, 256, 512
    use_se: bool = False  # squeeze-and-excitation in the second half of stage3 and in stage4
    num_conv_branches: int = 1  # parallel convolutions per block, the over-parameterisation factor k

    def __post_init__(self) -> None:
        for field in ("num_blocks_per_stage", "width_multipliers"):
            value = tuple(getattr(self, field))
            object.__setattr__(self, field, value)
            if len(value) != 4 or min(value) <= 0:
                raise ValueError(f"{field}={value} given; expected four positive numbers, one per level P2 to P5")
        if self.num_conv_branches < 1:
            raise ValueError(f"num_conv_branches={self.num_conv_branches} given; expected at least 1")


class SEBlock(nn.Module):
    """Squeeze-and-excitation: weigh each channel by what the whole map's averages say (Hu et al., 2018).

    >>> SEBlock(32)(torch.zeros(1, 32, 8, 8)).shape
    torch.Size([1, 32, 8, 8])
    """

    def __init__(self, channels: int, rd_ratio: float = 0.0625) -> None:
        super().__init__()
        squeezed = max(1, int(channels * rd_ratio))
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        weights = self.expand(F.relu(self.reduce(weights)))  # (B, C, 1, 1)
        return x * torch.sigmoid(weights)  # (B, C, H, W)


class ConvBN(nn.Sequential):
    """One branch: a convolution without bias and a BN; children named ``conv`` and ``bn``."""

    conv: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.add_module("conv", conv)
        self.add_module("bn", nn.BatchNorm2d(conv.out_channels))


class MobileOneBlock(nn.Module):
    """k parallel convolutions, a 1×1 convolution and a bare BN, added; one convolution after `reparameterize`.

    The 1×1 branch (``rbr_scale``) exists when the kernel is larger than 1, the bare BN (``rbr_skip``) when input and
    output have the same shape. Source: paper, "MobileOne Architecture".

    Args:
        c1, c2: channels of input and output.
        kernel_size: odd, so that the 1×1 branch and the bare BN have a centre to land on.
        stride, dilation, groups, padding_mode: as in ``nn.Conv2d``; the padding keeps the size at stride 1.
        use_se: squeeze-and-excitation on the sum, in both forms.
        num_conv_branches: k.

    >>> block = MobileOneBlock(16, 16, 3, groups=16, num_conv_branches=4).eval()
    >>> x = torch.randn(1, 16, 8, 8)
    >>> before = block(x)
    >>> block.reparameterize()
    >>> torch.allclose(before, block(x), atol=1e-5), len(list(block.parameters()))
    (True, 2)
    """

    reparam_conv: nn.Conv2d | None

    def __init__(
        self, c1: int, c2: int, kernel_size: int, stride: int = 1, dilation: int = 1, groups: int = 1,
        use_se: bool = False, num_conv_branches: int = 1, padding_mode: PaddingMode = "zeros",
    ) -> None:  # fmt: skip
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={kernel_size} given; expected an odd one, whose centre the 1×1 branch adds to"
            )
        padding = dilation * (kernel_size // 2)

        def branch(k: int, pad: int) -> ConvBN:
            conv = nn.Conv2d(c1, c2, k, stride, pad, dilation, groups, bias=False, padding_mode=padding_mode)
            return ConvBN(conv)

        self.register_module("reparam_conv", None)  # its slot comes first: the order of the layers in use
        self.se = SEBlock(c2) if use_se else nn.Identity()
        self.activation = nn.ReLU(inplace=True)  # the sum below is nobody else's
        self.rbr_skip = nn.BatchNorm2d(c1) if c1 == c2 and stride == 1 else None
        self.rbr_conv: nn.ModuleList | None = nn.ModuleList(
            branch(kernel_size, padding) for _ in range(num_conv_branches)
        )
        self.rbr_scale = branch(1, 0) if kernel_size > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        if self.reparam_conv is not None:
            return self.activation(self.se(self.reparam_conv(x)))  # (B, C2, H/s, W/s)
        first, *others = (b for b in (*(self.rbr_conv or ()), self.rbr_scale, self.rbr_skip) if b is not None)
        y = first(x)  # (B, C2, H/s, W/s)
        for branch in others:
            y += branch(x)  # (B, C2, H/s, W/s)
        return self.activation(self.se(y))  # (B, C2, H/s, W/s)

    def reparameterize(self) -> None:
        """Replace all branches by the one convolution they add up to, in place. Safe to call twice."""
        if self.rbr_conv is None:
            return
        branches = [m for m in (*self.rbr_conv, self.rbr_scale) if isinstance(m, ConvBN)]
        like = branches[0].conv
        half = like.kernel_size[0] // 2
        kernel, bias = folded(like, branches[0].bn)  # (C2, C1/g, k, k), (C2,)
        for branch in branches[1:]:
            weight, shift = folded(branch.conv, branch.bn)  # (C2, C1/g, k, k) or (C2, C1/g, 1, 1), and (C2,)
            border = half - weight.shape[-1] // 2  # a 1×1 kernel is a k×k kernel that is zero around its centre
            kernel, bias = kernel + F.pad(weight, [border] * 4), bias + shift
        if self.rbr_skip is not None:  # BN alone is a diagonal 1×1 convolution
            scale, shift = bn_scale_shift(self.rbr_skip)  # (C2,), (C2,)
            out = torch.arange(like.out_channels, device=kernel.device)
            kernel[out, out % kernel.shape[1], half, half] += scale
            bias = bias + shift
        self.reparam_conv = conv_from(like, kernel, bias)
        self.rbr_conv = self.rbr_scale = self.rbr_skip = None


class MobileOneUnit(nn.Sequential):
    """Depthwise block, then pointwise block: one MobileOne unit as a layer of its own, for a row in a detector YAML.

    Arguments are in the order of ultralytics' convolutions: ``[-1, 1, MobileOneUnit, [256, 3, 2]]``.

    Args:
        c1, c2: channels of input and output.
        k, s: kernel and stride of the depthwise block.
        branches: parallel convolutions in each of the two blocks.
        use_se: squeeze-and-excitation in both blocks.
        d, padding_mode: dilation and padding mode of the depthwise block.

    >>> MobileOneUnit(16, 32, 3, 2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """

    def __init__(
        self, c1: int, c2: int, k: int = 3, s: int = 1, branches: int = 4, use_se: bool = False, d: int = 1,
        padding_mode: PaddingMode = "zeros",
    ) -> None:  # fmt: skip
        depthwise = MobileOneBlock(
            c1, c1, k, s, d, groups=c1, use_se=use_se, num_conv_branches=branches, padding_mode=padding_mode
        )
        super().__init__(depthwise, MobileOneBlock(c1, c2, 1, use_se=use_se, num_conv_branches=branches))


class MobileOne(nn.Module):
    """MobileOne as a classifier (``num_classes > 0``) or a four-level backbone.

    Args:
        cfg: the network's shape; the five published sizes are in ``VARIANTS``.
        num_classes: classes of the classifier; 0 builds no head.
        in_chans: image channels.

    >>> m = MobileOne(VARIANTS["mobileone_s0"])
    >>> [tuple(f.shape) for f in m.forward_features(torch.zeros(2, 3, 64, 64))]
    [(2, 48, 16, 16), (2, 128, 8, 8), (2, 256, 4, 4), (2, 1024, 2, 2)]
    """

    def __init__(self, cfg: MobileOneConfig, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        dims = tuple(int(c * m) for c, m in zip(STAGE_CHANNELS, cfg.width_multipliers, strict=True))
        self.num_classes = num_classes
        self.feature_info = levels(dims, tuple(f"stage{i}" for i in range(1, 5)))
        stem = min(64, dims[0])
        self.stage0 = MobileOneBlock(in_chans, stem, 3, stride=2)  # always one branch, never SE
        with_se = (0, 0, cfg.num_blocks_per_stage[2] // 2, cfg.num_blocks_per_stage[3]) if cfg.use_se else (0,) * 4
        inputs = (stem, *dims)
        for i, depth in enumerate(cfg.num_blocks_per_stage):
            stage = self._stage(inputs[i], dims[i], depth, with_se[i], cfg.num_conv_branches)
            self.add_module(f"stage{i + 1}", stage)
        if num_classes > 0:
            self.gap = nn.AdaptiveAvgPool2d(1)
            self.linear = nn.Linear(dims[3], num_classes)

    @staticmethod
    def _stage(c1: int, c2: int, depth: int, num_se: int, branches: int) -> nn.Sequential:
        """`depth` units; the first halves the resolution, the last `num_se` have SE."""
        stage = nn.Sequential()
        for i in range(depth):
            se = i >= depth - num_se
            stride = 2 if i == 0 else 1
            stage.append(MobileOneBlock(c1, c1, 3, stride, groups=c1, use_se=se, num_conv_branches=branches))
            stage.append(MobileOneBlock(c1, c2, 1, use_se=se, num_conv_branches=branches))
            c1 = c2
        return stage

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        x = self.stage0(x)  # (B, stem, H/2, W/2)
        maps: list[Tensor] = []
        for lv in self.feature_info:
            x = self.get_submodule(lv.module)(x)  # (B, C_k, H/2^(k+2), W/2^(k+2))
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, num_classes), or the four maps when the network has no head."""
        maps = self.forward_features(x)
        if self.num_classes == 0:
            return maps
        return self.linear(torch.flatten(self.gap(maps[-1]), 1))  # (B, num_classes)


VARIANTS: dict[str, MobileOneConfig] = {  # paper, table of network specifications
    "mobileone_s0": MobileOneConfig(width_multipliers=(0.75, 1.0, 1.0, 2.0), num_conv_branches=4),
    "mobileone_s1": MobileOneConfig(width_multipliers=(1.5, 1.5, 2.0, 2.5)),
    "mobileone_s2": MobileOneConfig(width_multipliers=(1.5, 2.0, 2.5, 4.0)),
    "mobileone_s3": MobileOneConfig(width_multipliers=(2.0, 2.5, 3.0, 4.0)),
    "mobileone_s4": MobileOneConfig(width_multipliers=(3.0, 3.5, 3.5, 4.0), use_se=True),
}
