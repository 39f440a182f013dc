"""Which published variant is this network, or this checkpoint? Judged by shapes, so it needs no name kept anywhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layouts import FAMILY_KEYS, has_bn, is_out_norm
from .registry import FAMILIES, create_backbone

_SHAPELESS = (nn.Identity, nn.Dropout, nn.AdaptiveAvgPool2d, nn.Sequential, nn.ModuleList)
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Body(NamedTuple):
    """What tells one network of a family from another, whatever its classes and image channels."""

    shapes: Shapes  # of the tensors outside the classifier; image channels are left out
    kinds: tuple[str, ...]  # of the layers without weights: activations and pooling


def variant_of(model: nn.Module, family: str) -> str | None:
    """Return the published variant a network equals, in either form, or None.

    >>> variant_of(create_backbone("starnet_s050", num_classes=7, in_chans=1), "starnet")
    'starnet_s050'
    """
    body = _body(model, family)
    deploy = not has_bn(model.state_dict(), family)
    return next((name for name in FAMILIES[family][1] if _body_of(name, family, deploy) == body), None)


def variant_with_shapes(state: Mapping[str, Tensor], family: str) -> str | None:
    """Return the variant whose weights a state dict (our names) holds, or None.

    >>> variant_with_shapes(create_backbone("fasternet_t1").state_dict(), "fasternet")
    'fasternet_t1'
    """
    shapes, deploy = _shapes(state, family), not has_bn(state, family)
    return next((name for name in FAMILIES[family][1] if _body_of(name, family, deploy).shapes == shapes), None)


@functools.cache
def _body_of(variant: str, family: str, deploy: bool) -> Body:
    with torch.device("meta"):  # shapes without numbers: no memory, no random draw
        model = create_backbone(variant, num_classes=1, deploy=deploy)
    return _body(model, family)


def _body(model: nn.Module, family: str) -> Body:
    head = FAMILY_KEYS[family].head
    kinds = tuple(
        type(module).__name__
        for name, module in model.named_modules()
        if not f"{name}.".startswith(head)
        and not any(True for _ in module.children())
        and not any(True for _ in module.parameters())
        and not isinstance(module, _SHAPELESS)
        and type(module).__name__ != "DropPath"  # shapes training only
    )
    return Body(_shapes(model.state_dict(), family), kinds)


def _shapes(state: Mapping[str, Tensor], family: str) -> Shapes:
    keys = FAMILY_KEYS[family]
    shapes = []
    for key, value in state.items():
        if key.startswith(keys.head) or is_out_norm(key) or value.ndim == 0:
            continue
        image = key.startswith(keys.stem) and value.ndim == 4
        shapes.append((key, (value.shape[0], *value.shape[2:]) if image else tuple(value.shape)))
    return tuple(sorted(shapes))
