"""Figures about single operators: what they cost on paper, and where they stand under the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .style import OPERATOR_COLOUR, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCH = {"conv": "", "depthwise": "///", "pointwise": "...", "pconv": "xx"}


class Cost(Protocol):
    """What a figure here needs to know of an operator."""

    @property
    def macs(self) -> int: ...
    @property
    def bytes_moved(self) -> int: ...
    @property
    def intensity(self) -> float: ...


def short(value: float) -> str:
    """Return a number with three digits and a letter.

    >>> short(16257024), short(384000), short(2.237)
    ('16.3 M', '384 k', '2.24')
    """
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"


def operator_cost(costs: Mapping[str, Cost], title: str = "", figure: Figure | None = None) -> Sequence[Axes]:
    """Draw MACs, bytes moved and intensity of each operator, one panel each, on logarithmic axes.

    Args:
        costs: operator → its cost, as `measure.formulas.operator_costs` or `measure.count` give it.
        title: above the figure.
        figure: to draw into; a new one by default.

    Returns:
        The three axes.
    """
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(9.2, 0.55 * len(costs) + 1.3))
    axes = figure.subplots(1, 3, sharey=True)
    columns: dict[str, list[float]] = {
        "MACs": [c.macs for c in costs.values()],
        "bytes moved": [c.bytes_moved for c in costs.values()],
        "intensity, FLOP per byte": [c.intensity for c in costs.values()],
    }
    for ax, (label, values) in zip(axes, columns.items(), strict=True):
        bars = ax.barh(list(costs), values, color=[OPERATOR_COLOUR.get(n, PALETTE["sky"]) for n in costs], height=0.62)
        for bar, name in zip(bars, costs, strict=True):
            bar.set_hatch(HATCH.get(name, ""))
            bar.set_edgecolor("white")
        ax.set_xscale("log")
        ax.set_xlim(min(values) / 4, max(values) * 12)
        ax.minorticks_off()  # a panel redraws this while a slider moves, and ticks are most of the work
        ax.bar_label(bars, [short(v) for v in values], padding=3, fontsize=9)
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return axes


def roofline(
    peak_gflops: float,
    bandwidth_gbs: Mapping[str, float],
    points: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw a machine's roofline and where operators stand under it.

    Args:
        peak_gflops: the flat part, GFLOP per second.
        bandwidth_gbs: the slopes, label → GB per second, such as those of a cache and of main memory.
        points: name → (intensity in FLOP per byte, achieved GFLOP per second).
        ax: to draw into.
    """
    from .style import axes

    ax = axes(ax, figsize=(7.6, 4.2))
    ridges = [peak_gflops / b for b in bandwidth_gbs.values()]
    xs = [*ridges, *(p[0] for p in points.values())]
    x = np.geomspace(min(xs) / 3, max(xs) * 3, 200)
    for style, (label, bandwidth) in zip(("-", "--", ":"), bandwidth_gbs.items(), strict=False):
        roof = np.minimum(peak_gflops, bandwidth * x)
        ax.plot(x, roof, color="black", lw=1.5, ls=style, label=f"{label}, {bandwidth:.0f} GB/s")
    ax.text(x[-1], peak_gflops * 1.08, f"arithmetic: {peak_gflops:.0f} GFLOP/s", ha="right", fontsize=9)
    for marker, (name, (intensity, rate)) in zip("osD^v*Ph<>", points.items(), strict=False):
        colour = OPERATOR_COLOUR.get(name.split(",")[0], PALETTE["pink"])
        filled = colour if "," not in name else "white"  # a variant of an operator: same colour, hollow
        ax.plot(intensity, rate, marker, color=colour, markerfacecolor=filled, ms=9)
        ax.annotate(name, (intensity, rate), xytext=(8, -11), textcoords="offset points", fontsize=9)
    ax.legend(loc="lower right", title="roofs")
    ax.set(xscale="log", yscale="log", xlabel="intensity, FLOP per byte moved", ylabel="achieved, GFLOP per second")
    ax.set_ylim(min(p[1] for p in points.values()) / 4, 2 * peak_gflops)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    return ax
