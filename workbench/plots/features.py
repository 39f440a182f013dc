"""Feature maps as pictures: signed colours, grids of channels, overlays; and the figures of lesson 06.

Zero is white, positive is blue, negative is orange, in every picture: safe for colour-blind readers, and a dead channel
is a white tile. The pixel functions are NumPy in, NumPy out, and fast enough for a panel that follows a slider.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import WorkbenchError
from .style import FAMILY_COLOUR, PALETTE, axes, family_colour, family_marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

SCALES = ("own", "shared")
_WHITE = np.array((255, 255, 255), np.float32)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)


def _signed_palette() -> np.ndarray:
    """Return 255 colours, (255, 3) uint8: 0 is −1 (orange), 127 is 0 (white), 254 is +1 (blue)."""
    t = np.linspace(-1, 1, 255, dtype=np.float32)[:, None]  # (255, 1)
    ends = np.where(t < 0, _rgb(PALETTE["orange"]), _rgb(PALETTE["blue"]))  # (255, 3)
    return np.round(_WHITE + np.abs(t) * (ends - _WHITE)).astype(np.uint8)


SIGNED = _signed_palette()


def to_array(maps: Tensor | np.ndarray) -> np.ndarray:
    """Return one image's maps as float32 (C, H, W).

    Raises:
        WorkbenchError: the tensor is no map of one image.
    """
    a = maps if isinstance(maps, np.ndarray) else maps.detach().float().cpu().numpy()
    a = a[0] if a.ndim == 4 and a.shape[0] == 1 else a
    if a.ndim != 3 or not a.size:
        raise WorkbenchError(f"a map of shape {tuple(a.shape)} given; expected (C, H, W) or (1, C, H, W)")
    return a.astype(np.float32, copy=False)


def limits(maps: np.ndarray, scale: str = "own") -> np.ndarray:
    """Return the value that gets the full colour, per channel (C,): its own largest, or the largest of all."""
    if scale not in SCALES:
        raise WorkbenchError(f"scale={scale!r} is unknown; expected one of {', '.join(SCALES)}")
    top = np.nan_to_num(np.abs(maps), nan=0.0, posinf=0.0).max((1, 2))  # (C,)
    return np.full_like(top, top.max(initial=0.0)) if scale == "shared" else top


def coloured(maps: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Return signed colours, (C, H, W, 3) uint8, for maps (C, H, W) and their full-colour values (C,)."""
    unit = maps / np.maximum(top, 1e-30)[:, None, None]  # (C, H, W)
    index = np.nan_to_num(unit * 127 + 127, nan=127.0).clip(0, 254).round().astype(np.uint8)
    return SIGNED[index]


def sheet(
    maps: np.ndarray, top: np.ndarray, columns: int = 8, under: np.ndarray | None = None, overlay: float = 0.0
) -> np.ndarray:
    """Return channels (C, H, W) laid out in a grid, (rows · h, columns · w, 3) uint8, without gaps.

    Args:
        maps: the channels to show, in order.
        top: their full-colour values (C,).
        columns: tiles in a row.
        under: the image (h, w, 3) uint8, drawn below each tile when `overlay` is above 0.
        overlay: share of the image in the mixture, 0 to 1.
    """
    tiles = coloured(maps, top)  # (C, H, W, 3)
    if under is not None and overlay > 0:
        h, w = under.shape[:2]
        rows, cols = np.arange(h) * tiles.shape[1] // h, np.arange(w) * tiles.shape[2] // w
        tiles = tiles[:, rows][:, :, cols]  # (C, h, w, 3), nearest neighbour
        tiles = (overlay * under[None] + (1 - overlay) * tiles).round().astype(np.uint8)
    n, h, w, _ = tiles.shape
    blank = np.full((-n % columns, h, w, 3), 255, np.uint8)
    grid = np.concatenate((tiles, blank)).reshape(-1, columns, h, w, 3)  # (R, columns, h, w, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(-1, columns * w, 3)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels (H, W, 3) uint8 as a PNG, packed for speed rather than size."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def feature_grid(
    maps: Tensor | np.ndarray,
    channels: Sequence[int] | None = None,
    *,
    columns: int = 8,
    scale: str = "own",
    title: str = "",
    dead: Sequence[int] = (),
    figure: Figure | None = None,
) -> Figure:
    """Draw channels as tiles under their real numbers; the static form of the FeatureMaps panel.

    Args:
        maps: (C, H, W) or (1, C, H, W).
        channels: which, in order; default the first 32.
        columns: tiles in a row.
        scale: "own" or "shared" full colour.
        title: above the figure.
        dead: channel numbers marked as dead.
        figure: to draw into; a new one by default.

    Raises:
        WorkbenchError: no map, or a channel that it does not have.
    """
    import matplotlib.pyplot as plt

    a = to_array(maps)
    chosen = list(range(min(32, len(a)))) if channels is None else list(channels)
    if not chosen or not all(0 <= c < len(a) for c in chosen):
        raise WorkbenchError(f"channels {chosen[:4]}… given; the map has channels 0 to {len(a) - 1}")
    rows = -(-len(chosen) // columns)
    fig = figure or plt.figure(figsize=(1.15 * columns, 1.3 * rows + (0.35 if title else 0)))
    tiles = coloured(a[chosen], limits(a, scale)[chosen])  # (n, H, W, 3)
    grid = fig.subplots(rows, columns, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    for ax, tile, c in zip(grid.flat, tiles, chosen, strict=False):
        ax.imshow(tile, interpolation="nearest")
        ax.set_title(f"{c} dead" if c in dead else str(c), fontsize=8, pad=2, color=PALETTE["grey"])
    for ax in grid.flat:
        ax.set_axis_off()
    if title:
        fig.suptitle(title, fontsize=11)
    return fig


def receptive_fields(fields: Mapping[str, Any], crop: int | None = None) -> Sequence[Axes]:
    """Draw effective receptive fields side by side, around the centre unit.

    A square holds 95 % of the influence; the dashed box is the theoretical field, outside which it is exactly zero.

    Args:
        fields: label → `features.ReceptiveField`.
        crop: side of the part shown around the centre, pixels; default everything.
    """
    import matplotlib.pyplot as plt

    fig, row = plt.subplots(1, len(fields), figsize=(3.1 * len(fields), 3.5), squeeze=False, layout="constrained")
    for ax, (label, field) in zip(row[0], fields.items(), strict=True):
        (r, c), influence = field.centre, field.influence.numpy()  # (H, W)
        H, W = influence.shape
        around = (-c - 0.5, W - c - 0.5, H - r - 0.5, -r - 0.5)  # left, right, bottom, top, from the centre
        ax.imshow(np.sqrt(influence / influence.max()), cmap="Blues", interpolation="nearest", extent=around)
        side, (high, wide) = field.side(0.95), field.reach
        top, left = (int(np.flatnonzero(influence.sum(axis))[0]) for axis in (1, 0))
        boxes = (((left - c - 0.5, top - r - 0.5), wide, high, PALETTE["grey"], "--"),
                 ((-side / 2, -side / 2), side, side, PALETTE["orange"], "-"))  # fmt: skip
        for corner, w, h, colour, style in boxes:
            ax.add_patch(plt.Rectangle(corner, w, h, fill=False, lw=1.5, ec=colour, ls=style))
        ax.set_title(f"{label}: 95 % in {side} of {wide} px", fontsize=9)
        ax.grid(False)
        if crop:
            ax.set(xlim=(-crop / 2, crop / 2), ylim=(crop / 2, -crop / 2))
        ax.set_xlabel("input column from the centre, px")
    row[0][0].set_ylabel("input row from the centre, px")
    fig.suptitle("influence on the centre unit (square root); solid: 95 %, dashed: theoretical field", fontsize=10)
    return list(row[0])


def cka_heatmap(
    matrix: Tensor | np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw a CKA matrix with its numbers; rows and columns are layers of two networks."""
    values = np.asarray(matrix, dtype=float)
    ax = axes(ax, figsize=(0.9 * len(columns) + 1.6, 0.7 * len(rows) + 1.2))
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1)
    crowded = max(map(len, columns), default=0) > 8
    ax.set_xticks(range(len(columns)), columns, rotation=20 if crowded else 0, ha="right" if crowded else "center")
    ax.set_yticks(range(len(rows)), rows)
    for (i, j), v in np.ndenumerate(values):
        ax.text(j, i, f"{v:.2f}", ha="center", va="center", fontsize=9, color="white" if v > 0.6 else "black")
    ax.set_title(title or "unbiased CKA", fontsize=10)
    ax.grid(False)
    return ax


def survival(shares: Mapping[str, Mapping[str, float]], ylabel: str, ax: Axes | None = None) -> Axes:
    """Draw one line per network over the levels P2 to P5: what survives each stage.

    Args:
        shares: network → level → value; a family or one of its variants gets the family's colour and marker.
        ylabel: what the value is, with its unit.
        ax: to draw into.
    """
    ax = axes(ax, figsize=(5.2, 3.2))
    for i, (name, values) in enumerate(shares.items()):
        known = name.split("_", 1)[0] in FAMILY_COLOUR
        look: dict[str, Any] = (
            {"color": family_colour(name), "marker": family_marker(name)} if known else {"marker": "osD^"[i % 4]}
        )
        ax.plot(list(values), list(values.values()), label=name, **look)
    ax.set_xlabel("level")
    ax.set_ylabel(ylabel)
    ax.legend()
    return ax
