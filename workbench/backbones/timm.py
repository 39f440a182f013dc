"""timm's networks behind our contract: ``create_backbone("timm:resnet18")``. Needs the extra ``reference``.

Importing this module imports timm, and makes sure first that torchvision, which timm needs, can be imported: so a
checkpoint with such a backbone opens in a fresh process too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import _torchvision
from ..errors import MissingExtraError, WorkbenchError, did_you_mean, one_line
from .contract import STRIDES
from .layers import Level

_torchvision.ensure()
try:
    import timm
except ImportError as e:
    raise MissingExtraError("timm", "reference") from e


class TimmBackbone(nn.Module):
    """A timm network as a four-level backbone: its last maps at strides 4, 8, 16 and 32.

    Args:
        name: timm's name, without ``timm:``.
        in_chans: image channels.
        **config: passed to ``timm.create_model``, such as ``pretrained=True`` or ``drop_path_rate=0.1``.

    Raises:
        WorkbenchError: timm has no such network, or it has no maps at these strides (most transformers).

    >>> [lv.channels for lv in TimmBackbone("resnet18").feature_info]
    [64, 128, 256, 512]
    """

    def __init__(self, name: str, in_chans: int = 3, **config: Any) -> None:
        super().__init__()
        rows = _feature_rows(name, config)
        last = {row["reduction"]: i for i, row in enumerate(rows)}
        absent = [stride for stride in STRIDES if stride not in last]
        if absent:
            has = ", ".join(str(row["reduction"]) for row in rows)
            raise WorkbenchError(
                f"timm:{name} has maps at strides {has}; a detector's backbone needs 4, 8, 16 and 32: choose another"
            )
        indices = tuple(last[stride] for stride in STRIDES)
        self.name = name
        self.body = timm.create_model(name, features_only=True, out_indices=indices, in_chans=in_chans, **config)
        self.channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        self.feature_info = [
            Level(f"P{k + 2}", int(rows[i]["num_chs"]), STRIDES[k], self._find(rows[i]["module"]))
            for k, i in enumerate(indices)
        ]

    def _find(self, module: str) -> str:
        """Return a module's name here; timm's extractors join the first two levels of most names by ``_``."""
        here = dict(self.named_modules())
        candidates = (f"body.{module}", f"body.{module.replace('.', '_', 1)}", f"body.{module.replace('.', '_')}")
        return next((name for name in candidates if name in here), "body")

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        maps = self.body(x)
        return [m.permute(0, 3, 1, 2) for m in maps] if self.channels_last else list(maps)  # (B, C, H, W) each

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the four maps."""
        return self.forward_features(x)

    def extra_repr(self) -> str:
        return f"timm:{self.name}"


def _feature_rows(name: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return stride, channels and module of every map timm can extract, from a network without memory."""
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models()) or "; timm.list_models() prints its names"
        raise WorkbenchError(f"timm has no network {name!r}{hint}")
    try:
        with torch.device("meta"):
            net: Any = timm.create_model(name, features_only=True, **{**config, "pretrained": False})
        return list(net.feature_info.info)
    except (RuntimeError, AttributeError, AssertionError, NotImplementedError, TypeError) as e:
        raise WorkbenchError(
            f"timm:{name} cannot be built to return its maps ({one_line(e, 160)}); choose another"
        ) from e
