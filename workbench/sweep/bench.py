"""What a second worker gains a sweep: ``python -m workbench.sweep.bench``, part of ``make bench``.

Trains one grid of short runs, one thread each, with one worker and with two by turns (1, 2, 2, 1 and so on, so that a
machine that slows down meanwhile slows both), and reports the speed-up with what it takes to start an engine beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..measure.bench import save
from ..measure.environment import environment
from .driver import ENGINES, HERE, sweep

COLUMNS = ("run", "engine", "measure", "value", "low", "high", "n", "unit", "target")
ORDER = (1, 2, 2, 1)  # workers of each sweep
TARGET = 1.5  # times faster with two workers
SEEDS = 8  # runs of the grid
SETTINGS = {"imgsz": 96, "batch": 8, "epochs": 3, "fraction": 0.25}  # a few seconds a run
Row = dict[str, Any]


def speed_up(run: int, engine: str, data: Path, order: Sequence[int] = ORDER) -> list[Row]:
    """Return the times of a sweep with one and with two workers, and their ratio, starting the engine included.

    Args:
        run: number of the rows.
        engine: "local" or "ray".
        data: dataset YAML.
        order: workers of each sweep, one and two by turns.
    """
    took: dict[int, list[float]] = {1: [], 2: []}
    for jobs in order:
        took[jobs].append(_sweep(engine, data, jobs))
        print(f"run {run}: {engine}, {jobs} worker(s): {took[jobs][-1]:.1f} s", flush=True)
    pairs = [one / two for one, two in zip(took[1], took[2], strict=True)]
    rows = [_row(run, engine, f"{SEEDS} runs, {jobs} worker(s)", took[jobs], "s") for jobs in took]
    return [*rows, _row(run, engine, "speed-up of two workers", pairs, "×", f"≥ {TARGET}")]


def _sweep(engine: str, data: Path, jobs: int) -> float:
    grid = {"data": [str(data)], "seeds": list(range(SEEDS)), "preset": "fast", "settings": SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        table = sweep(grid, folder, engine=engine, jobs=jobs, threads=1, say=None)
        took = time.perf_counter() - start
    assert len(table.finished()) == SEEDS
    return took


def start_up(run: int, times: int = 2) -> list[Row]:
    """Return how long Ray takes to start, to have its first worker ready to train, and to stop."""
    import ray

    found: dict[str, list[float]] = {"starting": [], "first worker, with its imports": [], "stopping": []}
    for _ in range(times):
        marks = [time.perf_counter()]
        ray.init(log_to_driver=False, configure_logging=False, num_cpus=1, **HERE)
        marks.append(time.perf_counter())
        ray.get(ray.remote(num_cpus=1)(_import).remote())
        marks.append(time.perf_counter())
        ray.shutdown()
        marks.append(time.perf_counter())
        for name, (before, after) in zip(found, itertools.pairwise(marks), strict=True):
            found[name].append(after - before)
    return [_row(run, "ray", name, seconds, "s") for name, seconds in found.items()]


def _import() -> None:
    import workbench.yolo  # noqa: F401


def _row(run: int, engine: str, measure: str, values: Sequence[float], unit: str, target: str = "") -> Row:
    numbers = (statistics.median(values), min(values), max(values), len(values))
    return dict(zip(COLUMNS, (run, engine, measure, *numbers, unit, target), strict=True))


def show(rows: Sequence[Row]) -> str:
    """Return a line per row.

    >>> print(show([_row(1, "ray", "speed-up of two workers", [1.5, 1.75], "×", "≥ 1.5")]))
    ray, speed-up of two workers: 1.62 × (1.5 to 1.75, n = 2; target ≥ 1.5)
    """
    lines = []
    for row in rows:
        target = f"; target {row['target']}" if row["target"] else ""
        lines.append(
            f"{row['engine']}, {row['measure']}: {row['value']:.3g} {row['unit']} "
            f"({row['low']:.3g} to {row['high']:.3g}, n = {row['n']}{target})"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", nargs="*", help=f"some of {', '.join(ENGINES)} (default: ray, local without it)")
    parser.add_argument("--data", type=Path, required=True, help="dataset YAML, as `workbench data shapes` prints it")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder; data/results keeps what is committed"
    )
    parser.add_argument("--run", type=int, default=1, help="number under which the rows are kept")
    options = parser.parse_args()
    has_ray = importlib.util.find_spec("ray") is not None
    engines = options.engine or ["ray" if has_ray else "local"]
    if unknown := set(engines) - set(ENGINES):
        parser.error(f"unknown engine {', '.join(sorted(unknown))}; expected some of {', '.join(ENGINES)}")
    rows = []
    for engine in engines:
        rows += start_up(options.run) if engine == "ray" else []
        rows += speed_up(options.run, engine, options.data)
    told = {"threads": 1, "order": list(ORDER), "settings": SETTINGS, "data": options.data.stem}
    command = f"python -m workbench.sweep.bench {' '.join(engines)} --data {options.data.name}"
    save(options.out / "bench_sweep", rows, options.run, environment("cpu", **told), command)
    print(show(rows))


if __name__ == "__main__":
    main()
