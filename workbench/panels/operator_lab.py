"""OperatorLab: FasterNet's table 1 by hand. Choose operators and a shape; they are measured live, beside the paper."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ..measure.latency import latency
from ..measure.operators import FOUR, LAYERS, OPERATORS, OperatorTable, candidate
from ..measure.runtimes import available
from ..plots.latency import achieved_rates, latency_bars
from ._careful import no_control, put
from ._lesson import LessonPanel

WIDTHS = (16, 32, 64, 96, 192, 384, 768)


class OperatorLab(LessonPanel):
    """Ten layers of each chosen operator at one shape: milliseconds, MACs, achieved rate, the paper's values.

    Controls: ``operators``, ``channels``, ``size``, ``batch``, ``threads``, ``layout``, ``runtime``. Result: a
    `measure.OperatorTable`, which prints with its environment. Each change measures anew, in this process (the simple
    path), within `budget_s` seconds.

    Args:
        budget_s: seconds a measurement may take.
        rounds: samples per operator.
        **state: controls to start with.
    """

    def __init__(self, *, budget_s: float = 4.0, rounds: int = 9, **state: Any) -> None:
        self._plan: dict[str, Any] = {
            "budget_s": budget_s,
            "rounds": rounds,
            "sample_ms": 5.0,
            "process": "here",
            "progress": False,
        }
        controls: dict[str, Any] = {
            "operators": widgets.SelectMultiple(options=list(OPERATORS), value=FOUR, rows=len(OPERATORS)),
            "channels": widgets.SelectionSlider(options=WIDTHS, value=192, continuous_update=False),
            "size": widgets.SelectionSlider(
                options=(7, 14, 28, 56, 112), value=28, description="map side", continuous_update=False
            ),
            "batch": widgets.Dropdown(options=(1, 4, 16)),
            "threads": widgets.Dropdown(options=(1, 2, 4)),
            "layout": widgets.Dropdown(options=("nchw", "channels_last")),
            "runtime": widgets.Dropdown(options=[r for r in available() if r not in ("channels_last", "compile")]),
        }
        for name, value in state.items():
            if name not in controls:
                raise no_control("OperatorLab", name, controls)
            put(name, controls[name], value)
        super().__init__(controls, self._measure, _draw, _say, (9.2, 3.8))

    def _measure(
        self, operators: tuple[str, ...], channels: int, size: int, batch: int, threads: int, layout: str, runtime: str
    ) -> OperatorTable:
        if not operators:
            raise WorkbenchError("no operator chosen; select at least one")
        self.words.value = "<i>measuring …</i>"  # it takes seconds; what is shown is of the old choice until then
        cells = {op: (op, channels, size) for op in operators}
        candidates = {op: candidate(op, channels, size, LAYERS, batch, runtime) for op in operators}
        result = latency(candidates, threads=threads, layout=layout, **self._plan)
        paper = batch == 1 and threads == 1
        return OperatorTable(result, cells, LAYERS, f"{runtime}, {layout}", beside_paper=paper)


def _draw(table: OperatorTable, figure: Figure) -> None:
    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    latency_bars(table.latency, left)
    achieved_rates(table, right)


def _say(table: OperatorTable) -> str:
    rows = table.rows()
    parts = [
        f"{r['operator']}: {r['macs'] / 1e6:,.1f} M MACs / {r['gmacs_per_s']:.3g} GMAC/s = {r['median_ms']:.3g} ms "
        f"(IQR {r['iqr_ms']:.2g}, n = {r['n']}"
        + (f"; paper {r['paper_ms']:g} ms at {r['paper_gmacs_per_s']:g})" if r["paper_ms"] else ")")
        for r in rows
    ]
    where = table.latency.notes()[0]
    return f"<b>latency = MACs / (MACs per second)</b><br>{'<br>'.join(parts)}<br><small>{where}</small>"
