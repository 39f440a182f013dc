"""Figures of lesson 03: what multiplying two branches buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor


class Boundary(Protocol):
    """What a figure here needs to know of a trained toy network."""

    op: str
    act: str
    layers: int
    accuracy: float
    x: Tensor
    y: Tensor
    extent: float
    surface: Tensor


def decision_boundary(run: Boundary, ax: Axes | None = None) -> Axes:
    """Draw a toy network's probability, its boundary at one half, and the points it was trained on."""
    ax = axes(ax, figsize=(3.6, 3.6))
    e = run.extent
    ax.imshow(run.surface.numpy(), extent=(-e, e, -e, e), origin="lower", cmap="PuOr_r", vmin=-0.4, vmax=1.4)
    ax.contour(run.surface.numpy(), [0.5], extent=(-e, e, -e, e), colors="black", linewidths=1.8)
    for label, marker, colour in ((0, "o", "#4B2E83"), (1, "^", "#7A3B00")):
        chosen = run.x[run.y == label].numpy()  # (n, 2)
        dots: dict[str, Any] = {"s": 13, "marker": marker, "color": colour, "edgecolors": "white", "linewidths": 0.5}
        ax.scatter(chosen[:, 0], chosen[:, 1], **dots)
    act = "no activation" if run.act == "none" else run.act.replace("relu6", "ReLU6")
    stacked = "" if run.layers == 1 else f" ×{run.layers}"
    ax.set_title(f"{run.op}{stacked}, {act}: {run.accuracy:.0%}", fontsize=9.5)
    ax.set(xlim=(-e, e), ylim=(-e, e), xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
    ax.grid(visible=False)
    return ax


def boundaries(rows: Sequence[Sequence[Boundary]], figure: Figure | None = None) -> list[list[Axes]]:
    """Draw a grid of `decision_boundary`, one row of axes per row of runs; x₁ to the right, x₂ upwards."""
    n, m = len(rows), len(rows[0])
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(2.5 * m + 0.3, 2.6 * n))
    grid = figure.subplots(n, m, sharex=True, sharey=True, squeeze=False)
    for axs, runs in zip(grid, rows, strict=True):
        for ax, run in zip(axs, runs, strict=True):
            decision_boundary(run, ax)
        axs[0].set_ylabel("$x_2$")
    for ax in grid[-1]:
        ax.set_xlabel("$x_1$")
    return [list(axs) for axs in grid]


def rank_growth(
    neurons: Sequence[int], ranks: Mapping[str, Sequence[int]], limits: Mapping[str, int], ax: Axes | None = None
) -> Axes:
    """Draw the number of independent functions that N neurons compute, and where it must stop.

    Args:
        neurons: N.
        ranks: operation → rank of its outputs, for each N.
        limits: operation → number of terms.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(6.2, 3.6))
    look = {"sum": ("o", PALETTE["grey"]), "star": ("*", PALETTE["orange"])}
    for op, values in ranks.items():
        marker, colour = look.get(op, ("D", PALETTE["blue"]))
        ax.plot(neurons, values, marker=marker, color=colour, ms=8, label=op)
        ax.axhline(limits[op], color=colour, ls=":", lw=1.4)
        ax.annotate(
            f"{limits[op]} terms", (neurons[-1], limits[op]), xytext=(0, 4), textcoords="offset points", ha="right"
        )
    ax.plot(neurons, neurons, color=PALETTE["pale"], lw=1, zorder=0)
    ax.annotate(
        "one per neuron", (neurons[len(neurons) // 3],) * 2, xytext=(6, -4), textcoords="offset points", fontsize=9
    )
    ax.set_ylim(0, 1.25 * max(limits.values()))
    ax.set(xlabel="neurons N (each: two random linear maps, combined)", ylabel="independent functions (rank)")
    ax.legend(loc="center right")
    return ax


def ablation(rows: Mapping[str, Mapping[str, float]], ylabel: str, ax: Axes | None = None) -> Axes:
    """Draw grouped bars: one group per row name, one bar per operation, values above the bars."""
    ax = axes(ax, figsize=(5.4, 3.2))
    ops = list(next(iter(rows.values())))
    look = {"sum": (PALETTE["grey"], ""), "star": (PALETTE["orange"], "//")}
    for k, op in enumerate(ops):
        colour, hatch = look.get(op, (PALETTE["blue"], ""))
        places = [i + (k - (len(ops) - 1) / 2) * 0.36 for i in range(len(rows))]
        values = [r[op] for r in rows.values()]
        bars = ax.bar(places, values, 0.34, color=colour, hatch=hatch, edgecolor="white", label=op)
        ax.bar_label(bars, fmt="%.1f", fontsize=9, padding=2)
    ax.set_xticks(range(len(rows)), list(rows))
    highest = max(v for r in rows.values() for v in r.values())
    ax.set_ylim(0, 1.3 * highest)
    ax.set_yticks([t for t in ax.get_yticks() if t <= 1.05 * highest])
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)
    ax.legend(ncols=len(ops), loc="upper center")
    return ax
