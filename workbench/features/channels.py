"""What single channels do: how strong, how sparse, dead or alive, and whether PConv touched them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import WorkbenchError

SILENT = 1e-6  # a channel whose largest value is below this share of the map's largest says nothing
QUIET = 1e-3  # a value below this share of the map's largest counts as zero
SORTS = ("index", "energy", "variance", "sparsity")


@dataclass(frozen=True)
class ChannelStats:
    """Statistics per channel, each (C,), over batch and positions."""

    energy: Tensor  # mean of squares
    variance: Tensor
    sparsity: Tensor  # share of values that are zero, up to a thousandth of the map's largest
    dead: Tensor  # bool: no value above a millionth of the map's largest, on this input

    def order(self, by: str = "index") -> list[int]:
        """Return channel numbers sorted: by index, or the largest energy, variance or sparsity first.

        Raises:
            WorkbenchError: `by` is none of these.
        """
        if by not in SORTS:
            raise WorkbenchError(f"sort by {by!r} is unknown; expected one of {', '.join(SORTS)}")
        if by == "index":
            return list(range(len(self.energy)))
        return getattr(self, by).argsort(descending=True, stable=True).tolist()


def channel_stats(maps: Tensor) -> ChannelStats:
    """Return the statistics of every channel of a map (C, H, W) or (B, C, H, W).

    Raises:
        WorkbenchError: the tensor is no map.

    >>> import torch
    >>> s = channel_stats(torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]))
    >>> s.energy.tolist(), s.sparsity.tolist(), s.dead.tolist()
    ([0.0, 1.0], [1.0, 0.0], [True, False])
    """
    if maps.ndim not in (3, 4) or not maps.numel():
        raise WorkbenchError(f"a map of shape {tuple(maps.shape)} given; expected (C, H, W) or (B, C, H, W)")
    x = maps.detach().float()
    x = (x if x.ndim == 4 else x[None]).transpose(0, 1).flatten(1)  # (C, B·H·W)
    size = x.abs()
    top = size.max()
    quiet = size <= QUIET * top
    return ChannelStats(
        x.square().mean(1), x.var(1, unbiased=False), quiet.float().mean(1), size.amax(1) <= SILENT * top
    )


def touched_channels(module: nn.Module) -> int | None:
    """Return how many leading channels a partial convolution computes; None for any other module.

    >>> from workbench.backbones.fasternet import PConv
    >>> touched_channels(PConv(64)), touched_channels(nn.ReLU())
    (16, None)
    """
    n = getattr(module, "touched", None)
    return n if isinstance(n, int) and isinstance(getattr(module, "untouched", None), int) else None
