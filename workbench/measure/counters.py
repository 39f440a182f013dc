"""Other people's counters beside ours: what each says of the same network, and why they differ."""

from __future__ import annotations

import copy
import importlib
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import MissingExtraError, WorkbenchError, did_you_mean
from .count import count

COUNTERS = {  # counter → what it leaves out or adds
    "ours": "every contraction, on its true size",
    "torch": "the same; FlopCounterMode counts 2 × MACs, halved here",
    "fvcore": "adds batch norms and pooling; one multiply-add is 1",
    "torchinfo": "modules only: functional calls and bare parameters count as nothing, shared modules go wrong",
    "thop": "adds activations, norms and pooling by rules of its own; functional calls count as nothing",
}


def counters(model: nn.Module, x: Tensor, which: tuple[str, ...] | None = None) -> dict[str, float]:
    """Return counter → MACs of one forward pass in eval mode, for those that are installed.

    Args:
        model: a module; copies of it are run.
        x: its input, (B, C, H, W).
        which: some of `COUNTERS`; default all that are installed. ``fvcore`` comes with the extra ``reference``.

    Raises:
        WorkbenchError: an unknown counter.
        MissingExtraError: one that was asked for is not installed.

    >>> counters(nn.Conv2d(3, 8, 1, bias=False), torch.zeros(1, 3, 4, 4), ("ours", "torch"))
    {'ours': 384.0, 'torch': 384.0}
    """
    chosen = which or tuple(COUNTERS)
    for name in chosen:
        if name not in COUNTERS:
            hint = did_you_mean(name, COUNTERS) or f"; expected some of {', '.join(COUNTERS)}"
            raise WorkbenchError(f"unknown counter {name!r}{hint}")
    found = {}
    for name in chosen:
        try:
            found[name] = float(_COUNT[name](copy.deepcopy(model).eval(), x))
        except ImportError as e:
            if which:
                raise MissingExtraError(name, "reference") from e
    return found


def summary(model: nn.Module, x: Tensor, depth: int = 2) -> str:
    """Return torchinfo's table of a network, for reading: layers, shapes and parameters. Its MACs are not ours.

    Args:
        model: a module.
        x: its input.
        depth: levels of modules to show.
    """
    import torchinfo

    columns = ("input_size", "output_size", "num_params", "mult_adds")
    return str(torchinfo.summary(copy.deepcopy(model).eval(), input_data=x, col_names=columns, depth=depth, verbose=0))


def _torch(model: nn.Module, x: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops() / 2


def _fvcore(model: nn.Module, x: Tensor) -> float:
    analysis: Any = importlib.import_module("fvcore.nn").FlopCountAnalysis(model, x)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(analysis.total())


def _torchinfo(model: nn.Module, x: Tensor) -> float:
    import torchinfo

    return float(torchinfo.summary(model, input_data=x, verbose=0).total_mult_adds)


def _thop(model: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float(importlib.import_module("thop").profile(model, inputs=(x,), verbose=False)[0])


_COUNT: dict[str, Any] = {
    "ours": lambda model, x: count(model, x).macs,
    "torch": _torch,
    "fvcore": _fvcore,
    "torchinfo": _torchinfo,
    "thop": _thop,
}
