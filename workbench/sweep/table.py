"""The result of a sweep: one tidy row per run, whatever its state."""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataNotFoundError
from ..files import replace_text
from ..train.run import Run

COLUMNS = (
    *("label", "model", "data", "held_out", "preset", "epochs", "imgsz", "seed", "status", "map50", "map50_95"),
    *("seconds", "device", "threads", "cpu"),
)
FILE = "table.csv"


@dataclass(frozen=True)
class Table:
    """Rows of a sweep. Prints means over seeds; a lead within two standard errors is called none."""

    rows: list[dict[str, Any]]

    def finished(self) -> list[dict[str, Any]]:
        """The rows of finished runs."""
        return [row for row in self.rows if row["status"] == "finished"]

    def to_csv(self) -> str:
        """Return the rows as CSV."""
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()

    def save(self, folder: Path) -> Path:
        """Write ``table.csv`` into a folder, at once or not at all."""
        replace_text(folder / FILE, self.to_csv())
        return folder / FILE

    def __str__(self) -> str:
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in self.finished():
            groups[row["model"], row["data"] + ("" if row["held_out"] else " (val = train)")].append(row["map50"])
        width = max((len(f"{m} on {d}") for m, d in groups), default=0)
        lines = [f"{m + ' on ' + d:<{width}}  mAP50 {_spread(values)}" for (m, d), values in sorted(groups.items())]
        left = [f"{row['label']}: {row['status']}" for row in self.rows if row["status"] != "finished"]
        return "\n".join([*lines, *left, f"{len(self.finished())} of {len(self.rows)} runs finished"])


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.3f}"
    if len(values) == 1:
        return f"{mean} (one seed: its spread is unknown)"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {2 * error:.3f} (two standard errors, {len(values)} seeds)"


def collect(folder: Path, labels: Sequence[str] | None = None) -> Table:
    """Return the table of the runs in a folder.

    Args:
        folder: of a sweep, one run folder in it per label.
        labels: the runs that belong to it; default every run there is.

    Raises:
        DataNotFoundError: no such folder, or no run in it.
    """
    if labels is None:
        labels = sorted(p.parent.name for p in folder.glob("*/run.json"))
        if not labels:
            raise DataNotFoundError(f"{folder} holds no runs; give the folder that a sweep filled")
    return Table([_row(folder / label) for label in labels])


def _row(folder: Path) -> dict[str, Any]:
    blank = dict.fromkeys(COLUMNS, "") | {"label": folder.name, "status": "waiting"}
    try:
        record = Run(folder).record
    except (DataNotFoundError, ValueError):  # not begun, or killed while it wrote its first record
        return blank
    env, metrics = record.get("environment", {}), record.get("metrics") or {}
    return blank | {
        "model": record["model"], "data": record["data"]["name"], "held_out": record["data"]["held_out"],
        **{k: record[k] for k in ("preset", "epochs", "imgsz", "seed", "status")},
        **{k: metrics.get(k, "") for k in ("map50", "map50_95")}, "seconds": round(record.get("seconds", 0.0), 1),
        **{k: env.get(k, "") for k in ("device", "threads", "cpu")},
    }  # fmt: skip
