"""Figures of channels and levels: what a block leaves alone, how far channels reach, what P2 to P5 look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor


def level_maps(photo: Tensor, maps: Sequence[Tensor], title: str = "") -> list[Axes]:
    """Draw a photo and, beside it, the root mean square over the channels of each level's map, pixel for pixel.

    Args:
        photo: (1, 3, H, W) in [0, 1].
        maps: P2, P3, P4, P5: (1, C, H/s, W/s) each.
        title: above the figure.
    """
    import matplotlib.pyplot as plt

    figure, axs = plt.subplots(1, 1 + len(maps), figsize=(2.1 * (1 + len(maps)), 2.6))
    axs[0].imshow(photo[0].permute(1, 2, 0).numpy())  # (H, W, 3)
    axs[0].set_title(f"image {photo.shape[-2]}×{photo.shape[-1]}", fontsize=10)
    for i, (ax, m) in enumerate(zip(axs[1:], maps, strict=True)):
        ax.imshow(m[0].square().mean(0).sqrt().numpy(), cmap="cividis")  # (H/s, W/s)
        ax.set_title(f"P{i + 2}  {'×'.join(map(str, m.shape[1:]))}", fontsize=10)
    for ax in axs:
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    note = "P2 to P5: root mean square over the channels, dark blue for the map's least, yellow for its most"
    figure.supxlabel(note, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return list(axs)


def channel_change(change: Sequence[float], touched: int, ax: Axes | None = None) -> Axes:
    """Draw how much each channel differs between input and output of a block.

    Args:
        change: mean |output − input| per channel.
        touched: the first so many channels are convolved.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(7.4, 2.4))
    ax.axvspan(-0.5, touched - 0.5, color=PALETTE["sky"], alpha=0.25, lw=0)
    ax.bar(range(len(change)), change, color=PALETTE["blue"], width=0.8)
    top = max(max(change), 1e-9)
    for label, first, last in (("touched", 0, touched), ("untouched", touched, len(change))):
        ax.text((first + last - 1) / 2, 1.06 * top, f"{label}: {last - first}", ha="center", fontsize=9)
    ax.set(xlabel="channel", ylabel="mean |output − input|", ylim=(0, 1.22 * top), xlim=(-0.7, len(change) - 0.3))
    ax.grid(axis="x", visible=False)
    return ax


def channel_reach(radius: np.ndarray, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a reach matrix: for each (output, input) channel pair the side of the window seen, white for no path."""
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm, ListedColormap

    ax = axes(ax, figsize=(4.6, 3.9))
    top = max(int(radius.max()), 1)
    cividis = colormaps["cividis"]
    colours = ["white", *(cividis(v) for v in np.linspace(0.15, 0.95, top + 1))]
    norm = BoundaryNorm(np.arange(-1.5, top + 1), len(colours))
    image = ax.imshow(radius, cmap=ListedColormap(colours), norm=norm)
    bar = ax.figure.colorbar(image, ax=ax, ticks=range(-1, top + 1), shrink=0.85)
    bar.set_ticklabels(["none", *(f"{2 * r + 1}×{2 * r + 1}" for r in range(top + 1))])
    bar.set_label("window of the input seen")
    ax.set(xlabel="input channel", ylabel="output channel", title=title)
    ax.grid(visible=False)
    return ax


def stacked_shares(rows: Mapping[str, Mapping[str, float]], xlabel: str, ax: Axes | None = None) -> Axes:
    """Draw one horizontal bar per row, split into labelled shares that sum to 100 %."""
    ax = axes(ax, figsize=(7.4, 0.62 * len(rows) + 1.1))
    names = list(dict.fromkeys(n for r in rows.values() for n in r))
    colours = [PALETTE[c] for c in ("blue", "yellow", "green", "pink", "grey", "sky", "orange")]
    for k, name in enumerate(names):
        left = [100 * sum(r.get(n, 0) for n in names[:k]) / sum(r.values()) for r in rows.values()]
        width = [100 * r.get(name, 0) / sum(r.values()) for r in rows.values()]
        hatch: dict[str, Any] = {"hatch": ("", "//", "..", "xx", "\\\\")[k % 5], "edgecolor": "white"}
        bars = ax.barh(list(rows), width, left=left, color=colours[k % len(colours)], label=name, height=0.62, **hatch)
        text = [f"{w:.0f} %" if w >= 6 else "" for w in width]
        ax.bar_label(bars, text, label_type="center", fontsize=9, bbox={"fc": "white", "ec": "none", "pad": 0.8})
    ax.invert_yaxis()
    ax.set(xlabel=xlabel, xlim=(0, 100))
    ax.grid(axis="y", visible=False)
    ax.legend(ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0)
    return ax


def reach_pair(runs: Sequence[tuple[str, np.ndarray]], figure: Figure) -> list[Axes]:
    """Draw several reach matrices side by side into a figure, each under its title."""
    axs = figure.subplots(1, len(runs), squeeze=False)[0]
    return [channel_reach(radius, title, ax) for ax, (title, radius) in zip(axs, runs, strict=True)]
