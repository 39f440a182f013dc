"""VanillaNet: no shortcuts, no attention, five to thirteen layers; depth exists only while training.

Chen et al., "VanillaNet: the Power of Minimalism in Deep Learning", NeurIPS 2023. Few wide layers run fast, but train
badly, for want of non-linearity. Two remedies:

"Deep Training Strategy": each layer starts as two 1×1 convolutions with an activation between. During training the
activation fades to the identity, a·x + (1 − a)·ReLU(x) with a from 0 to 1, and then the two merge into one. **Who
forgets the ramp merges a network that is not the one that was trained.**

"Series Informed Activation Function": a weighted sum of shifted activations over a (2n+1)×(2n+1) neighbourhood, which
is a depthwise convolution after a ReLU.

    image → stem (4×4, stride 4) → blocks, some with 2×2 max pooling → P2, P3, P4, P5
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Level, fold_conv_bn, levels, merge_convs, trunc_normal_init

BN_EPS = 1e-6  # not torch's 1e-5
LEVEL_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class VanillaNetConfig:
    """The official configuration keywords (defaults of the official class)."""

    dims: tuple[int, ...] = (96, 192, 384, 768, 768)  # channels of the stem and of each block
    strides: tuple[int, ...] = (2, 2, 2, 1)  # of each block
    act_num: int = 3  # n of the series activation, whose kernel is 2n + 1
    drop_rate: float = 0.0  # dropout before the classifier
    ada_pool: tuple[int, ...] | None = None  # pool to a fixed map size after each block (0: by stride); stem stride 3

    def __post_init__(self) -> None:
        for field in ("dims", "strides", "ada_pool"):
            value = getattr(self, field)
            object.__setattr__(self, field, None if value is None else tuple(value))
        if len(self.dims) != len(self.strides) + 1:
            given = f"dims has {len(self.dims)} entries and strides {len(self.strides)}"
            raise ValueError(f"{given}; expected one more in dims, which starts with the stem's")
        if self.ada_pool is not None and len(self.ada_pool) != len(self.strides):
            raise ValueError(f"ada_pool has {len(self.ada_pool)} entries; expected {len(self.strides)}, one per block")


def fading_relu(x: Tensor, ramp: Tensor | float) -> Tensor:
    """Return an activation between ReLU (ramp 0) and the identity (ramp 1), element by element.

    The same values as a leaky ReLU with slope `ramp`, written so that the ramp may be a tensor that `torch.export`
    keeps as an input. Source: paper, "Deep Training Strategy".

    >>> fading_relu(torch.tensor([-2.0, 3.0]), 0.25)
    tensor([-0.5000,  3.0000])
    """
    positive = torch.relu(x)
    return positive + ramp * (x - positive)


def conv_at(layers: nn.Sequential, i: int = 0) -> nn.Conv2d:
    """Return the convolution at position `i` with the BN behind it folded in, if one is (still) there."""
    conv, after = layers[i], layers[i + 1] if i + 1 < len(layers) else None
    assert isinstance(conv, nn.Conv2d)
    return fold_conv_bn(conv, after) if isinstance(after, nn.BatchNorm2d) else conv


def conv_bn(c1: int, c2: int, kernel_size: int = 1, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """Return a convolution with bias and its BN."""
    return nn.Sequential(nn.Conv2d(c1, c2, kernel_size, stride, padding), nn.BatchNorm2d(c2, eps=BN_EPS))


class SeriesActivation(nn.Module):
    """A weighted sum of ReLUs around each position, one set of weights per channel, then BN.

    >>> SeriesActivation(16)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 16, 8, 8])
    """

    def __init__(self, dim: int, act_num: int = 3) -> None:
        super().__init__()
        k = 2 * act_num + 1
        self.dim, self.act_num = dim, act_num
        self.weight = nn.Parameter(torch.empty(dim, 1, k, k))
        self.register_parameter("bias", None)  # appears with `reparameterize`
        self.bn: nn.BatchNorm2d | None = nn.BatchNorm2d(dim, eps=BN_EPS)
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(torch.relu(x), self.weight, self.bias, padding=self.act_num, groups=self.dim)  # (B, C, H, W)
        return x if self.bn is None else self.bn(x)  # (B, C, H, W)

    def reparameterize(self) -> None:
        """Fold the BN into the weights, in place. Safe to call twice."""
        if self.bn is None:
            return
        like = nn.Conv2d(self.dim, self.dim, self.weight.shape[-1], groups=self.dim, bias=False, device="meta")
        like.weight = self.weight
        conv = fold_conv_bn(like, self.bn)
        self.weight = nn.Parameter(conv.weight.detach(), requires_grad=self.weight.requires_grad)
        self.bias, self.bn = conv.bias, None

    def extra_repr(self) -> str:
        return f"dim={self.dim}, act_num={self.act_num}"


class Block(nn.Module):
    """1×1 convolution, fading activation, 1×1 convolution, pooling, series activation.

    The ramp is an argument because the network holds it once, for all blocks.
    """

    waits_for_ramp = True  # `reparameterize` is exact only when the ramp is 1
    conv: nn.Conv2d | None  # the deploy form's; None while conv1 and conv2 exist

    def __init__(self, c1: int, c2: int, act_num: int = 3, stride: int = 2, ada_pool: int = 0) -> None:
        super().__init__()
        self.register_module("conv", None)
        self.conv1 = conv_bn(c1, c1)
        self.conv2 = conv_bn(c1, c2)
        self.pool: nn.Module = nn.Identity()
        if stride != 1:
            self.pool = nn.AdaptiveMaxPool2d((ada_pool, ada_pool)) if ada_pool else nn.MaxPool2d(stride)
        self.act = SeriesActivation(c2, act_num)

    def forward(self, x: Tensor, ramp: Tensor | float = 1.0) -> Tensor:
        y = self.conv2(fading_relu(self.conv1(x), ramp)) if self.conv is None else self.conv(x)  # (B, C2, H, W)
        return self.act(self.pool(y))  # (B, C2, H/s, W/s)

    def reparameterize(self) -> None:
        """Merge the pair of convolutions as if the ramp were 1, in place. Safe to call twice."""
        self.act.reparameterize()
        if self.conv is None:
            self.conv = merge_convs(conv_at(self.conv1), conv_at(self.conv2))
            del self.conv1, self.conv2


class VanillaNet(nn.Module):
    """VanillaNet as a classifier (``num_classes > 0``) or a four-level backbone.

    ``act_learn``, the ramp of deep training, is one scalar buffer: it goes with ``state_dict`` and ``.to()``. It is 1
    (the activations between pairs are the identity) unless `set_activation_ramp` says otherwise, and after loading a
    state dict without it, as the official files are. It disappears with `reparameterize`.

    Args:
        cfg: the network's shape; the published sizes are in ``VARIANTS``.
        num_classes: classes of the classifier; 0 builds no head.
        in_chans: image channels.

    >>> m = VanillaNet(VanillaNetConfig(dims=(16, 16, 32, 48, 64), strides=(1, 2, 2, 2)))
    >>> [tuple(f.shape) for f in m.forward_features(torch.zeros(2, 3, 64, 64))]
    [(2, 16, 16, 16), (2, 32, 8, 8), (2, 48, 4, 4), (2, 64, 2, 2)]
    """

    waits_for_ramp = True
    act_learn: Tensor  # (), None in the deploy form
    stem: nn.Sequential | None  # the deploy form's; None while stem1 and stem2 exist
    cls: nn.Sequential | None  # likewise of cls1 and cls2

    def __init__(self, cfg: VanillaNetConfig, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__()
        dims = cfg.dims
        self.num_classes = num_classes
        self.register_module("stem", None)  # first, so that the first parameter is the stem's in both forms
        self.stem1 = conv_bn(in_chans, dims[0], 4, *((3, 1) if cfg.ada_pool else (4, 0)))
        self.stem2 = conv_bn(dims[0], dims[0]).append(SeriesActivation(dims[0], cfg.act_num))
        sizes = cfg.ada_pool or (0,) * len(cfg.strides)
        self.stages = nn.ModuleList(
            Block(dims[i], dims[i + 1], cfg.act_num, stride, size)
            for i, (stride, size) in enumerate(zip(cfg.strides, sizes, strict=True))
        )
        if num_classes > 0:
            self.register_module("cls", None)
            pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Dropout(cfg.drop_rate))
            self.cls1 = pooled.extend(conv_bn(dims[-1], num_classes))
            self.cls2 = nn.Sequential(nn.Conv2d(num_classes, num_classes, 1))
        self.register_buffer("act_learn", torch.ones(()))
        self._tap = {} if cfg.ada_pool else last_at_each_stride(cfg.strides)
        self._dims = dims
        trunc_normal_init(self)

    @property
    def feature_info(self) -> list[Level]:
        """The four levels; an error for a network that has none, such as one with adaptive pooling."""
        if tuple(self._tap) != LEVEL_STRIDES:
            raise ValueError(
                "this VanillaNet has no maps at strides 4, 8, 16, 32 (its pooling fixes the map sizes or its strides "
                "differ) and is a classifier only; for a backbone use vanillanet_13_x1_5, or four strides up to 32"
            )
        stem = "stem2" if self.stem is None else "stem"
        channels = tuple(self._dims[i + 1] for i in self._tap.values())
        return levels(channels, tuple(stem if i < 0 else f"stages.{i}" for i in self._tap.values()))

    def _maps(self, x: Tensor, wanted: Collection[int]) -> list[Tensor]:
        """Run stem and blocks and return the outputs of the blocks `wanted`, −1 being the stem."""
        ramp = self.act_learn  # ()
        x = self.stem2(fading_relu(self.stem1(x), ramp)) if self.stem is None else self.stem(x)  # (B, C0, H/4, W/4)
        maps = [x] if -1 in wanted else []
        for i, block in enumerate(self.stages):
            x = block(x, ramp)  # (B, C_i, H/s, W/s)
            if i in wanted:
                maps.append(x)
        return maps

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W): the last map at strides 4, 8, 16, 32.

        Raises:
            ValueError: the network has no such maps (adaptive pooling, or other strides).
        """
        return self._maps(x, self._tap.values()) if self.feature_info else []

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, num_classes), or the four maps when the network has no head."""
        if self.num_classes == 0:
            return self.forward_features(x)
        x = self._maps(x, (len(self.stages) - 1,))[0]  # (B, C5, H/32, W/32)
        ramp = self.act_learn  # ()
        x = self.cls2(fading_relu(self.cls1(x), ramp)) if self.cls is None else self.cls(x)  # (B, num_classes, 1, 1)
        return torch.flatten(x, 1)  # (B, num_classes)

    def reparameterize(self) -> None:
        """Merge all pairs as if the ramp were 1, in place. Safe to call twice. Only `deploy` checks the ramp."""
        for part in list(self.modules()):
            if isinstance(part, Block | SeriesActivation):
                part.reparameterize()
        if self.stem is None:
            self.stem = nn.Sequential(merge_convs(conv_at(self.stem1), conv_at(self.stem2)), self.stem2[2])
            self.stem.train(self.training)
            del self.stem1, self.stem2
        if self.num_classes > 0 and self.cls is None:
            pool, dropout = self.cls1[0], self.cls1[1]
            self.cls = nn.Sequential(pool, dropout, merge_convs(conv_at(self.cls1, 2), conv_at(self.cls2)))
            self.cls.train(self.training)
            del self.cls1, self.cls2
        self.register_buffer("act_learn", None)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """An official file has no ramp, because it was saved after the ramp's end: that means 1."""
        ours = prefix + "act_learn"
        if self.act_learn is not None and prefix + "stem1.0.weight" in state_dict and ours not in state_dict:
            state_dict[ours] = torch.ones_like(self.act_learn)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def last_at_each_stride(strides: tuple[int, ...]) -> dict[int, int]:
    """Return, for each stride of the network's maps, the last block that has it; −1 is the stem, at stride 4.

    >>> last_at_each_stride((1, 2, 2, 1, 2))
    {4: 0, 8: 1, 16: 3, 32: 4}
    """
    total, last = 4, {4: -1}
    for i, stride in enumerate(strides):
        total *= stride
        last[total] = i
    return last


def _variant(depth: int, width: int = 512, ada_pool: tuple[int, ...] | None = None) -> VanillaNetConfig:
    """Return the published network of `depth` layers, stem and classifier counted; its stem has `width` channels."""
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    if depth < 7:
        channels, strides = (1, 2, 4, 8, 8), (2, 2, 2, 1)
    elif depth == 7:
        channels, strides = (1, 1, 2, 4, 8, 8), (1, 2, 2, 2, 1)
    else:  # from here on, each layer more is one at stride 16
        channels, strides = (1, 1, 2, *[4] * (depth - 6), 8, 8), (1, 2, 2, *[1] * (depth - 7), 2, 1)
    blocks = depth - 2
    return VanillaNetConfig(tuple(width * c for c in channels[: blocks + 1]), strides[:blocks], ada_pool=ada_pool)


VARIANTS: dict[str, VanillaNetConfig] = {f"vanillanet_{depth}": _variant(depth) for depth in range(5, 14)}
VARIANTS["vanillanet_13_x1_5"] = _variant(13, 768)
VARIANTS["vanillanet_13_x1_5_ada_pool"] = _variant(13, 768, (0, 38, 19, 0, 0, 0, 0, 0, 0, 10, 0))
