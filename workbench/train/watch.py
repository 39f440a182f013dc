"""What the workbench adds while ultralytics trains: safe checkpoints, curves, one line per epoch, a NaN watchdog."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import WorkbenchError
from ..files import replace_bytes
from ..settings import set_threads
from .control import obey
from .run import CURVES, read_curves, write_curves

PREVIOUS = "last-previous.pt"
OnEpoch = Callable[[dict[str, float]], None]


class CheckpointPath(type(Path())):  # type: ignore[misc]
    """A path that ultralytics writes checkpoints to: a kill leaves the old file or the new one, never half of one.

    Ultralytics writes in place. Here the bytes go to another name and are renamed, and the checkpoint before is kept
    as ``last-previous.pt``, since stripping the optimiser at the end of a run rewrites ``last.pt`` once more.
    """

    def write_bytes(self, data: Any) -> int:
        if self.name == "last.pt" and self.exists():
            spare = self.with_name(f".{PREVIOUS}")
            spare.unlink(missing_ok=True)
            try:
                os.link(self, spare)
            except OSError:  # no hard links on this file system
                shutil.copyfile(self, spare)
            os.replace(spare, self.with_name(PREVIOUS))
        replace_bytes(Path(self), bytes(data))
        return len(data)


class Watcher:
    """Callbacks of one run; `attach` puts them into a detector.

    Args:
        folder: of the run.
        on_epoch: called with the new row of the curves after every epoch.
        quiet: print no line per epoch.
        threads: torch threads; ultralytics sets its own number, cores − 1 and at most 8, when it selects a device.
    """

    def __init__(
        self, folder: Path, on_epoch: OnEpoch | None = None, quiet: bool = False, threads: int | None = None
    ) -> None:
        self.folder, self.on_epoch, self.quiet = folder, on_epoch, quiet
        self.threads = threads or torch.get_num_threads()
        self.device: torch.device | None = None
        self._hook: Any = None
        self._trainer: Any = None

    def attach(self, detector: Any) -> None:
        """Add the callbacks to a ``YOLO`` or ``RTDETR``."""
        for event in (
            "on_pretrain_routine_start",
            "on_train_start",
            "on_train_batch_start",
            "on_val_start",
            "on_fit_epoch_end",
            "on_train_end",
        ):
            detector.add_callback(event, getattr(self, event))

    def on_pretrain_routine_start(self, trainer: Any) -> None:
        """Make every later checkpoint of the run be written by rename."""
        trainer.last, trainer.best = CheckpointPath(trainer.last), CheckpointPath(trainer.best)

    def on_train_start(self, trainer: Any) -> None:
        """Start watching the loss."""
        set_threads(self.threads)
        self.device, self._trainer = trainer.device, trainer
        # registered after the EMA copied the model, so the hook never reaches a checkpoint
        self._hook = trainer.model.register_forward_hook(self._check_loss)

    def on_train_batch_start(self, trainer: Any) -> None:
        """Pause or stop where that is asked for."""
        obey(self.folder)

    def on_val_start(self, validator: Any) -> None:
        """Keep the threads: the evaluation of best.pt selects its device anew."""
        set_threads(self.threads)

    def on_train_end(self, trainer: Any) -> None:
        """Stop watching the loss."""
        self._hook.remove()

    def on_fit_epoch_end(self, trainer: Any) -> None:
        """Write the curves, print the epoch's line, tell the caller."""
        rows = read_curves(trainer.csv)
        if not rows or rows[-1]["epoch"] != trainer.epoch + 1:  # the final evaluation of best.pt is no epoch
            return
        write_curves(rows, self.folder / CURVES)
        if not self.quiet:
            print(epoch_line(rows[-1], trainer.epochs, trainer.start_epoch), flush=True)
        if self.on_epoch is not None:
            self.on_epoch(rows[-1])

    def _check_loss(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forward hook: look at the loss of a batch before it reaches the weights."""
        if not (args and isinstance(args[0], dict) and isinstance(output, tuple)):
            return
        if torch.isfinite(output[0]).all():
            return
        self._hook.remove()
        epoch, lr = self._trainer.epoch + 1, self._trainer.optimizer.param_groups[0]["initial_lr"]
        where = find_nan(model, args[0]["img"])
        raise WorkbenchError(
            f"the loss is {output[0].sum().item()} in epoch {epoch}; {where}; lower lr0 (now {lr:g}), or set amp=False"
        )


def find_nan(model: nn.Module, images: torch.Tensor) -> str:
    """Say where numbers first stop being finite: in a layer's parameters, in its output, or in the loss only.

    Args:
        model: the network, its weights as they were when the loss failed.
        images: the batch that made it fail, (B, C, H, W).

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    >>> _ = net[0].weight.data.fill_(float("nan"))
    >>> find_nan(net, torch.zeros(1, 3, 8, 8))
    'the first layer with non-finite parameters is 0 (Conv2d)'
    """
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            layer = name.rpartition(".")[0]
            return f"the first layer with non-finite parameters is {layer} ({type(modules[layer]).__name__})"
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and not found and not torch.isfinite(output).all():
                found.append(f"the first layer with a non-finite output is {name} ({type(module).__name__})")

        return hook

    leaves = [(name, module) for name, module in modules.items() if not list(module.children())]
    hooks = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else "every layer's output is finite, so it arises in the loss: look at the boxes"


def epoch_line(row: dict[str, float], epochs: int, first: int = 0) -> str:
    """Return one line about an epoch: losses, mAP50, time, time left.

    >>> epoch_line({"epoch": 2, "seconds": 20, "train_box_loss": 1.5, "train_cls_loss": 2.0, "map50": 0.25}, 10)
    'epoch  2/10  box 1.500  cls 2.000  mAP50 0.250  20 s, about 80 s left'
    """
    epoch, seconds = int(row["epoch"]), row["seconds"]
    losses = [f"{k[6:-5]} {v:.3f}" for k, v in row.items() if k.startswith("train_") and k.endswith("_loss")]
    left = seconds / max(epoch - first, 1) * (epochs - epoch)
    number = f"epoch {epoch:{len(str(epochs))}d}/{epochs}"
    return "  ".join([number, *losses, f"mAP50 {row['map50']:.3f}", f"{seconds:.0f} s, about {left:.0f} s left"])


def now() -> str:
    """Return the local time as ISO 8601, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
