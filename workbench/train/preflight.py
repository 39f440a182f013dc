"""Everything that can be known to fail before the first epoch is found out before the first epoch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError
from .run import RECORD

RUNS = Path("runs")  # below the working folder, where ultralytics also puts its runs
CHECKPOINTS = 4  # best, last, the one before last, and the one being written
BYTES_PER_PARAMETER = 12  # weights and two optimiser moments, FP32 in memory; checkpoints hold less
ACTIVATION_BYTES = 60e6  # least memory one 640-pixel image costs in training, any network here


def prepare_folder(out: str | Path | None, default_name: str, replace: bool) -> Path:
    """Return the run's folder, checked but not created: it is free, and files can be written there.

    Raises:
        WorkbenchError: it already holds something, or cannot be written.
    """
    folder = Path(out).expanduser().absolute() if out is not None else (RUNS / default_name).absolute()
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / RECORD).is_file():
            raise WorkbenchError(f"{folder} holds files that are no training run; give another out=")
        if not replace:
            raise WorkbenchError(
                f"{folder} already holds a run; resume={str(folder)!r} goes on with it, or give another out="
            )
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=nearest):  # permissions say little: try
            pass
    except OSError as e:
        raise WorkbenchError(f"cannot write {folder} ({e.strerror}); give an out= folder that you may write to") from e
    return folder


def clear_folder(folder: Path) -> None:
    """Remove an old run of ours that is being replaced, so that its curves do not mix with the new ones."""
    if (folder / RECORD).is_file():
        shutil.rmtree(folder)


def check_resources(folder: Path, parameters: int, batch: int, imgsz: int, device: Any) -> None:
    """Compare what a run needs at least with free disk and, on a CPU, free memory.

    Raises:
        WorkbenchError: there is certainly too little of either.
    """
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    need, free = CHECKPOINTS * BYTES_PER_PARAMETER * parameters + 20e6, shutil.disk_usage(nearest).free
    if free < need:
        raise WorkbenchError(
            f"{nearest} has {free / 1e6:.0f} MB free, the run needs {need / 1e6:.0f} MB; make room or give another out="
        )
    if str(device) != "cpu":
        return
    import psutil

    need = BYTES_PER_PARAMETER * parameters + batch * (imgsz / 640) ** 2 * ACTIVATION_BYTES
    free = psutil.virtual_memory().available
    if free < need:
        raise WorkbenchError(
            f"{free / 1e6:.0f} MB of memory are free and batch={batch} at imgsz={imgsz} needs at least "
            f"{need / 1e6:.0f} MB; use a smaller batch or imgsz"
        )
