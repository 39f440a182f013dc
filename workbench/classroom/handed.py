"""What was handed in, as it lies in a student's folder: which file counts, when it came, and whether it has changed."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime
from pathlib import Path

from .course import ClassroomError
from .notebook import MAX_BYTES

ENGINE = 2  # counts changes of grading that make older records stale
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
COMPANIONS = (".safetensors", ".png", ".jpg", ".jpeg", ".csv", ".txt", ".md")


def line(text: str, most: int = 300) -> str:
    """Return text on one line, printable, not too long."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:most]


def _regular(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def find_notebook(folder: Path, name: str) -> Path:
    """Return the notebook that was handed in: the one with the right name, else the only one.

    Raises:
        ClassroomError: none, several, or no regular file.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise ClassroomError("nothing was handed in")
    found = sorted(p for p in folder.iterdir() if p.suffix == ".ipynb")
    right = [p for p in found if p.name == f"{name}.ipynb"] or found
    if len(right) != 1:
        raise ClassroomError(f"no notebook was handed in, expected {name}.ipynb" if not right else "several notebooks")
    if not _regular(right[0]):
        raise ClassroomError(f"{line(right[0].name, 80)} is no regular file")
    size = right[0].stat().st_size
    if not size:
        raise ClassroomError(f"{line(right[0].name, 80)} is empty")
    return right[0]


def companions(folder: Path) -> list[Path]:
    """Return the small files beside the notebook, which cells may read."""
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in COMPANIONS and _regular(p)]
    return [p for p in found if p.name != "timestamp.txt" and p.stat().st_size <= MAX_BYTES][:20]


def stamp(folder: Path) -> str | None:
    """Return when it was handed in, as nbgrader's ``timestamp.txt`` says."""
    try:
        path = folder / "timestamp.txt"
        return line(path.read_text(encoding="utf-8")[:100], 40) or None if _regular(path) else None
    except (OSError, UnicodeDecodeError):
        return None


def moment(stamp: str) -> datetime | None:
    """Return a time stamp as local time; nbgrader's are in UTC. None for a text that is none.

    >>> moment("2026-11-28 09:15:00.250000 UTC").astimezone(UTC).isoformat()
    '2026-11-28T09:15:00.250000+00:00'
    >>> moment("yesterday") is None
    True
    """
    try:
        found = datetime.fromisoformat(stamp.strip().removesuffix(" UTC"))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone()
    except (ValueError, OverflowError):
        return None


def in_words(stamp: str) -> str:
    """Return a time stamp as people write local time; a text that is none stays as it is.

    >>> in_words("2026-11-15 12:15:00.250000 UTC").startswith("15 November 2026, "), in_words("yesterday")
    (True, 'yesterday')
    """
    when = moment(stamp)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}" if when else stamp


def checksum(folder: Path, source: Path, name: str) -> str:
    """Return the checksum of what was handed in and of what decides its marks."""
    found = hashlib.sha256(f"{ENGINE}".encode())
    files: list[Path] = [source / f"{name}.ipynb", source / "answers.py"]
    if folder.is_dir():
        files += sorted(p for p in folder.iterdir() if p.suffix == ".ipynb" or p.suffix.lower() in COMPANIONS)
    for path in files:
        found.update(f"\0{path.name}\0".encode("utf-8", "replace"))
        if _regular(path):
            with path.open("rb") as stream:
                found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:20]
