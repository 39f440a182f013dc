"""The running comparison table: each lesson's recap appends a row, the last lesson reads them all.

One CSV in the cache folder, replaced atomically; a lesson that runs again replaces its own rows.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import settings
from ..errors import WorkbenchError
from ..files import replacing
from .predictions import show
from .session import current, device_name

KEYS = ("lesson", "backbone")  # together they name a row
STAMP = ("budget", "device", "threads", "torch")


class Table(list[dict[str, Any]]):
    """Rows as dictionaries; prints as a text table, and as HTML in a notebook."""

    @property
    def columns(self) -> list[str]:
        """Every column of any row, in order of first use, the stamp last."""
        names = dict.fromkeys(k for row in self for k in row)
        return [n for n in names if n not in STAMP] + [n for n in names if n in STAMP]

    def _cells(self) -> list[list[str]]:
        body = [[show(row[c]) if row.get(c) not in (None, "") else "" for c in self.columns] for row in self]
        return [self.columns, *body]

    def __repr__(self) -> str:
        if not self:
            return "the comparison table is empty: each lesson's recap appends a row"
        cells = self._cells()
        widths = [max(len(r[i]) for r in cells) for i in range(len(self.columns))]
        return "\n".join("  ".join(f"{v:>{w}}" for v, w in zip(r, widths, strict=True)) for r in cells)

    def _repr_html_(self) -> str:
        import html

        head, *body = [[html.escape(c) for c in r] for r in self._cells()] if self else [["empty"]]
        rows = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in r) + "</tr>" for r in body)
        return f"<table><tr>{''.join(f'<th>{c}</th>' for c in head)}</tr>{rows}</table>"


def path() -> Path:
    """Return the table's file, in the cache folder (in your own where a shared one is read-only)."""
    return settings.own_dir() / "comparison.csv"


def _parse(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def table() -> Table:
    """Return the running comparison table: one row per lesson and backbone, numbers as numbers, empty at first.

    Raises:
        WorkbenchError: the file is not a table of ours.
    """
    file = path()
    if not file.exists():
        return Table()
    try:
        with file.open(newline="", encoding="utf-8") as f:
            reader = csv.DictReader(f, strict=True)
            rows = [{k: v if k in KEYS else _parse(v) for k, v in row.items() if v != ""} for row in reader]
        if any(None in row or not all(k in row for k in KEYS) for row in rows):
            raise csv.Error(f"a row lacks {' or '.join(KEYS)}")
    except (csv.Error, UnicodeDecodeError, TypeError) as e:
        raise WorkbenchError(f"{file} is not a comparison table ({e}); delete it and run the recaps again") from e
    return Table(sorted(rows, key=lambda r: (r["lesson"], r["backbone"])))


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Keep two kernels from losing each other's rows; where the system has no flock, the last writer wins."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with file.with_suffix(".lock").open("w") as f:
        with contextlib.suppress(OSError):  # a network drive without locks
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def record(row: Mapping[str, Any]) -> None:
    """Put one row into the running comparison table; the same lesson and backbone replace their earlier row.

    Args:
        row: needs ``"backbone"``; other keys are columns with the unit in the name (``macs``, ``params``,
            ``latency_ms``, ``top1``). Lesson, budget, device, threads and torch version are added.

    Raises:
        WorkbenchError: no ``"backbone"``, a value that is not a number or text, or no lesson has begun.
    """
    import torch

    if not row.get("backbone"):
        raise WorkbenchError(f"record({dict(row)!r}) has no 'backbone'; a row is named by its backbone")
    lesson = str(row.get("lesson") or current().lesson)
    if not lesson:
        raise WorkbenchError("record(…) before lesson.begin(…): begin the lesson, so that the row says whose it is")
    for key, value in row.items():
        if not isinstance(value, int | float | str):
            raise WorkbenchError(f"record: {key}={value!r} is a {type(value).__name__}; give a number or text")
    stamp = {"budget": settings.budget(), "device": device_name(), "threads": torch.get_num_threads()}
    new = {"lesson": lesson, **row, **stamp, "torch": importlib.metadata.version("torch")}
    file = path()
    with _lock(file):
        rows = [r for r in table() if any(r[k] != new[k] for k in KEYS)]
        rows.append(new)
        names = Table(rows).columns
        with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
