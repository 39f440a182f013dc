"""`BackboneLayer`: one of our backbones as the first layer of an ultralytics model.

It is the only class of the socket that ends up in a checkpoint. It calls itself a `RepConv` because that is the one
kind of layer whose re-parameterisation ultralytics' ``fuse()`` delegates to the layer: it calls ``fuse_convs()`` and
then uses ``forward_fuse``. So predict, val and export use the deploy form with no patch of ours.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from ultralytics.nn.modules.conv import RepConv

from ..backbones.layers import Level
from .rows import build


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

    @property
    def feature_info(self) -> list[Level]:
        """Name, channels and stride of the four maps."""
        return self.backbone.feature_info

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return [P2, P3, P4, P5] of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        return self.backbone.forward_features(x)

    def forward_fuse(self, x: Tensor) -> list[Tensor]:
        """Return the same four maps: the deploy form differs in the layers inside, not in how they are called."""
        return self.forward(x)

    def fuse_convs(self) -> None:
        """Fold BN and merge branches in place; ultralytics' ``fuse()`` calls this. Repeatable."""
        from ..backbones.reparam import to_deploy_

        to_deploy_(self.backbone)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.spec.items())


def backbone_layers(model: nn.Module) -> list[BackboneLayer]:
    """Return the backbone layers of a detector, in order; empty for a stock model."""
    return [m for m in model.modules() if isinstance(m, BackboneLayer)]
