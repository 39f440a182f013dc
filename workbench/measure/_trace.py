"""Record every operator a network runs: its MACs, the elements it writes, the bytes it moves, and where it ran.

MACs come from PyTorch's own FLOP formulas (``torch.utils.flop_counter``, which count 2 per multiply-add), completed
by the few contractions it leaves at zero. Everything else is read off the operator's inputs and outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

aten = torch.ops.aten


@dataclass(frozen=True)
class Op:
    """One operator call."""

    module: str  # qualified name of the innermost module that was running
    op: str  # ATen name, such as "convolution"
    kind: str  # "contraction" (has MACs), "elementwise" (arithmetic without a MAC formula) or "copy" (moves data only)
    macs: int
    elements: int  # numbers written
    bytes_moved: int  # inputs read once plus outputs written once, weights included
    out_shape: tuple[int, ...]


def _sdpa_cpu(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _mv(a: Any, *_: Any, **__: Any) -> int:
    return 2 * prod(a)


def _addmv(_self: Any, a: Any, *_: Any, **__: Any) -> int:
    return 2 * prod(a)


# contractions PyTorch 2.13 counts as zero; values are FLOPs = 2 × MACs, like the library's own entries
EXTRA_FORMULAS: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _sdpa_cpu,
    aten.mv: _mv,
    aten.dot: _mv,
    aten.addmv: _addmv,
}
_COPY_NAMES = """cat clone copy copy_ _to_copy contiguous stack constant_pad_nd index index_select gather fill_ zero_
zeros zeros_like ones ones_like full full_like arange roll repeat upsample_nearest2d pixel_shuffle pixel_unshuffle flip
slice_scatter masked_fill tril triu lift_fresh_copy scalar_tensor _local_scalar_dense linspace _reshape_copy
split_with_sizes_copy index_put_ index_put new_zeros new_ones new_full channel_shuffle"""
_NO_DATA_NAMES = """empty empty_like empty_strided new_empty new_empty_strided detach detach_ alias is_same_size
sym_size _unsafe_view lift_fresh resize_ set_ _assert_async _assert_tensor_metadata"""
_ONE_RESULT_NAMES = """native_batch_norm _native_batch_norm_legit_no_training native_layer_norm native_group_norm
max_pool2d_with_indices"""
_COPIES = frozenset(_COPY_NAMES.split())
_NO_DATA = frozenset(_NO_DATA_NAMES.split())
_ONE_RESULT = frozenset(_ONE_RESULT_NAMES.split())  # their other outputs serve the backward pass only
_WRITE_ONLY = frozenset({"copy_", "fill_", "zero_"})  # do not read the tensor they write


@lru_cache(maxsize=4096)
def _traits(func: Any) -> tuple[str, bool]:
    """Return an operator's short name and whether it touches no data (a view or a mere allocation)."""
    name = func._overloadpacket.__name__
    return name, bool(getattr(func, "is_view", False)) or name in _NO_DATA


@lru_cache(maxsize=4096)
def _is_composite(func: Any) -> bool:
    key = "CompositeImplicitAutograd"
    return isinstance(func, torch._ops.OpOverload) and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


def _stored(t: Tensor) -> int:
    """Return the numbers of `t` that exist in memory: a broadcast dimension (stride 0) is stored once."""
    if t.layout is not torch.strided:
        return t.numel()
    return prod(n for n, s in zip(t.shape, t.stride(), strict=True) if s != 0) if t.numel() else 0


class OpRecorder(TorchDispatchMode):
    """Append one `Op` per operator call; `where` is the stack of running modules, kept by `track_modules`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[Op] = []
        self.where: list[str] = [""]
        self.formulas = FlopCounterMode(display=False, custom_mapping=EXTRA_FORMULAS).flop_registry

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True makes PyTorch import its compiler on the first operator, which takes longer than counting

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if _is_composite(func) and func._overloadpacket not in self.formulas:
            with self:  # seen with inference tensors: count it by its parts
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if isinstance(func, torch._ops.OpOverload):
            self._record(func, args, kwargs, out)
        return out

    def _record(self, func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> None:
        name, touches_nothing = _traits(func)
        if touches_nothing:
            return
        outs = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        outs = outs[:1] if name in _ONE_RESULT else outs
        elements = sum(t.numel() for t in outs)
        if not elements:
            return
        formula = self.formulas.get(func._overloadpacket)
        macs = int(formula(*args, **kwargs, out_val=out)) // 2 if formula else 0
        read = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name in _WRITE_ONLY:
            read = read[1:]
        unique = {id(t): t for t in read}.values()
        moved = sum(_stored(t) * t.element_size() for t in unique) + sum(t.numel() * t.element_size() for t in outs)
        kind = "contraction" if formula else "copy" if name in _COPIES else "elementwise"
        shown = name.rstrip("_")  # in place or not, it is the same operator
        self.ops.append(Op(self.where[-1], shown, kind, macs, elements, moved, tuple(outs[0].shape)))


@contextmanager
def track_modules(root: nn.Module, where: list[str]) -> Iterator[None]:
    """Keep the qualified names of the modules that are running on the stack `where`.

    One module may be registered in many places (ultralytics shares one activation): its name is the one below the
    module that runs it.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in root.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)

    def enter(module: nn.Module, _args: Any) -> None:
        mine = names[module]
        where.append(next((n for n in mine if len(mine) > 1 and n.startswith(f"{where[-1]}.")), mine[0]))

    def leave(_module: nn.Module, _args: Any, _out: Any) -> None:
        where.pop()

    handles = []
    for module in names:
        handles.append(module.register_forward_pre_hook(enter, prepend=True))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for h in handles:
            h.remove()


def private_copy(model: nn.Module, device: str | None) -> nn.Module:
    """Return an eval-mode copy that a forward pass may change freely; on ``"meta"`` no weight is copied or computed.

    A detector caches anchors on itself during a forward, so counting never runs the model it was given.
    """
    memo: dict[int, Any] = {}
    if device == "meta":
        for t in (*model.parameters(), *model.buffers()):
            ghost = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta")
            memo[id(t)] = nn.Parameter(ghost, requires_grad=False) if isinstance(t, nn.Parameter) else ghost
    return copy.deepcopy(model, memo).eval()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Run attention as matrix products and a softmax, so that the numbers are the same on every device.

    Fused kernels hide their matrix products from every counter, or never store the attention matrix.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def record(model: Callable[..., Any], inputs: tuple[Any, ...], device: str | None = None) -> tuple[list[Op], Any]:
    """Run ``model(*inputs)`` once and return its operators and its output.

    Args:
        model: a module (a private copy is run), or any callable on tensors.
        inputs: positional arguments; tensors inside are moved to `device`.
        device: ``"meta"`` to compute shapes only, None to run where the tensors are.
    """
    recorder = OpRecorder()
    if device is not None:
        inputs = tree_map(lambda t: t.to(device) if isinstance(t, Tensor) else t, inputs)
    with torch.no_grad(), _plain_attention():
        if not isinstance(model, nn.Module):
            with recorder:
                return recorder.ops, model(*inputs)
        private = private_copy(model, device)
        with track_modules(private, recorder.where), recorder:
            out = private(*inputs)
    return recorder.ops, out
