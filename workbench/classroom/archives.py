"""Files that came from outside, one after the other, without ever trusting a name, a size or a link of theirs.

Nothing is unpacked to disk: an entry is read into memory up to a limit, and the caller chooses where it goes.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO

from .course import ClassroomError, megabytes

MB = 2**20
MAX_FILE = 20 * MB  # one file, unpacked
MAX_ARCHIVE = 20_000 * MB  # an archive of a whole course, unpacked
MAX_ENTRIES = 200_000
MAX_RATIO = 200  # unpacked : packed of one entry; notebooks reach about 30, zip bombs 1000
FREE = 2 * MB  # below this no ratio is suspicious
NESTED = 1  # a student's own zip inside the system's


@dataclass(frozen=True)
class Incoming:
    """One file that came: where it stood, and its content or why that was not read.

    Attributes:
        path: inside the archive or folder, with ``/``.
        origin: name of the archive or folder given on the command line.
        time: when it was last changed, local; None where nothing says.
        data: its bytes, or None when refused.
        refused: why, or "".
        outer: where the student's own zip stood that held it; "" for a file that lay open.
    """

    path: str
    origin: str
    time: datetime | None
    data: bytes | None
    refused: str = ""
    outer: str = ""


def incoming(path: Path) -> Iterator[Incoming]:
    """Yield every file of an archive, a folder or a single file.

    Raises:
        ClassroomError: nothing is there, or it is neither a folder, a zip nor a notebook.
    """
    if path.is_dir():
        yield from _folder(path)
    elif not path.is_file():
        raise ClassroomError(f"{path} is not there; give zips, folders or notebooks")
    elif path.suffix == ".ipynb":
        yield _file(path, path.name, path.parent.name)
    elif zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            yield from _archive(stream, path.name, "", 0)
    else:
        raise ClassroomError(f"{path} is no zip, folder or notebook; download all submissions of the assignment as zip")


def _folder(root: Path) -> Iterator[Incoming]:
    for here, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted([*files, *(f for f in folders if (Path(here) / f).is_symlink())]):
            path = Path(here) / name
            inside = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")
            if path.suffix.lower() == ".zip" and path.is_file() and not path.is_symlink():
                yield from _nested(_file(path, inside, root.name), 0)
            else:
                yield _file(path, inside, root.name)


def _file(path: Path, inside: str, origin: str) -> Incoming:
    """Read a file of a folder; a link, a device or a pipe is refused, whatever it points to."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        if path.is_symlink():
            return Incoming(inside, origin, None, None, "a link")
        with os.fdopen(os.open(path, flags), "rb") as stream:
            found = os.fstat(stream.fileno())
            when = datetime.fromtimestamp(found.st_mtime)
            if not stat.S_ISREG(found.st_mode):
                return Incoming(inside, origin, when, None, "no regular file")
            if found.st_size > MAX_FILE:
                return Incoming(inside, origin, when, None, _too_large(found.st_size))
            return Incoming(inside, origin, when, stream.read(MAX_FILE))
    except OSError as e:
        return Incoming(inside, origin, None, None, f"unreadable: {e.strerror}")


def _archive(stream: IO[bytes], origin: str, prefix: str, depth: int) -> Iterator[Incoming]:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if reason := _bomb(entries, depth):
                yield Incoming(prefix.rstrip("/") or origin, origin, None, None, reason)
                return
            for entry in entries:
                if not entry.is_dir():
                    yield from _nested(_entry(archive, entry, origin, prefix), depth)
    except UnicodeDecodeError:
        reason = "a damaged zip: a name in it is not the UTF-8 it says it is; unpack it, and give the folder"
        yield Incoming(prefix.rstrip("/") or origin, origin, None, None, reason)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, OSError, ValueError) as e:
        yield Incoming(prefix.rstrip("/") or origin, origin, None, None, f"a damaged zip: {' '.join(str(e).split())}")


def _bomb(entries: Sequence[zipfile.ZipInfo], depth: int) -> str:
    """Return why nothing of an archive is read, or ""."""
    total, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if len(entries) > MAX_ENTRIES or total > (MAX_ARCHIVE if depth == 0 else 5 * MAX_FILE):
        return f"an archive of {len(entries):,} files and {megabytes(total)} unpacked; that is too much"
    if total > 5 * MAX_FILE and total > MAX_RATIO / 2 * packed:
        return f"a zip bomb: {packed:,} bytes unpack to {total:,}"
    return ""


def _nested(one: Incoming, depth: int) -> Iterator[Incoming]:
    """Look into a student's own zip; anything else passes as it is."""
    if one.data is None or not one.path.lower().endswith(".zip"):
        yield one
    elif depth >= NESTED:
        yield Incoming(one.path, one.origin, one.time, None, "a zip in a zip in a zip")
    else:
        for inner in _archive(io.BytesIO(one.data), one.origin, f"{one.path[:-4]}/", depth + 1):
            yield replace(inner, outer=one.outer or one.path, time=one.time or inner.time)


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, origin: str, prefix: str) -> Incoming:
    name = _name(entry)
    when = datetime(*entry.date_time) if _is_date(entry.date_time) else None
    if reason := _suspicious(entry, name):
        return Incoming(prefix + name, origin, when, None, reason)
    try:
        with archive.open(entry) as stream:
            data = stream.read(MAX_FILE + 1)  # what the header says of the size is only a claim
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as e:
        return Incoming(prefix + name, origin, when, None, f"damaged: {' '.join(str(e).split())[:80]}")
    if len(data) > MAX_FILE:
        return Incoming(prefix + name, origin, when, None, _too_large(len(data)))
    return Incoming(prefix + name, origin, when, data)


def _suspicious(entry: zipfile.ZipInfo, name: str) -> str:
    """Return why an entry is not even opened, or ""."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    path = PurePosixPath(name)
    if kind and not stat.S_ISREG(kind):
        return "a link" if stat.S_ISLNK(kind) else "no regular file"
    if path.is_absolute() or name[1:2] == ":":
        return "an absolute path"
    if ".." in path.parts:
        return "a path that leaves the archive"
    if entry.flag_bits & 0x1:
        return "encrypted"
    if entry.file_size > MAX_FILE:
        return _too_large(entry.file_size)
    if entry.file_size > FREE and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return f"a zip bomb: {entry.compress_size:,} bytes unpack to {entry.file_size:,}"
    return ""


def _name(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; many systems write UTF-8 without saying so, and Python then reads it as CP437."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeEncodeError, UnicodeDecodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/").replace("\0", "")


def _is_date(parts: tuple[int, ...]) -> bool:
    if parts[0] <= 1980:  # what a zip says that knows no date
        return False
    try:
        datetime(*parts)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


def _too_large(size: int) -> str:
    return f"{megabytes(size)}; a file may have {megabytes(MAX_FILE)}"
