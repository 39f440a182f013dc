"""Recorded results: runs gathered into one table that can be committed, and read back by lessons."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataNotFoundError, WorkbenchError, did_you_mean
from ..files import replace_text
from ..settings import data_dir
from .run import Run


@dataclass(frozen=True)
class Results:
    """A recorded experiment.

    Attributes:
        name: of its files.
        command: what was run to get it.
        runs: label → record of a run, as in ``run.json``, without paths of the machine.
        curves: one row per run and epoch; ``run`` is the label.
    """

    name: str
    command: str
    runs: dict[str, dict[str, Any]]
    curves: list[dict[str, Any]]

    def labels(self, **wanted: Any) -> list[str]:
        """Return the labels of the runs whose record has these values, e.g. ``labels(model="yolo11n", seed=0)``."""
        return [label for label, record in self.runs.items() if all(record[k] == v for k, v in wanted.items())]

    def curve(self, label: str) -> list[dict[str, Any]]:
        """Return the rows of one run, an epoch each."""
        return [row for row in self.curves if row["run"] == label]

    def scores(self, model: str, metric: str = "map50") -> list[float]:
        """Return the metric of a model's best checkpoints, one number per seed."""
        return [self.runs[label]["metrics"][metric] for label in self.labels(model=model)]


def save_results(runs: Mapping[str, Run], path: Path, command: str) -> Results:
    """Write ``path.csv`` (curves) and ``path.json`` (records) of finished runs.

    Args:
        runs: label → finished run.
        path: without suffix, e.g. ``data/results/coco128_320_5epochs``.
        command: that repeats the experiment.

    Raises:
        WorkbenchError: a run is not finished.
    """
    for run in runs.values():
        if run.status != "finished":
            raise WorkbenchError(f"{run.folder} is {run.status}; only finished runs are recorded")
    rows = [{"run": label, **row} for label, run in runs.items() for row in run.curves]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [",".join(columns), *(",".join(_cell(row.get(c, "")) for c in columns) for row in rows)]
    records = {label: _portable(run.record) for label, run in runs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path.with_suffix(".csv"), "\n".join(lines) + "\n")
    replace_text(path.with_suffix(".json"), json.dumps({"command": command, "runs": records}, indent=1) + "\n")
    return Results(path.name, command, records, rows)


def recorded() -> list[str]:
    """Return the names of the recorded experiments; benchmarks, which lie beside them, are none.

    >>> "memory_24_images" in recorded()
    True
    """
    tables = (data_dir() / "results").glob("*.csv")
    kept = [p.with_suffix(".json") for p in tables if p.with_suffix(".json").is_file()]
    return sorted(p.stem for p in kept if "runs" in json.loads(p.read_text(encoding="utf-8")))


def load_results(name: str) -> Results:
    """Read a recorded experiment from ``data/results``.

    Raises:
        DataNotFoundError: there is none of that name; the message lists what there is.
    """
    folder, known = data_dir() / "results", recorded()
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
        raise DataNotFoundError(f"no recorded results {name!r}{hint}")
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = [{k: v if k == "run" else _number(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return Results(name, record["command"], record["runs"], rows)


def _portable(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out what names one machine's folders."""
    data = {key: value for key, value in record["data"].items() if key != "path"}
    weights = record["weights"] and Path(record["weights"]).name
    return record | {"data": data, "weights": weights}


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(text: str) -> float | int | None:
    if text == "":
        return None
    value = float(text)
    return int(value) if value.is_integer() and "." not in text else value
