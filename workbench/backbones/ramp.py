"""The activation ramp of deep training: read it, write it, schedule it.

A network that trains this way (VanillaNet, Chen et al. 2023) holds one scalar buffer named ``act_learn``:
0 is a ReLU between each pair of convolutions, 1 the identity, and only at 1 do the pairs merge exactly. Being a buffer,
it is in the state dict and in every checkpoint. It is written in place, here and nowhere else, because copies that
average a network's tensors (EMA) hold on to the tensor itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError

BUFFER = "act_learn"
KINDS = ("linear", "cosine")


def _ramps(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        ramp = module._buffers.get(BUFFER)
        if ramp is not None:
            yield ramp  # ()


def ramp_value(model: nn.Module) -> float | None:
    """Return the activation ramp of `model` (the lowest, if parts of it differ), or None when it has none.

    None means another family, or a deploy form: nothing waits there.

    >>> from workbench.backbones import create_backbone
    >>> ramp_value(create_backbone("vanillanet_5", dims=(8, 16, 32, 64))), ramp_value(create_backbone("fasternet_t0"))
    (1.0, None)
    """
    return min((float(ramp) for ramp in _ramps(model)), default=None)


def ready_to_merge(model: nn.Module) -> bool:
    """Return whether re-parameterising `model` is exact: it has no activation ramp, or the ramp has reached 1."""
    value = ramp_value(model)
    return value is None or abs(value - 1.0) < 1e-6


@torch.no_grad()
def set_activation_ramp(model: nn.Module, value: float) -> int:
    """Write the ramp into every network inside `model` that has one, in place, and return how many those were.

    Args:
        model: any module; 0 is returned when nothing in it has a ramp.
        value: 0 (ReLU between pairs) to 1 (identity; pairs can merge).

    Raises:
        WorkbenchError: the value is not between 0 and 1.

    >>> from workbench.backbones import create_backbone
    >>> m = create_backbone("vanillanet_5", dims=(8, 16, 32, 64))
    >>> set_activation_ramp(m, 0.25), ramp_value(m), ready_to_merge(m)
    (1, 0.25, False)
    """
    if not 0.0 <= value <= 1.0:
        raise WorkbenchError(f"activation ramp {value!r} given; expected 0 (ReLU) to 1 (identity)")
    return sum(1 for ramp in _ramps(model) if ramp.fill_(value) is ramp)


def ramp_schedule(epoch: float, epochs: float, kind: str = "linear") -> float:
    """Return the ramp at `epoch` (from 0) when it is to reach 1 at `epochs`; it stays 1 from there on.

    The official training lets it rise for a third of all epochs (100 of 300).

    >>> [ramp_schedule(e, 4) for e in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    >>> [round(ramp_schedule(e, 4, "cosine"), 3) for e in range(6)]
    [0.0, 0.146, 0.5, 0.854, 1.0, 1.0]
    """
    if kind not in KINDS:
        raise WorkbenchError(f"ramp schedule {kind!r} given; expected one of {', '.join(KINDS)}")
    if epoch >= epochs:
        return 1.0
    done = max(0.0, epoch / epochs)
    return done if kind == "linear" else 0.5 * (1.0 - math.cos(math.pi * done))
