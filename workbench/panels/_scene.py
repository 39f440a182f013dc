"""From views to what the canvas draws: packed pictures, the selected channel's values, and the same in words."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ..plots.features import png, sheet
from ._maps import View

COLUMNS = 8
Sheet = tuple[bytes, tuple[int, int]]  # PNG of all tiles, and one tile's height and width in it


class MapCanvas(anywidget.AnyWidget):
    """The picture: grids of channels and a large view of one; see ``feature_maps.js``."""

    _esm = Path(__file__).with_name("feature_maps.js")
    _css = Path(__file__).with_name("feature_maps.css")
    scene = traitlets.Dict().tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)


def sheets(found: Sequence[View], under: np.ndarray | None, overlay: float) -> list[Sheet]:
    """Return each view's page as one picture, over the image `under` when `overlay` is above 0."""
    made = []
    for v in found:
        h, w = v.shape[1:] if under is None else under.shape[:2]
        rows = list(v.channels)
        made.append((png(sheet(v.maps[rows], v.top[rows], COLUMNS, under, overlay)), (h, w)))
    return made


def scene_view(v: View, picture: Sheet, selected: int, pinned: Sequence[int]) -> dict[str, Any]:
    """Return one view as the canvas reads it."""
    data, tile = picture
    page = v.maps[list(v.channels)]  # (n, H, W)
    stats = np.stack((page.mean((1, 2)), page.min((1, 2)), page.max((1, 2))), 1)  # (n, 3)
    return {
        "label": v.label, "png": data, "tile": list(tile), "channels": list(v.channels), "touched": v.touched,
        "dead": [d for d in v.dead if d in v.channels], "pinned": list(pinned), "size": list(v.shape[1:]),
        "module": v.module,
        "values": np.ascontiguousarray(v.maps[selected], np.float32).tobytes(), "top": float(v.top[selected]),
        "stats": np.ascontiguousarray(stats, np.float32).tobytes(),
    }  # fmt: skip


def describe(found: list[View], selected: int) -> str:
    """Return the picture in words: shapes, what is on the page, dead channels, sparsity, the selected channel.

    >>> one = np.ones(4, np.float32)
    >>> v = View("net", "stages.2", np.ones((4, 2, 2), np.float32), (0, 1), one, one, 0 * one, (3,), None)
    >>> describe([v], 1)
    'net, stages.2: 4 channels of 2×2, 2 shown, 1 dead, median sparsity 0 %, energy of channel 1: 1'
    """
    return "; ".join(
        f"{v.label}, {v.module}: {v.shape[0]} channels of {v.shape[1]}×{v.shape[2]}, {len(v.channels)} shown, "
        f"{len(v.dead)} dead, median sparsity {100 * float(np.median(v.sparsity)):.0f} %, "
        f"energy of channel {selected}: {float(v.energy[selected]):.3g}"
        + (f", PConv computes 0 to {v.touched - 1} (green, *)" if v.touched else "")
        for v in found
    )


def thumbnail(image: Any, side: int = 56) -> np.ndarray:
    """Return the image (1, 3, H, W) as a small picture (h, w, 3) uint8, to lie under the tiles."""
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)  # (H, W, 3)
    step = max(1, pixels.shape[0] // side)
    return pixels[step // 2 :: step, step // 2 :: step]


def escape(text: str) -> str:
    """Return text to stand between two tags of HTML, where quotes may stay quotes."""
    return html.escape(text, quote=False)
