"""The scatter of the Compare panel as a figure that can be kept: any two properties of networks against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .style import PALETTE, axes, family_colour, family_marker, label_points, log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CROWD = 14  # from more points on, only the front is named


def comparison_scatter(
    points: Sequence[Mapping[str, Any]],
    xlabel: str,
    ylabel: str,
    *,
    front: Sequence[str] = (),
    log: tuple[bool, bool] = (True, True),
    ax: Axes | None = None,
) -> Axes:
    """Draw networks as points with error bars, a ring around the baseline, and the front that nobody beats.

    Args:
        points: each with ``name``, ``x``, ``y``; ``xe`` and ``ye``, (low, high) or None; ``base``, whether it is the
            baseline.
        xlabel: label of the horizontal axis, with its unit.
        ylabel: label of the vertical one.
        front: names on the front, from left to right.
        log: whether the axes are logarithmic, where they span a factor of two.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(8.4, 4.4))
    for p in points:
        x, y, colour = p["x"], p["y"], family_colour(p["name"])
        xerr, yerr = ([[v - e[0]], [e[1] - v]] if (e := p.get(k)) else None for k, v in (("xe", x), ("ye", y)))
        ax.errorbar(x, y, xerr=xerr, yerr=yerr, fmt=family_marker(p["name"]), color=colour, ms=8, capsize=3)
        if p.get("base"):
            ax.plot(x, y, "o", mfc="none", mec="black", ms=15)
    named = [p for p in points if len(points) <= CROWD or p["name"] in front or p.get("base")]
    if len(named) < len(points):
        for family in dict.fromkeys(p["name"].split("_")[0] for p in points):
            ax.plot([], [], family_marker(family), color=family_colour(family), label=family)
    place = {p["name"]: (p["x"], p["y"]) for p in points}
    line = [place[name] for name in front if name in place]
    if len(line) > 1:
        ax.plot(*zip(*line, strict=True), ls="--", color=PALETTE["grey"], lw=1, zorder=0, label="nobody beats these")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(fontsize=8)
    for way, wanted, key in (("x", log[0], "x"), ("y", log[1], "y")):
        values = [p[key] for p in points]
        if wanted and values and 0 < 2 * min(values) <= max(values):  # a shorter stretch is as good as straight
            log_axis(ax, way, max(values) / min(values))
    ax.margins(x=0.12)
    label_points(ax, [p["x"] for p in named], [p["y"] for p in named], [p["name"] for p in named], fontsize=8)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.tick_params(which="both", labelsize=8)
    return ax
