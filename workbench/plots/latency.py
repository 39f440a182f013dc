"""Figures of measured time: rates beside the paper's, a heat map of table 1, cost against latency with its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import EngFormatter

from ..errors import WorkbenchError
from .style import OPERATOR_COLOUR, PALETTE, axes, family_colour, family_marker, label_points, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HATCHES = ("", "///", "...", "xx", "\\\\", "++", "oo")

COSTS = {
    "macs": "MACs", "params": "parameters", "peak_bytes": "peak memory, bytes", "elements": "elements written",
    "activations": "activations (outputs of contractions)",
}  # fmt: skip


def latency_bars(result: Any, ax: Axes | None = None, log: bool = False) -> Axes:
    """Draw each candidate's median with its interquartile range, in the order measured.

    Args:
        result: a `measure.Latency`.
        ax: to draw into.
        log: logarithmic milliseconds.
    """
    ax = axes(ax, figsize=(6.4, 0.45 * len(result.names) + 1.2))
    for i, name in enumerate(result.names):
        s = result.summary(name)
        median, below, above = 1e3 * s.median_s, 1e3 * (s.median_s - s.q1_s), 1e3 * (s.q3_s - s.median_s)
        colour = OPERATOR_COLOUR.get(name.split(",")[0], family_colour(name))
        ax.barh(i, median, color=colour, height=0.62, hatch=HATCHES[i % len(HATCHES)], edgecolor="white")
        ax.errorbar(median, i, xerr=[[below], [above]], color="black", capsize=3, lw=1.2)
        ax.text(median, i - 0.36, f" {median:.3g} ms, n = {s.n}", va="center", fontsize=8)
    ax.set_yticks(range(len(result.names)), result.names)
    ax.invert_yaxis()
    ax.set_xlabel("latency, ms (median, middle half)")
    top = max((1e3 * result.summary(n).q3_s for n in result.names), default=1.0)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
    ax.set_xlim(None if log else 0, top * (4 if log else 1.35))  # room for the text beside the longest bar
    ax.grid(axis="y", visible=False)
    return ax


def achieved_rates(table: Any, ax: Axes | None = None) -> Axes:
    """Draw achieved MACs per second of each operator at each shape, the paper's value as a black bar.

    Args:
        table: a `measure.OperatorTable`.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(8.4, 3.4))
    rows, operators, shapes = table.rows(), table.operators, table.shapes
    width = 0.8 / len(operators)
    for i, op in enumerate(operators):
        mine = {(r["channels"], r["size"]): r for r in rows if r["operator"] == op}
        x = np.arange(len(shapes)) + (i - (len(operators) - 1) / 2) * width
        heights = [mine[s]["gmacs_per_s"] for s in shapes]
        colour = OPERATOR_COLOUR.get(op.split(",")[0], PALETTE["sky"])
        ax.bar(x, heights, width * 0.92, label=op, color=colour, hatch=HATCHES[i % len(HATCHES)], edgecolor="white")
        printed = [(a, mine[s]["paper_gmacs_per_s"]) for a, s in zip(x, shapes, strict=True)]
        for a, value in printed:
            if value is not None:
                ax.plot([a - width * 0.45, a + width * 0.45], [value, value], color="black", lw=2)
    if any(r["paper_gmacs_per_s"] is not None for r in rows):
        ax.plot([], [], color="black", lw=2, label="paper, i9-9900X")
    ax.set_xticks(range(len(shapes)), [f"{c} × {s}²" for c, s in shapes])
    ax.set_yscale("log")
    ax.set_ylim(min(r["gmacs_per_s"] for r in rows) / 2.5, None)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    ax.set(xlabel="channels × map", ylabel="achieved, GMAC per second")
    ax.legend(ncols=3, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, frameon=False)
    ax.grid(axis="x", visible=False)
    return ax


def table1_heatmap(table: Any, value: str = "median_ms", ax: Axes | None = None) -> Axes:
    """Draw operators × shapes as a heat map with its numbers; colours are logarithmic.

    Args:
        table: a `measure.OperatorTable`.
        value: a column of its rows, such as "median_ms" or "gmacs_per_s".
        ax: to draw into.
    """
    rows, operators, shapes = table.rows(), table.operators, table.shapes
    cells = {(r["operator"], r["channels"], r["size"]): r[value] for r in rows}
    grid = np.array([[cells[(op, *s)] for s in shapes] for op in operators], float)
    ax = axes(ax, figsize=(1.2 * len(shapes) + 2.2, 0.5 * len(operators) + 1.2))
    shade = np.log(grid)
    ax.imshow(shade, cmap="cividis", aspect="auto")
    for (i, j), v in np.ndenumerate(grid):
        dark = shade[i, j] < shade.mean()
        ax.text(j, i, f"{v:.3g}", ha="center", va="center", color="white" if dark else "black", fontsize=9)
    ax.set_xticks(range(len(shapes)), [f"{c} × {s}²" for c, s in shapes])
    ax.set_yticks(range(len(operators)), operators)
    ax.set_title({"median_ms": "median latency, ms", "gmacs_per_s": "achieved, GMAC/s"}.get(value, value), fontsize=10)
    ax.grid(visible=False)
    return ax


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names that no other point beats in both coordinates (smaller is better), left to right.

    >>> pareto_front({"a": (1, 3), "b": (2, 2), "c": (3, 2.5), "d": (4, 1)})
    ['a', 'b', 'd']
    """
    front: list[str] = []
    for name in sorted(points, key=lambda n: points[n]):
        if not front or points[name][1] < points[front[-1]][1]:
            front.append(name)
    return front


def cost_against_latency(
    rows: Sequence[Mapping[str, Any]], x: str = "macs", xlabel: str = "", ax: Axes | None = None, front: bool = True
) -> Axes:
    """Draw a cost of networks against their latency, with error bars and the front no network beats.

    Args:
        rows: of a `measure.BackboneLab`, or each with "candidate", `x`, "median_ms", and where known "iqr_ms".
        x: the cost on the horizontal axis, such as "macs", "activations" or "params".
        xlabel: its label; default the name.
        ax: to draw into.
        front: draw the front of smallest cost and latency.

    Raises:
        WorkbenchError: no row has both numbers.
    """
    good = [_as_point(r) for r in rows]
    good = [r for r in good if r.get(x) and r.get("median_ms")]
    if not good:
        raise WorkbenchError(f"no row has both {x!r} and 'median_ms'")
    ax = axes(ax, figsize=(6.4, 4.2))
    points = {str(r["candidate"]): (float(r[x]), float(r["median_ms"])) for r in good}
    for r in good:
        name = str(r["candidate"])
        ax.errorbar(
            *points[name], yerr=float(r.get("iqr_ms") or 0) / 2, fmt=family_marker(name), color=family_colour(name),
            ms=8, capsize=3,
        )  # fmt: skip
    if front and len(points) > 1:
        line = [points[n] for n in pareto_front(points)]
        ax.plot(*zip(*line, strict=True), ls="--", color=PALETTE["grey"], lw=1, zorder=0, label="nobody beats these")
        ax.legend(fontsize=8)
    across, up = ([p[i] for p in points.values()] for i in (0, 1))
    log_axis(ax, "x", max(across) / min(across), EngFormatter())
    log_axis(ax, "y", max(up) / min(up))
    ax.margins(0.12)
    ax.set(xlabel=xlabel or COSTS.get(x, x), ylabel="latency, ms (median, half IQR)")
    label_points(ax, across, up, points)
    return ax


def rate_against_macs(rows: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Draw what networks achieve per second against what they compute, with lines of equal latency between.

    FasterNet paper, figure 2: few MACs help only as far as their rate does not fall.

    Args:
        rows: of a `measure.BackboneLab`.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(6.4, 4.2))
    good = [_as_point(r) for r in rows]
    xs, ys = [float(r["macs"]) for r in good], [float(r["gmacs_per_s"]) for r in good]
    for r, x, y in zip(good, xs, ys, strict=True):
        name = str(r["candidate"])
        ax.plot(x, y, family_marker(name), color=family_colour(name), ms=8)
    left, right, bottom, top = min(xs) / 2, max(xs) * 3, min(ys) / 1.6, max(ys) * 1.6
    for ms in (1, 3, 10, 30, 100, 300):
        at = np.geomspace(left, right, 2)
        ax.plot(at, at / ms / 1e6, ls=":", color=PALETTE["grey"], lw=1, zorder=0)
        edge = min(right, top * ms * 1e6)  # where the line leaves the picture
        if left < edge <= right and bottom < edge / ms / 1e6:
            ax.text(edge, edge / ms / 1e6, f"{ms} ms ", fontsize=8, color=PALETTE["grey"], ha="right", va="top")
    log_axis(ax, "x", right / left, EngFormatter())
    log_axis(ax, "y", top / bottom)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.set(xlabel="MACs of one image", ylabel="achieved, 10⁹ MACs per second")
    label_points(ax, xs, ys, [str(r["candidate"]) for r in good])
    return ax


def _as_point(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row of the backbone lab under the names of a `Latency` row; other rows as they are."""
    if "latency_ms" not in row:
        return row
    name = row["backbone"] if row.get("form") == "deploy" else f"{row['backbone']}, {row.get('form')}"
    times = {"median_ms": row["latency_ms"], "iqr_ms": row["high_ms"] - row["low_ms"]}
    return {"candidate": name, **row, **times}


def waterfall(parts: Sequence[Any], value: str = "macs", ax: Axes | None = None) -> Axes:
    """Draw how a network's cost adds up part by part, as steps from left to right.

    Args:
        parts: rows with ``name`` and the value, such as ``Count.parts()``.
        value: the attribute to add up: "macs", "elements", "bytes_moved" or "params".
        ax: to draw into.
    """
    values = np.array([float(getattr(p, value)) for p in parts])
    starts = np.concatenate(([0.0], values.cumsum()[:-1]))
    ax = axes(ax, figsize=(7.4, 0.32 * len(values) + 1.2))
    ax.barh(range(len(values)), values, left=starts, color=PALETTE["blue"], height=0.66)
    total = max(values.sum(), 1e-30)
    for i, (a, v) in enumerate(zip(starts, values, strict=True)):
        ax.text(a + v, i, f" {100 * v / total:.1f} %", va="center", fontsize=8)
    ax.set_yticks(range(len(values)), [p.name for p in parts])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * total)
    ax.set_xlabel(f"{value}, added up")
    ax.grid(axis="y", visible=False)
    return ax
