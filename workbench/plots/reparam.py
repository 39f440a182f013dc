"""Figures of re-parameterisation: kernels of branches and their sum, the activation that fades to the identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import PALETTE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from torch import Tensor

    from ..backbones.anatomy import Anatomy


def branch_kernels(branches: Sequence[Tensor], merged: Tensor, names: Sequence[str] | None = None) -> list[Axes]:
    """Draw the 2-D kernel of each branch of one channel, and of the convolution they merge into.

    Args:
        branches: kernels (k, k), folded; smaller ones are drawn at the centre of the merged one's grid.
        merged: the kernel (K, K) that equals their sum.
        names: titles of the branches; ``conv 1, conv 2, …, 1×1`` by size when absent.

    Returns:
        One Axes a kernel, the merged one last. All share one signed colour scale, blue below and orange above zero.
    """
    size = merged.shape[-1]
    titles = [*(names or _names(branches)), "merged"]
    kernels = zip(titles, (*branches, merged), strict=True)
    return _kernel_row({title: _centred(k.detach().numpy(), size) for title, k in kernels})


def _kernel_row(tiles: Mapping[str, np.ndarray], figure: Figure | SubFigure | None = None) -> list[Axes]:
    """Draw square grids of weights side by side on one signed scale; one named "merged" gets a frame."""
    limit = max(float(np.nanmax(np.abs(g))) for g in tiles.values()) or 1.0
    small = next(iter(tiles.values())).shape[-1] <= 3
    from matplotlib.figure import Figure

    if figure is None:
        import matplotlib.pyplot as plt

        side = 1.35 if small else 2.6
        figure = plt.figure(figsize=(side * len(tiles) + 0.8, side + 0.55))
    if isinstance(figure, Figure):
        figure.set_layout_engine("constrained")
    axs = figure.subplots(1, len(tiles), squeeze=False)
    image: Any = None
    for ax, (title, grid) in zip(axs[0], tiles.items(), strict=True):
        image = ax.imshow(grid, cmap="PuOr_r", vmin=-limit, vmax=limit)
        for (i, j), v in np.ndenumerate(grid):
            if small and not np.isnan(v):
                colour = "white" if abs(v) > 0.6 * limit else "black"
                label = f"{round(float(v), 1) + 0.0:.1f}"  # + 0.0 turns −0.0 into 0.0
                ax.text(j, i, label, ha="center", va="center", fontsize=8, color=colour)
        ax.set(title=title, xticks=[], yticks=[])
        ax.set_facecolor("#F2F2F2")
        ax.grid(False)
        for spine in ax.spines.values() if title == "merged" else ():
            spine.set(visible=True, color=PALETTE["green"], linewidth=2.5)
        if not small:
            ax.set(xlabel="input channel", ylabel="output channel")
    figure.colorbar(image, ax=list(axs[0]), label="weight", shrink=0.8, pad=0.02)
    return list(axs[0])


def block_step(anatomy: Anatomy, step: str, channel: int = 0, figure: Figure | None = None) -> list[Axes]:
    """Draw a block's kernels at one step of its merging.

    Args:
        anatomy: from `workbench.backbones.anatomy.block_anatomy`.
        step: ``"branches"`` (as trained), ``"folded"`` (BN folded in) or ``"merged"`` (branches and what they become).
        channel: the output channel drawn for a depthwise block; a pair of 1×1 convolutions is drawn whole.
        figure: to draw into; a new one when absent.
    """
    kernels = anatomy.raw if step == "branches" else anatomy.folded
    depthwise = anatomy.family == "mobileone"
    tiles = {name: k[channel, 0] if depthwise else k[:, :, 0, 0] for name, k in kernels.items()}
    if step == "merged":
        tiles["merged"] = anatomy.merged[channel, 0] if depthwise else anatomy.merged[:, :, 0, 0]
    size = max(t.shape[-1] for t in tiles.values())
    grids = {name: _centred(t.numpy(), size) for name, t in tiles.items()}
    if depthwise or step != "merged":
        return _kernel_row(grids, figure)
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(9.2, 2.6))
    figure.set_layout_engine("constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(len(grids), 1.15))
    left, right = halves
    return [*_kernel_row(grids, left), _outputs(anatomy, right.subplots())]


def _outputs(anatomy: Anatomy, ax: Axes) -> Axes:
    """Draw what both forms put out for the same input: on the diagonal while merging is right."""
    before, after = (anatomy.outputs[form].numpy() for form in ("branches", "merged"))
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    ax.plot((low, high), (low, high), color=PALETTE["green"], lw=1.2)
    ax.plot(before, after, ".", ms=3, color=PALETTE["blue"], alpha=0.5)
    ax.set(xlabel="pair's output", ylabel="merged one's output", title=f"a = {anatomy.ramp:.2f}", aspect="equal")
    return ax


def _centred(kernel: np.ndarray, size: int) -> np.ndarray:
    grid = np.full((size, size), np.nan)  # nothing there, which is not zero
    margin = (size - kernel.shape[-1]) // 2
    grid[margin : size - margin, margin : size - margin] = kernel
    return grid


def _names(branches: Sequence[Tensor]) -> list[str]:
    full = max(b.shape[-1] for b in branches)
    counted = iter(range(1, len(branches) + 1))
    return [f"conv {next(counted)}" if b.shape[-1] == full else f"{b.shape[-1]}×{b.shape[-1]}" for b in branches]


def activation_ramp(curves: Mapping[float, tuple[Sequence[float], Sequence[float]]], ax: Axes | None = None) -> Axes:
    """Draw x + the fading part of VanillaNet's activation for several ramp values: a (0 to 1) → (x, y)."""
    ax = axes(ax, figsize=(4.6, 3.4))
    shades = np.linspace(0.85, 0.0, len(curves))
    for shade, (a, (x, y)) in zip(shades, sorted(curves.items()), strict=True):
        last = a == max(curves)
        colour: Any = PALETTE["orange"] if last else str(shade * 0.75)
        ax.plot(x, y, color=colour, linewidth=2.4 if last else 1.5, label=f"a = {a:g}")
    ax.axhline(0, color=PALETTE["pale"], linewidth=0.8, zorder=0)
    ax.axvline(0, color=PALETTE["pale"], linewidth=0.8, zorder=0)
    ax.set(xlabel="input of the activation", ylabel="output", title="From ReLU (a = 0) to the identity (a = 1)")
    ax.legend(title="ramp", frameon=False)
    return ax


def ramp_runs(runs: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Axes]:
    """Draw accuracy over epochs of several training runs, before and after merging, and the ramp they followed.

    Args:
        runs: name → ``{"ramp": …, "accuracy": …, "merged": …}``, one entry an epoch; accuracies from 0 to 1.

    Returns:
        Two Axes: the ramp, and the accuracies (solid: as trained; dashed: after merging).
    """
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained", width_ratios=(1, 1.6))
    colours = [PALETTE[c] for c in ("green", "orange", "blue", "pink")]
    for colour, (name, run) in zip(colours, runs.items(), strict=False):
        epochs = range(1, len(run["ramp"]) + 1)
        left.plot(epochs, run["ramp"], color=colour, marker="o", markersize=3, label=name)
        right.plot(epochs, run["accuracy"], color=colour, marker="o", markersize=3, label=f"{name}: as trained")
        right.plot(epochs, run["merged"], color=colour, linestyle="--", label=f"{name}: merged")
    left.set(xlabel="epoch", ylabel="a", ylim=(-0.05, 1.05), title="Activation ramp")
    right.set(xlabel="epoch", ylabel="held-out accuracy", ylim=(0, 1), title="As trained, and after merging")
    right.legend(frameon=False, fontsize=8)
    return [left, right]


def merge_error(ramps: Sequence[float], errors: Sequence[float], ax: Axes | None = None) -> Axes:
    """Draw how wrong a merged VanillaNet block is (relative to its largest output) at each value of the ramp."""
    ax = axes(ax, figsize=(4.6, 3.4))
    ax.plot(ramps, errors, color=PALETTE["pink"], marker="o", markersize=3.5)
    ax.plot(ramps[-1], errors[-1], "o", markersize=8, color=PALETTE["green"])
    ax.annotate("exact", (ramps[-1], errors[-1]), xytext=(0, 16), textcoords="offset points", ha="center")
    ax.set(
        xlabel="ramp a",
        ylabel="relative error after merging",
        ylim=(-0.02 * max(errors), None),
        title="Merging before the ramp ends",
    )
    return ax


def image_grid(images: Tensor, titles: Sequence[str], columns: int = 8) -> list[Axes]:
    """Draw images (N, 3, H, W) with values 0 to 1 in rows of `columns`, each under its title."""
    import matplotlib.pyplot as plt

    rows = -(-len(images) // columns)
    size = (1.1 * columns, 1.3 * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, image, title in zip(grid.flat, images, titles, strict=False):
        ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
        ax.set_title(title, fontsize=9)
    return list(grid.flat)
