"""The result of counting: totals, rows per part and per operator, a table, JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import WorkbenchError
from ._trace import Op
from .tables import html_table, text_table

HEADER = ("part", "type", "params", "MACs", "% MACs", "elements", "non-contraction", "bytes moved", "output")


@dataclass(frozen=True)
class Part:
    """Totals of one part of a network: a module with everything inside it."""

    name: str
    type: str
    params: int
    macs: int
    elements: int
    non_contraction_elements: int
    bytes_moved: int
    out_shape: tuple[int, ...]


@dataclass(frozen=True)
class Uncounted:
    """An operator that no MAC formula covers: how often it ran, how much it wrote and moved."""

    op: str
    kind: str  # "elementwise" or "copy"
    calls: int
    elements: int
    bytes_moved: int


@dataclass(frozen=True)
class Count:
    """What one forward pass costs. Prints as a table; `to_json` keeps every number."""

    name: str
    form: str  # "train" while a branch can still be merged or a norm folded, "deploy" after, "" for a callable
    input_shape: tuple[tuple[int, ...], ...]
    dtype: str
    params: int
    buffers: int
    ops: tuple[Op, ...] = field(repr=False)
    modules: dict[str, tuple[str, int]] = field(repr=False)  # qualified name → (type, parameters below it)
    top: tuple[str, ...] = field(repr=False)  # the parts of the printed table

    @property
    def macs(self) -> int:
        """Multiply-adds of all contractions (what the papers call FLOPs)."""
        return sum(o.macs for o in self.ops)

    @property
    def flops(self) -> int:
        """2 × MACs."""
        return 2 * self.macs

    @property
    def elements(self) -> int:
        """Numbers written by all operators."""
        return sum(o.elements for o in self.ops)

    @property
    def activations(self) -> int:
        """Numbers written by contractions: the "activations" of Radosavovic et al. (2020), section 3."""
        return sum(o.elements for o in self.ops if o.kind == "contraction")

    @property
    def non_contraction_elements(self) -> int:
        """Numbers written by operators without MACs: norms, activations, products, additions, copies."""
        return self.elements - self.activations

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written if every operator reads its inputs and weights once and writes its output once."""
        return sum(o.bytes_moved for o in self.ops)

    @property
    def intensity(self) -> float:
        """FLOP per byte moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def uncounted(self) -> list[Uncounted]:
        """Return the operators without a MAC formula, the largest writer first."""
        rows: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for o in self.ops:
            if o.kind != "contraction":
                row = rows[(o.op, o.kind)]
                row[0], row[1], row[2] = row[0] + 1, row[1] + o.elements, row[2] + o.bytes_moved
        return sorted((Uncounted(*k, *v) for k, v in rows.items()), key=lambda u: -u.elements)

    def by_operator(self) -> dict[str, dict[str, int]]:
        """Return calls, MACs, elements and bytes per ATen operator."""
        rows: dict[str, dict[str, int]] = {}
        for o in self.ops:
            row = rows.setdefault(o.op, {"calls": 0, "macs": 0, "elements": 0, "bytes_moved": 0})
            for key, n in zip(row, (1, o.macs, o.elements, o.bytes_moved), strict=True):
                row[key] += n
        return rows

    def parts(self, names: Iterable[str] | None = None, depth: int | None = None) -> list[Part]:
        """Return one row per part.

        Args:
            names: qualified module names; default the network's top-level blocks, which do not overlap.
            depth: instead of names, every module of this depth in the module tree (1 = children).
        """
        if depth is not None:
            names = [n for n in self.modules if n and n.count(".") == depth - 1]
        chosen = list(self.top if names is None else names)
        missing = [n for n in chosen if n not in self.modules]
        if missing:
            raise WorkbenchError(f"{missing[0]!r} is not a module of {self.name}; Count.modules lists the names")
        rows = [self._part(n, [o for o in self.ops if _inside(o.module, n)]) for n in chosen]
        if names is None:
            rest = [o for o in self.ops if not any(_inside(o.module, n) for n in chosen)]
            params = self.params - sum(r.params for r in rows)
            if rest or params > 0:
                rows.append(self._part("(elsewhere)", rest, "", max(params, 0)))
        return rows

    def _part(self, name: str, ops: list[Op], type_: str | None = None, params: int | None = None) -> Part:
        kind, n = self.modules.get(name, ("", 0))
        contraction = sum(o.elements for o in ops if o.kind == "contraction")
        elements = sum(o.elements for o in ops)
        return Part(
            name, kind if type_ is None else type_, n if params is None else params, sum(o.macs for o in ops), elements,
            elements - contraction, sum(o.bytes_moved for o in ops), ops[-1].out_shape if ops else (),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return every total, part and uncounted operator as plain Python values."""
        keys = ("name", "form", "input_shape", "dtype", "params", "buffers", "macs", "flops", "elements", "activations",
                "non_contraction_elements", "bytes_moved", "intensity")  # fmt: skip
        out: dict[str, Any] = {k: getattr(self, k) for k in keys}
        out["parts"] = [asdict(p) for p in self.parts()]
        out["operators"] = self.by_operator()
        out["uncounted"] = [asdict(u) for u in self.uncounted]
        return out

    def to_json(self) -> str:
        """Return `to_dict` as JSON; all counts are exact integers."""
        return json.dumps(self.to_dict(), indent=2)

    def _table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]], str, list[str]]:
        rows: list[tuple[Any, ...]] = [
            (p.name, p.type, p.params, p.macs, 100 * p.macs / self.macs if self.macs else 0.0, p.elements,
             p.non_contraction_elements, p.bytes_moved, "×".join(map(str, p.out_shape)))
            for p in self.parts()
        ]  # fmt: skip
        rows.append(("total", "", self.params, self.macs, 100.0 if self.macs else 0.0, self.elements,
                     self.non_contraction_elements, self.bytes_moved, ""))  # fmt: skip
        shape = ", ".join("×".join(map(str, s)) for s in self.input_shape)
        form = f", {self.form} form" if self.form else ""
        title = f"{self.name}{form}, input {shape}, {self.dtype}"
        listed = "; ".join(f"{u.op} ×{u.calls}: {u.elements:,}" for u in self.uncounted) or "none"
        notes = [
            f"MACs {self.macs:,} · FLOPs = 2 × MACs {self.flops:,} · {self.intensity:.1f} FLOP per byte moved",
            f"without MACs (elements written): {listed}",
        ]
        return HEADER, rows, title, notes

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def _inside(module: str, part: str) -> bool:
    return part == "" or module == part or module.startswith(part + ".")
