"""Four small trained networks of our own, one per family, so that learned features need no download.

They tell eight drawn shapes apart; how they were trained, and how well they do, is in ``data/weights``.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from ..errors import DataNotFoundError, WorkbenchError, did_you_mean
from ..settings import data_dir
from .registry import create_backbone
from .weights import load_then_deploy, load_weights


@functools.cache
def small_table() -> MappingProxyType[str, Any]:
    """Return what is recorded about the four networks: classes, chance, and a row per family under ``networks``.

    >>> small_table()["classes"][0], small_table()["chance"]
    ('circle', 0.125)
    """
    path = data_dir() / "weights" / "weights.json"
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist; the small weights come with a checkout of the repository")
    return MappingProxyType(json.loads(path.read_text(encoding="utf-8")))


def small(family: str) -> Path:
    """Return the checkpoint of a family's small trained network, its checksum held.

    Raises:
        WorkbenchError: the family is unknown, or the file is not the one in the table.

    >>> small("starnet").name
    'starnet_shapes.safetensors'
    """
    networks = small_table()["networks"]
    if family not in networks:
        hint = did_you_mean(family, networks) or f"; there is one each of {', '.join(networks)}"
        raise WorkbenchError(f"no small network of {family!r}{hint}")
    path = data_dir() / "weights" / networks[family]["file"]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != networks[family]["sha256"]:
        raise WorkbenchError(f"{path} is absent or altered; restore it, or make it: {networks[family]['command']}")
    return path


def create_small(family: str, *, trained: bool = True, classifier: bool = True, deploy: bool = False) -> nn.Module:
    """Return a family's small network, in eval mode.

    Args:
        family: ``"fasternet"``, ``"starnet"``, ``"mobileone"`` or ``"vanillanet"``.
        trained: with its learned weights; False leaves it as initialised, for comparison.
        classifier: with its head for the eight shapes; False gives the bare four-level backbone.
        deploy: in deploy form.

    Returns:
        A network that reads RGB in [0, 1], (B, 3, H, W), as detectors feed it.

    >>> import torch
    >>> create_small("starnet")(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 8])
    """
    path, table = small(family), small_table()
    row: dict[str, Any] = table["networks"][family]["config"]
    config: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}
    classes = len(table["classes"]) if classifier else 0
    model = create_backbone(family, num_classes=classes, deploy=deploy and not trained, **config)
    if trained:
        (load_then_deploy if deploy else load_weights)(model, path)
    return model.eval()
