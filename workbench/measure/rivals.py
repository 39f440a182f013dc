"""The same network in another hand: timm's with the same weights, and StarNet with a sum for its star."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from .. import _torchvision
from ..backbones import starnet
from ..backbones.layouts import TIMM, to_timm
from ..backbones.registry import create_backbone, family_of
from ..errors import MissingExtraError, WorkbenchError


def ours(name: str, form: str = "deploy", seed: int = 0) -> nn.Module:
    """Return a variant with 1000 classes and seeded weights, in eval mode.

    Args:
        name: a variant.
        form: "train" or "deploy".
        seed: of the weights; both forms of one seed compute the same function.
    """
    from ..backbones.reparam import to_deploy_

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = create_backbone(name, num_classes=1000).eval()
    return to_deploy_(net) if form == "deploy" else net


def theirs(name: str, form: str = "deploy", seed: int = 0) -> nn.Module:
    """Return timm's network of that name with the weights of `ours`, in eval mode.

    Args:
        name: a variant of FasterNet, StarNet or MobileOne.
        form: "train", or "deploy": what timm itself does for inference, which merges MobileOne's branches and leaves
            the batch norms of the other two.
        seed: of the weights.

    Raises:
        WorkbenchError: timm has no such network.
        MissingExtraError: timm is not installed (extra ``reference``).
    """
    family = family_of(name)
    if family not in TIMM or name == family:
        raise WorkbenchError(f"timm has no {name!r}; expected a variant of {', '.join(TIMM)}")
    timm, merge = _timm()
    net = timm.create_model(name, pretrained=False, num_classes=1000).eval()
    net.load_state_dict(to_timm(ours(name, "train", seed).state_dict(), family))
    return merge(net).eval() if form == "deploy" else net


class SumBlock(starnet.Block):
    """StarNet's block with the star replaced by a sum, as in the paper's ablation: the same parameters and MACs."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x)  # (B, C, H, W)
        a, b = self.act(self.f1(y)), self.f2(y)  # (B, rC, H, W) each
        y = a + b if torch.is_grad_enabled() else a.add_(b)  # (B, rC, H, W)
        y = self.drop_path(self.dwconv2(self.g(y)))  # (B, C, H, W)
        y += x  # (B, C, H, W)
        return y


def summed(name: str, form: str = "deploy", seed: int = 0) -> nn.Module:
    """Return a StarNet as `ours` does, every star in it a sum.

    >>> net = summed("starnet_s050")
    >>> sum(type(m) is SumBlock for m in net.modules())
    6

    Raises:
        WorkbenchError: not a StarNet.
    """
    if family_of(name) != "starnet":
        raise WorkbenchError(f"{name!r} has no star to replace; expected a variant of starnet")
    net = ours(name, form, seed)
    for module in net.modules():
        if type(module) is starnet.Block:
            module.__class__ = SumBlock
    return net


def _timm() -> tuple[Any, Any]:
    _torchvision.ensure()  # timm imports torchvision
    try:
        return importlib.import_module("timm"), importlib.import_module("timm.utils.model").reparameterize_model
    except ImportError as e:
        raise MissingExtraError("timm", "reference") from e
