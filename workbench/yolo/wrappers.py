"""The plug's wrappers: each takes a function of ultralytics and returns ours, which does nothing for a stock model."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from matplotlib import font_manager
from torch import nn
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import LOGGER, USER_CONFIG_DIR
from ultralytics.utils import torch_utils as ultralytics_torch

from ..errors import WorkbenchError
from ..measure import count
from .layer import OURS, BackboneLayer, MobileOneUnit
from .names import is_transplanted_rtdetr, load_named_yaml
from .rows import expand, rows_of
from .transfer import transfer
from .weights import keep_hand_loaded

_lent = threading.Lock()


def wrap_parse_model(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Expand backbone rows first; ultralytics parses the five rows as any others."""

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
    with _lent:
        namespace = vars(ultralytics_tasks)
        focus, namespace["Focus"] = namespace["Focus"], MobileOneUnit
        try:
            yield
        finally:
            namespace["Focus"] = focus


def wrap_initialize_weights(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Let it set BN up everywhere but in the backbones, whose authors chose their own eps and momentum."""

    @functools.wraps(theirs)
    def initialize_weights(model: nn.Module) -> None:
        rows = getattr(model, "model", model).children()  # a backbone is a row; looking deeper would cost build time
        layers = (row for row in rows if isinstance(row, BackboneLayer))
        norms = [m for layer in layers for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
        own = [(m.eps, m.momentum) for m in norms]
        theirs(model)
        for m, (eps, momentum) in zip(norms, own, strict=True):
            m.eps, m.momentum = eps, momentum

    return initialize_weights


def wrap_yaml_model_load(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Know the names of transplants, and read their scale exactly."""

    @functools.wraps(theirs)
    def yaml_model_load(path: Any) -> dict[str, Any]:
        return load_named_yaml(path, theirs)

    return yaml_model_load


def wrap_guess_model_task(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Name the class to use when an RT-DETR with our backbone is opened as a YOLO."""

    @functools.wraps(theirs)
    def guess_model_task(model: Any) -> Any:
        if isinstance(model, dict) and is_transplanted_rtdetr(model):
            raise WorkbenchError(f"{Path(model['yaml_file']).stem} is an RT-DETR: open it with wb.RTDETR(…)")
        return theirs(model)

    return guess_model_task


def wrap_load(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Match layers by meaning when a backbone of ours is on either side."""

    @functools.wraps(theirs)
    def load(self: Any, weights: Any, verbose: bool = True) -> None:
        transfer(self, weights, theirs, verbose)

    return load


def wrap_train(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Start from backbone weights that were loaded by hand."""

    @functools.wraps(theirs)
    def train(self: Any, trainer: Any = None, **kwargs: Any) -> Any:
        keep_hand_loaded(self, kwargs)
        return theirs(self, trainer, **kwargs)

    return train


class GFlops(float):
    """A number of GFLOPs that is never printed as 0.0: at 64 pixels a small detector has 0.04.

    >>> f"{GFlops(4.14):.1f} and {GFlops(0.0414):.1f}"
    '4.1 and 0.041'
    """

    def __format__(self, spec: str) -> str:
        text = super().__format__(spec)
        return super().__format__(".2g") if self and not text.strip("0.") else text


def wrap_get_flops(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Count detectors with layers of ours exactly, at the size asked for, in units of 10⁹ (2 × MACs)."""

    @functools.wraps(theirs)
    def get_flops(model: Any, imgsz: Any = 640) -> float:
        network: Any = ultralytics_torch.unwrap_model(model)
        if not _has_ours(network):
            return theirs(model, imgsz)
        size = tuple(imgsz) if isinstance(imgsz, list | tuple) else (imgsz, imgsz)
        try:
            return GFlops(count(network, imgsz=size, in_chans=network.yaml.get("channels", 3)).flops / 1e9)
        except WorkbenchError as e:  # a number in a summary is never worth stopping a training for
            LOGGER.warning(f"GFLOPs not counted: {e}")
            return theirs(model, imgsz)

    return get_flops


def wrap_check_font(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Take the font of labels from this machine: every training asks for Arial, on the network where it is absent."""

    @functools.wraps(theirs)
    def check_font(font: str = "Arial.ttf") -> Any:
        name = Path(font).name
        if (USER_CONFIG_DIR / name).exists() or any(name in f.fname for f in font_manager.fontManager.ttflist):
            return theirs(font)
        return font_manager.findfont("DejaVu Sans")  # comes with matplotlib

    return check_font


def _has_ours(network: Any) -> bool:
    return isinstance(network, nn.Module) and any(isinstance(m, OURS) for m in network.modules())
