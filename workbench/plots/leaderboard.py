"""The capstone's figure: what each handed-in detector finds against what it costs, and the front that nobody beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError, did_you_mean
from .latency import pareto_front
from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = {  # key → (label of the axis, divided by, key of the stock detector's value)
    "macs": ("MACs of one image, millions", 1e6, "stock_macs"),
    "params": ("parameters, millions", 1e6, "stock_params"),
    "latency_ratio": ("latency / stock YOLO11n, one interleaved run", 1.0, ""),
}
QUALITIES = {"map50": "mAP50 on held-out images", "map50_95": "mAP50-95 on held-out images"}
CROWD = 20  # with more detectors only the front is numbered
Row = Mapping[str, Any]


def front_of(rows: Sequence[Row], cost: str = "macs", quality: str = "map50") -> list[int]:
    """Return the ranks of the detectors that none beats in both cost and quality, cheapest first.

    >>> front_of([{"rank": 1, "macs": 5, "map50": 0.8}, {"rank": 2, "macs": 6, "map50": 0.7}])
    [1]
    """
    points = {str(r["rank"]): (r[cost], -r[quality]) for r in rows if r.get(cost) is not None}
    return [int(rank) for rank in pareto_front(points)]


def leaderboard_scatter(
    rows: Sequence[Row], cost: str = "macs", quality: str = "map50", *, mark: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw detectors by their rank: quality against cost, 95 % intervals, the front, and the stock detector's cost.

    Args:
        rows: with ``rank``, the cost, ``map50`` and ``map50_95``; where known ``map50_low``, ``map50_high``,
            ``latency_low``, ``latency_high``, ``stock_macs`` and ``stock_params``.
        cost: "macs", "params" or "latency_ratio".
        quality: "map50" or "map50_95".
        mark: the rank of one to point out; 0 for none.
        ax: to draw into.

    Raises:
        WorkbenchError: no detector, or another cost or quality.
    """
    for value, known in ((cost, COSTS), (quality, QUALITIES)):
        if value not in known:
            raise WorkbenchError(f"{value!r} is not drawn{did_you_mean(value, known)}; there are {', '.join(known)}")
    rows = [r for r in rows if r.get(cost) is not None]
    if not rows:
        raise WorkbenchError("no detector has been measured yet; grade the capstone first")
    label, unit, stock = COSTS[cost]
    ax = axes(ax, figsize=(5.2, 3.8), layout="constrained")
    front = front_of(rows, cost, quality)
    for r in rows:
        on_front, marked = r["rank"] in front, r["rank"] == mark
        colour = PALETTE["orange"] if marked else PALETTE["blue"] if on_front else PALETTE["grey"]
        x, y = r[cost] / unit, r[quality]
        drawn = ax.errorbar(
            x, y, xerr=_bar(r, "latency", x) if cost == "latency_ratio" else None,
            yerr=_bar(r, "map50", y) if quality == "map50" else None,
            fmt="D" if marked else "o" if on_front else "s", ms=8 if marked else 6.5, color=colour,
            ecolor=colour, elinewidth=1, alpha=1 if on_front or marked else 0.75, zorder=3 if on_front else 2,
        )  # fmt: skip
        drawn.lines[0].set_gid(f"entry-{cost}-{r['rank']}")  # by which a page finds the point of a row
        if marked or on_front or len(rows) <= CROWD:
            ax.annotate(str(r["rank"]), (x, y), xytext=(6, 4), textcoords="offset points", fontsize=9, color=colour)
    line = [(r[cost] / unit, r[quality]) for rank in front for r in rows if r["rank"] == rank]
    if len(line) > 1:
        ax.plot(*zip(*line, strict=True), ls="--", lw=1, color=PALETTE["blue"], zorder=1)
    reference = 1.0 if cost == "latency_ratio" else next((r[stock] / unit for r in rows if r.get(stock)), None)
    if reference is not None:
        ax.axvline(reference, color=PALETTE["orange"], lw=1, ls=":", zorder=1)
        ax.annotate(
            "stock YOLO11n", (reference, 0), xycoords=("data", "axes fraction"), xytext=(-3, 4),
            textcoords="offset points", rotation=90, ha="right", va="bottom", fontsize=8, color=PALETTE["orange"],
        )  # fmt: skip
    ax.margins(x=0.1, y=0.1)
    ax.set(xlabel=label, ylabel=QUALITIES[quality])
    return ax


def _bar(row: Row, key: str, value: float) -> list[list[float]] | None:
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    return None if low is None or high is None else [[max(value - low, 0.0)], [max(high - value, 0.0)]]
