"""Figures of a course's marks: how many points were earned, and by which question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import WorkbenchError
from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def mark_distribution(points: Sequence[float], of: float, ax: Axes | None = None) -> Axes:
    """Draw how many students earned how many points, with the median.

    Args:
        points: one per student.
        of: the most that could be earned.
        ax: axes to draw on; new ones by default.

    Raises:
        WorkbenchError: no points, or nothing to earn.

    >>> mark_distribution([3, 4, 4], of=5).get_xlabel()
    'points of 5'
    """
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    if not len(points) or of <= 0:
        raise WorkbenchError(f"{len(points)} marks of {of:g} points make no distribution; grade submissions first")
    ax = axes(ax, figsize=(6, 3.2), layout="constrained")
    width = max(1, round(of / 20))
    edges = np.arange(-0.5, of + width, width)
    ax.hist(points, bins=edges.tolist(), color=PALETTE["blue"], edgecolor="white", linewidth=0.8)
    middle = float(np.median(points))
    ax.axvline(middle, color=PALETTE["orange"], linewidth=1.8)
    left = middle > of / 2
    ax.annotate(
        f"median {middle:g}", (middle, 1), xycoords=("data", "axes fraction"), xytext=(-5 if left else 5, -4),
        textcoords="offset points", ha="right" if left else "left", va="top", color=PALETTE["orange"],
    )  # fmt: skip
    ax.set_ylim(0, 1.15 * max(np.histogram(points, edges)[0]))
    ax.set_xlim(-0.5, edges[-1])
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"points of {of:g}")
    ax.set_ylabel("students")
    ax.set_title(f"{len(points)} students")
    return ax


def question_shares(shares: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Draw, for each question, how many students earned all of it, a part, nothing.

    Args:
        shares: question → earned / possible, one per student.
        ax: axes to draw on; new ones by default.

    Raises:
        WorkbenchError: no question, or no student.

    >>> question_shares({"pconv": [1, 0.5, 0, 1]}).get_xlabel()
    'students, %'
    """
    if not shares or not all(len(s) for s in shares.values()):
        raise WorkbenchError("no marks to draw; grade submissions first")
    ax = axes(ax, figsize=(6, 3.2), layout="constrained")
    names = [name.removesuffix("-test") for name in shares]
    n = [len(s) for s in shares.values()]
    full = [100 * sum(x >= 1 for x in s) / len(s) for s in shares.values()]
    none = [100 * sum(x <= 0 for x in s) / len(s) for s in shares.values()]
    part = [100 - a - b for a, b in zip(full, none, strict=True)]
    left = [0.0] * len(names)
    kinds = (
        *(("all", full, PALETTE["blue"], "white"), ("part", part, PALETTE["sky"], "black")),
        ("none", none, PALETTE["pale"], "black"),
    )
    for label, values, colour, ink in kinds:
        bars = ax.barh(names, values, left=left, color=colour, edgecolor="white", linewidth=0.8, label=label)
        texts = [f"{v:.0f}" if v >= 6 else "" for v in values]
        ax.bar_label(bars, texts, label_type="center", color=ink, fontsize=8)
        left = [a + b for a, b in zip(left, values, strict=True)]
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("students, %")
    ax.set_title(f"points earned, {max(n)} students")
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    ax.grid(visible=False, axis="y")
    return ax
