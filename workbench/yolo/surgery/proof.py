"""Door 2 against door 1: the same rows, channels, strides and parameters; the same bits once the weights have crossed.

A model built by the edited ``tasks.py`` has one row where the plug has five (the backbone and four ``Index``), so its
state dict counts rows differently and holds the backbone without the plug's layer around it. `key_map` says which key
is which; `compare` measures everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...errors import WorkbenchError


class Row(NamedTuple):
    """One row of a detector, as both doors can describe it."""

    layer: int  # in the YAML's own count: a backbone stands for five
    type: str  # class name; a backbone's own, without the plug's layer around it
    channels: tuple[int, ...]  # of the map or maps it gives; P2 to P5 for a backbone; empty for the head
    strides: tuple[int, ...]  # input pixels per map pixel
    params: int


def _backbone_in(row: nn.Module) -> tuple[str, nn.Module]:
    """Return the backbone inside a row, with its dotted name there; the row itself, with "", when it holds none."""
    for name, module in row.named_modules():
        if hasattr(module, "forward_features") and hasattr(module, "feature_info"):
            return name, module
    return "", row


def _rows_of(model: nn.Module) -> list[tuple[int, nn.Module]]:
    """Return (position in the Sequential, module) of every row that is no ``Index``."""
    return [(n, m) for n, m in enumerate(model.model) if type(m).__name__ != "Index"]  # type: ignore[arg-type]


def rows(model: nn.Module, imgsz: int = 256) -> list[Row]:
    """Return one `Row` per layer row, measured by a forward pass; the plug's ``Index`` rows are dropped.

    Args:
        model: a detector of either door.
        imgsz: side of the image that is run through it.
    """
    seen: dict[int, list[Tensor]] = {}

    def keep(position: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            outputs = output if isinstance(output, list | tuple) else [output]
            seen[position] = [t for t in outputs if isinstance(t, Tensor) and t.ndim == 4]

        return hook

    found = _rows_of(model)
    handles = [m.register_forward_hook(keep(n)) for n, m in found[:-1]]  # the head's output is no map
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, imgsz, imgsz))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    table = []
    for n, m in found:
        _, inner = _backbone_in(m)
        maps = seen.get(n, [])
        params = sum(p.numel() for p in m.parameters())
        channels, strides = tuple(t.shape[1] for t in maps), tuple(imgsz // t.shape[-1] for t in maps)
        table.append(Row(int(m.i), type(inner).__name__, channels, strides, params))  # type: ignore[arg-type]
    return table


class KeyMap(dict[str, str]):
    """State-dict key of the surgery's model → key of the plug's; prints one line per row."""

    def __init__(self, pairs: Mapping[str, str], prefixes: list[tuple[str, str, int]]) -> None:
        super().__init__(pairs)
        self.prefixes = prefixes  # (surgery's prefix, plug's prefix, tensors)

    def __str__(self) -> str:
        lines = [f"{a + '.*':<14} → {b + '.*':<24} {n:4} tensors" for a, b, n in self.prefixes if n]
        return "\n".join([*lines, f"{len(self)} tensors in all"])

    __repr__ = __str__


def key_map(surgery_model: nn.Module, plug_model: nn.Module) -> KeyMap:
    """Return which state-dict key of the surgery's model is which of the plug's.

    Raises:
        WorkbenchError: the rows differ, or a tensor has no counterpart of its shape.
    """
    pairs: dict[str, str] = {}
    prefixes = []
    ours, theirs = _rows_of(surgery_model), _rows_of(plug_model)
    if len(ours) != len(theirs):
        raise WorkbenchError(f"the models have {len(ours)} and {len(theirs)} rows; build both from the same YAML")
    for (a, row_a), (b, row_b) in zip(ours, theirs, strict=True):
        inside_a, inside_b = _backbone_in(row_a)[0], _backbone_in(row_b)[0]
        pre_a, pre_b = (f"model.{n}" + f".{name}" * bool(name) for n, name in ((a, inside_a), (b, inside_b)))
        state_a = _backbone_in(row_a)[1].state_dict()
        state_b = _backbone_in(row_b)[1].state_dict()
        if {k: v.shape for k, v in state_a.items()} != {k: v.shape for k, v in state_b.items()}:
            raise WorkbenchError(f"{pre_a} ({type(row_a).__name__}) and {pre_b} ({type(row_b).__name__}) hold other "
                                 "tensors; build both from the same YAML, scale and number of classes")  # fmt: skip
        pairs |= {f"{pre_a}.{k}": f"{pre_b}.{k}" for k in state_a}
        prefixes.append((pre_a, pre_b, len(state_a)))
    return KeyMap(pairs, prefixes)


def cross_weights(surgery_model: nn.Module, plug_model: nn.Module) -> KeyMap:
    """Copy every tensor of the plug's model into the surgery's, by `key_map`, and return the map.

    Raises:
        WorkbenchError: the models differ, or the plug's model holds a tensor that the map does not name.
    """
    keys = key_map(surgery_model, plug_model)
    state = plug_model.state_dict()
    left = set(state) - set(keys.values())
    if left:
        raise WorkbenchError(f"{len(left)} tensors of the plug's model have no counterpart, as {min(left)!r}")
    surgery_model.load_state_dict({ours: state[theirs] for ours, theirs in keys.items()}, strict=True)
    return keys


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. Prints as a table; ``equal`` says whether everything is, to the last bit."""

    rows: list[tuple[Row, Row]]
    params: tuple[int, int]
    stride: tuple[list[float], list[float]]
    difference: dict[int, float] = field(default_factory=dict)  # image side → largest difference / largest output

    @property
    def same_structure(self) -> bool:
        """Whether rows, parameters and detection strides are equal."""
        return all(a == b for a, b in self.rows) and len(set(self.params)) == 1 and self.stride[0] == self.stride[1]

    @property
    def equal(self) -> bool:
        """Whether the outputs too are equal, bit for bit."""
        return self.same_structure and bool(self.difference) and max(self.difference.values()) == 0.0

    def __str__(self) -> str:
        lines = [f"{'layer':>5}  {'type':<14}{'channels':<22}{'strides':<14}{'parameters':>12}"]
        for a, b in self.rows:
            shape = ("/".join(map(str, v)) or "—" for v in (a.channels, a.strides))
            mark = "" if a == b else f"  ≠ {b}"
            lines.append("{:>5}  {:<14}{:<22}{:<14}{:>12,}{}".format(a.layer, a.type, *shape, a.params, mark))
        lines.append(f"parameters {self.params[0]:,} and {self.params[1]:,}, strides {self.stride[0]}")
        lines += [f"outputs at {side} px differ by {gap:.3g} of the largest" for side, gap in self.difference.items()]
        return "\n".join(lines)

    __repr__ = __str__


def _gap(a: Tensor, b: Tensor) -> float:
    """Return the largest difference as a share of the largest value; NaN and another shape count as all of it."""
    if a.shape != b.shape or torch.equal(a, b):
        return float(a.shape != b.shape)
    gap = float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))
    return gap if gap > 0 else 1.0


def compare(
    surgery_model: nn.Module, plug_model: nn.Module, imgsz: tuple[int, ...] = (256,), seed: int = 0
) -> Comparison:
    """Compare both doors: rows, parameters, strides, and all output tensors of one random image per size.

    Cross the weights first (`cross_weights`), or the outputs differ as two random initialisations do.
    """
    pairs = list(zip(rows(surgery_model), rows(plug_model), strict=True))
    both = (surgery_model, plug_model)
    gaps: dict[int, float] = {}
    was_training = [m.training for m in both]
    generator = torch.Generator().manual_seed(seed)
    for side in imgsz:
        x = torch.rand(1, 3, side, side, generator=generator)  # (1, 3, H, W)
        with torch.no_grad():
            a, b = ([t for t in tree_leaves(m.eval()(x)) if isinstance(t, Tensor)] for m in both)
        gaps[side] = max(_gap(s, t) for s, t in zip(a, b, strict=True) if s.numel())
    for m, mode in zip(both, was_training, strict=True):
        m.train(mode)
    params = tuple(sum(p.numel() for p in m.parameters()) for m in both)
    stride = tuple([float(s) for s in m.stride] for m in both)  # type: ignore[union-attr]
    return Comparison(pairs, params, stride, gaps)  # type: ignore[arg-type]
