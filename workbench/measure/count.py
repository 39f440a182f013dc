"""Count what a network costs: parameters, MACs, FLOPs, numbers written, bytes moved; per operator and per part.

The papers print MACs and call them FLOPs; ultralytics prints 2 × MACs. Here MACs are multiply-adds of contractions
(convolutions, matrix products, attention), FLOPs are always 2 × MACs, and everything a counter leaves out (batch norm,
activations, the star product, additions, copies) is listed by name instead of being silently zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..backbones.reparam import to_deploy_
from ..errors import WorkbenchError, first_line
from ._trace import Op, private_copy, record
from .cost import Count


def count(
    model: nn.Module | str | Callable[..., Any],
    x: Any = None,
    *,
    imgsz: int | tuple[int, int] = 224,
    in_chans: int | None = None,
    batch: int = 1,
    name: str | None = None,
) -> Count:
    """Count one forward pass in eval mode, exactly; the model itself is neither run nor changed.

    Shapes alone are computed where the network allows it (meta tensors), so VanillaNet-13 costs no more than
    FasterNet-T0; a network whose control flow reads values is run for real on a copy.

    Args:
        model: a module, a detector's module, a variant's name (built with 1000 classes, as the papers count), or a
            callable on tensors.
        x: the input: a tensor, or a tuple of positional arguments. Default: zeros of the size below.
        imgsz: image side in pixels, or (height, width).
        in_chans: image channels; default what the first convolution reads.
        batch: images at once.
        name: label of the result.

    Raises:
        WorkbenchError: the size or the model is unusable; the message carries the network's own complaint.

    >>> c = count(nn.Conv2d(3, 8, 3, padding=1, bias=False), imgsz=32)
    >>> c.params, c.macs, c.flops, c.elements  # 3·8·9 weights, each used 32·32 times
    (216, 221184, 442368, 8192)
    """
    if isinstance(model, str):
        name, model = name or model, build(model)
    inner = getattr(model, "model", None)  # a trainer-like wrapper whose call is not a forward pass: count its network
    if isinstance(model, nn.Module) and type(model).__call__ is not nn.Module.__call__ and isinstance(inner, nn.Module):
        model = inner
    if not callable(model):
        raise WorkbenchError(f"cannot count a {type(model).__name__}; give a module, a variant's name or a callable")
    inputs = _inputs(model, x, imgsz, in_chans, batch)
    label = name or getattr(model, "__name__", None) or type(model).__name__
    ops = _trace(model, inputs, label)
    modules, top = _modules(model) if isinstance(model, nn.Module) else ({"": ("function", 0)}, ("",))
    tensors = [t for t in tree_leaves(inputs) if isinstance(t, Tensor)]
    return Count(
        label, form_of(model), tuple(tuple(t.shape) for t in tensors),
        str(tensors[0].dtype).removeprefix("torch.") if tensors else "", modules[""][1],
        sum(b.numel() for b in model.buffers()) if isinstance(model, nn.Module) else 0, tuple(ops), modules, top,
    )  # fmt: skip


def form_of(model: Any) -> str:
    """Return "train" while a branch can still be merged or a norm folded, else "deploy"; "" for a plain callable."""
    if not isinstance(model, nn.Module):
        return ""
    fused = getattr(model, "is_fused", None)  # a detector says so itself
    if callable(fused) and not fused():
        return "train"
    ghost = private_copy(model, "meta")
    before = set(ghost.state_dict())
    return "train" if set(to_deploy_(ghost).state_dict()) != before else "deploy"


def build(name: str, deploy: bool = False, pixels: int = 224 * 224) -> nn.Module:
    """Build a variant with 1000 classes; on the meta device when it or its input is large: only shapes are read."""
    from ..backbones.registry import classes_for, create_backbone

    keywords: dict[str, Any] = {"num_classes": classes_for(name), "deploy": deploy}
    with torch.device("meta"):
        ghost = create_backbone(name, **keywords).eval()
    big = sum(p.numel() for p in ghost.parameters()) > 6e6 or pixels > 4e5
    return ghost if big else create_backbone(name, **keywords).eval()


def _trace(model: Any, inputs: tuple[Any, ...], label: str) -> list[Op]:
    """Run on meta tensors (shapes only), or for real when that is cheap or the network reads values.

    PyTorch's shape functions import its compiler at first use (1.5 s), more than a small network takes to run.
    """
    problem: Exception
    for device in (None,) if _is_cheap(model, inputs) else ("meta", None):
        try:
            return record(model, inputs, device)[0]
        except Exception as e:
            problem = e
    shapes = ", ".join(str(tuple(t.shape)) for t in tree_leaves(inputs) if isinstance(t, Tensor))
    raise WorkbenchError(f"{label} cannot run on input {shapes}: {first_line(problem)}") from problem


def _is_cheap(model: Any, inputs: tuple[Any, ...]) -> bool:
    """Estimate from parameters and pixels whether a real forward pass takes well below a second."""
    if not isinstance(model, nn.Module):
        return True
    if any(p.device.type == "meta" for p in model.parameters()):
        return False
    pixels = sum(t.numel() / max(t.shape[1], 1) for t in tree_leaves(inputs) if isinstance(t, Tensor) and t.ndim == 4)
    return sum(p.numel() for p in model.parameters()) * pixels / 32**2 < 1.5e9  # most weights sit at stride 32


def _inputs(model: Any, x: Any, imgsz: Any, in_chans: int | None, batch: int) -> tuple[Any, ...]:
    if x is not None:
        return tuple(x) if isinstance(x, tuple | list) else (x,)
    size = (imgsz, imgsz) if isinstance(imgsz, int) else tuple(imgsz)
    if len(size) != 2 or any(not isinstance(s, int) or s < 1 for s in (*size, batch)):
        raise WorkbenchError(f"imgsz={imgsz!r}, batch={batch!r} given; expected positive integers, or (height, width)")
    if not isinstance(model, nn.Module):
        raise WorkbenchError("a plain callable needs its input: count(fn, x)")
    if in_chans is None:
        convs = (m.in_channels for m in model.modules() if hasattr(m, "in_channels") and hasattr(m, "kernel_size"))
        in_chans = int(next(convs, 3))  # type: ignore[arg-type]
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return (torch.zeros(batch, in_chans, *size, dtype=dtype),)  # (B, C, H, W)


def _modules(model: nn.Module) -> tuple[dict[str, tuple[str, int]], tuple[str, ...]]:
    """Return every module's type and parameters, and the top-level blocks: children, with lists opened once."""
    table = {n: (type(m).__name__, sum(p.numel() for p in m.parameters())) for n, m in model.named_modules()}
    top: list[str] = []
    for name, child in model.named_children():
        opened = isinstance(child, nn.Sequential | nn.ModuleList) and len(child)
        top += [f"{name}.{k}" for k, _ in child.named_children()] if opened else [name]
    return table, tuple(top)
