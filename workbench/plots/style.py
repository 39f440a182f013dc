"""Colours and markers with a fixed meaning in every figure, safe for colour-blind readers.

The style sheet itself is ``house.mplstyle``; `lesson.begin` applies it, and so does ``plt.style.use(HOUSE)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HOUSE = "workbench.plots.house"

PALETTE = {  # Okabe and Ito (2008)
    "blue": "#0072B2",
    "orange": "#D55E00",
    "green": "#009E73",
    "pink": "#CC79A7",
    "yellow": "#E69F00",
    "sky": "#56B4E9",
    "grey": "#555555",
    "pale": "#C8C8C8",
}
FAMILY_COLOUR = {
    "fasternet": PALETTE["blue"],
    "starnet": PALETTE["orange"],
    "mobileone": PALETTE["green"],
    "vanillanet": PALETTE["pink"],
}
FAMILY_MARKER = {"fasternet": "o", "starnet": "*", "mobileone": "s", "vanillanet": "^"}
OPERATOR_COLOUR = {
    "conv": PALETTE["grey"],
    "depthwise": PALETTE["orange"],
    "pointwise": PALETTE["green"],
    "pconv": PALETTE["blue"],
}


def family_colour(name: str) -> str:
    """Return the colour of a variant's family; grey for anything else.

    >>> family_colour("starnet_s1") == PALETTE["orange"]
    True
    """
    return FAMILY_COLOUR.get(name.split("_", 1)[0], PALETTE["grey"])


def family_marker(name: str) -> str:
    """Return the marker of a variant's family; a diamond for anything else."""
    return FAMILY_MARKER.get(name.split("_", 1)[0], "D")


def axes(ax: Axes | None = None, **figure: Any) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(**figure)[1]


SIDES = ((5, 4), (5, -4), (-5, 4), (-5, -4), (8, 0), (-8, 0), (0, 7), (0, -7))  # of a point, in typographic points


def label_points(ax: Axes, x: Iterable[float], y: Iterable[float], labels: Iterable[str], **text: Any) -> None:
    """Write a label beside each point, so that no reader depends on colour; on the side where it covers least.

    Call it when scales and limits are set: what lies beside a point depends on them.
    """
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9} | text
    named = list(zip(x, y, labels, strict=True))
    ax.get_xlim(), ax.get_ylim()  # brings limits up to date
    inch = ax.figure.dpi
    at = [72 / inch * ax.transData.transform((a, b)) for a, b, _ in named]  # in typographic points
    frame = 72 / inch * ax.bbox.get_points()
    taken = [(u - 4, v - 4, u + 4, v + 4) for u, v in at]
    for (a, b, label), (u, v) in zip(named, at, strict=True):
        width, height = 0.58 * style["fontsize"] * len(label), 1.25 * style["fontsize"]
        boxes = [_box(u + du, v + dv, (du > 0) - (du < 0), (dv > 0) - (dv < 0), width, height) for du, dv in SIDES]
        costs = [sum(_shared(box, other) for other in taken) + _outside(box, frame) for box in boxes]
        best = costs.index(min(costs))
        taken.append(boxes[best])
        du, dv = SIDES[best]
        where = {"ha": {0: "center"}.get(du, "left" if du > 0 else "right")}
        where["va"] = {0: "center"}.get(dv, "bottom" if dv > 0 else "top")
        ax.annotate(label, (a, b), **{"xytext": (du, dv), **where, **style})


Box = tuple[float, float, float, float]  # left, bottom, right, top


def _box(u: float, v: float, right: int, up: int, width: float, height: float) -> Box:
    """Return the box of a text that begins at a point and goes right (1), left (-1) or both ways (0); up likewise."""
    left = u - width * (1 - right) / 2
    bottom = v - height * (1 - up) / 2
    return left, bottom, left + width, bottom + height


def _shared(a: Box, b: Box) -> float:
    """Return the area that two boxes have in common."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: Box, frame: Any) -> float:
    """Return the area of a box beyond the frame, which counts like text that is covered."""
    inner = (*frame[0], *frame[1])
    return (box[2] - box[0]) * (box[3] - box[1]) - _shared(box, inner)


def log_axis(ax: Axes, way: str, span: float, numbers: Any = "{x:,g}") -> None:
    """Make an axis logarithmic with plain numbers at its ticks, more of them the shorter it is.

    Args:
        ax: whose.
        way: "x" or "y".
        span: the largest value over the smallest.
        numbers: how ticks are written, a format or a formatter.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    (ax.set_xscale if way == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if way == "x" else ax.yaxis
    axis.set_major_locator(LogLocator(subs=(1,) if span > 150 else (1, 3) if span > 12 else (1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(numbers)
    axis.set_minor_locator(NullLocator())
