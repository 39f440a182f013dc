"""Folders that appear whole or not at all: build beside the target, then rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import WorkbenchError
from ..settings import cache_dir, own_dir


def build_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cached folder `name`, calling ``build(empty_folder)`` first when it is not there yet.

    The folder is built under a temporary name and renamed when complete, so an interrupted build leaves nothing a
    later call could mistake for a dataset, and of two processes that build at once one wins and both get equal data.

    Args:
        name: folder name under ``settings.cache_dir()``; it must state everything the content depends on.
        build: writes the content into the empty folder it is given.

    Raises:
        WorkbenchError: the folder cannot be written (disk full, no permission).
    """
    target = cache_dir() / name
    if target.is_dir():
        return target
    target = own_dir() / name  # another folder where a shared cache is read-only
    if target.is_dir():
        return target
    try:
        _sweep(target)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as e:
        raise _unwritable(target, e) from e
    try:
        build(temporary)
        temporary.chmod(0o755)  # mkdtemp makes it private; a shared cache is read by the whole class
        os.rename(temporary, target)
    except OSError as e:
        if target.is_dir():  # another process finished first: its content is equal to ours
            return target
        if isinstance(e, ValueError):  # one of our own errors, raised by build: already says what to do
            raise
        raise _unwritable(target, e) from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _sweep(target: Path) -> None:
    """Remove what builds of `target` left behind that were killed; a build that still runs is younger than a day."""
    for left in target.parent.glob(f".{target.name}-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left)


def _unwritable(path: Path, error: OSError) -> WorkbenchError:
    return WorkbenchError(
        f"cannot write {path} ({error.strerror or error}); free space or point WORKBENCH_CACHE at a writable folder"
    )
