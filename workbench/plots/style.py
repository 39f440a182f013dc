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


def label_points(ax: Axes, x: Iterable[float], y: Iterable[float], labels: Iterable[str], **text: Any) -> None:
    """Write a label beside each point, so that no reader depends on colour."""
    style: dict[str, Any] = {"xytext": (5, 4), "textcoords": "offset points", "fontsize": 9} | text
    for a, b, label in zip(x, y, labels, strict=True):
        ax.annotate(label, (a, b), **style)
