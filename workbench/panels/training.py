"""The Training panel: losses and mAP of running and recorded trainings, overlaid; pause, go on, stop."""

from __future__ import annotations

import html
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ..plots.training import training_curves
from ..train.control import request
from ..train.run import Run
from ._careful import alert, no_control, put
from ._frame import Frame, as_png, png_of
from ._reason import reason
from ._runs import Rows, facts, gather, line

METRICS = ("map50", "map50_95", "precision", "recall")
CHILD = "import json, sys; from workbench.train import train; train(**json.loads(sys.argv[1]))"


class Training:
    """Curves of several trainings, live.

    Args:
        runs: name of recorded results (``"shapes_128_class"``), a run folder or `Run`, a list of these, or a mapping
            label → run folder, `Run` or rows of a curve.
        metric: what is drawn, a column of the curves.
        x: ``"epoch"`` or ``"seconds"``.
        every_s: how often running trainings are read again; 0 reads them only on `refresh`.

    A training in the cells of this kernel keeps the kernel busy, and buttons wait. `start` trains in a child process.

    Raises:
        WorkbenchError: no such results or run, or a control or value that does not exist.

    >>> panel = Training("shapes_128_class", every_s=0)
    >>> panel.result["stock-seed0"]["status"]
    'recorded'
    """

    def __init__(self, runs: Any = (), metric: str = "map50", x: str = "epoch", every_s: float = 2.0) -> None:
        self._runs: dict[str, Run | Rows] = {}
        self._result: dict[str, dict[str, Any]] = {}
        self._seen: Any = None
        self._lock, self._busy, self._closed = threading.RLock(), True, threading.Event()
        self.children: list[subprocess.Popen[bytes]] = []
        self.controls: dict[str, Any] = {
            "metric": widgets.Dropdown(options=METRICS, value="map50", description="draw"),
            "x": widgets.Dropdown(options=("epoch", "seconds"), description="over"),
            "shown": widgets.SelectMultiple(options=(), description="runs", rows=5),
            "run": widgets.Dropdown(options=(), description="running"),
        }
        tips = ("the curve", "horizontal axis", "runs drawn; Ctrl or Shift for several", "the training the buttons ask")
        for control, tip in zip(self.controls.values(), tips, strict=True):
            control.tooltip, control.style.description_width = tip, "initial"
            control.observe(self._changed, names="value")
        self.buttons = {
            w: widgets.Button(description=d) for w, d in (("pause", "pause"), ("run", "go on"), ("stop", "stop"))
        }
        for what, button in self.buttons.items():
            button.tooltip = f"ask the chosen training to {button.description}"
            button.on_click(lambda _, what=what: self._clicked(what))
        self.message, self.words = widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        wrap = widgets.Layout(flex_flow="row wrap", grid_gap="4px 14px")
        c = self.controls
        rows = [[c["metric"], c["x"], c["shown"]], [c["run"], *self.buttons.values()]]
        parts = [*(widgets.HBox(row, layout=wrap) for row in rows), self.message, self.picture, self.words]
        self.widget = Frame(parts, lambda: as_png(bytes(self.picture.value)))
        for label, run in gather(runs).items():
            self._runs[label] = run
        self.set(shown=tuple(self._runs), metric=metric, x=x)
        if every_s > 0:
            threading.Thread(target=self._follow, args=(every_s,), daemon=True, name="workbench-training-panel").start()

    @property
    def result(self) -> dict[str, dict[str, Any]]:
        """Label → ``status``, ``epochs`` done, ``last`` row and all ``rows`` of every run."""
        return self._result

    @property
    def state(self) -> dict[str, Any]:
        """The controls' values: ``panel.set(**state)`` restores them."""
        return {name: control.value for name, control in self.controls.items()}

    def code(self) -> str:
        """Return the line of code that brings a panel of these runs into this state."""
        return f"panel.set({', '.join(f'{k}={v!r}' for k, v in self.state.items())})"

    def set(self, **values: Any) -> Training:
        """Set controls by name, as a hand would; on a bad value the panel stays as it was.

        Raises:
            WorkbenchError: an unknown control, or a value it cannot take.
        """
        with self._lock:
            self._busy = True
            try:
                self._read()
                before = self.state
                try:
                    for name, value in values.items():
                        self._put(name, value)
                except WorkbenchError:
                    for name, value in before.items():
                        self.controls[name].value = value
                    raise
                self._draw()
                self.message.value = ""
            finally:
                self._busy = False
        return self

    def add(self, label: str, run: str | Path | Run) -> Training:
        """Draw one more run.

        Raises:
            DataNotFoundError: the folder holds no run.
        """
        self._runs[label] = run if isinstance(run, Run) else Run(run)
        return self.set(shown=(*self.controls["shown"].value, label))

    def start(self, out: str | Path, **arguments: Any) -> subprocess.Popen[bytes]:
        """Train in a child process, so that this panel stays alive: ``wb.train(out=out, **arguments)``.

        The run appears once its arguments are checked; what the child prints is in ``<out>.log`` beside its folder.
        """
        folder = Path(out).expanduser().absolute()
        folder.parent.mkdir(parents=True, exist_ok=True)
        asked = json.dumps(
            {k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()} | {"out": str(folder)}
        )
        with folder.with_suffix(".log").open("wb") as log:
            child = subprocess.Popen([sys.executable, "-c", CHILD, asked], stdout=log, stderr=log)
        self.children.append(child)
        while child.poll() is None and not (folder / "run.json").is_file():
            self._closed.wait(0.1)
        if not (folder / "run.json").is_file():
            tail = folder.with_suffix(".log").read_text(errors="replace").strip().splitlines()
            raise WorkbenchError(f"the training did not start: {tail[-1] if tail else 'it printed nothing'}")
        self.add(folder.name, folder)
        return child

    def ask(self, what: str) -> None:
        """Ask the training chosen under ``run`` to ``"pause"``, to go on (``"run"``) or to ``"stop"``.

        Raises:
            WorkbenchError: no training is running.
        """
        run = self._runs.get(self.controls["run"].value or "")
        if not isinstance(run, Run):
            raise WorkbenchError("no training of this panel is running; start one with panel.start(...)")
        request(run.folder, what)

    def refresh(self) -> None:
        """Read the run folders again, and draw where something changed."""
        with self._lock:
            self._busy = True
            try:
                self._read()
                self._draw()
            except Exception as e:  # whatever a folder holds, the panel answers inside itself and goes on
                self._complain(e)
            finally:
                self._busy = False

    def close(self) -> None:
        """Stop following the runs; trainings go on."""
        self._closed.set()

    def _follow(self, every_s: float) -> None:
        while not self._closed.wait(every_s):
            self.refresh()

    def _clicked(self, what: str) -> None:
        try:
            self.ask(what)
            self.message.value = f"Asked {html.escape(self.controls['run'].value)}: {self.buttons[what].description}."
        except (WorkbenchError, OSError) as e:
            self._complain(e)

    def _complain(self, error: Exception) -> None:
        self.message.value = alert(reason(error))

    def _put(self, name: str, value: Any) -> None:
        if name not in self.controls:
            raise no_control("Training", name, self.controls)
        put(name, self.controls[name], value)

    def _changed(self, _change: Any) -> None:
        if not self._busy:
            self.refresh()

    def _read(self) -> None:
        self._result = {label: facts(run) for label, run in self._runs.items()}
        going = [label for label, r in self._result.items() if r["status"] in ("running", "paused")]
        losses = {k: None for r in self._result.values() for k in r["last"] if k.endswith("_loss")}
        for name, options in (("metric", [*METRICS, *losses]), ("shown", list(self._runs)), ("run", going)):
            control = self.controls[name]
            if tuple(control.options) != tuple(options):  # new options lose the choice
                chosen, control.options = control.value, tuple(options)
                keep = tuple(c for c in chosen if c in options) if name == "shown" else chosen
                if name == "shown" or keep in options:
                    control.value = keep
                elif options:
                    control.value = options[0]
        for button in self.buttons.values():
            button.disabled = not going

    def _draw(self) -> None:
        metric, x = self.controls["metric"].value, self.controls["x"].value
        shown = {label: self._result[label] for label in self.controls["shown"].value}
        curves = {k: [r for r in f["rows"] if r.get(metric) is not None] for k, f in shown.items()}
        seen = (metric, x, [(k, f["status"], len(curves[k])) for k, f in shown.items()])
        if seen == self._seen:
            return  # nothing new: the picture stays untouched
        figure = Figure(figsize=(8.4, 3.8), layout="constrained")
        ax = figure.add_subplot()
        if any(curves.values()):
            training_curves(curves, metric, x, ax)
        else:
            ax.text(0.5, 0.5, "no finished epoch yet", ha="center", va="center")
            ax.set_axis_off()
        self.picture.value, self._seen = png_of(figure), seen
        lines = [line(label, f, metric) for label, f in shown.items()] or ["no run chosen"]
        self.words.value = f'<div style="columns:28em">{"<br>".join(map(html.escape, lines))}</div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)
