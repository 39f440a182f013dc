"""The figure of detections and their verdicts: right, wrong and missed, by colour, line and mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# kind → colour, line, mark; the mark is drawn by name because not every font has it
VERDICTS: dict[str, tuple[str, str, str]] = {
    "truth": (PALETTE["grey"], "-", ""),
    "found": (PALETTE["grey"], "-", ""),
    "tp": (PALETTE["blue"], "-", "✓ "),
    "fp": (PALETTE["orange"], "--", "✕ "),
    "fn": ("#9C2F78", ":", "? "),
}


def verdict_boxes(
    image: Any, boxes: Sequence[Mapping[str, Any]], title: str = "", below: str = "", ax: Axes | None = None
) -> Axes:
    """Draw boxes on an image, each by its verdict.

    Args:
        image: (H, W, 3) uint8 or float in [0, 1], RGB.
        boxes: each with ``box`` (x1 y1 x2 y2 in pixels), ``kind`` (a key of `VERDICTS`) and ``text``.
        title: above the image.
        below: under it.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(3.6, 3.8))
    ax.imshow(image)
    height, width = image.shape[:2]
    for b in boxes:
        (x1, y1, x2, y2), (colour, line, mark) = b["box"], VERDICTS[b["kind"]]
        ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color="white", lw=3.2)
        ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, ls=line, lw=1.8)
        label = {"fc": colour, "ec": "none", "pad": 1.0}
        inside = y1 < 0.07 * height  # there is no room above the box
        ax.text(max(x1, 0), max(y1, 0), mark + b["text"], fontsize=7, color="white", va="top" if inside else "bottom",
                bbox=label, clip_on=True)  # fmt: skip
    ax.set(xticks=[], yticks=[], xlabel=below, xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.set_title(title, fontsize=9)
    ax.xaxis.label.set_fontsize(8.5)
    ax.grid(visible=False)
    return ax
