"""The one place where process-wide settings are read or changed: budget, seeds, threads, cache folder.

Nothing here is done on import. Every number the workbench prints states the settings it was taken under.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from .errors import WorkbenchError

BUDGETS = ("fast", "full")


def budget() -> str:
    """Return the lesson budget, ``"fast"`` (the default) or ``"full"``, from ``WORKBENCH_BUDGET``.

    Raises:
        WorkbenchError: the variable holds anything else.
    """
    value = os.environ.get("WORKBENCH_BUDGET", "fast").strip().lower() or "fast"
    if value not in BUDGETS:
        raise WorkbenchError(f"WORKBENCH_BUDGET={value!r} is not a budget; set it to 'fast' or 'full'")
    return value


def cache_dir() -> Path:
    """Return the folder for private copies and downloads, created on demand.

    ``WORKBENCH_CACHE`` names it; otherwise ``backbone-workbench`` under ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    root = os.environ.get("WORKBENCH_CACHE")
    return _made(Path(root) if root else _default_cache())


def own_dir() -> Path:
    """Return the folder for what this user writes: the cache, or where that is read-only the one it would be without.

    A class may share a cache that the instructor filled and nobody else can write: what is in it is used from there,
    and a student's own results and sets go to the student's home.

    Raises:
        WorkbenchError: neither can be written.
    """
    path = cache_dir()
    if not os.access(path, os.W_OK):
        path = _made(_default_cache())
        if not os.access(path, os.W_OK):
            raise WorkbenchError(f"the cache folder {path} is read-only; point WORKBENCH_CACHE at a writable folder")
    return path


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "backbone-workbench"


def _made(path: Path) -> Path:
    path = path.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise WorkbenchError(
            f"cannot create the cache folder {path} ({e.strerror}); point WORKBENCH_CACHE at a writable folder"
        ) from e
    return path


def data_dir() -> Path:
    """Return the folder of the small files the lessons need offline (photos, tables, weights), read-only."""
    return Path(__file__).resolve().parent.parent / "data"


def seed_everything(seed: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def set_threads(n: int) -> int:
    """Set torch's intra-op threads and return the number in force before."""
    import torch

    before = torch.get_num_threads()
    if not isinstance(n, int) or n < 1:
        raise WorkbenchError(f"threads={n!r} is not a thread count; give an integer of at least 1")
    torch.set_num_threads(n)
    return before
