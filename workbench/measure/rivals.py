"""The same network with the same weights, as we write it and as timm does: what our own speed is measured against."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from .. import _torchvision
from ..backbones.layouts import to_timm
from ..backbones.registry import create_backbone, family_of
from ..errors import MissingExtraError, WorkbenchError

FAMILIES = ("fasternet", "starnet", "mobileone")  # timm has no VanillaNet


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
    if family not in FAMILIES or name == family:
        raise WorkbenchError(f"timm has no {name!r}; expected a variant of {', '.join(FAMILIES)}")
    timm, merge = _timm()
    net = timm.create_model(name, pretrained=False, num_classes=1000).eval()
    net.load_state_dict(to_timm(ours(name, "train", seed).state_dict(), family))
    return merge(net).eval() if form == "deploy" else net


def _timm() -> tuple[Any, Any]:
    _torchvision.ensure()  # timm imports torchvision
    try:
        return importlib.import_module("timm"), importlib.import_module("timm.utils.model").reparameterize_model
    except ImportError as e:
        raise MissingExtraError("timm", "reference") from e
