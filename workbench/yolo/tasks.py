"""The plug: the closed list of what the workbench changes in a running ultralytics, and why each is needed.

Every patch replaces one attribute of one module by a wrapper that does nothing for a model without a backbone of
ours, and can be taken out again. Nothing on disk is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ultralytics.data import utils as ultralytics_data
from ultralytics.engine import model as ultralytics_model
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import plotting as ultralytics_plotting
from ultralytics.utils import torch_utils as ultralytics_torch
from ultralytics.utils.callbacks import default_callbacks

from . import wrappers
from .exports import name_missing_extra, refuse_unfinished
from .layer import BackboneLayer, MobileOneUnit
from .ramp import raise_ramp

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
        wrappers.wrap_parse_model,
        "one backbone row becomes [backbone, Index P2, P3, P4, P5] before ultralytics counts layers and channels",
    ),
    Patch(
        "BN settings",
        ultralytics_tasks,
        "initialize_weights",
        wrappers.wrap_initialize_weights,
        "it sets eps 1e-3 and momentum 0.03 on every BN; with another eps official weights give other outputs",
    ),
    Patch(
        "names in nn.tasks",
        ultralytics_tasks,
        "yaml_model_load",
        wrappers.wrap_yaml_model_load,
        "'yolo11n-fasternet_t0.yaml' need not be a file, and the scale is read exactly; trainers load through this one",
    ),
    Patch(
        "names in engine.model",
        ultralytics_model,
        "yaml_model_load",
        wrappers.wrap_yaml_model_load,
        "the same; YOLO(…) and RTDETR(…) hold a reference of their own",
    ),
    Patch(
        "the right class",
        ultralytics_model,
        "guess_model_task",
        wrappers.wrap_guess_model_task,
        "YOLO(…) of an RT-DETR with our backbone ends in \"does not support '_new' mode for 'None' task\"",
    ),
    Patch(
        "loading by meaning",
        ultralytics_tasks.BaseModel,
        "load",
        wrappers.wrap_load,
        "it matches layers by position, so weights of the stock host land in other layers of a transplant",
    ),
    Patch(
        "hand-loaded weights",
        ultralytics_model.Model,
        "train",
        wrappers.wrap_train,
        "the trainer builds a second network from the YAML, and backbone weights loaded by hand are silently lost",
    ),
    Patch(
        "GFLOPs",
        ultralytics_torch,
        "get_flops",
        wrappers.wrap_get_flops,
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
        "before an export",
        default_callbacks,
        "on_export_start",
        lambda theirs: [*theirs, refuse_unfinished, name_missing_extra],
        "an unfinished ramp cannot be merged; and a missing package is answered with the extra that brings it",
    ),
    Patch(
        "font of a dataset",
        ultralytics_data,
        "check_font",
        wrappers.wrap_check_font,
        "every training asks the network for a font where Arial is not installed; here nothing opens a connection",
    ),
    Patch(
        "font of labels",
        ultralytics_plotting,
        "check_font",
        wrappers.wrap_check_font,
        "the same, when boxes are drawn; both modules hold a reference of their own",
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
