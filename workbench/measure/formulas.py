"""What four 3×3 operators cost on paper: parameters, MACs, bytes moved and intensity, by formula and without torch.

`count` counts a network as it runs; this is the arithmetic a reader can do by hand, for c channels on an h × h map.
Both agree to the last integer for operators that move nothing but their input, weights and output.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import WorkbenchError

OPERATORS = ("conv", "depthwise", "pointwise", "pconv")


@dataclass(frozen=True)
class OperatorCost:
    """One operator's cost on one map: float32, batch 1, stride 1, no bias."""

    name: str
    params: int
    macs: int
    bytes_moved: int  # input and weights read once, output written once

    @property
    def flops(self) -> int:
        """2 × MACs."""
        return 2 * self.macs

    @property
    def intensity(self) -> float:
        """FLOP per byte moved."""
        return self.flops / self.bytes_moved


def operator_costs(channels: int, size: int, kernel: int = 3, n_div: int = 4) -> dict[str, OperatorCost]:
    """Return the cost of conv, depthwise, pointwise and partial convolution with c input and c output channels.

    MACs are h²·k²·c²/groups. Bytes are 4·(h²·c read + weights + h²·c written). PConv is the dense convolution of its
    c/n_div touched channels (FasterNet, section 3.2, equations 2 and 3): the copy of the others is not in the formula.

    Args:
        channels: c, of input and output.
        size: h, the map's side in pixels.
        kernel: side of the kernel; the pointwise convolution always has 1.
        n_div: PConv convolves c // n_div channels.

    Raises:
        WorkbenchError: a value below 1, an even kernel, or no channel left to convolve.

    >>> costs = operator_costs(192, 28)
    >>> costs["conv"].macs // costs["pconv"].macs, costs["conv"].macs // costs["depthwise"].macs
    (16, 192)
    """
    if min(channels, size, kernel, n_div) < 1 or kernel % 2 == 0 or channels // n_div < 1:
        raise WorkbenchError(
            f"channels={channels}, size={size}, kernel={kernel}, n_div={n_div} given; expected positive integers, "
            f"an odd kernel and n_div of at most the channels"
        )

    def cost(name: str, c: int, k: int, groups: int = 1) -> OperatorCost:
        weights = k * k * c * (c // groups)
        return OperatorCost(name, weights, size * size * weights, 4 * (2 * size * size * c + weights))

    return {
        "conv": cost("conv", channels, kernel),
        "depthwise": cost("depthwise", channels, kernel, groups=channels),
        "pointwise": cost("pointwise", channels, 1),
        "pconv": cost("pconv", channels // n_div, kernel),
    }
