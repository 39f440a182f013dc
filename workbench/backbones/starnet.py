"""StarNet: multiply two linear branches, and a narrow network computes in a very high-dimensional space.

Ma et al., "Rewrite the Stars", CVPR 2024. The star operation is an element-wise product of two linear maps,
(W₁ᵀx)·(W₂ᵀx). Written out it is a weighted sum of all products xᵢxⱼ: about d²/2 implicit dimensions from d channels
(section 3.1), and stacking l layers gives about (d/√2)^(2^l) (section 3.2). Like a polynomial kernel, but
learned, and for the price of two 1×1 convolutions.

    image → stem (3×3, stride 2) → [3×3, stride 2 → blocks] × 4 → P2, P3, P4, P5

One block (section 4):  x + drop_path( DW 7×7 ← 1×1 ← ReLU6(f1)·f2 ← two 1×1 ← DW 7×7 ← x )
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layers import DropPath, bn_scale_shift, levels

STEM_WIDTH = 32  # whatever base_dim is, in the official code


@dataclass(frozen=True)
class StarNetConfig:
    """The official configuration keywords (defaults of the official class), then three of ours.

    ``width``, ``depth`` and ``round_to`` scale a network as detector YAML files do. They are off in every official
    variant: `starnet_s100` is 20 channels wide, which is no multiple of 8. ``width=0.25, round_to=8`` is what the
    well-known YOLO11 port does; it scales the stem too.
    """

    base_dim: int = 32  # channels of P2; each level doubles it
    depths: tuple[int, ...] = (3, 3, 12, 5)  # blocks per level
    mlp_ratio: int = 4  # width of each of the two branches, in units of the block's channels
    drop_path_rate: float = 0.0  # grows linearly with depth up to this
    width: float = 1.0  # multiplies base_dim and the stem
    depth: float = 1.0  # multiplies the number of blocks, at least one per level
    round_to: int = 1  # widths become multiples of this

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        if len(self.depths) != 4:
            raise ValueError(f"depths={self.depths} has {len(self.depths)} entries; expected 4, one per level P2 to P5")
        for field in ("base_dim", "mlp_ratio", "width", "depth", "round_to"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field}={getattr(self, field)!r} given; expected a positive number")

    @property
    def stem_width(self) -> int:
        """Channels of the stem, half the input's resolution."""
        return round_channels(STEM_WIDTH * self.width, self.round_to)

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of P2 to P5. P2 is rounded; the others are its doubles."""
        base = round_channels(self.base_dim * self.width, self.round_to)
        return tuple(base * 2**i for i in range(4))

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks of P2 to P5."""
        return tuple(max(1, round(n * self.depth)) for n in self.depths)


def round_channels(width: float, multiple: int = 8) -> int:
    """Round a channel count to the nearest multiple, but at least one and never more than 10 % down.

    Source: the rule of the MobileNet family (Sandler et al., 2018, official code).

    >>> [round_channels(w) for w in (4, 6, 12, 20, 36)]
    [8, 8, 16, 24, 40]
    """
    rounded = max(multiple, int(width + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * width else rounded


class ConvBN(nn.Sequential):
    """A convolution with bias and, unless `with_bn` is false, a BN; children named ``conv`` and ``bn``."""

    def __init__(
        self, c1: int, c2: int, kernel_size: int = 1, stride: int = 1, padding: int = 0, groups: int = 1,
        with_bn: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.add_module("conv", nn.Conv2d(c1, c2, kernel_size, stride, padding, groups=groups))
        if with_bn:
            self.add_module("bn", nn.BatchNorm2d(c2))


class Block(nn.Module):
    """StarNet block: depthwise 7×7, two 1×1 branches multiplied (the star), 1×1 back, depthwise 7×7, shortcut.

    Only one of the two branches has an activation. Source: paper section 4.

    >>> Block(16)(torch.zeros(1, 16, 8, 8)).shape
    torch.Size([1, 16, 8, 8])
    """

    def __init__(self, dim: int, mlp_ratio: int = 4, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = mlp_ratio * dim
        self.dwconv = ConvBN(dim, dim, 7, padding=3, groups=dim)
        self.f1 = ConvBN(dim, hidden, with_bn=False)
        self.f2 = ConvBN(dim, hidden, with_bn=False)
        self.g = ConvBN(hidden, dim)
        self.dwconv2 = ConvBN(dim, dim, 7, padding=3, groups=dim, with_bn=False)
        self.act = nn.ReLU6(inplace=True)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x)  # (B, C, H, W)
        a, b = self.act(self.f1(y)), self.f2(y)  # (B, rC, H, W) each
        y = a * b if torch.is_grad_enabled() else a.mul_(b)  # (B, rC, H, W), the star operation; in place saves a map
        y = self.drop_path(self.dwconv2(self.g(y)))  # (B, C, H, W)
        y += x  # (B, C, H, W)
        return y


class StarNet(nn.Module):
    """StarNet as a classifier (``num_classes > 0``) or a four-level backbone (paper section 4).

    Args:
        cfg: the network's shape; the seven published sizes are in ``VARIANTS``.
        num_classes: classes of the classifier; 0 builds no head, and no final BN either.
        in_chans: image channels.

    >>> m = StarNet(VARIANTS["starnet_s1"])
    >>> [tuple(f.shape) for f in m.forward_features(torch.zeros(1, 3, 64, 64))]
    [(1, 24, 16, 16), (1, 48, 8, 8), (1, 96, 4, 4), (1, 192, 2, 2)]
    """

    def __init__(self, cfg: StarNetConfig, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        dims, blocks = cfg.dims, cfg.blocks
        self.num_classes = num_classes
        self.feature_info = levels(dims, tuple(f"stages.{i}" for i in range(4)))
        self.stem = nn.Sequential(ConvBN(in_chans, cfg.stem_width, 3, 2, 1), nn.ReLU6(inplace=True))
        drop_paths = torch.linspace(0, cfg.drop_path_rate, sum(blocks), device="cpu").tolist()
        self.stages = nn.ModuleList()
        c1 = cfg.stem_width
        for i, (c2, depth) in enumerate(zip(dims, blocks, strict=True)):
            first = sum(blocks[:i])
            rates = drop_paths[first : first + depth]
            self.stages.append(nn.Sequential(ConvBN(c1, c2, 3, 2, 1), *(Block(c2, cfg.mlp_ratio, p) for p in rates)))
            c1 = c2
        if num_classes > 0:
            self.norm: nn.Module = nn.BatchNorm2d(c1)
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.head = nn.Linear(c1, num_classes)
            # The official code means to initialise convolutions like this too, but `isinstance(m, Linear or Conv2d)`
            # tests Linear alone. The published networks were trained from torch's own convolution weights: kept.
            nn.init.trunc_normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        x = self.stem(x)  # (B, stem, H/2, W/2)
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)  # (B, C·2^k, H/2^(k+2), W/2^(k+2))
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, num_classes), or the four maps when the network has no head."""
        maps = self.forward_features(x)
        if self.num_classes == 0:
            return maps
        pooled = self.avgpool(self.norm(maps[-1]))  # (B, C5, 1, 1)
        return self.head(torch.flatten(pooled, 1))  # (B, num_classes)

    def reparameterize(self) -> None:
        """Fold the final BN into the classifier, in place: between them is only an average, which is linear too."""
        norm = getattr(self, "norm", None)
        if not isinstance(norm, nn.BatchNorm2d):
            return
        scale, shift = bn_scale_shift(norm)  # (C5,), (C5,)
        weight = self.head.weight.detach().to(scale.dtype)  # (num_classes, C5)
        with torch.no_grad():
            self.head.bias.add_(weight @ shift)  # (num_classes,)
            self.head.weight.copy_(weight * scale)  # (num_classes, C5)
        self.norm = nn.Identity().train(norm.training)


VARIANTS: dict[str, StarNetConfig] = {  # s1 to s4: paper section 4; the very small ones: paper table 13
    "starnet_s1": StarNetConfig(24, (2, 2, 8, 3), 4),
    "starnet_s2": StarNetConfig(32, (1, 2, 6, 2), 4),
    "starnet_s3": StarNetConfig(32, (2, 2, 8, 4), 4),
    "starnet_s4": StarNetConfig(32, (3, 3, 12, 5), 4, drop_path_rate=0.1),
    "starnet_s050": StarNetConfig(16, (1, 1, 3, 1), 3),
    "starnet_s100": StarNetConfig(20, (1, 2, 4, 1), 4),
    "starnet_s150": StarNetConfig(24, (1, 2, 4, 2), 3),
}
