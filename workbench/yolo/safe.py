"""Restricted loading: ``ULTRALYTICS_SAFE_LOAD=1`` opens only classes that were announced, so ours are."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
from torch import nn

from ..backbones import layers
from ..backbones.registry import FAMILIES
from . import layer


def announce() -> list[type]:
    """Name every class that a checkpoint of a detector of ours may hold to torch's restricted unpickler.

    After ``import workbench.yolo`` such a checkpoint opens with ``ULTRALYTICS_SAFE_LOAD=1``. Your own backbone's class
    is yours to announce: ``torch.serialization.add_safe_globals([MyBackbone])``.
    """
    families = [importlib.import_module(f"..backbones.{family}", __package__) for family in FAMILIES]
    classes = [layers.Level, *(c for module in (layer, layers, *families) for c in _modules_in(module))]
    torch.serialization.add_safe_globals(list(dict.fromkeys(classes)))
    return classes


def _modules_in(module: ModuleType) -> list[type]:
    return [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, nn.Module)]
