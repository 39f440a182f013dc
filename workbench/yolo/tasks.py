"""The plug: the closed list of what the workbench changes in a running ultralytics, and why each is needed.

Every patch replaces one attribute of one module by a wrapper that does nothing for a model without a backbone of
ours, and can be taken out again. Nothing on disk is touched.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from torch import nn
from ultralytics.engine import model as ultralytics_model
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import LOGGER
from ultralytics.utils import torch_utils as ultralytics_torch
from ultralytics.utils.callbacks import default_callbacks

from ..errors import WorkbenchError
from ..measure import count
from .layer import OURS, BackboneLayer, MobileOneUnit, backbone_layers
from .names import load_named_yaml
from .ramp import raise_ramp, refuse_unfinished
from .rows import expand, rows_of
from .transfer import transfer
from .weights import keep_hand_loaded

_lent = threading.Lock()
_theirs: dict[str, Any] = {}  # patch name → what it replaced, while the plug is in


@dataclass(frozen=True)
class Patch:
    """One attribute of ultralytics that is replaced while the plug is in."""

    name: str
    target: Any  # a module, a class or a dict of ultralytics
    attribute: str
    make: Callable[[Any], Any]  # theirs → ours
    reason: str

    @property
    def now(self) -> Any:
        """What is in place now; None when ultralytics has nothing there."""
        return self._place.get(self.attribute)

    def install(self) -> None:
        """Put ours in place of theirs; a second time does nothing."""
        if self.name not in _theirs:
            _theirs[self.name] = self.now
            self._put(self.make(self.now))

    def uninstall(self) -> None:
        """Put theirs back."""
        if self.name in _theirs:
            self._put(_theirs.pop(self.name))

    @property
    def _place(self) -> Mapping[str, Any]:
        return self.target if isinstance(self.target, dict) else vars(self.target)

    def _put(self, value: Any) -> None:
        if isinstance(self.target, dict):
            self.target[self.attribute] = value
        elif value is None:
            delattr(self.target, self.attribute)
        else:
            setattr(self.target, self.attribute, value)


def _parse_model(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def parse_model(d: dict[str, Any], ch: int, verbose: bool = True) -> Any:
        with _ordinary_rows(d):
            return theirs(expand(d), ch, verbose)

    return parse_model


@contextlib.contextmanager
def _ordinary_rows(d: dict[str, Any]) -> Iterator[None]:
    """Have `MobileOneUnit` counted among the layers whose first argument is a width to scale, for one YAML.

    `parse_model` collects those layers anew in each call, from the names in its module. A YAML with our unit lends it
    the place of `Focus`, a layer of 2020 that no current YAML uses.
    """
    names = {row[2] for row in rows_of(d)}
    if "MobileOneUnit" not in names:
        yield
        return
    if "Focus" in names:
        raise WorkbenchError("a YAML with MobileOneUnit rows cannot use Focus too; write [c, 6, 2, 2] Conv instead")
    with _lent, mock.patch.object(ultralytics_tasks, "Focus", MobileOneUnit):
        yield


def _initialize_weights(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def initialize_weights(model: nn.Module) -> None:
        norms = [m for layer in backbone_layers(model) for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
        own = [(m.eps, m.momentum) for m in norms]
        theirs(model)
        for m, (eps, momentum) in zip(norms, own, strict=True):
            m.eps, m.momentum = eps, momentum

    return initialize_weights


def _yaml_model_load(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def yaml_model_load(path: Any) -> dict[str, Any]:
        return load_named_yaml(path, theirs)

    return yaml_model_load


def _load(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def load(self: Any, weights: Any, verbose: bool = True) -> None:
        transfer(self, weights, theirs, verbose)

    return load


def _train(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def train(self: Any, trainer: Any = None, **kwargs: Any) -> Any:
        keep_hand_loaded(self, kwargs)
        return theirs(self, trainer, **kwargs)

    return train


def _get_flops(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def get_flops(model: Any, imgsz: Any = 640) -> float:
        network: Any = ultralytics_torch.unwrap_model(model)
        if not _has_ours(network):
            return theirs(model, imgsz)
        size = tuple(imgsz) if isinstance(imgsz, list | tuple) else (imgsz, imgsz)
        try:
            return count(network, imgsz=size, in_chans=network.yaml.get("channels", 3)).flops / 1e9
        except WorkbenchError as e:  # a number in a summary is never worth stopping a training for
            LOGGER.warning(f"GFLOPs not counted: {e}")
            return theirs(model, imgsz)

    return get_flops


def _has_ours(network: Any) -> bool:
    return isinstance(network, nn.Module) and any(isinstance(m, OURS) for m in network.modules())


PATCHES = (
    Patch(
        "layer name",
        ultralytics_tasks,
        "BackboneLayer",
        lambda _: BackboneLayer,
        "parse_model resolves a row's name in its own module and answers KeyError for any other",
    ),
    Patch(
        "unit name",
        ultralytics_tasks,
        "MobileOneUnit",
        lambda _: MobileOneUnit,
        "the same, for the articles' MobileOne unit as a row of its own",
    ),
    Patch(
        "rows",
        ultralytics_tasks,
        "parse_model",
        _parse_model,
        "one backbone row becomes [backbone, Index P2, P3, P4, P5] before ultralytics counts layers and channels",
    ),
    Patch(
        "BN settings",
        ultralytics_tasks,
        "initialize_weights",
        _initialize_weights,
        "it sets eps 1e-3 and momentum 0.03 on every BN; with another eps official weights give other outputs",
    ),
    Patch(
        "names in nn.tasks",
        ultralytics_tasks,
        "yaml_model_load",
        _yaml_model_load,
        "'yolo11n-fasternet_t0.yaml' need not be a file, and the scale is read exactly; trainers load through this one",
    ),
    Patch(
        "names in engine.model",
        ultralytics_model,
        "yaml_model_load",
        _yaml_model_load,
        "the same; YOLO(…) and RTDETR(…) hold a reference of their own",
    ),
    Patch(
        "loading by meaning",
        ultralytics_tasks.BaseModel,
        "load",
        _load,
        "it matches layers by position, so weights of the stock host land in other layers of a transplant",
    ),
    Patch(
        "hand-loaded weights",
        ultralytics_model.Model,
        "train",
        _train,
        "the trainer builds a second network from the YAML, and backbone weights loaded by hand are silently lost",
    ),
    Patch(
        "GFLOPs",
        ultralytics_torch,
        "get_flops",
        _get_flops,
        "it misses convolutions on bare parameters and answers 0.0 to any error; ours counts, at the size asked for",
    ),
    Patch(
        "the ramp",
        default_callbacks,
        "on_train_epoch_start",
        lambda theirs: [*theirs, raise_ramp],
        "VanillaNet's activation has to fade during training, in the network and in its EMA",
    ),
    Patch(
        "the ramp before export",
        default_callbacks,
        "on_export_start",
        lambda theirs: [*theirs, refuse_unfinished],
        "an unfinished ramp cannot be merged, and an exported file could never be finished",
    ),
)


def install() -> None:
    """Put the plug in. Importing `workbench.yolo` does it; repeating it changes nothing."""
    for patch in PATCHES:
        patch.install()


def uninstall() -> None:
    """Take the plug out: ultralytics is as it was. Models built with it keep working; new ones cannot be built."""
    for patch in reversed(PATCHES):
        patch.uninstall()
