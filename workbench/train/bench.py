"""What the wrapper around training costs: ``python -m workbench.train.bench``, part of ``make bench``.

`profile` trains the stock yolo11n for one epoch and says which share of the CPU time was spent in our frames and in
what they called, ultralytics apart. `epochs` trains it by turns through the wrapper and by plain ultralytics, the plug
taken out, and gives the ratio of the times with its interval, on the wall clock unless the machine was too busy. That
both make the same calls and learn the same numbers is no matter of time: ``tests/test_train_cost.py`` counts them.
"""

from __future__ import annotations

import contextlib
import cProfile
import io
import pstats
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from ..measure.bench import command_line, save, section_options
from ..measure.environment import environment
from ..measure.stats import Sample, judge, paired_ratio, summarise
from ..settings import set_threads
from ..yolo import YOLO, install, uninstall
from . import engine
from .presets import get_preset
from .run import Run, quiet_ultralytics

SECTIONS = ("profile", "epochs")
COLUMNS = ("run", "measure", "value", "low", "high", "n", "clock", "unit", "target")
TARGET = 0.01  # of the profiled CPU time may be ours
ROUNDS = 10
MODEL, PRESET = "yolo11n.yaml", "article-100"
OURS = str(Path(__file__).resolve().parent.parent)
Row = dict[str, Any]
Way = Callable[[Path, Path, Mapping[str, Any], Callable[[], object]], None]
Function = tuple[str, int, str]  # file, line, name, as pstats keys them


def profile(run: int, data: Path, imgsz: int, batch: int = 4) -> list[Row]:
    """Return the share of CPU time in our frames, of an epoch and of the whole call with its checks before the start.

    Args:
        run: number of the rows.
        data: dataset YAML.
        imgsz: side in pixels.
        batch: images per step.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:  # what is imported and allocated once is no part of an epoch
        _ours(data, Path(folder) / "run", {"imgsz": 64, "batch": batch, "epochs": 1})
    for whole, what in ((False, "an epoch, with building, validation and checkpoints"), (True, "the whole call")):
        profiler = cProfile.Profile(time.process_time)
        with tempfile.TemporaryDirectory() as folder, _profiled(profiler, whole):
            _ours(data, Path(folder) / "run", {"imgsz": imgsz, "batch": batch, "epochs": 1})
        ours, total = spent(pstats.Stats(profiler, stream=io.StringIO()))
        target = "" if whole else f"< {TARGET}"
        rows += [_row(run, f"our share of the CPU time of {what}", ours / total, unit="", target=target)]
        rows += [_row(run, f"CPU time of {what}", total, unit="s")]
    return rows


@contextlib.contextmanager
def _profiled(profiler: cProfile.Profile, whole: bool) -> Iterator[None]:
    """Profile everything, or what comes after the checks before the start."""
    if whole:
        with profiler:
            yield
        return
    theirs = engine._run

    def run(*args: Any) -> Run:
        with profiler:
            return theirs(*args)

    with mock.patch.object(engine, "_run", run):
        yield


def spent(stats: pstats.Stats, ours: str = OURS, theirs: str = "ultralytics") -> tuple[float, float]:
    """Return the seconds that are to be charged to our frames, and all.

    To ours: the own time of every function in the folder `ours`, and what library calls made by them took, however
    deep, those of the package `theirs` apart: the user asked for these. What is called by what is called by us may be
    charged twice, so the sum is an upper bound.

    Args:
        stats: of a profile.
        ours: folder of our source.
        theirs: folder name of the package that is wrapped.
    """
    table: Mapping[Function, Any] = vars(stats)["stats"]
    charged = 0.0
    for (file, _, _), (_, _, own, _, callers) in table.items():
        if file.startswith(ours):
            charged += own
        elif theirs not in Path(file).parts:
            charged += sum(found[3] for caller, found in callers.items() if caller[0].startswith(ours))
    return charged, sum(own for _, _, own, _, _ in table.values())


def epochs(run: int, data: Path, imgsz: int, rounds: int, batch: int = 4, n: int = 2) -> list[Row]:
    """Return the time of the wrapper over that of plain ultralytics, of an epoch after the first and of a whole run.

    Args:
        run: number of the rows.
        data: dataset YAML.
        imgsz: side in pixels.
        rounds: pairs of trainings; each comes first by turns.
        batch: images per step.
        n: epochs of a training, at least 2.
    """
    settings = {"imgsz": imgsz, "batch": batch, "epochs": n}
    ways: dict[str, Way] = {"ours": _ours, "plain": _plain}
    found: dict[str, dict[str, list[Sample]]] = {what: {"ours": [], "plain": []} for what in ("epoch", "call")}
    for i in range(-1, rounds):  # round −1 warms up
        for way in sorted(ways, reverse=bool(i % 2)):
            marks = [_clocks()]
            with tempfile.TemporaryDirectory() as folder:
                ways[way](data, Path(folder) / "run", settings, lambda: marks.append(_clocks()))  # noqa: B023
                marks.append(_clocks())
            if i >= 0:
                found["call"][way].append(_sample(i, marks[0], marks[-1]))
                found["epoch"][way].append(_sample(i, marks[1], marks[n], n - 1))
        print(f"run {run}: round {i + 1} of {rounds}", flush=True)
    rows = []
    for what, name in (("epoch", "an epoch after the first"), ("call", f"a training of {n} epochs, start to end")):
        ours, plain = found[what]["ours"], found[what]["plain"]
        ratio, clock = paired_ratio(ours, plain), judge(plain).clock
        rows.append(
            _row(run, f"{name}: wrapper / plain ultralytics", ratio.ratio, ratio.low, ratio.high, ratio.n, clock)
        )
        s = summarise(plain)
        rows.append(_row(run, f"{name}: plain ultralytics", s.median_s, s.q1_s, s.q3_s, s.n, clock, unit="s"))
    return rows


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _sample(i: int, start: tuple[float, float], end: tuple[float, float], epochs: int = 1) -> Sample:
    return Sample(i, (end[0] - start[0]) / epochs, (end[1] - start[1]) / epochs, 1, 0.0)


def _ours(data: Path, out: Path, settings: Mapping[str, Any], mark: Callable[[], object] = list) -> None:
    def on_epoch(row: Mapping[str, float]) -> None:
        mark()

    engine.train(data=data, model=MODEL, preset=PRESET, out=out, threads=1, quiet=True, on_epoch=on_epoch, **settings)


def _plain(data: Path, out: Path, settings: Mapping[str, Any], mark: Callable[[], object] = list) -> None:
    """Train without the plug, on as many threads and as silently."""
    arguments = {**get_preset(PRESET).settings, **settings, "nbs": settings["batch"], "plots": False, "seed": 0}
    uninstall()
    try:
        detector = YOLO(MODEL)
        for event in ("on_train_start", "on_val_start"):  # ultralytics chooses its own number of threads
            detector.add_callback(event, lambda _: set_threads(1))
        detector.add_callback("on_fit_epoch_end", lambda _: mark())
        with quiet_ultralytics():
            detector.train(data=str(data), project=str(out.parent), name=out.name, **arguments)
    finally:
        install()


def _row(
    run: int, measure: str, value: float, low: Any = "", high: Any = "", n: int = 1, clock: str = "cpu",
    unit: str = "×", target: str = "",
) -> Row:  # fmt: skip
    return dict(zip(COLUMNS, (run, measure, value, low, high, n, clock, unit, target), strict=True))


def show(rows: Iterable[Row]) -> str:
    """Return a line per row.

    >>> print(show([_row(1, "ours / plain", 1.0021, 0.99, 1.01, 12, "wall"), _row(1, "our share", 0.002, unit="")]))
    ours / plain: 1.002 × [0.99, 1.01], n = 12, clock: wall
    our share: 0.002
    """
    lines = []
    for row in rows:
        number = f"{row['value']:.4g} {row['unit']}".rstrip()
        interval = ""
        if row["low"] != "":
            interval = f" [{row['low']:.3g}, {row['high']:.3g}], n = {row['n']}, clock: {row['clock']}"
        target = f" (target {row['target']})" if row["target"] else ""
        lines.append(f"{row['measure']}: {number}{interval}{target}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and save."""
    parser = command_line(__doc__, SECTIONS)
    parser.add_argument("--data", type=Path, required=True, help="dataset YAML, as `workbench data coco128` prints it")
    parser.add_argument("--imgsz", type=int, nargs=2, default=(320, 160), help="sides for profile and for epochs")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="pairs of trainings")
    options = section_options(parser, SECTIONS)
    sections = options.section
    rows, (side, small) = [], options.imgsz
    if "profile" in sections:
        rows += profile(options.run, options.data, side)
    if "epochs" in sections:
        rows += epochs(options.run, options.data, small, options.rounds)
    told = {"threads": 1, "model": MODEL, "preset": PRESET, "data": options.data.stem}
    told |= {"profile_imgsz": side, "epochs_imgsz": small}
    command = f"python -m workbench.train.bench --data {options.data.name} --imgsz {side} {small}"
    save(options.out / "bench_train", rows, options.run, environment("cpu", **told), command)
    print(show(rows))


if __name__ == "__main__":
    main()
