"""VanillaNet's activation ramp during training: the part of its method that every public port leaves out.

A callback among ultralytics' default ones. It looks at the network, so a trainer without a VanillaNet never notices it.
The ramp is a buffer of the network; it is written in place, in the trained model and in its EMA, because the EMA
would otherwise average it and fall behind for ever.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from ultralytics.utils import LOGGER
from ultralytics.utils.torch_utils import unwrap_model

from ..backbones.ramp import ramp_schedule, ramp_value, set_activation_ramp
from .layer import backbone_layers

SHARE = 3  # the ramp takes one third of the epochs: 100 of 300 in the paper's training


def ramp_at(epoch: int, epochs: int) -> float:
    """Return the ramp during `epoch` (from 0) of a training of `epochs`; under three epochs there is no room for one.

    >>> [ramp_at(e, 9) for e in range(5)], ramp_at(0, 2)
    ([0.0, 0.3333333333333333, 0.6666666666666666, 1.0, 1.0], 1.0)
    """
    return ramp_schedule(epoch, epochs // SHARE)


def raise_ramp(trainer: Any) -> None:
    """Set the ramp of this epoch in the trained network and its EMA; on ``on_train_epoch_start``.

    A network with the weights it was built with starts the ramp in its first epoch. From there it depends on the epoch
    alone and never falls, so a resumed training continues it, and one that starts from weights whose ramp has ended
    (the authors', or a checkpoint) leaves it at 1. A checkpoint from before its end could never be merged, so neither
    best.pt nor early stopping counts epochs before it.
    """
    network = unwrap_model(trainer.model)
    before = ramp_value(network)
    if before is None:
        return
    fresh = trainer.epoch == 0 and not any(layer.touched for layer in backbone_layers(network))
    value = max(0.0 if fresh else before, ramp_at(trainer.epoch, trainer.epochs))
    for copy in (network, trainer.ema.ema if trainer.ema else None):
        if isinstance(copy, nn.Module):
            set_activation_ramp(copy, value)
    if fresh and value == 1:
        LOGGER.warning(f"{trainer.epochs} epochs leave no room for the activation ramp: trained as if it had ended")
    if value < 1 or before < 1:
        trainer.best_fitness = None
        trainer.stopper.best_fitness, trainer.stopper.best_epoch = 0.0, trainer.epoch
    if before != value:
        LOGGER.info(f"activation ramp {value:.3f}")
