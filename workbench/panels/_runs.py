"""What the Training panel reads of a run: recorded rows, or the folder of a training that may be going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..train.control import is_paused
from ..train.results import load_results
from ..train.run import Run

Rows = Sequence[Mapping[str, Any]]


def gather(runs: Any) -> dict[str, Run | Rows]:
    """Return label → run of everything a panel is given.

    Raises:
        WorkbenchError: no such results, or a folder that holds no run.
    """
    if isinstance(runs, Mapping):
        return {str(k): Run(v) if isinstance(v, str | Path) else v for k, v in runs.items()}
    found: dict[str, Run | Rows] = {}
    for item in [runs] if isinstance(runs, str | Path | Run) else runs:
        if isinstance(item, str) and not Path(item).expanduser().is_dir():
            recorded = load_results(item)
            found |= {label: recorded.curve(label) for label in recorded.runs}
        else:
            run = item if isinstance(item, Run) else Run(item)
            found[run.folder.name] = run
    return found


def facts(run: Run | Rows) -> dict[str, Any]:
    """Return ``status``, ``epochs`` done, the ``last`` row and all ``rows``."""
    rows = list(run.curves if isinstance(run, Run) else run)
    status = "recorded"
    if isinstance(run, Run):
        status = "paused" if run.status == "running" and is_paused(run.folder) else run.status
    return {"status": status, "epochs": len(rows), "last": rows[-1] if rows else {}, "rows": rows}


def line(label: str, facts: Mapping[str, Any], metric: str) -> str:
    """Return a run in words."""
    value = facts["last"].get(metric)
    number = "" if value is None else f", {metric.replace('_', ' ')} {value:.4g}"
    return f"{label}: {facts['status']}, {facts['epochs']} epochs{number}"
