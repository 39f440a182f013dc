"""The one way the workbench writes files: under another name, then renamed, so that nobody ever reads half of one.

An exception, Ctrl-C or a kill while a file is written leaves the old file, or none; two processes that write the same
file at once leave the bytes of one of them. And the one way it keeps files for a while: a scratch folder goes with its
process, and what a killed process could not remove is removed by the next that makes one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import WorkbenchError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the name of an empty file beside `path`, with its ending, to write to; put it in place when all went well.

    An existing file keeps its permissions, and a link keeps pointing where it points.

    Raises:
        WorkbenchError: the file cannot be written (no such folder, no permission, disk full).

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.csv") as part:
    ...         _ = part.write_text("x")
    ...     print(os.listdir(folder), part.suffix)
    ['a.csv'] .csv
    """
    target = Path(os.path.realpath(path))
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix or ".part", dir=target.parent)
        os.close(handle)
        part = Path(name)
        yield part
        with part.open("rb+") as file:  # the bytes are on the disk before the name is: a power cut loses neither file
            os.fsync(file.fileno())
        part.chmod(stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644)  # mkstemp makes it private
        os.replace(part, target)
    except WorkbenchError:
        raise
    except OSError as e:
        raise WorkbenchError(
            f"cannot write {path} ({e.strerror or e}); nothing was changed. "
            "Give a folder that exists, has free space and is yours to write"
        ) from e
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def replace_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write bytes to a file, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(content)


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write text to a file as UTF-8, whole or not at all; ``\n`` stays ``\n`` on every system."""
    replace_bytes(path, text.encode("utf-8"))


SCRATCH = ".scratch"  # how the name of a folder ends that may be removed when nobody holds it


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Yield a new folder below the system's temporary one; remove it at the end, and those of killed processes.

    Whoever made a folder holds a lock on it, which the system lets go however the process ends. Only folders of the
    same user that nobody holds are removed, so that several users and containers may share one ``/tmp``.

    >>> with scratch("doctest") as folder:
    ...     _ = (folder / "a.txt").write_text("x")
    ...     print(folder.is_dir(), folder.name.startswith("workbench-doctest-"))
    True True
    >>> folder.exists()
    False
    """
    _sweep()
    (folder, lock), owner = _held(name), os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:  # a forked child that ends takes nothing with it
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)


_until_exit: dict[tuple[int, str], Path] = {}  # process and temporary folder → its scratch folder: one lock for all


def scratch_until_exit(name: str) -> Path:
    """Return a new folder that is there as long as this process is: for notebooks, whose kernel is one."""
    key = os.getpid(), tempfile.gettempdir()
    if key not in _until_exit or not _until_exit[key].is_dir():
        until = contextlib.ExitStack()
        _until_exit[key] = until.enter_context(scratch(name))
        atexit.register(until.close)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_until_exit[key]))


def _held(name: str) -> tuple[Path, int | None]:
    """Return a new folder and the descriptor that locks it; None where the system has no such locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"workbench-{name}-", suffix=SCRATCH))
        try:
            lock = _lock(folder)
        except FileNotFoundError:  # swept between its making and its locking: another one
            continue
        except OSError:  # no locks here: nobody else can take it for a dead one's either
            return folder, None
        if lock is not None and folder.is_dir():
            return folder, lock
        if lock is not None:  # swept too
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that holds the folder; None where another process does.

    Raises:
        OSError: no folder of ours, or a file system without locks.
    """
    if not hasattr(os, "O_NOFOLLOW"):  # Windows
        raise OSError("this system has no flock")
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        os.close(handle)
        raise


def _sweep() -> None:
    """Remove the scratch folders of this user whose process is gone."""
    if not hasattr(os, "getuid"):  # no Unix, no locks
        return
    for folder in Path(tempfile.gettempdir()).glob(f"workbench-*{SCRATCH}"):
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid != os.getuid():
                continue
            if (lock := _lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
