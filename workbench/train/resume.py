"""Make an unfinished run's folder fit to go on from, whenever it was killed."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import WorkbenchError
from ..files import replace_text
from .run import Run
from .watch import PREVIOUS


class NoCheckpointError(WorkbenchError):
    """An unfinished run has nothing to go on from: only a new start helps."""


def prepare_resume(run: Run) -> tuple[Path, int]:
    """Return the checkpoint to go on from and the number of epochs it has done; tidy what a kill left behind.

    A torn ``last.pt`` is replaced by the one before it. Rows of ``results.csv`` beyond the checkpoint are removed: the
    epochs they belong to are trained again.

    Raises:
        WorkbenchError: the run is finished.
        NoCheckpointError: no checkpoint can be read.
    """
    if run.status == "finished":
        raise WorkbenchError(
            f"{run.folder} is finished ({run.record['epochs']} epochs); start another run to go further"
        )
    for leftover in (run.folder / "weights").glob(".*.pt*"):  # a write that was cut short
        leftover.unlink()
    done = _epochs_done(run.last)
    if done is None:
        spare = run.last.with_name(PREVIOUS)
        done = _epochs_done(spare)
        if done is None:
            raise NoCheckpointError(
                f"{run.folder} has no readable checkpoint, it stopped in its first epoch; train again"
            )
        os.replace(spare, run.last)
    if done == 0:  # stripped: the run ended and was killed while it said so
        done = run.record["epochs"]
    table = run.folder / "results.csv"
    if table.is_file():
        header, *rows = table.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.split(",")[0].strip().isdigit() and int(row.split(",")[0]) <= done]
        complete = [row for row in kept if row.count(",") == header.count(",")]
        unique = {row.split(",")[0]: row for row in complete}
        replace_text(table, "\n".join([header, *unique.values()]) + "\n")
    return run.last, done


def _epochs_done(checkpoint: Path) -> int | None:
    """Return the epochs a checkpoint has been through, 0 for a stripped one, None when it cannot be read."""
    from ..yolo import YOLO

    try:
        return int(YOLO(str(checkpoint)).ckpt["epoch"]) + 1
    except Exception:
        return None
