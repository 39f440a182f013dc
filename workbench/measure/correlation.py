"""Which count predicts time? Spearman's rank correlation, of rows measured here and of tables the papers print."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WorkbenchError
from ..settings import data_dir
from .published import published

COUNTS = ("macs", "activations", "params")


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation of two lists, ties sharing their mean rank; NaN when one of them is constant.

    >>> round(spearman([1, 2, 3, 4], [10, 40, 30, 90]), 2)
    0.8
    """
    if len(a) != len(b) or len(a) < 2:
        raise WorkbenchError(f"{len(a)} and {len(b)} values given; expected two lists of the same length, 2 or more")
    ranks = np.stack([_ranks(np.asarray(v, dtype=float)) for v in (a, b)])  # (2, n)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1))
    if not norms.all():
        return float("nan")
    return round(float(centred[0] @ centred[1] / (norms[0] * norms[1])), 12)  # without rounding noise


def _ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([((values < v).sum() + (values <= v).sum() + 1) / 2 for v in values])  # (n,)


def rank_correlation(
    rows: Iterable[Mapping[str, Any]], to: str = "latency_ms", counts: Sequence[str] = COUNTS
) -> dict[str, float]:
    """Return, for each count, how well it ranks the rows by `to`: 1 is the same order, −1 the reverse.

    Args:
        rows: as `BackboneLab.rows` has them; at least three that hold `to`.
        to: what is to be predicted.
        counts: keys to try.

    Raises:
        WorkbenchError: fewer than three rows: any two are in some order.
    """
    known = [row for row in rows if row.get(to) is not None]
    if len(known) < 3:
        raise WorkbenchError(f"{len(known)} rows with {to!r} given; a rank correlation needs at least 3")
    return {count: spearman([row[count] for row in known], [row[to] for row in known]) for count in counts}


def published_correlation() -> list[dict[str, Any]]:
    """Return the same statistic over the latencies that the papers print, one row per paper and device.

    Networks of the four families only, because their MACs and parameters are counted here and not copied; a device
    with fewer than four of them is left out. Throughput is turned into time per image.
    """
    with (data_dir() / "backbones.csv").open(newline="", encoding="utf-8") as f:
        counted = {row["variant"]: row for row in csv.DictReader(f)}
    groups: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for row in published("latency"):
        ours = counted.get(row["model"])
        if ours is not None and row["value"]:
            time = 1 / row["value"] if row["unit"] == "images/s" else row["value"]
            costs = {c: float(ours[f"{c}_deploy"] or ours[f"{c}_train"]) for c in ("macs", "params")}
            groups[row["paper"], row["device"]].append(costs | {"latency": time})
    return [
        {"paper": paper, "device": device, "n": len(rows)} | rank_correlation(rows, "latency", ("macs", "params"))
        for (paper, device), rows in groups.items()
        if len(rows) >= 4
    ]
