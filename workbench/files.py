"""The one way the workbench writes files: under another name, then renamed, so that nobody ever reads half of one.

An exception, Ctrl-C or a kill while a file is written leaves the old file, or none; two processes that write the same
file at once leave the bytes of one of them.
"""

from __future__ import annotations

import contextlib
import os
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
