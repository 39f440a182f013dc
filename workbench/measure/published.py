"""The papers' own numbers, from ``data/published``, to stand beside ours."""

from __future__ import annotations

import csv
from typing import Any

from ..errors import DataNotFoundError
from ..settings import data_dir


def published(table: str) -> list[dict[str, Any]]:
    """Return a table of published values, one dictionary per row, numbers as numbers.

    Args:
        table: "fasternet_table1", "fasternet_table1_means" or "latency".

    Raises:
        DataNotFoundError: there is no such table.

    >>> published("fasternet_table1")[0]["cpu_ms"]
    35.67
    """
    folder = data_dir() / "published"
    file = folder / f"{table}.csv"
    if not file.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.csv"))) or "none: the folder data/published is missing"
        raise DataNotFoundError(f"no table {table!r} of published values; there are {known}")
    with file.open(newline="", encoding="utf-8") as f:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(f)]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
