"""From ticked networks to what the Compare panel's canvas draws: counts and times kept, points, the scene."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import torch
import traitlets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ..machine import cpu_name
from ..measure.environment import describe
from ..measure.rounds import Progress
from ..measure.timing import Latency
from ..plots.compare import comparison_scatter
from ..plots.style import family_colour, family_marker
from ..yolo.comparison import STOCK, Conditions, row, time_together
from . import _compare as pure
from ._compare_filter import parse_filter


class CompareCanvas(anywidget.AnyWidget):
    """The picture: scatter and table; see ``compare.js``."""

    _esm = Path(__file__).with_name("compare.js")
    _css = Path(__file__).with_name("compare.css")
    scene = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)


@dataclass(frozen=True)
class Shown:
    """What the panel shows, as plain data.

    Attributes:
        conditions: the same for all.
        rows: of the networks that pass the filter, the baseline first; as `compare` returns them, with the recorded
            ``map50``.
        hidden: names the filter hides.
        front: names that no other network beats on the chosen axes.
        failed: name → why it cannot stand in this comparison.
        timing: the interleaved run the latencies are from, or None.
    """

    conditions: Conditions
    rows: list[dict[str, Any]]
    hidden: list[str]
    front: list[str]
    failed: dict[str, str]
    timing: Latency | None

    def row(self, name: str) -> dict[str, Any]:
        """Return one row.

        Raises:
            WorkbenchError: no such network is shown.
        """
        for found in self.rows:
            if found["name"] == name:
                return found
        raise WorkbenchError(f"{name!r} is not shown; shown are {', '.join(r['name'] for r in self.rows)}")

    @property
    def taken(self) -> str:
        """Where the numbers come from, in one line."""
        if self.timing is None:
            return f"counted, not timed; torch {torch.__version__} on {cpu_name()}"
        env = dict(self.timing.env)
        return f"{describe(env)} · {env.get('runtime', 'eager')} · one interleaved run, {env.get('taken', '')}"

    def __repr__(self) -> str:
        names = [r["name"] for r in self.rows]
        return f"Shown({names}, front={self.front}, timed={self.timing is not None})"


class Networks:
    """What is known of networks so far: counted once each, timed together."""

    def __init__(self) -> None:
        self._known: dict[Any, dict[str, Any] | str] = {}  # or why it cannot stand there
        self.timings: dict[Conditions, Latency] = {}

    def count(self, names: Sequence[str], c: Conditions) -> Iterator[Progress]:
        """Count what is not known yet; before each network but the first, say how far it is."""
        todo = [n for n in names if _key(n, c) not in self._known]
        started = time.monotonic()
        for i, name in enumerate(todo):
            if i:
                yield Progress(i, len(todo), (time.monotonic() - started) / i * (len(todo) - i), "counting")
            try:
                self._known[_key(name, c)] = row(name, c)
            except WorkbenchError as e:
                self._known[_key(name, c)] = str(e)

    def time(self, names: Sequence[str], c: Conditions, **options: Any) -> None:
        """Time those that can stand there; a run that measured nothing leaves the last one in place."""
        can = [n for n in names if not isinstance(self._known.get(_key(n, c)), str)]
        timing = time_together(can, c, **options)
        if any(timing.summary(n).n for n in timing.names):
            self.timings[c] = timing

    def shown(self, names: Sequence[str], c: Conditions, words: str, x: pure.Field, y: pure.Field) -> Shown:
        """Return what is to be seen of counted networks.

        Raises:
            WorkbenchError: the filter cannot be understood, or none of the networks can stand there.
        """
        keep = parse_filter(words)
        timing = self.timings.get(c)
        found = {n: self._known[_key(n, c)] for n in names}
        failed = {n: v for n, v in found.items() if isinstance(v, str)}
        if len(failed) == len(found):
            raise WorkbenchError(next(iter(failed.values())))
        rows = [
            {**row(n, c, timing), **pure.trained(n)} if timing and n in timing.names else {**v, **pure.trained(n)}
            for n, v in found.items()
            if not isinstance(v, str)
        ]
        kept = [r for r in rows if keep(r)]
        hidden = [r["name"] for r in rows if r not in kept]
        return Shown(c, kept, hidden, pure.front(kept, x, y), failed, timing)


def _key(name: str, c: Conditions) -> tuple[Any, ...]:
    return (name, c.form, c.imgsz, c.batch, c.host, c.scale)


def points(shown: Shown, x: pure.Field, y: pure.Field) -> list[dict[str, Any]]:
    """Return the networks whose two properties are known, with error bars, colour and marker."""
    found = []
    for i, r in enumerate(shown.rows):
        at, up = x.value(r), y.value(r)
        if at is None or up is None:
            continue
        says = f"{x.title} {pure.number(at)}, {y.title} {pure.number(up)}"
        found.append({
            "name": r["name"], "x": at, "y": up, "xe": x.ends(r), "ye": y.ends(r), "base": i == 0, "says": says,
            "colour": family_colour(r["family"]), "marker": family_marker(r["family"]),
        })  # fmt: skip
    return found


def scene(shown: Shown, x: pure.Field, y: pure.Field, log: tuple[bool, bool], differences: bool) -> dict[str, Any]:
    """Return what the canvas draws."""
    c, drawn = shown.conditions, points(shown, x, y)
    empty = f"Nothing to draw: {x.label} or {y.label} is not known of these networks."
    if "latency_ms" in (x.key, y.key) or "gmacs_per_s" in (x.key, y.key):
        empty += " Press measure."
    if not shown.rows:
        empty = "The filter hides every network."
    return {
        "points": drawn, "xlabel": x.title, "ylabel": y.title, "xlog": log[0], "ylog": log[1], "front": shown.front,
        "columns": [r["name"] for r in shown.rows], "table": pure.table(shown.rows, differences), "empty": empty,
        "corner": f"{c.form}, {c.imgsz} px, batch {c.batch}, {c.place}",
        "words": pure.describe(shown.rows, len(shown.hidden), x, y, shown.front),
    }  # fmt: skip


def figure_of(shown: Shown, x: pure.Field, y: pure.Field, log: tuple[bool, bool]) -> Figure:
    """Return the scatter as a figure."""
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    ax, c = figure.add_subplot(), shown.conditions
    comparison_scatter(points(shown, x, y), x.title, y.title, front=shown.front, log=log, ax=ax)
    ax.set_title(f"{c.form} form, {c.imgsz} px, batch {c.batch}, {c.place}", fontsize=10)
    figure.text(0.01, 0.005, shown.taken, fontsize=6, color="#6b6b6b")
    return figure


def stands(name: str, c: Conditions) -> bool:
    """Return whether a ticked network belongs into this comparison: the stock host does so only inside a host."""
    return name != STOCK or c.host is not None


def data_url(kind: str, data: bytes) -> str:
    """Return bytes as a URL that a browser can save."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
