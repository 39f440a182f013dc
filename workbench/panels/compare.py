"""Compare: which backbone, and for what? Tick networks, choose conditions, measure; a scatter and a table, linked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ..files import replace_text
from ..measure.backbones import DEFAULT
from ..measure.progress import text as progress_text
from ..measure.rounds import Progress
from ..yolo.comparison import Conditions, check_names
from ..yolo.hosts import read_host
from . import _compare as pure
from ._careful import Careful, no_control, put
from ._compare_controls import ALONE, CONDITIONS, VIEW, WRAP, Ticks, make_controls
from ._compare_scene import CompareCanvas, Networks, Shown, data_url, figure_of, scene, stands
from ._frame import Frame, as_png, png_of
from ._scene import escape

BUTTONS = {
    "measure": "time everything shown in one interleaved run",
    "cancel": "stop measuring and keep what is done",
    "CSV": "download the numbers",
    "PNG": "download the scatter",
    "as code": "show the line of code that makes this picture",
}


class Compare(Careful):
    """Compare backbones under the same conditions, alone or inside a detector.

    Counts appear at once; **measure** times everything ticked in one interleaved run. The first network is the
    baseline (leftmost in the table, a ring in the scatter): click the head of another column to make it the baseline,
    a point to see the network's card.

    Args:
        names: variants, names you registered, ``"timm:MODEL"``; inside a host also ``"stock"``, the host as it comes.
        **state: controls to start with, as for `set`.

    Raises:
        WorkbenchError: a network or a control that does not exist, or a value it cannot take. A fault while the panel
            is used is shown inside the panel, which goes on working.

    >>> panel = Compare(["starnet_s050", "fasternet_t0"], x="params", y="macs", imgsz=64)
    >>> [row["name"] for row in panel.result.rows], panel.result.front
    (['starnet_s050', 'fasternet_t0'], ['starnet_s050'])
    """

    def __init__(self, names: Any = DEFAULT, **state: Any) -> None:
        super().__init__()
        self._networks, self._stamp = Networks(), 0
        self._result: Shown | None = None
        self._stop, self._thread = threading.Event(), threading.Thread()
        self.canvas, self.controls, self.ticks = CompareCanvas(), make_controls(), Ticks(self._changed)
        self.words, self.card = widgets.HTML(), widgets.HTML()
        self.buttons = {n: widgets.Button(description=n, tooltip=tip) for n, tip in BUTTONS.items()}
        self.buttons["cancel"].disabled = True
        for name, button in self.buttons.items():
            button.layout.width = "max-content"
            button.on_click(lambda _b, name=name: self._attempt(self._press, name))
        for control in self.controls.values():
            control.observe(lambda _c: self._changed(), names="value")
        self.canvas.observe(lambda _c: self._attempt(self._show_card), names="selected")
        self.canvas.on_msg(lambda _w, content, _b: self._attempt(self._rebase, content.get("baseline")))
        self.ticks.also.observe(lambda change: self._attempt(self._add, change["new"]), names="value")
        c, (measure, *others) = self.controls, self.buttons.values()
        lines = [[c[n] for n in CONDITIONS], [c[n] for n in VIEW], [measure, c["budget_s"], *others, self.progress]]
        rows = [widgets.HBox(line, layout=WRAP) for line in lines]
        parts = [self.ticks.widget, *rows, self.message, self.canvas, self.card, self.words]
        self.widget = Frame(parts, lambda: as_png(png_of(self.static())))
        self._busy = False
        self.set(names=names, **state)

    # --- driving it ---

    @property
    def result(self) -> Shown:
        """What the panel shows now."""
        assert self._result is not None
        return self._result

    @property
    def state(self) -> dict[str, Any]:
        """Every control's value: ``panel.set(**state)`` restores them."""
        return {"names": list(self.ticks.names), **{n: c.value for n, c in self.controls.items()}}

    def code(self) -> str:
        """Return the line of code that makes a panel in this state."""
        plain = {"names": list(DEFAULT), **{n: c.value for n, c in make_controls().items()}}
        changed = {k: v for k, v in self.state.items() if v != plain[k]}
        return f"wb.panels.Compare({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def set(self, **values: Any) -> Compare:
        """Set controls by name, as a hand would, count what is new, and return the panel.

        Raises:
            WorkbenchError: an unknown control, a value it cannot take, or nothing that can be shown; the panel is then
                as before.
        """
        with self._lock:
            before, self._busy, self._turn = self.state, True, self._turn + 1
            try:
                self._put(values)
                for _ in self._work():
                    pass
            except WorkbenchError:
                self._put(before)
                raise
            finally:
                self._busy = False
        return self

    def measure(self) -> Shown:
        """Time everything ticked in one interleaved run and return the result; the button does so in the background.

        Raises:
            WorkbenchError: a network cannot be run so, or a measurement is going on.
        """
        names, c = self._begin()
        try:
            self._networks.time(names, c, budget_s=self.controls["budget_s"].value)
        finally:
            self._end()
        return self.set().result

    def to_csv(self, path: str | Path) -> Path:
        """Write the rows shown, unrounded, with conditions and environment; return the file."""
        path = Path(path).expanduser()
        replace_text(path, pure.csv_text(self.result.rows, self.result.conditions, self.result.taken))
        return path

    def static(self) -> Figure:
        """Return the scatter as a figure, for a reader without a kernel."""
        return figure_of(self.result, *self._axes())

    # --- reacting ---

    def _put(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name == "names":
                self.ticks.set(check_names(value, Conditions(host="yolo11")))  # "stock" waits for a host
            elif name not in self.controls:
                raise no_control("Compare", name, ("names", *self.controls))
            else:
                put(name, self.controls[name], ALONE if name == "host" and value is None else value)

    def _changed(self) -> None:
        """Show the new state; networks not counted yet are counted one at a time."""
        if not self._busy:
            self._in_steps(self._work())

    def _work(self) -> Iterator[bool]:
        """Count what is not known yet, a network a step, then draw."""
        c = self._conditions()
        names = [n for n in self.ticks.names if stands(n, c)]
        if not names:
            raise WorkbenchError("no network is ticked; tick one")
        for progress in self._networks.count(names, c):
            self._show_progress(progress)
            yield True
        if not self._measuring:
            self.progress.value = ""
        self._draw(names, c)

    def _conditions(self) -> Conditions:
        values = {n: self.controls[n].value for n in CONDITIONS}
        host = values["host"] = None if values["host"] == ALONE else values["host"]
        scales = read_host(host).scales if host else ()
        self.controls["scale"].disabled = len(scales) < 2  # RT-DETR's size is in its name
        if len(scales) == 1:
            values["scale"] = scales[0]
        return Conditions(**values)

    def _axes(self) -> tuple[pure.Field, pure.Field, tuple[bool, bool]]:
        c = self.controls
        return pure.FIELDS[c["x"].value], pure.FIELDS[c["y"].value], (c["xlog"].value, c["ylog"].value)

    def _draw(self, names: list[str], c: Conditions) -> None:
        x, y, log = self._axes()
        self._result = shown = self._networks.shown(names, c, self.controls["filter"].value, x, y)
        self._stamp += 1
        self.canvas.scene = {**scene(shown, x, y, log, self.controls["differences"].value), "stamp": self._stamp}
        untimed = [r["name"] for r in shown.rows if shown.timing and r["latency_ms"] is None]
        notes = [f"{n}: {why}" for n, why in shown.failed.items()]
        notes += [f"not timed together with the others: {', '.join(untimed)}; measure again"] if untimed else []
        self.message.value = f'<div role="status" style="color:#8a3b00">{"<br>".join(map(escape, notes))}</div>'
        self.words.value = f"{escape(self.canvas.scene['words'])}<br><small>{escape(shown.taken)}</small>"
        self._show_card()

    def _show_card(self) -> None:
        chosen = [r for r in self.result.rows if r["name"] == self.canvas.selected]
        self.card.value = pure.card(chosen[0], self.result.conditions) if chosen else ""

    def _rebase(self, name: str | None) -> None:
        if name in self.ticks.names:
            self.ticks.names.sort(key=lambda n: n != name)  # stable: the others keep their order
            self._busy = False
            self._changed()

    def _add(self, text: str) -> None:
        names = [n.strip() for n in text.split(",") if n.strip()]
        if names:
            check_names(names, Conditions(host="yolo11"))
            self.ticks.set([*self.ticks.names, *(n for n in names if n not in self.ticks.names)])
            self.ticks.also.value = ""
            self._busy = False
            self._changed()

    def _press(self, name: str) -> None:
        if name == "cancel":
            self._stop.set()
        elif name == "as code":
            self.message.value = f"<code>{escape(self.code())}</code>"
        elif name == "CSV":
            table = pure.csv_text(self.result.rows, self.result.conditions, self.result.taken)
            self.canvas.send({"download": "compare.csv", "url": data_url("text/csv", table.encode())})
        elif name == "PNG":
            self.canvas.send({"download": "compare.png", "url": data_url("image/png", png_of(self.static()))})
        else:
            names, c = self._begin()
            self._thread = threading.Thread(target=self._in_background, args=(names, c), daemon=True)
            self._thread.start()

    # --- measuring ---

    @property
    def _measuring(self) -> bool:
        return not self.buttons["cancel"].disabled

    def _begin(self) -> tuple[list[str], Conditions]:
        if self._measuring:
            raise WorkbenchError("a measurement is going on; cancel it, or wait for it")
        self._stop.clear()
        self.buttons["measure"].disabled, self.buttons["cancel"].disabled = True, False
        c = self._conditions()
        return [n for n in self.ticks.names if stands(n, c)], c

    def _end(self) -> None:
        self.buttons["measure"].disabled, self.buttons["cancel"].disabled = False, True
        self.progress.value = ""

    def _in_background(self, names: list[str], c: Conditions) -> None:
        """Time in a child process while this thread waits for it; the kernel stays free."""
        failure: Exception | None = None
        try:
            options = {"budget_s": self.controls["budget_s"].value, "progress": self._show_progress}
            self._networks.time(names, c, stop=self._stop.is_set, **options)
        except Exception as e:  # the panel says it once the rest is drawn
            failure = e
        self._end()
        with self._lock:
            self._attempt(list, self._work())
            if failure is not None:
                self._complain(failure)

    def _show_progress(self, p: Progress) -> None:
        self.progress.value = f"<code>{progress_text(p)}</code>"
