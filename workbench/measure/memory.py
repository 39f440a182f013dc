"""Peak memory of a forward pass: the bytes that live tensors hold at once, weights apart from activations."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Memory:
    """Bytes of one forward pass without gradients."""

    weights: int  # parameters and buffers
    activations: int  # the most that inputs, outputs and intermediate tensors held at the same time

    @property
    def peak(self) -> int:
        """Weights and activations together."""
        return self.weights + self.activations


def peak_memory(model: nn.Module, x: Tensor) -> Memory:
    """Return the peak memory of ``model(x)``, exactly and the same on every run.

    It counts the storage behind every tensor that is alive after each operator, not what the process holds: buffers
    that an operator takes and returns inside itself (a library's work space) and the allocator's reserves are left
    out. On a GPU ``torch.cuda.max_memory_allocated`` has those too.

    Args:
        model: a module in eval mode.
        x: its input, (B, C, H, W), 4 bytes a number in float32. Module and input may both be on the meta device, where
            nothing is computed and no memory is taken.

    >>> peak_memory(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()).eval(), torch.zeros(1, 3, 10, 10))
    Memory(weights=128, activations=7600)
    """
    own = {_key(t): t.untyped_storage().nbytes() for t in _tensors_of(model)}
    with torch.inference_mode(False), torch.no_grad(), _Live(own) as live:
        live.hold(x)
        model(x)
    return Memory(sum(own.values()), live.peak)


def _key(tensor: Tensor) -> int:
    """Return what names a storage while it lives; its address would be 0 for every tensor on the meta device."""
    return tensor.untyped_storage()._cdata


def _tensors_of(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class _Live(TorchDispatchMode):
    """Follow storages: each counts once while any tensor of it is alive."""

    def __init__(self, ignored: dict[int, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ignored = ignored
        self.tensors: Counter[int] = Counter()  # storage → tensors alive on it
        self.now = self.peak = 0

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage from now until the tensor is gone."""
        key, size = _key(tensor), tensor.untyped_storage().nbytes()
        if key in self.ignored or not size:
            return
        self.tensors[key] += 1
        if self.tensors[key] == 1:
            self.now += size
            self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self.tensors[key] -= 1
        if not self.tensors[key]:
            self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = tree_leaves(out)
        if "batch_norm" in str(func) and len(made) > 1 and made[0].device.type == "meta":
            made = made[:1]  # the statistics it would save for a gradient, which a real forward pass does not keep
        for tensor in made:
            if isinstance(tensor, Tensor) and not any(tensor is a for a in args):  # in place: known already
                self.hold(tensor)
        return out
