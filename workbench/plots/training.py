"""Figures of training: curves of several runs, memory against generalisation, detections beside the truth."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError
from .style import FAMILY_COLOUR, PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, float]
LABELS = {"map50": "mAP50", "map50_95": "mAP50–95", "seconds": "seconds", "epoch": "epoch"}
DASHES = ("-", "--", "-.", ":")
SEED = re.compile(r"[ _-]seed\d+$")  # as `record.py` and sweeps end their labels
THIN: dict[str, Any] = {"lw": 0.9, "alpha": 0.45}
BOX_COLOURS = [PALETTE[name] for name in ("blue", "orange", "green", "pink", "yellow", "sky", "grey")]


def training_curves(
    runs: Mapping[str, Sequence[Row]], metric: str = "map50", x: str = "epoch", ax: Axes | None = None
) -> Axes:
    """Draw one metric of several runs, named at the last point; runs that differ in the seed only share a name.

    Such runs are thin lines. Over epochs, their mean is a thick one, as far as all of them got.

    Args:
        runs: label → rows with one entry per epoch, as ``Run.curves`` has them.
        metric: key of the rows to draw.
        x: key of the horizontal axis, ``"epoch"`` or ``"seconds"``.
        ax: to draw into.

    Raises:
        WorkbenchError: no run has a row.
    """
    ax = axes(ax, figsize=(5.2, 3.2))
    drawn = {label: rows for label, rows in runs.items() if rows}
    if not drawn:
        raise WorkbenchError("no run has a finished epoch; there is no curve to draw")
    ends = []
    for i, (name, curves) in enumerate(_by_seed(drawn).items()):
        colour, dash = run_colour(name, i), DASHES[i % 4]
        alone, averaged = len(curves) == 1, len(curves) > 1 and x == "epoch"
        for rows in curves:
            mark = "o" if alone and len(rows) <= 20 else ""
            xs, ys = [row[x] for row in rows], [row[metric] for row in rows]
            ax.plot(xs, ys, color=colour, ls=dash, marker=mark, ms=3.5, **THIN if averaged else {})
        ys = [row[metric] for row in max(curves, key=len)]
        if averaged:
            ys = [sum(r[metric] for r in same) / len(same) for same in zip(*curves, strict=False)]
            ax.plot([row[x] for row in curves[0][: len(ys)]], ys, color=colour, ls=dash, lw=2.4)
        ends.append((ys[-1], name if alone else f"{name}, {len(curves)} seeds", colour))
    _name_ends(ax, ends)
    ax.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(metric, metric.replace("_", " ")))
    ax.locator_params(axis="x", integer=x == "epoch")
    return ax


def _by_seed(runs: Mapping[str, Sequence[Row]]) -> dict[str, list[Sequence[Row]]]:
    """Return the curves by label without its seed; a label that is alone in this keeps it.

    >>> list(_by_seed({"a-seed0": [], "a-seed1": [], "b-seed0": []}))
    ['a', 'b-seed0']
    """
    groups: dict[str, list[str]] = {}
    for label in runs:
        groups.setdefault(SEED.sub("", label), []).append(label)
    return {
        name if len(labels) > 1 else labels[0]: [runs[label] for label in labels] for name, labels in groups.items()
    }


def _name_ends(ax: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write (y, name, colour) beside the plot, each at its y, or above the one below where they would overlap."""
    bottom, top = ax.get_ylim()
    step = min(0.075, 1 / len(ends))  # as many as there are stay beside the plot
    ys = [(y - bottom) / (top - bottom) for y, _, _ in sorted(ends)]
    for i in range(1, len(ys)):
        ys[i] = max(ys[i], ys[i - 1] + step)
    ceiling = 1.0
    for i in reversed(range(len(ys))):
        ys[i] = min(ys[i], ceiling)
        ceiling = ys[i] - step
    for y, (_, name, colour) in zip(ys, sorted(ends), strict=True):
        ax.text(1.02, y, name, color=colour, transform=ax.transAxes, va="center", fontsize=min(9, 120 * step))


def run_colour(label: str, index: int) -> str:
    """Return the colour of a run: its backbone's family if the label names one, else one by position.

    >>> run_colour("yolo11n-starnet_s1", 0) == FAMILY_COLOUR["starnet"]
    True
    """
    named = (colour for family, colour in FAMILY_COLOUR.items() if family in label)
    return next(named, [PALETTE["grey"], PALETTE["yellow"], PALETTE["sky"]][index % 3])


def losses(rows: Sequence[Row], ax: Axes | None = None) -> Axes:
    """Draw training loss (solid) and validation loss (dashed) of one run, one colour per term."""
    ax = axes(ax, figsize=(5.2, 3.2))
    terms = [key.removeprefix("train_") for key in rows[0] if key.startswith("train_")]
    for term, colour in zip(terms, itertools.cycle(BOX_COLOURS), strict=False):
        name = term.removesuffix("_loss")
        epochs = [row["epoch"] for row in rows]
        ax.plot(epochs, [row[f"train_{term}"] for row in rows], color=colour, label=f"{name}, training")
        if f"val_{term}" in rows[0]:
            ax.plot(epochs, [row[f"val_{term}"] for row in rows], color=colour, ls="--", label=f"{name}, validation")
    ax.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    ax.locator_params(axis="x", integer=True)
    ax.legend(fontsize=8)
    return ax


def seen_and_unseen(scores: Mapping[str, tuple[float, float]], ax: Axes | None = None) -> Axes:
    """Draw, for each run, mAP50 on images it was trained on beside mAP50 on images it never saw.

    Args:
        scores: label → (on training images, on held-out images).
        ax: to draw into.
    """
    ax = axes(ax, figsize=(6.4, 0.9 + 0.75 * len(scores)))
    height = 0.36
    for i, pair in enumerate(scores.values()):
        for j, (value, what) in enumerate(zip(pair, ("seen in training", "held out"), strict=True)):
            colour, hatch = ((PALETTE["pale"], "//"), (PALETTE["blue"], ""))[j]
            bar = ax.barh(
                i + (j - 0.5) * height, value, height, color=colour, hatch=hatch, label=what if i == 0 else None
            )
            ax.bar_label(bar, [f"{value:.2f}"], padding=3, fontsize=9)
    ax.set(yticks=range(len(scores)), yticklabels=list(scores), xlabel="mAP50", xlim=(0, 1.08))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def boxes_on(
    image: Any,
    boxes: Any,
    labels: Sequence[int],
    names: Mapping[int, str] | Sequence[str],
    scores: Sequence[float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw boxes with class names, and scores if given, on an image.

    Args:
        image: (H, W, 3) uint8 or float in [0, 1], RGB.
        boxes: (N, 4), ``x1 y1 x2 y2`` in pixels.
        labels: N class ids.
        names: class id → name.
        scores: N confidences.
        title: above the image.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(3.6, 3.6))
    ax.imshow(image)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        colour = BOX_COLOURS[int(labels[i]) % len(BOX_COLOURS)]
        text = names[int(labels[i])] + (f" {scores[i]:.2f}" if scores is not None else "")
        ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color="white", lw=3)
        ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, lw=1.6)
        ax.text(x1, y1, text, fontsize=7.5, color="white", va="bottom", bbox={"fc": colour, "ec": "none", "pad": 1.2})
    height, width = image.shape[:2]
    ax.set(xticks=[], yticks=[], title=title, xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    ax.grid(visible=False)
    return ax
