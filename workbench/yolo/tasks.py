"""The plug: the closed list of what the workbench changes in a running ultralytics, and why each is needed.

Every patch replaces one attribute of one module by a wrapper that does nothing for a model without a backbone of
ours, and can be taken out again. Nothing on disk is touched.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from torch import nn
from ultralytics.engine import model as ultralytics_model
from ultralytics.nn import tasks as ultralytics_tasks

from ..errors import WorkbenchError
from .layer import BackboneLayer, MobileOneUnit, backbone_layers
from .names import load_named_yaml
from .rows import expand, rows_of

_ABSENT = object()
_lent = threading.Lock()
_theirs: dict[str, Any] = {}  # patch name → what it replaced, while the plug is in


@dataclass(frozen=True)
class Patch:
    """One attribute of ultralytics that is replaced while the plug is in."""

    name: str
    target: Any  # a module or a class of ultralytics
    attribute: str
    make: Callable[[Any], Any]  # theirs → ours
    reason: str

    def install(self) -> None:
        """Put ours in place of theirs; a second time does nothing."""
        if self.name not in _theirs:
            _theirs[self.name] = getattr(self.target, self.attribute, _ABSENT)
            setattr(self.target, self.attribute, self.make(_theirs[self.name]))

    def uninstall(self) -> None:
        """Put theirs back."""
        if self.name in _theirs:
            theirs = _theirs.pop(self.name)
            if theirs is _ABSENT:
                delattr(self.target, self.attribute)
            else:
                setattr(self.target, self.attribute, theirs)


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
)


def install() -> None:
    """Put the plug in. Importing `workbench.yolo` does it; repeating it changes nothing."""
    for patch in PATCHES:
        patch.install()


def uninstall() -> None:
    """Take the plug out: ultralytics is as it was. Models built with it keep working; new ones cannot be built."""
    for patch in reversed(PATCHES):
        patch.uninstall()
