"""A detector cut into backbone, neck and head, each of which can be timed and counted by itself."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError
from .layer import BackboneLayer

PARTS = ("backbone", "neck", "head")


class Part(nn.Module):
    """Some consecutive rows of a detector, with what they read from earlier rows kept at hand.

    Args:
        rows: the layers, as ultralytics numbers them.
        before: row number → its output, of the earlier rows that these read.
        wanted: rows whose output later rows read; all of these are returned.
    """

    def __init__(self, rows: list[Any], before: dict[int, Any], wanted: list[int]) -> None:
        super().__init__()
        self.rows = nn.ModuleList(rows)
        self.before, self.wanted = before, wanted

    def forward(self, x: Any) -> dict[int, Any]:
        """Return row number → output; `x` is what the first of these rows reads if it reads the row before it."""
        known = dict(self.before)
        rows: Any = self.rows
        for row in rows:
            if row.f != -1:
                x = known[row.f] if isinstance(row.f, int) else [x if j == -1 else known[j] for j in row.f]
            x = row(x)
            known[row.i] = x
        return {i: known[i] for i in self.wanted}


def parts(detector: Any, x: Tensor) -> dict[str, tuple[Part, Any]]:
    """Cut a detector and return part → (module, its input), as `workbench.measure.latency` takes candidates.

    The backbone is what its YAML calls so, SPPF and attention behind the stages included; for a transplant that is the
    `BackboneLayer`, its four ``Index`` rows and what the host keeps there. Each part runs on the real outputs of the
    parts before it, so the three times add up to the detector's, but for what a real pass still holds in its caches.

    Args:
        detector: a ``YOLO`` or a detection network of ultralytics, fused or not. RT-DETR's decoder reads as a head.
        x: image batch, (B, 3, H, W), sides multiples of 32.

    Raises:
        WorkbenchError: not a detection network.
    """
    inner = getattr(detector, "model", None)
    of_yolo = isinstance(inner, nn.Module) and not isinstance(inner, nn.Sequential)  # a network's own is its rows
    network: Any = inner if of_yolo else detector
    rows: Any = getattr(network, "model", None)
    cfg: Any = getattr(network, "yaml", None)
    if not isinstance(rows, nn.Sequential) or not isinstance(cfg, dict) or "head" not in cfg:
        raise WorkbenchError(
            f"{type(network).__name__} is no detection network of ultralytics; give YOLO(…) or its .model"
        )
    layers: list[Any] = list(rows.children())
    last = len(layers) - 1
    first_neck = len(layers) - len(cfg["head"])
    if any(isinstance(row, BackboneLayer) for row in layers[first_neck:]):
        raise WorkbenchError("the backbone stands in the YAML's head section; move its row into the section backbone")
    ranges = dict(zip(PARTS, itertools.pairwise((0, first_neck, last, last + 1)), strict=True))
    with torch.no_grad():
        outputs = Part(layers, {}, list(range(len(layers)))).eval()(x)
    cut = {}
    for name, (start, stop) in ranges.items():
        chosen = layers[start:stop]
        reads = {j for row in chosen for j in _reads(row) if j < start}
        wanted = sorted({j for row in layers[stop:] for j in _reads(row) if start <= j < stop} | {stop - 1})
        part = Part(chosen, {j: outputs[j] for j in reads if j >= 0}, wanted).eval()
        cut[name] = (part, x if start == 0 else outputs[start - 1])
    return cut


def _reads(row: Any) -> list[int]:
    sources = [row.f] if isinstance(row.f, int) else list(row.f)
    return [row.i - 1 if j == -1 else j for j in sources]
