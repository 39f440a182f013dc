"""The operator lab: the operators of FasterNet's table 1 and their relatives, timed at the paper's shapes.

Chen et al. (2023), table 1 stacks ten layers of one operator and times them on one CPU thread. Here the same stacks run
in one interleaved measurement, the paper's value beside ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..backbones.fasternet import PConv
from ..errors import WorkbenchError, did_you_mean
from .candidates import Factory, factory
from .latency import latency
from .published import published
from .tables import html_table, text_table
from .timing import Latency

SHAPES = ((96, 56), (192, 28), (384, 14), (768, 7))  # channels, side of the map
LAYERS = 10
MODES = {  # how the stacks are run
    "clean": {"process": "auto", "allocator": "kept"},
    "pages returned": {"process": "auto", "allocator": "returned"},
    "onnxruntime": {"process": "auto", "allocator": "kept"},
}


class InPlacePConv(PConv):
    """PConv that overwrites its input: no copy of the untouched channels, inference only, input lost."""

    def forward(self, x: Tensor) -> Tensor:
        x[:, : self.touched] = self.partial_conv3(x[:, : self.touched])
        return x  # (B, C, H, W), the tensor that came in


class TwoBranches(nn.Module):
    """Two 1×1 convolutions, multiplied (the star) or added: what the product costs beyond the sum."""

    def __init__(self, c: int, star: bool) -> None:
        super().__init__()
        self.f1, self.f2, self.star = nn.Conv2d(c, c, 1, bias=False), nn.Conv2d(c, c, 1, bias=False), star

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.f1(x), self.f2(x)  # (B, C, H, W) each
        return a * b if self.star else a + b  # (B, C, H, W)


class Copy(nn.Module):
    """One copy of the input, so that a stack of in-place operators can be run twice on the same tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()  # (B, C, H, W)


def _conv(c: int, k: int, groups: int = 1) -> nn.Module:
    return nn.Conv2d(c, c, k, padding=k // 2, groups=groups, bias=False)


OPERATORS: dict[str, Callable[[int], nn.Module]] = {
    "conv": lambda c: _conv(c, 3),
    "group conv": lambda c: _conv(c, 3, 16),
    "depthwise": lambda c: _conv(c, 3, c),
    "pointwise": lambda c: _conv(c, 1),
    "pconv": PConv,
    "pconv, slicing": lambda c: PConv(c, form="slicing"),
    "pconv, in-place": InPlacePConv,
    "star": lambda c: TwoBranches(c, star=True),
    "sum": lambda c: TwoBranches(c, star=False),
}
FOUR = ("conv", "depthwise", "pconv", "pointwise")


def stack(name: str, channels: int, layers: int = LAYERS) -> nn.Sequential:
    """Return `layers` equal layers of one operator, in eval mode.

    Raises:
        WorkbenchError: the operator is unknown, or the width does not suit it.

    >>> sum(p.numel() for p in stack("depthwise", 96).parameters())
    8640
    """
    if name not in OPERATORS:
        hint = did_you_mean(name, OPERATORS) or f"; expected one of {', '.join(OPERATORS)}"
        raise WorkbenchError(f"unknown operator {name!r}{hint}")
    if channels < 1 or layers < 1:
        raise WorkbenchError(f"channels={channels!r}, layers={layers!r} given; expected positive integers")
    try:
        body = [OPERATORS[name](channels) for _ in range(layers)]
    except ValueError as e:
        raise WorkbenchError(f"{name} does not take {channels} channels ({e}); choose a multiple of 16") from e
    return nn.Sequential(*([Copy()] if name == "pconv, in-place" else []), *body).eval()


def candidate(
    name: str, channels: int, size: int, layers: int = LAYERS, batch: int = 1, runtime: str = "eager"
) -> Factory:
    """Return the recipe `latency` takes for one stack at one shape."""
    stack(name, channels, 1)  # a wrong name or width is said here, not in the child process
    shape = (batch, channels, size, size)
    return factory("workbench.measure.operators:stack", name, channels, layers, runtime=runtime, shape=shape)


@dataclass(frozen=True)
class OperatorTable:
    """Operators × shapes from one interleaved run, the paper's values beside ours. Prints as a table."""

    latency: Latency
    cells: dict[str, tuple[str, int, int]] = field(repr=False)  # candidate → operator, channels, size
    layers: int = LAYERS
    mode: str = "clean"
    beside_paper: bool = True  # the paper's values are for batch 1 on one thread

    def rows(self) -> list[dict[str, Any]]:
        """Return one tidy row per operator and shape, with the paper's milliseconds and rate where it prints them."""
        paper = {(r["operator"], r["channels"], r["size"], r["layers"]): r for r in published("fasternet_table1")}
        out = []
        for name, (op, c, s) in self.cells.items():
            summary = self.latency.summary(name)
            printed = paper.get((op, c, s, self.layers), {}) if self.beside_paper else {}
            out.append({
                "operator": op, "channels": c, "size": s, "macs": self.latency.macs[name],
                "median_ms": 1e3 * summary.median_s, "iqr_ms": 1e3 * summary.iqr_s, "n": summary.n,
                "gmacs_per_s": self.latency.gmacs_per_s(name), "paper_ms": printed.get("cpu_ms"),
                "paper_gmacs_per_s": printed.get("cpu_gmacs_per_s"),
            })  # fmt: skip
        return out

    def mean_rate(self, operator: str) -> float:
        """Return the mean over the shapes of achieved 10⁹ MACs per second, as the paper averages them."""
        rates = [r["gmacs_per_s"] for r in self.rows() if r["operator"] == operator]
        if not rates:
            raise WorkbenchError(f"{operator!r} was not measured; measured: {', '.join(self.operators)}")
        return sum(rates) / len(rates)

    @property
    def operators(self) -> list[str]:
        """The operators, in the order given."""
        return list(dict.fromkeys(op for op, _, _ in self.cells.values()))

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes (channels, side), in the order given."""
        return list(dict.fromkeys((c, s) for _, c, s in self.cells.values()))

    def ranking(self, channels: int) -> list[str]:
        """Return the operators at one width, fastest first."""
        rows = [r for r in self.rows() if r["channels"] == channels]
        return [r["operator"] for r in sorted(rows, key=lambda r: r["median_ms"])]

    def _table(self) -> tuple[list[str], list[list[Any]], str, list[str]]:
        header = ["operator", "channels × map", "MACs", "median ms", "IQR", "n", "GMAC/s", "paper ms", "paper GMAC/s"]
        body: list[list[Any]] = [
            [r["operator"], f"{r['channels']} × {r['size']}²", r["macs"], r["median_ms"], r["iqr_ms"], r["n"],
             r["gmacs_per_s"], r["paper_ms"], r["paper_gmacs_per_s"]]
            for r in self.rows()
        ]  # fmt: skip
        paper = "paper: FasterNet table 1, CPU i9-9900X, one thread; its FLOPs are MACs"
        return header, body, f"{self.layers} layers each, mode {self.mode}", [*self.latency.notes(), paper]

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def operator_table(
    operators: Sequence[str] = FOUR,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    *,
    layers: int = LAYERS,
    batch: int = 1,
    mode: str = "clean",
    **options: Any,
) -> OperatorTable:
    """Time stacks of operators at several shapes, all in one interleaved run.

    Args:
        operators: of `OPERATORS`.
        shapes: (channels, side of the map).
        layers: equal layers in a stack.
        batch: maps at once.
        mode: "clean", "pages returned" (page faults in every layer, as an unlucky script measures) or "onnxruntime".
        **options: of `latency`.

    Raises:
        WorkbenchError: an operator or mode is unknown, a width does not suit an operator, or onnxruntime is missing.
    """
    if mode not in MODES:
        raise WorkbenchError(f"mode={mode!r} is unknown; expected one of {', '.join(MODES)}")
    runtime = "onnxruntime" if mode == "onnxruntime" else "eager"
    cells = {f"{op} {c}×{s}²": (op, c, s) for c, s in shapes for op in operators}
    candidates = {n: candidate(op, c, s, layers, batch, runtime) for n, (op, c, s) in cells.items()}
    result = latency(candidates, **{**MODES[mode], **options, "count": True})
    return OperatorTable(result, cells, layers, mode, beside_paper=batch == 1 and result.threads == 1)
