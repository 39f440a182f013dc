"""The two layers the plug adds to ultralytics: a whole backbone, and the MobileOne unit as an ordinary row.

They are the only classes of the socket that end up in a checkpoint. They call themselves `RepConv` because that is the
one kind of layer whose re-parameterisation ultralytics' ``fuse()`` delegates to the layer: it calls ``fuse_convs()``
and then uses ``forward_fuse``. So predict, val and export use the deploy form with no patch of ours.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import RepConv
from ultralytics.utils import LOGGER

from ..backbones import mobileone
from ..backbones.layers import Level
from ..backbones.ramp import ramp_value, ready_to_merge
from ..backbones.reparam import to_deploy_
from .rows import build

_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # bytes of a number → integers of that size


class BackboneLayer(RepConv):
    """A backbone that answers with the list [P2, P3, P4, P5]; the `Index` layers after it pick one each.

    Args:
        in_chans: channels of what it reads, 3 for an image.
        spec: ``{"name": variant, **configuration}``, one dict so that the YAML parser leaves the strings alone.

    >>> layer = BackboneLayer(3, {"name": "fasternet_t0"})
    >>> [lv.channels for lv in layer.feature_info]
    [40, 80, 160, 320]
    """

    def __init__(self, in_chans: int, spec: dict[str, Any]) -> None:
        nn.Module.__init__(self)  # not RepConv's: there is no 3×3 convolution here
        self.spec = dict(spec)
        self.backbone = build(spec, in_chans)
        self.forget_touch()

    @property
    def feature_info(self) -> list[Level]:
        """Name, channels and stride of the four maps."""
        return self.backbone.feature_info

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return [P2, P3, P4, P5] of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        return self.backbone.forward_features(x)

    def forward_fuse(self, x: Tensor) -> list[Tensor]:
        """Return the same four maps: the deploy form differs in the layers inside, not in how they are called."""
        return self.backbone.forward_features(x)  # not self.forward: ultralytics replaces that by this

    @property
    def touched(self) -> bool:
        """Whether its weights are no longer those drawn when it was built: loaded by hand, or trained."""
        return self.drawn != _fingerprint(self.backbone)

    def equals(self, other: BackboneLayer) -> bool:
        """Return whether another layer has the same weights."""
        return _fingerprint(self.backbone) == _fingerprint(other.backbone)

    def forget_touch(self) -> None:
        """Count the weights it has now as those it was built with."""
        self.drawn = _fingerprint(self.backbone)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        touched = self.touched  # half precision, as in every checkpoint, is no other set of weights
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if not touched:
            self.forget_touch()
        return self

    def fuse_convs(self) -> None:
        """Fold BN and merge branches in place; ultralytics' ``fuse()`` calls this. Repeatable.

        Before the end of VanillaNet's ramp only BN is folded, which is exact; its pairs of convolutions stay.
        """
        touched, merge = self.touched, ready_to_merge(self.backbone)
        if not merge:
            _warn_once(
                f"{self.spec['name']} has its activation ramp at {ramp_value(self.backbone):g}: BN is folded, but the "
                "pairs of convolutions stay, because they merge exactly only at 1; training raises it to 1"
            )
        to_deploy_(self.backbone, merge=merge)
        if not touched:
            self.forget_touch()

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.spec.items())


def _fingerprint(module: nn.Module) -> list[int]:
    """Return a checksum of each convolution's weights: equal as long as nobody writes them.

    The bits are added as integers, because a sum of floats depends on the number of threads; eight bytes at a time,
    because every detector that is built pays for it.
    """
    weights = (p.detach().flatten() for p in module.parameters() if p.ndim > 1 and not p.is_meta)
    sums = [w.view(_WORDS[w.element_size() if w.nbytes % 8 else 8]).sum() for w in weights]
    return torch.stack(sums).tolist() if sums else []


@functools.cache
def _warn_once(text: str) -> None:
    LOGGER.warning(text)


class MobileOneUnit(RepConv):
    """A MobileOne unit, depthwise block then pointwise block, as a row: ``[-1, 1, MobileOneUnit, [256, 3, 2]]``.

    Args:
        c1, c2: channels of input and output; the row gives c2, scaled like that of any layer of ultralytics' own.
        k, s: kernel and stride of the depthwise block.
        branches: parallel convolutions in each block while training; `fuse_convs` merges them.
        use_se: squeeze-and-excitation in both blocks.
    """

    def __init__(self, c1: int, c2: int, k: int = 3, s: int = 1, branches: int = 4, use_se: bool = False) -> None:
        nn.Module.__init__(self)
        self.unit = mobileone.MobileOneUnit(c1, c2, k, s, branches=branches, use_se=use_se)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C1, H, W) to (B, C2, H/s, W/s)."""
        return self.unit(x)  # (B, C2, H/s, W/s)

    def forward_fuse(self, x: Tensor) -> Tensor:
        """Return the same map: the deploy form differs in the layers inside."""
        return self.unit(x)  # (B, C2, H/s, W/s)

    def fuse_convs(self) -> None:
        """Merge the branches in place; ultralytics' ``fuse()`` calls this. Repeatable."""
        to_deploy_(self.unit)


OURS = (BackboneLayer, MobileOneUnit)


def backbone_layers(model: nn.Module) -> list[BackboneLayer]:
    """Return the backbone layers of a detector, in order; empty for a stock model."""
    return [m for m in model.modules() if isinstance(m, BackboneLayer)]
