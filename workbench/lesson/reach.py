"""Which input channels reach which output channels, and from how far, through a stack of FasterNet blocks: exactly.

No weights are needed: it is bookkeeping. An entry of the reach matrix is the radius of the neighbourhood of input
channel i that output channel o can depend on; −1 means not at all. A convolution sets it, composition adds radii.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import WorkbenchError

NONE = -1  # output does not depend on this input channel


@dataclass(frozen=True)
class Reach:
    """Radius per (output channel, input channel), and what follows from it."""

    radius: np.ndarray  # (C, C) integers; row o, column i; −1 where there is no path
    n_div: int
    blocks: int
    pointwise: bool

    @property
    def connected(self) -> float:
        """Share of (output, input) channel pairs with any path."""
        return float((self.radius >= 0).mean())

    @property
    def seeing(self) -> float:
        """Share of output channels that see more than their own pixel of some input channel."""
        return float((self.radius.max(axis=1) > 0).mean())

    @property
    def field(self) -> int:
        """Side of the largest receptive field, pixels."""
        return int(2 * self.radius.max() + 1)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the reach of `second` after `first`: over all channels between, the largest sum of radii.

    >>> compose(np.array([[1, NONE], [NONE, 0]]), np.array([[1, 0], [0, 0]])).tolist()
    [[2, 1], [0, 0]]
    """
    sums = second[:, :, None] + first[None, :, :]  # (C_out, C_between, C_in)
    open_ = (second[:, :, None] >= 0) & (first[None, :, :] >= 0)
    return np.where(open_, sums, NONE).max(axis=1)


def channel_reach(channels: int = 16, n_div: int = 4, blocks: int = 1, pointwise: bool = True) -> Reach:
    """Return the reach of a stack of blocks: x + 1×1(1×1(PConv(x))), or x + PConv(x) without the 1×1 convolutions.

    Args:
        channels: C.
        n_div: the 3×3 convolution sees the first C // n_div channels; 1 is a dense convolution.
        blocks: how many.
        pointwise: with the two 1×1 convolutions, which mix all channels at one pixel.

    Raises:
        WorkbenchError: a value below 1, or no channel left to convolve.

    >>> channel_reach(8, blocks=3, pointwise=False).seeing, channel_reach(8, blocks=1).seeing
    (0.25, 1.0)
    """
    if min(channels, n_div, blocks) < 1 or channels // n_div < 1:
        raise WorkbenchError(
            f"channels={channels}, n_div={n_div}, blocks={blocks} given; expected positive, n_div ≤ channels"
        )
    same = np.where(np.eye(channels, dtype=bool), 0, NONE)  # (C, C): each channel reaches itself
    touched = channels // n_div
    pconv = same.copy()
    pconv[:touched, :touched] = 1
    branch = compose(np.zeros_like(same), pconv) if pointwise else pconv
    block = np.maximum(same, branch)  # the shortcut
    total = same
    for _ in range(blocks):
        total = compose(block, total)
    return Reach(total, n_div, blocks, pointwise)
