"""From the training form to the deploy form: fold conv + BN, merge branches."""

from __future__ import annotations

import itertools

from torch import nn

from .layers import fold_conv_bn


def to_deploy_(model: nn.Module, *, merge: bool = True) -> nn.Module:
    """Switch `model` to its deploy form, in place and unverified, and return it."""
    for module in reversed(list(model.modules())):  # children before their parents
        switch = getattr(module, "reparameterize", None)
        if callable(switch) and (merge or not getattr(module, "waits_for_ramp", False)):
            switch()
    for module in model.modules():
        _fold_bn_(module)
    return model


def _fold_bn_(module: nn.Module) -> None:
    """Fold each conv + BN pair among the direct children of `module`, in place; the BN becomes an Identity."""
    children = module._modules
    pairs = list(getattr(module, "bn_pairs", ()))
    if isinstance(module, nn.Sequential):
        names = list(children)
        pairs += itertools.pairwise(names)
    for conv_name, bn_name in pairs:
        conv, bn = children[conv_name], children[bn_name]
        if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d) and bn.running_var is not None:
            children[conv_name] = fold_conv_bn(conv, bn)
            children[bn_name] = nn.Identity()
