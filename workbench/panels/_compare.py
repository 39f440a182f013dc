"""What the Compare panel shows, without any widget: the properties of a network, front, table, card, CSV."""

from __future__ import annotations

import csv
import functools
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataNotFoundError
from ..plots.latency import pareto_front
from ..train.results import load_results
from ..yolo.comparison import STOCK, Conditions
from ._scene import escape

Row = Mapping[str, Any]
TRAINED = "shapes_128_converged"  # recorded runs with images held out, in yolo11n


@dataclass(frozen=True)
class Field:
    """A number that networks can be compared by.

    Attributes:
        key: in a row of a `Comparison`.
        label, unit: as printed; a value is divided by `scale` to be in that unit.
        better: "less", "more", or "" where neither is.
        spread: keys of the lower and the upper end of its error bar.
    """

    key: str
    label: str
    unit: str
    scale: float
    better: str = "less"
    spread: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        """Label with unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    def value(self, row: Row) -> float | None:
        """Return the number in the field's unit, None where it is not known."""
        found = row.get(self.key)
        return None if found is None else found / self.scale

    def ends(self, row: Row) -> tuple[float, float] | None:
        """Return the ends of the error bar."""
        if self.spread is None or row.get(self.spread[0]) is None:
            return None
        low, high = (row[k] / self.scale for k in self.spread)
        return low, high


FIELDS = {
    f.key: f
    for f in (
        Field("macs", "MACs", "M", 1e6),
        Field("params", "parameters", "M", 1e6),
        Field("activations", "activations", "M", 1e6),
        Field("elements", "elements written", "M", 1e6),
        Field("bytes_moved", "bytes moved", "MB", 1e6),
        Field("peak_bytes", "peak memory", "MiB", 2**20),
        Field("intensity", "arithmetic intensity", "FLOP/byte", 1, ""),
        Field("latency_ms", "latency", "ms", 1, "less", ("low_ms", "high_ms")),
        Field("gmacs_per_s", "achieved FLOPS", "GFLOP/s", 0.5, "more"),  # 1 MAC = 2 FLOPs
        Field("top1", "ImageNet top-1, published", "%", 1, "more"),
        Field("map50", "mAP50 on shapes, in yolo11n", "", 1, "more", ("map50_low", "map50_high")),
    )
}


@functools.cache
def trained(name: str) -> dict[str, Any]:
    """Return the recorded mAP50 of YOLO11n with this backbone, on images held out: mean, ends and number of seeds."""
    try:
        scores = load_results(TRAINED).scores("yolo11n" if name == STOCK else f"yolo11n-{name}")
    except DataNotFoundError:
        scores = []
    if not scores:
        return {"map50": None, "map50_low": None, "map50_high": None, "seeds": 0}
    return {
        "map50": statistics.mean(scores), "map50_low": min(scores), "map50_high": max(scores), "seeds": len(scores),
    }  # fmt: skip


def front(rows: Sequence[Row], x: Field, y: Field) -> list[str]:
    """Return the names no other network beats in both properties; none where one of them has no better end."""
    if not (x.better and y.better):
        return []
    sign = {"less": 1.0, "more": -1.0}
    points = {
        r["name"]: (sign[x.better] * x.value(r), sign[y.better] * y.value(r))  # type: ignore[operator]
        for r in rows
        if x.value(r) is not None and y.value(r) is not None
    }
    return pareto_front(points)


def number(value: float | None) -> str:
    """Return a number with three digits that mean something.

    >>> number(3900.66), number(0.71944), number(71.94), number(None)
    ('3,901', '0.719', '71.9', '–')
    """
    if value is None:
        return "–"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else (
        f"{value:.3g}"
    )  # fmt: skip


def table(rows: Sequence[Row], differences: bool = False) -> list[dict[str, Any]]:
    """Return the table, a line per property: ``label``, ``better``, and a text and a ratio to the leftmost per network.

    Args:
        rows: the networks, the baseline first.
        differences: leave out the properties in which all networks are alike.
    """
    lines = [_line(f, rows) for f in FIELDS.values()]
    channels = [" ".join(map(str, r["channels"])) if r["channels"] else "–" for r in rows]
    words = {"family": [r["family"] for r in rows], "channels P2 … P5": channels}
    lines += [{"label": k, "better": "", "cells": [{"text": t, "ratio": None} for t in v]} for k, v in words.items()]
    known = [line for line in lines if any(c["text"] != "–" for c in line["cells"])]
    if differences and len(rows) > 1:
        known = [line for line in known if len({c["text"] for c in line["cells"]}) > 1]
    return known


def _line(f: Field, rows: Sequence[Row]) -> dict[str, Any]:
    values = [f.value(r) for r in rows]
    base = values[0] if values else None
    cells = []
    for i, (value, r) in enumerate(zip(values, rows, strict=True)):
        ends = f.ends(r)
        cells.append({
            "text": number(value), "ratio": round(value / base, 3) if i and value is not None and base else None,
            "range": f"{number(ends[0])} … {number(ends[1])}" if ends else "",
        })  # fmt: skip
    return {"label": f.title, "better": f.better, "cells": cells}


def card(row: Row, conditions: Conditions) -> str:
    """Return all that is known of one network, as HTML."""
    name = row["name"]
    lines = [f"<b>{escape(name)}</b> — {escape(row['family'])}, {conditions.form} form, {escape(conditions.place)}"]
    facts = []
    for f in FIELDS.values():
        value, ends = f.value(row), f.ends(row)
        if value is not None:
            spread = f" ({number(ends[0])} … {number(ends[1])})" if ends else ""
            facts.append(f"{f.label} <b>{number(value)}</b>{' ' + f.unit if f.unit else ''}{spread}")
    lines.append(" · ".join(facts))
    if row["channels"]:
        levels = zip("2345", row["channels"], (4, 8, 16, 32), strict=True)
        lines.append("levels: " + ", ".join(f"P{i} {c} channels at stride {s}" for i, c, s in levels))
    if row.get("seeds"):
        lines.append(f"mAP50: mean of {row['seeds']} recorded seeds on images held out, lowest and highest beside it")
    if name != STOCK:
        make = f'wb.create_backbone("{name}"{", deploy=True" if conditions.form == "deploy" else ""})'
        if conditions.host:
            make = f'wb.detector_yaml("{conditions.host}", "{name}", "{conditions.scale}")'
        lines.append(f"<code>{escape(make)}</code>")
    return '<div style="line-height:1.5">' + "<br>".join(lines) + "</div>"


def csv_text(rows: Sequence[Row], conditions: Conditions, taken: str) -> str:
    """Return the rows as CSV: every number unrounded in base units, the conditions in every row, the stamp last."""
    plain = [{k: " ".join(map(str, v)) if isinstance(v, tuple) else v for k, v in r.items()} for r in rows]
    keys = list(dict.fromkeys(k for r in plain for k in r))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    around = vars(conditions)
    writer.writerow([*keys, *around, "environment"])
    for r in plain:
        writer.writerow([*("" if r.get(k) is None else r[k] for k in keys),
                         *("" if v is None else v for v in around.values()), taken])  # fmt: skip
    return out.getvalue()


def describe(rows: Sequence[Row], hidden: int, x: Field, y: Field, best: Sequence[str]) -> str:
    """Return the picture in words."""
    drawn = [r for r in rows if x.value(r) is not None and y.value(r) is not None]
    text = f"{len(rows)} networks" + (f", {hidden} more hidden by the filter" if hidden else "")
    text += f"; {len(drawn)} drawn, {x.title} across, {y.title} up"
    missing = [r["name"] for r in rows if r not in drawn]
    if missing:
        lack = [f.label for f in (x, y) if any(f.value(r) is None for r in rows)]
        text += f"; no {' or '.join(lack)} known of {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}"
    return text + (f"; nobody beats {', '.join(best)}" if best else "") + "."
