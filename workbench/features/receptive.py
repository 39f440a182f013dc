"""Which input pixels a unit really listens to.

Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (NIPS 2016): the
gradient of one output unit with respect to the input is largest at the centre and falls off like a Gaussian, so the
effective field is much smaller than the theoretical one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError
from .capture import capture


@dataclass(frozen=True)
class ReceptiveField:
    """The mean absolute gradient of the centre unit, over input positions."""

    influence: Tensor  # (H, W), sums to 1
    centre: tuple[int, int]  # the pixel the unit is centred on, (row, column)
    unit: tuple[int, int]  # the unit's place in its map

    def side(self, share: float = 0.95) -> int:
        """Return the side of the smallest centred square, in pixels, that holds `share` of the influence."""
        if not 0 < share <= 1:
            raise WorkbenchError(f"share={share!r} given; expected a number above 0 and at most 1")
        r, c = self.centre
        H, W = self.influence.shape
        rows = (torch.arange(H) - r).abs()[:, None]  # (H, 1)
        cols = (torch.arange(W) - c).abs()[None, :]  # (1, W)
        rings = torch.zeros(max(H, W)).index_add_(0, torch.maximum(rows, cols).flatten(), self.influence.flatten())
        held = rings.cumsum(0)  # (R,), influence within distance 0, 1, 2 …
        radius = int((held < share * held[-1] - 1e-9).sum())
        return 2 * radius + 1

    @property
    def reach(self) -> tuple[int, int]:
        """Height and width of the box outside which the influence is exactly zero: the theoretical field."""
        rows, cols = self.influence.sum(1).nonzero(), self.influence.sum(0).nonzero()
        if not len(rows):
            return 0, 0
        return int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1


def effective_receptive_field(
    model: nn.Module,
    name: str,
    *,
    imgsz: int | tuple[int, int] = 224,
    samples: int = 8,
    in_chans: int = 3,
    seed: int = 0,
) -> ReceptiveField:
    """Return the effective receptive field of a module's centre unit, averaged over random images.

    A gradient of one is sent back from all channels of the centre unit, with random signs per channel, so that channels
    cannot cancel by chance of their weights; absolute input gradients are summed over input channels and averaged
    (Luo et al., section 3.1).

    Args:
        model: any network; run in eval mode.
        name: module name or level whose unit is asked.
        imgsz: input side, or (height, width), in pixels.
        samples: random images.
        in_chans: image channels.
        seed: of images and signs.

    Raises:
        WorkbenchError: the module puts out no map, or the network passes no gradient.

    >>> conv = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    >>> field = effective_receptive_field(conv, "1", imgsz=15)
    >>> field.centre, field.reach, field.side(1.0)
    ((7, 7), (5, 5), 5)
    """
    size = (imgsz, imgsz) if isinstance(imgsz, int) else tuple(imgsz)
    generator = torch.Generator().manual_seed(seed)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    total = torch.zeros(size)  # (H, W)
    unit: tuple[int, ...] = (0, 0)
    shape: tuple[int, ...] = (1, 1)
    for _ in range(samples):
        x = torch.randn(1, in_chans, *size, generator=generator).to(device).requires_grad_()  # (1, C, H, W)
        out = capture(model, x, [name], grad=True)[name]
        if not isinstance(out, Tensor) or out.ndim != 4 or not out.requires_grad:
            raise WorkbenchError(f"{name!r} puts out no map (B, C, H, W) that gradients pass through")
        shape = tuple(out.shape[2:])
        unit = (shape[0] // 2, shape[1] // 2)
        signs = torch.randint(0, 2, (out.shape[1],), generator=generator).to(out) * 2 - 1  # (C',)
        (gradient,) = torch.autograd.grad((out[0, :, unit[0], unit[1]] * signs).sum(), x)  # (1, C, H, W)
        total += gradient[0].abs().sum(0).cpu()  # (H, W)
    centre = tuple(min(int((u + 0.5) * s / m), s - 1) for u, s, m in zip(unit, size, shape, strict=True))
    return ReceptiveField(total / total.sum().clamp_min(1e-30), (centre[0], centre[1]), (unit[0], unit[1]))
