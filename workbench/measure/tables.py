"""Result tables: one list of rows, printed as text in a terminal and as HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

Cell = str | int | float | None


def show(value: Cell) -> str:
    """Return a cell as text: integers with thousands separators, floats with three significant digits or more.

    >>> show(3905500), show(0.01234), show(12.3456), show(None)
    ('3,905,500', '0.0123', '12.35', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != value:
        return "nan"
    if value == 0:
        return "0"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}"


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "", notes: Sequence[str] = ()
) -> str:
    """Return an aligned text table: text to the left, numbers to the right, notes below.

    >>> print(text_table(["op", "MACs"], [["conv", 1200], ["add", 0]]))
    op     MACs
    ----  -----
    conv  1,200
    add       0
    """
    body = [[show(c) for c in row] for row in rows]
    left = [any(isinstance(row[i], str) for row in rows) for i in range(len(header))]
    widths = [max(len(line[i]) for line in [list(header), *body]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        parts = [c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left, strict=True)]
        return "  ".join(parts).rstrip()

    lines = [title] if title else []
    lines += [line(header), "  ".join("-" * w for w in widths), *(line(b) for b in body)]
    return "\n".join([*lines, *notes])


def html_table(
    header: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "", notes: Sequence[str] = ()
) -> str:
    """Return the same table as HTML; every cell is escaped."""
    left = [any(isinstance(row[i], str) for row in rows) for i in range(len(header))]
    style = ["text-align:left" if to_left else "text-align:right" for to_left in left]

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(f'<{tag} style="{s}">{html.escape(v)}</{tag}>' for v, s in zip(values, style, strict=True))

    out = ['<table class="workbench-table">']
    if title:
        out.append(f'<caption style="text-align:left">{html.escape(title)}</caption>')
    out.append(f"<thead><tr>{cells('th', list(header))}</tr></thead><tbody>")
    out += [f"<tr>{cells('td', [show(c) for c in row])}</tr>" for row in rows]
    out.append("</tbody></table>")
    out += [f"<div><small>{html.escape(n)}</small></div>" for n in notes]
    return "".join(out)
