"""Tables that people open in a spreadsheet: quoted, written whole, and nothing in them runs as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..files import replace_text
from .course import ClassroomError

FORMULA = re.compile(r"'* *[=+\-@\t\r＝＋－＠]")  # some spreadsheets take the wide ones too


def safe(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers, text stays on one line.

    >>> safe("=HYPERLINK(1)"), safe(-1.5), safe(None)
    ("'=HYPERLINK(1)", '-1.5', '')
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:g}"
    text = " ".join(str(value).replace("\0", "").split("\n"))
    return f"'{text}" if FORMULA.match(text) else text


def bare(cell: str) -> str:
    """Return the text that `safe` was given.

    >>> [bare(safe(t)) for t in ("=1", "'=1", "'t Hooft", "")]
    ['=1', "'=1", "'t Hooft", '']
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV of safe cells."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([safe(c) for c in columns])
    writer.writerows([safe(v) for v in row] for row in rows)
    return stream.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], mark: bool = False) -> Path:
    """Write a CSV of safe cells, by rename; `mark` is the one from which spreadsheets know UTF-8."""
    path.parent.mkdir(exist_ok=True)
    replace_text(path, ("\ufeff" if mark else "") + table_text(columns, rows))
    return path


def columns_of(path: Path) -> list[str]:
    """Return the columns of a table as a spreadsheet may have saved it; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        head = stream.readline()
    apart = ";" if head.count(";") > head.count(",") else ","
    return [bare(c) for c in next(csv.reader([head], delimiter=apart), [])]


def read_table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the rows as `write_table` was given them; a spreadsheet may have saved the file since.

    Raises:
        ClassroomError: no CSV in UTF-8 with these columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            head = stream.readline()
            stream.seek(0)
            apart = ";" if head.count(";") > head.count(",") else ","  # where the comma is for decimals
            rows = list(csv.DictReader(stream, delimiter=apart))
        wanted = (*columns, *optional)
        return [{c: bare((row.get(c) if c in optional else row[c]) or "") for c in wanted} for row in rows]
    except (KeyError, UnicodeDecodeError, csv.Error):
        raise ClassroomError(f"{path} is no table (CSV, UTF-8) with the columns {', '.join(columns)}") from None
