"""FasterNet: leave most channels alone, convolve a quarter of them, and let 1×1 convolutions mix.

Chen et al., "Run, Don't Walk: Chasing Higher FLOPS for Faster Neural Networks", CVPR 2023. Latency is FLOPs divided
by FLOPS (per second): a depthwise convolution saves the first and loses the second, because it reads every channel
and computes little with each. The partial convolution (PConv, section 3.2) convolves c/4 channels densely and passes
the rest through: 1/16 of a dense convolution's MACs at 1/4 of its memory access.

    image → patch embedding (4×4, stride 4) → [blocks → 2×2 merging] × 3 → blocks → P2, P3, P4, P5

One block (section 3.3, figure 4):  x + drop_path( 1×1 ← act ← BN ← 1×1 ← PConv 3×3 ← x )
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layers import DropPath, levels, trunc_normal_init

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"GELU": nn.GELU, "RELU": lambda: nn.ReLU(inplace=True)}
NORMS: dict[str, Callable[[int], nn.Module]] = {"BN": nn.BatchNorm2d}
PCONV_FORMS = ("split_cat", "slicing")


@dataclass(frozen=True)
class FasterNetConfig:
    """The official configuration keywords (paper, table 7; defaults of the official class)."""

    embed_dim: int = 96  # channels of P2; each level doubles it
    depths: tuple[int, ...] = (1, 2, 8, 2)  # blocks per level
    mlp_ratio: float = 2.0  # hidden width of a block's two 1×1 convolutions
    n_div: int = 4  # PConv convolves 1/n_div of the channels
    feature_dim: int = 1280  # width of the classifier's hidden layer
    patch_size: int = 4  # embedding kernel and stride
    patch_stride: int = 4
    patch_size2: int = 2  # merging kernel and stride
    patch_stride2: int = 2
    patch_norm: bool = True
    layer_scale_init_value: float = 0.0  # 0: no layer scale
    drop_path_rate: float = 0.1  # grows linearly with depth up to this
    norm_layer: str = "BN"
    act_layer: str = "RELU"
    pconv_fw_type: str = "split_cat"

    def __post_init__(self) -> None:
        object.__setattr__(self, "depths", tuple(self.depths))
        checks: dict[str, Collection[str]] = {
            "norm_layer": NORMS,
            "act_layer": ACTIVATIONS,
            "pconv_fw_type": PCONV_FORMS,
        }
        for field, known in checks.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r} is unknown; expected one of {', '.join(known)}")
        if len(self.depths) != 4:
            raise ValueError(f"depths={self.depths} has {len(self.depths)} entries; expected 4, one per level P2 to P5")


class PConv(nn.Module):
    """Partial convolution: a 3×3 convolution on the first 1/n_div channels; the others pass untouched.

    Two forms give equal outputs. ``split_cat`` builds a new tensor and trains. ``slicing`` writes into a copy of its
    input, which autograd cannot undo, so it is for inference only. Source: paper section 3.2, figure 4.

    Args:
        dim: channels C of input and output.
        n_div: the convolution sees C // n_div of them.
        form: ``"split_cat"`` or ``"slicing"``.

    >>> PConv(64)(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 64, 8, 8])
    """

    def __init__(self, dim: int, n_div: int = 4, form: str = "split_cat") -> None:
        super().__init__()
        if form not in PCONV_FORMS:
            raise ValueError(f"form={form!r} is unknown; expected one of {', '.join(PCONV_FORMS)}")
        if dim // n_div < 1:
            raise ValueError(f"dim={dim} with n_div={n_div} leaves no channel to convolve; use n_div <= {dim}")
        self.touched = dim // n_div
        self.untouched = dim - self.touched
        self.form = form
        self.partial_conv3 = nn.Conv2d(self.touched, self.touched, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "slicing":
            if torch.is_grad_enabled() and (x.requires_grad or self.training):
                raise RuntimeError("PConv form 'slicing' overwrites its input and cannot train; use form='split_cat'")
            x = x.clone()  # (B, C, H, W), the block still needs the original for its shortcut
            x[:, : self.touched] = self.partial_conv3(x[:, : self.touched])
            return x  # (B, C, H, W)
        head, tail = torch.split(x, [self.touched, self.untouched], dim=1)  # (B, C/n, H, W), (B, C − C/n, H, W)
        return torch.cat((self.partial_conv3(head), tail), dim=1)  # (B, C, H, W)

    def extra_repr(self) -> str:
        return f"touched={self.touched}, untouched={self.untouched}, form={self.form!r}"


class Block(nn.Module):
    """FasterNet block: PConv, then an inverted bottleneck of two 1×1 convolutions, with a shortcut (section 3.3).

    Only one BN and one activation per block, between the 1×1 convolutions, so most of it is plain convolution.
    """

    def __init__(self, dim: int, cfg: FasterNetConfig, drop_path: float) -> None:
        super().__init__()
        hidden = int(dim * cfg.mlp_ratio)
        self.spatial_mixing = PConv(dim, cfg.n_div, cfg.pconv_fw_type)
        self.mlp = nn.Sequential(
            nn.Conv2d(dim, hidden, 1, bias=False),
            NORMS[cfg.norm_layer](hidden),
            ACTIVATIONS[cfg.act_layer](),
            nn.Conv2d(hidden, dim, 1, bias=False),
        )
        self.drop_path = DropPath(drop_path)
        self.layer_scale: nn.Parameter | None = None
        if cfg.layer_scale_init_value > 0:
            self.layer_scale = nn.Parameter(torch.full((dim,), float(cfg.layer_scale_init_value)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.spatial_mixing(x))  # (B, C, H, W)
        if self.layer_scale is not None:
            y = y * self.layer_scale.reshape(1, -1, 1, 1)  # (B, C, H, W)
        y = self.drop_path(y)
        y += x  # (B, C, H, W)
        return y


class Stage(nn.Module):
    """`depth` blocks at one resolution."""

    def __init__(self, dim: int, cfg: FasterNetConfig, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(dim, cfg, p) for p in drop_paths))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)  # (B, C, H, W)


class PatchEmbed(nn.Module):
    """Cut the image into patches and embed each: one strided convolution, then BN."""

    bn_pairs = (("proj", "norm"),)  # what `deploy` folds

    def __init__(self, in_chans: int, dim: int, cfg: FasterNetConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, cfg.patch_size, cfg.patch_stride, bias=False)
        self.norm = NORMS[cfg.norm_layer](dim) if cfg.patch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x))  # (B, 3, H, W) → (B, C, H/4, W/4)


class PatchMerging(nn.Module):
    """Halve the resolution and double the channels: one strided convolution, then BN."""

    bn_pairs = (("reduction", "norm"),)

    def __init__(self, dim: int, cfg: FasterNetConfig) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(dim, 2 * dim, cfg.patch_size2, cfg.patch_stride2, bias=False)
        self.norm = NORMS[cfg.norm_layer](2 * dim) if cfg.patch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x))  # (B, C, H, W) → (B, 2C, H/2, W/2)


class FasterNet(nn.Module):
    """FasterNet as a classifier (``num_classes > 0``) or a four-level backbone (paper figure 4, table 7).

    Args:
        cfg: the network's shape; the six published sizes are in ``VARIANTS``.
        num_classes: classes of the classifier; 0 builds no head.
        in_chans: image channels.
        out_norm: give P2 to P5 a BN each, as the paper's detectors have (section 4.3). A sequence of level names such
            as ``("P3", "P4", "P5")`` builds only those that are read: a norm nobody reads never gets a gradient.

    >>> m = FasterNet(VARIANTS["fasternet_t0"])
    >>> [tuple(f.shape) for f in m.forward_features(torch.zeros(1, 3, 64, 64))]
    [(1, 40, 16, 16), (1, 80, 8, 8), (1, 160, 4, 4), (1, 320, 2, 2)]
    """

    def __init__(
        self, cfg: FasterNetConfig, num_classes: int = 0, in_chans: int = 3, out_norm: bool | Sequence[str] = False
    ) -> None:
        super().__init__()
        dims = [cfg.embed_dim * 2**i for i in range(4)]
        self.num_classes = num_classes
        self.feature_info = levels(tuple(dims), ("stages.0", "stages.2", "stages.4", "stages.6"))
        self.patch_embed = PatchEmbed(in_chans, dims[0], cfg)
        drop_paths = torch.linspace(0, cfg.drop_path_rate, sum(cfg.depths), device="cpu").tolist()
        self.stages = nn.Sequential()  # blocks, merging, blocks, merging, blocks, merging, blocks
        for i, depth in enumerate(cfg.depths):
            first = sum(cfg.depths[:i])
            self.stages.append(Stage(dims[i], cfg, drop_paths[first : first + depth]))
            if i < 3:
                self.stages.append(PatchMerging(dims[i], cfg))
        wanted = [lv.name for lv in self.feature_info] if out_norm is True else list(out_norm or ())
        for i, lv in enumerate(self.feature_info):
            if lv.name in wanted:
                self.add_module(f"norm{2 * i}", NORMS[cfg.norm_layer](lv.channels))  # the official names: 0, 2, 4, 6
        if num_classes > 0:
            self.avgpool_pre_head = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(dims[3], cfg.feature_dim, 1, bias=False),
                ACTIVATIONS[cfg.act_layer](),
            )
            self.head = nn.Linear(cfg.feature_dim, num_classes)
        trunc_normal_init(self)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        x = self.patch_embed(x)  # (B, C, H/4, W/4)
        maps: list[Tensor] = []
        for i, stage in enumerate(self.stages):
            x = stage(x)  # (B, C·2^k, H/2^(k+2), W/2^(k+2))
            if i % 2 == 0:
                norm = getattr(self, f"norm{i}", None)
                maps.append(x if norm is None else norm(x))
        return maps

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return logits (B, num_classes), or the four maps when the network has no head."""
        maps = self.forward_features(x)
        if self.num_classes == 0:
            return maps
        pooled = self.avgpool_pre_head(maps[-1])  # (B, feature_dim, 1, 1)
        return self.head(torch.flatten(pooled, 1))  # (B, num_classes)


VARIANTS: dict[str, FasterNetConfig] = {  # paper table 7; drop path from the official configuration files
    "fasternet_t0": FasterNetConfig(40, (1, 2, 8, 2), drop_path_rate=0.0, act_layer="GELU"),
    "fasternet_t1": FasterNetConfig(64, (1, 2, 8, 2), drop_path_rate=0.02, act_layer="GELU"),
    "fasternet_t2": FasterNetConfig(96, (1, 2, 8, 2), drop_path_rate=0.05),
    "fasternet_s": FasterNetConfig(128, (1, 2, 13, 2), drop_path_rate=0.1),
    "fasternet_m": FasterNetConfig(144, (3, 4, 18, 3), drop_path_rate=0.2),
    "fasternet_l": FasterNetConfig(192, (3, 4, 18, 3), drop_path_rate=0.3),
}
