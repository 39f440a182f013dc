"""One block taken apart: its branches, their folded kernels, what they merge into, and by how much that is wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError
from .layers import folded
from .mobileone import ConvBN, MobileOneBlock
from .vanillanet import Block, conv_at

FAMILIES = ("mobileone", "vanillanet")  # those with something to merge
STEPS = ("branches", "folded", "merged")
SIZE = 28  # side of the map the MACs are counted at


@dataclass(frozen=True)
class Anatomy:
    """What a block is made of. Kernels are (C_out, C_in / groups, k, k); a bare BN branch has none before folding."""

    family: str
    raw: dict[str, Tensor]  # branch → kernel as trained
    folded: dict[str, Tensor]  # branch → kernel with its BN folded in
    merged: Tensor  # the one kernel
    params: dict[str, int]  # "branches", "merged"
    macs: dict[str, int]  # at SIZE × SIZE
    largest_difference: float  # merged against branches, relative to the largest output value
    ramp: float = 1.0
    forms: Mapping[str, nn.Module] = field(default_factory=dict, repr=False)  # "branches", "merged": to be timed
    outputs: Mapping[str, Tensor] = field(default_factory=dict, repr=False)  # of both forms, (N,) values of one input

    def numbers(self) -> dict[str, Any]:
        """Return everything but the kernels, as plain numbers."""
        return {
            "family": self.family,
            "params": dict(self.params),
            "macs": dict(self.macs),
            "largest_difference": self.largest_difference,
            "ramp": self.ramp,
        }


def block_anatomy(family: str, channels: int, *, branches: int = 4, ramp: float = 1.0, seed: int = 0) -> Anatomy:
    """Build one block with BN statistics as training leaves them, merge a copy, and compare.

    Args:
        family: ``"mobileone"`` (a depthwise 3×3 block) or ``"vanillanet"`` (a pair of 1×1 convolutions).
        channels: C of input and output.
        branches: MobileOne's parallel convolutions.
        ramp: VanillaNet's activation ramp; below 1 the merge is wrong, and `largest_difference` says by how much.
        seed: of weights, statistics and input. The global random state is left as it was.

    Raises:
        WorkbenchError: another family, which has nothing to merge.

    >>> a = block_anatomy("mobileone", 8)
    >>> list(a.folded), a.params, a.largest_difference < 1e-5
    (['conv 1', 'conv 2', 'conv 3', 'conv 4', '1×1', 'skip'], {'branches': 392, 'merged': 80}, True)
    >>> block_anatomy("vanillanet", 8, ramp=0.5).largest_difference > 0.01
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block: MobileOneBlock | Block
        if family == "mobileone":
            block = MobileOneBlock(channels, channels, 3, groups=channels, num_conv_branches=branches)
        elif family == "vanillanet":
            block = Block(channels, channels, stride=1)
            nn.init.trunc_normal_(block.act.weight, std=0.2)
        else:
            raise WorkbenchError(f"family={family!r} given; expected one of {', '.join(FAMILIES)}")
        _use(block)
        x = torch.randn(1, channels, SIZE, SIZE)  # (1, C, H, W)
    merged = copy.deepcopy(block)
    merged.reparameterize()
    with torch.no_grad():
        before = block(x, ramp) if isinstance(block, Block) else block(x)  # (1, C, H, W)
        after = merged(x)  # (1, C, H, W)
    difference = ((before - after).abs().max() / before.abs().max()).item()
    take_apart: Any = _vanillanet if isinstance(block, Block) else _mobileone
    raw, done, kernel = take_apart(block, merged)
    forms = {"branches": block, "merged": merged}
    return Anatomy(
        family,
        raw,
        done,
        kernel,
        {name: sum(p.numel() for p in form.parameters()) for name, form in forms.items()},
        {name: _conv_weights(form) * SIZE * SIZE for name, form in forms.items()},
        difference,
        ramp if family == "vanillanet" else 1.0,
        forms,
        {"branches": before.flatten()[::37], "merged": after.flatten()[::37]},  # 37: every channel, scattered places
    )


def _use(block: nn.Module) -> None:
    """Give every BN statistics and weights away from their initial values, and set eval mode."""
    for m in block.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(m.running_var, 0.3, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.3)
    block.eval()


def _conv_weights(block: nn.Module) -> int:
    """Return the number of convolution weights: each is used once at every position of the map."""
    return sum(p.numel() for p in block.parameters() if p.ndim == 4)


def _mobileone(block: MobileOneBlock, merged: MobileOneBlock) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    named = {f"conv {i + 1}": m for i, m in enumerate(block.rbr_conv or ()) if isinstance(m, ConvBN)}
    if isinstance(block.rbr_scale, ConvBN):
        named["1×1"] = block.rbr_scale
    raw = {name: m.conv.weight.detach() for name, m in named.items()}  # (C, 1, k, k)
    done = {name: folded(m.conv, m.bn)[0] for name, m in named.items()}  # (C, 1, k, k)
    if block.rbr_skip is not None:
        channels = block.rbr_skip.num_features
        carrier = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        nn.init.ones_(carrier.weight)
        done["skip"] = folded(carrier, block.rbr_skip)[0]  # (C, 1, 1, 1)
    assert merged.reparam_conv is not None
    return raw, done, merged.reparam_conv.weight.detach()


def _vanillanet(block: Block, merged: Block) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    pair = {"first": block.conv1, "second": block.conv2}
    raw = {name: cast(nn.Conv2d, m[0]).weight.detach() for name, m in pair.items() if m}  # (C_out, C_in, 1, 1)
    done = {name: conv_at(m).weight.detach() for name, m in pair.items() if m is not None}
    assert isinstance(merged.conv, nn.Conv2d)
    return raw, done, merged.conv.weight.detach()
