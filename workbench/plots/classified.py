"""A row of images with what a classifier says about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor


def classified(images: Tensor, labels: Sequence[int], logits: Tensor, names: Sequence[str]) -> list[Axes]:
    """Draw images with the classifier's first choice and its probability; a wrong one is marked in words and colour.

    Args:
        images: (N, 3, H, W) in [0, 1].
        labels: the N true classes.
        logits: (N, classes).
        names: of the classes.
    """
    import matplotlib.pyplot as plt

    _, grid = plt.subplots(1, len(images), figsize=(1.25 * len(images), 1.75), squeeze=False)
    probabilities, chosen = logits.softmax(1).max(1)  # (N,), (N,)
    for ax, image, label, p, k in zip(grid[0], images, labels, probabilities, chosen.tolist(), strict=True):
        ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())  # (H, W, 3)
        right = k == int(label)
        ax.set_title(f"{names[k]}\n{p:.0%}", fontsize=9, loc="center", color="black" if right else PALETTE["orange"])
        ax.set_xlabel("" if right else f"is a {names[int(label)]}", fontsize=9)
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    return list(grid[0])
