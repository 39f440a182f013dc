"""What this machine can do at best: arithmetic and memory roofs, and how near to them a network comes.

Williams et al., "Roofline: An Insightful Visual Performance Model" (2009). The arithmetic roof is the best convolution
of a set, not a matrix product: PyTorch's convolutions run on oneDNN, which beats its matrix product 2.4 times on some
CPUs, and a roof that a network can exceed is none. The memory roof is a triad a = b + s·c, which depends on how much
memory it walks over: a small working set stays in a cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError
from .candidates import factory
from .cost import Count
from .environment import describe
from .latency import latency
from .tables import html_table, text_table
from .timing import Latency

CONVS = (  # (channels in, channels out, kernel, map side): dense, and large enough to amortise their reorders
    (64, 64, 3, 56),
    (128, 128, 3, 28),
    (256, 256, 3, 28),
    (256, 256, 1, 56),
)
WORKING_SETS = (768 * 2**10, 6 * 2**20, 192 * 2**20)  # bytes of the triad's three arrays
CALL = "call of an operator"  # a triad of one element: what starting an operator costs


class Triad(nn.Module):
    """a = b + s·c over three arrays of `nbytes` together: two reads and one write per element."""

    a: Tensor
    b: Tensor
    c: Tensor

    def __init__(self, nbytes: int) -> None:
        super().__init__()
        for name in "abc":
            self.register_buffer(name, torch.ones(nbytes // 12))

    def forward(self, _: Tensor) -> Tensor:
        return torch.add(self.b, self.c, alpha=0.5, out=self.a)  # (N,)


@dataclass(frozen=True)
class Roofline:
    """Measured roofs of one machine at one number of threads. Prints as a table."""

    peak_gflops: float  # 10⁹ FLOP/s, FLOPs = 2 × MACs
    peak_by: str  # the convolution that reached it
    bandwidth_gbs: Mapping[int, float]  # working set in bytes → 10⁹ bytes/s
    call_us: float  # microseconds to start one operator, included in every measured time
    env: Mapping[str, Any] = field(repr=False)
    measured: Latency | None = field(default=None, repr=False, compare=False)

    def bandwidth(self, nbytes: float) -> float:
        """Return GB/s for a working set: that of the smallest measured set which is at least as large."""
        fits = [b for b in sorted(self.bandwidth_gbs) if b >= nbytes]
        return self.bandwidth_gbs[fits[0] if fits else max(self.bandwidth_gbs)]

    @property
    def ridge(self) -> float:
        """FLOP per byte from which arithmetic, not main memory, is the limit."""
        return self.peak_gflops / self.bandwidth(float("inf"))

    def attainable_gflops(self, intensity: float, nbytes: float = float("inf")) -> float:
        """Return min(peak, intensity × bandwidth): what an operator of this FLOP per byte could reach."""
        return min(self.peak_gflops, intensity * self.bandwidth(nbytes))

    def bound_s(self, count: Count) -> float:
        """Return the least time a network can take: per operator the slower of its arithmetic and its memory."""
        return sum(
            max(2 * o.macs / self.peak_gflops, o.bytes_moved / self.bandwidth(o.bytes_moved)) for o in count.ops
        ) / 1e9  # fmt: skip

    def place(self, result: Latency, counts: Mapping[str, Count]) -> Placement:
        """Return where each measured candidate stands below the roofs.

        Raises:
            WorkbenchError: nothing was both measured and counted.
        """
        both = [n for n in result.names if n in counts and result.summary(n).n]
        if not both:
            raise WorkbenchError(f"no candidate was both measured ({', '.join(result.names)}) and counted")
        points = []
        for name in both:
            c, s = counts[name], result.summary(name)
            points.append(
                Point(name, c.macs, c.bytes_moved, c.intensity, 1e3 * s.median_s, 1e3 * s.iqr_s, s.n,
                      c.flops / s.median_s / 1e9, c.flops / s.median_s / 1e9 / self.peak_gflops,
                      self.bound_s(c) / s.median_s)
            )  # fmt: skip
        return Placement(tuple(points), self, dict(result.env))

    def to_json(self) -> str:
        """Return the roofs and the environment as JSON."""
        keys = ("peak_gflops", "peak_by", "bandwidth_gbs", "call_us", "ridge", "env")
        return json.dumps({k: getattr(self, k) for k in keys}, indent=2)

    def _table(self) -> tuple[list[str], list[list[Any]], str, list[str]]:
        rows: list[list[Any]] = [["arithmetic", self.peak_by, self.peak_gflops, "GFLOP/s"]]
        rows += [["memory", f"triad over {_size(b)}", v, "GB/s"] for b, v in self.bandwidth_gbs.items()]
        rows.append(["call", "triad over one element", self.call_us, "µs"])
        rows.append(["ridge", "arithmetic / largest triad", self.ridge, "FLOP/byte"])
        notes = [describe(dict(self.env)), "medians of one interleaved run; FLOPs = 2 × MACs; memory without the call"]
        if self.measured is not None:
            spread = ((s.iqr_s / s.median_s, s.n) for s in map(self.measured.summary, self.measured.names) if s.n)
            worst = max(spread)
            notes.append(f"largest IQR {100 * worst[0]:.0f} % of its median, n = {worst[1]}")
        return ["roof", "by", "value", "unit"], rows, "measured roofs", notes

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


@dataclass(frozen=True)
class Point:
    """One candidate below the roofs."""

    name: str
    macs: int
    bytes_moved: int
    intensity: float  # FLOP per byte
    median_ms: float
    iqr_ms: float
    n: int
    gflops: float  # achieved 10⁹ FLOP/s
    share_of_peak: float
    share_of_roof: float  # least possible time / measured time


@dataclass(frozen=True)
class Placement:
    """Candidates on the roofline. Prints as a table."""

    points: tuple[Point, ...]
    roof: Roofline
    env: Mapping[str, Any] = field(repr=False)

    def _table(self) -> tuple[list[str], list[list[Any]], str, list[str]]:
        header = ["candidate", "median ms", "IQR", "n", "MACs", "bytes", "FLOP/byte", "GFLOP/s", "% peak", "% roof"]
        rows: list[list[Any]] = [
            [p.name, p.median_ms, p.iqr_ms, p.n, p.macs, p.bytes_moved, p.intensity, p.gflops, 100 * p.share_of_peak,
             100 * p.share_of_roof]
            for p in self.points
        ]  # fmt: skip
        note = "% roof: the least time the measured roofs allow, operator by operator, over the measured time"
        return header, rows, "on the roofline", [describe(dict(self.env)), note]

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def roofline(
    *, threads: int = 1, device: str = "cpu", rounds: int = 15, budget_s: float = 30.0, **options: Any
) -> Roofline:
    """Measure this machine's roofs in one interleaved run.

    Args:
        threads: intra-op threads.
        device: "cpu" or "cuda".
        rounds: samples per operator.
        budget_s: seconds for everything.
        **options: of `latency`, such as ``process="here"``.
    """
    convs = {
        f"conv {k}×{k}, {i}→{o}, {s}×{s}": factory("torch.nn:Conv2d", i, o, k, padding=k // 2, bias=False,
                                                     shape=(1, i, s, s))
        for i, o, k, s in CONVS
    }  # fmt: skip
    triads = {b: factory("workbench.measure.roofline:Triad", b, shape=(1,)) for b in WORKING_SETS}
    both = convs | {f"triad {_size(b)}": t for b, t in triads.items()}
    both[CALL] = factory("workbench.measure.roofline:Triad", 12, shape=(1,))
    result = latency(both, threads=threads, device=device, rounds=rounds, budget_s=budget_s, **options)
    reached = {n: 2 * result.gmacs_per_s(n) for n in convs}
    best = max(reached, key=lambda n: reached[n])
    call_s = result.summary(CALL).median_s
    walk_s = {b: result.summary(f"triad {_size(b)}").median_s - call_s for b in triads}
    bandwidth = {b: b / max(t, 1e-9) / 1e9 for b, t in walk_s.items()}
    return Roofline(reached[best], best, bandwidth, 1e6 * call_s, result.env, result)


def _size(nbytes: int) -> str:
    return f"{nbytes // 2**20} MiB" if nbytes >= 2**20 else f"{nbytes // 2**10} KiB"
