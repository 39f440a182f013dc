"""The ruler's own benchmark: ``python -m workbench.measure.bench``. Our backbones against timm's, and a self-test.

Two sections. `rivals` times every family that timm has too, with the same weights, side by side in one interleaved run
per setting. `selftest` asks whether the intervals of this machine hold what they say: a candidate against itself must
cover 1, also while another process loads a core, and one with a tenth more work must come out slower.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ._table import text_table
from .candidates import factory
from .count import count
from .latency import latency
from .rivals import ours
from .roofline import roofline
from .runtimes import available
from .timing import Latency

NAMES = ("fasternet_t0", "starnet_s1", "mobileone_s0")
SETTINGS = ((1, 1), (1, 2), (32, 1), (32, 2))  # batch, threads
COLUMNS = (
    *("run", "network", "batch", "threads", "candidate", "median_ms", "q1_ms", "q3_ms", "n", "dropped", "clock"),
    *("ratio_to_timm", "low", "high"),
)
TRIALS, NEEDED = 40, 34
Row = dict[str, Any]


def candidates(name: str) -> dict[str, Any]:
    """Return label → recipe: each form of both implementations in both layouts, and our deploy form in the runtimes."""
    made = {}
    for side in ("theirs", "ours"):
        who = "timm" if side == "theirs" else "ours"
        made[f"{who} train"] = factory(f"workbench.measure.rivals:{side}", name, "train")
        for layout, runtime in (("nchw", "eager"), ("channels_last", "channels_last")):
            made[f"{who} deploy {layout}"] = factory(
                f"workbench.measure.rivals:{side}", name, "deploy", runtime=runtime
            )
    for runtime in available():
        if runtime in ("onnxruntime", "openvino"):
            made[f"ours deploy {runtime}"] = factory("workbench.measure.rivals:ours", name, "deploy", runtime=runtime)
    return made


def rivals(
    run: int, settings: Iterable[tuple[int, int]] = SETTINGS, names: Sequence[str] = NAMES
) -> tuple[list[Row], Row]:
    """Time all candidates; return one row per candidate, and the environment."""
    rows: list[Row] = []
    env: Row = {}
    for batch, threads in settings:
        for name in names:
            rounds, budget = (25, 60.0) if batch == 1 else (9, 90.0)
            result = latency(
                candidates(name), imgsz=224, batch=batch, threads=threads, rounds=rounds, budget_s=budget,
                baseline="timm train", count=False, progress=False, seed=run,
            )  # fmt: skip
            env = dict(result.env)
            rows += [_row(result, run, name, batch, threads, label) for label in result.names]
            print(f"run {run}: {name}, batch {batch}, {threads} thread(s): {result.ending}", flush=True)
    return rows, env


def _row(result: Latency, run: int, name: str, batch: int, threads: int, label: str) -> Row:
    s = result.summary(label)
    form = "train" if label.endswith("train") else "deploy"
    layouts = ("",) if form == "train" else (" nchw", " channels_last")
    best = min((f"timm {form}{layout}" for layout in layouts), key=lambda n: result.summary(n).median_s)
    r = result.ratio(best, label)  # > 1: faster than timm's same form in its best layout
    times = (1e3 * v for v in (s.median_s, s.q1_s, s.q3_s))
    values = (run, name, batch, threads, label, *times, s.n, s.dropped, s.clock, r.ratio, r.low, r.high)
    return dict(zip(COLUMNS, values, strict=True))


def verdicts(rows: Sequence[Row], peak_gflops: float | None = None) -> list[str]:
    """Return the targets, each with what was measured: ratios above 1 say that ours is faster."""
    lines = []
    train = [r for r in rows if r["candidate"] == "ours train"]
    missed = [r for r in train if r["high"] < 1]
    where = "".join(
        f"; not at {r['network']} batch {r['batch']} threads {r['threads']} ({r['ratio_to_timm']:.3f})" for r in missed
    )
    lines.append(f"train form: the interval reaches 1.0 in {len(train) - len(missed)} of {len(train)} settings{where}")
    best = [max(_of(rows, r, "ours deploy nchw", "ours deploy channels_last"), key=_ratio) for r in train]
    lines.append(f"deploy form, both in their best layout: geometric mean {_mean(best):.3f} (required 1.0, goal 1.2)")
    fast = [
        max(_of(rows, r, "ours deploy onnxruntime", "ours deploy openvino"), key=_ratio, default=None) for r in train
    ]
    known = [r for r in fast if r]
    if known:
        lines.append(f"best runtime: geometric mean {_mean(known):.2f} × timm's eager inference form (target 2.5)")
    if peak_gflops:
        one = [r for r in known if (r["network"], r["batch"], r["threads"]) == ("mobileone_s0", 1, 1)]
        for r in one:
            gflops = 2 * count(ours("mobileone_s0"), imgsz=224).macs / r["median_ms"] / 1e6
            lines.append(
                f"MobileOne-S0 there: {gflops:.0f} of {peak_gflops:.0f} GFLOP/s, "
                f"{gflops / peak_gflops:.0%} of the roof (target 70 %)"
            )
    return lines


def _of(rows: Sequence[Row], like: Row, *labels: str) -> list[Row]:
    same = ("run", "network", "batch", "threads")
    return [r for r in rows if r["candidate"] in labels and all(r[k] == like[k] for k in same)]


def _ratio(row: Row) -> float:
    return float(row["ratio_to_timm"])


def _mean(rows: Sequence[Row]) -> float:
    return math.exp(sum(math.log(_ratio(r)) for r in rows) / len(rows))


def work(k: int) -> Any:
    """Return a callable that runs one small convolution k times."""
    import torch

    conv = torch.nn.Conv2d(32, 32, 3, padding=1).eval()

    def run(x: Any) -> Any:
        y = x
        for _ in range(k):
            y = conv(x)
        return y

    return run


def selftest(trials: int = TRIALS) -> list[Row]:
    """Return how often the intervals held what they say, quiet and with a loaded core."""
    rows = []
    for loaded in (False, True):
        burner = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) if loaded else None
        if burner:
            burner.start()
            time.sleep(1)
        try:
            covered = slower = 0
            for trial in range(trials):
                made = {"a": work(20), "again": work(20), "more": work(22)}
                r = latency(
                    made, x=_image(), rounds=25, budget_s=10, sample_ms=5, process="here", count=False, progress=False,
                    seed=trial,
                )  # fmt: skip
                same, more = r.ratio("again"), r.ratio("more")
                covered += same.low <= 1 <= same.high
                slower += more.low > 1
        finally:
            if burner:
                burner.kill()
                burner.join()
        rows.append({"loaded": loaded, "trials": trials, "covered": covered, "slower": slower, "needed": NEEDED})
    return rows


def _image() -> Any:
    import torch

    return torch.rand(1, 32, 28, 28)


def _burn() -> None:
    while True:
        math.sqrt(2)


def save(path: Path, rows: Sequence[Row], run: int, env: Row, command: str) -> None:
    """Write rows as tidy CSV, after those of other runs that are there, and the environment of each run as JSON."""
    kept: list[Row] = []
    if path.with_suffix(".csv").is_file():
        with path.with_suffix(".csv").open(newline="", encoding="utf-8") as f:
            kept = [r for r in csv.DictReader(f) if int(r["run"]) != run]
    meta: Row = {"command": command, "environments": {}}
    if path.with_suffix(".json").is_file():
        meta |= {"environments": json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["environments"]}
    meta["environments"][str(run)] = env
    every = sorted([*kept, *rows], key=lambda r: int(r["run"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in r.items()} for r in every)
    path.with_suffix(".json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", nargs="*", help="rivals, selftest (default both)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder; data/results keeps what is committed"
    )
    parser.add_argument("--run", type=int, default=1, help="number under which the rows are kept")
    options = parser.parse_args()
    sections = options.section or ["rivals", "selftest"]
    if "selftest" in sections:
        found = [{"run": options.run, **row} for row in selftest()]
        env = dict(latency({"a": work(1)}, x=_image(), rounds=1, process="here", count=False, progress=False).env)
        save(options.out / "bench_selftest", found, options.run, env, "python -m workbench.measure.bench selftest")
        print(
            text_table(list(found[0]), [[str(v) for v in row.values()] for row in found], "intervals on this machine")
        )
    if "rivals" in sections:
        roof = roofline(threads=1, progress=False)
        rows, env = rivals(options.run)
        env |= {"peak_gflops_1_thread": roof.peak_gflops}
        save(options.out / "bench_rivals", rows, options.run, env, "python -m workbench.measure.bench rivals")
        shown = [[r["network"], f"{r['batch']}/{r['threads']}", r["candidate"], r["median_ms"],
                  f"{r['ratio_to_timm']:.3f} [{r['low']:.3f}, {r['high']:.3f}]"] for r in rows]  # fmt: skip
        print(text_table(["network", "batch/threads", "candidate", "median ms", "timm / this"], shown))
        print("\n".join(verdicts(rows, roof.peak_gflops)))


if __name__ == "__main__":
    main()
