"""The ruler's own benchmark: ``python -m workbench.measure.bench``. Our backbones against timm's, and a self-test.

`rivals` times every family that timm has too, with the same weights, side by side in one interleaved run per setting;
`memory` compares what both hold at once; `star` times StarNet's product against a sum. `selftest` asks whether the
intervals of this machine hold what they say: a candidate against itself must cover 1, also while another process loads
a core, and one with a tenth more work must come out slower.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..files import replace_text, replacing
from .candidates import factory
from .count import count
from .environment import environment
from .latency import latency
from .memory import peak_memory
from .published import published
from .rivals import ours, theirs
from .roofline import roofline
from .runtimes import available
from .selftest import image, selftest, whole, work
from .tables import text_table
from .timing import Latency

NAMES = ("fasternet_t0", "starnet_s1", "mobileone_s0")
SETTINGS = ((1, 1), (1, 2), (32, 1), (32, 2))  # batch, threads
COLUMNS = (
    *("run", "network", "batch", "threads", "candidate", "median_ms", "q1_ms", "q3_ms", "n", "dropped", "clock"),
    *("ratio_to_timm", "low", "high"),
)
SECTIONS = ("selftest", "memory", "star", "rivals")
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
            result = whole(latency(
                candidates(name), imgsz=224, batch=batch, threads=threads, rounds=rounds, budget_s=budget,
                baseline="timm train", count=False, progress=False, seed=run,
            ))  # fmt: skip
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
    best = geometric_mean(best_deploy(rows))
    lines.append(f"deploy form, both in their best layout: geometric mean {best:.3f} (required 1.0, goal 1.2)")
    fast = [
        max(_of(rows, r, "ours deploy onnxruntime", "ours deploy openvino"), key=_ratio, default=None) for r in train
    ]
    known = [r for r in fast if r]
    if known:
        lines.append(
            f"best runtime: geometric mean {geometric_mean(known):.2f} × timm's eager inference form (target 2.5)"
        )
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


def best_deploy(rows: Sequence[Row]) -> list[Row]:
    """Return our deploy form in its faster layout, one row per network and setting."""
    settings = [r for r in rows if r["candidate"] == "ours train"]
    return [max(_of(rows, r, "ours deploy nchw", "ours deploy channels_last"), key=_ratio) for r in settings]


def geometric_mean(rows: Sequence[Row]) -> float:
    """Return the geometric mean of the ratios to timm: above 1, ours is faster."""
    return math.exp(sum(math.log(_ratio(r)) for r in rows) / len(rows))


def memory(run: int, names: Sequence[str] = NAMES) -> list[Row]:
    """Return the peak memory of both implementations in both forms, exactly: the weights, and all live activations."""
    rows = []
    for name in names:
        for form in ("train", "deploy"):
            for batch in (1, 32):
                for who, build in (("timm", theirs), ("ours", ours)):
                    found = peak_memory(build(name, form), _zeros(batch))
                    rows.append({
                        "run": run, "network": name, "form": form, "batch": batch, "who": who,
                        "weights_mib": found.weights / 2**20, "activations_mib": found.activations / 2**20,
                    })  # fmt: skip
    return rows


def _zeros(batch: int) -> Any:
    import torch

    return torch.zeros(batch, 3, 224, 224)  # (B, 3, H, W)


def star(
    run: int, names: Sequence[str] = ("starnet_s1", "starnet_s2", "starnet_s3", "starnet_s4")
) -> tuple[list[Row], Row]:
    """Time StarNet with its star and with a sum in its place, eager and in ONNX Runtime, beside the paper's times."""
    printed = {(r["paper"], r["model"]): r["value"] for r in published("latency") if "Xeon" in str(r["device"])}
    rows: list[Row] = []
    env: Row = {}
    for runtime in ("eager", *(r for r in available() if r == "onnxruntime")):
        for name in names:
            made = {f: factory(f"workbench.measure.rivals:{f}", name, runtime=runtime) for f in ("summed", "ours")}
            result = whole(latency(made, imgsz=224, count=False, progress=False, budget_s=30, seed=run))
            r, env = result.ratio("ours", "summed"), dict(result.env)
            paper = [printed.get((p, name)) for p in ("StarNet, table of comparisons", "StarNet, sum instead of star")]
            rows.append({
                "run": run, "network": name, "runtime": runtime, "star_ms": result.median_ms("ours"),
                "sum_ms": result.median_ms("summed"), "star_over_sum": r.ratio, "low": r.low, "high": r.high,
                "paper_star_ms": paper[0], "paper_sum_ms": paper[1],
            })  # fmt: skip
    return rows, env


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
    with replacing(path.with_suffix(".csv")) as part, part.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in r.items()} for r in every)
    replace_text(path.with_suffix(".json"), json.dumps(meta, indent=1) + "\n")


def _command(section: str) -> str:
    return f"python -m workbench.measure.bench {section}"


def command_line(doc: str | None, sections: Sequence[str]) -> argparse.ArgumentParser:
    """Return what every benchmark asks for: sections, a folder, and the number of the run."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", nargs="*", help=f"some of {', '.join(sections)} (default all)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench"), help="folder; data/results keeps what is committed"
    )
    parser.add_argument("--run", type=int, default=1, help="number under which the rows are kept")
    return parser


def section_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; an unknown section ends it with a sentence, none means all."""
    options = parser.parse_args()
    options.section = options.section or list(sections)
    if unknown := set(options.section) - set(sections):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; expected some of {', '.join(sections)}")
    return options


def main() -> None:
    """Measure, print, and save."""
    options = section_options(command_line(__doc__, SECTIONS), SECTIONS)
    sections = options.section
    if "selftest" in sections:
        found = [{"run": options.run, **row} for row in selftest()]
        env = dict(latency({"a": work(1)}, x=image(), rounds=1, process="here", count=False, progress=False).env)
        save(options.out / "bench_selftest", found, options.run, env, _command("selftest"))
        print(
            text_table(list(found[0]), [[str(v) for v in row.values()] for row in found], "intervals on this machine")
        )
    if "memory" in sections:
        found = memory(options.run)
        save(options.out / "bench_memory", found, options.run, environment("cpu"), _command("memory"))
        print(
            text_table(list(found[0]), [list(row.values()) for row in found], "peak memory of one forward pass, exact")
        )
    if "star" in sections:
        found, env = star(options.run)
        save(options.out / "bench_star", found, options.run, env, _command("star"))
        print(text_table(list(found[0]), [list(row.values()) for row in found], "StarNet: the star against a sum"))
    if "rivals" in sections:
        roof = roofline(threads=1, progress=False)
        if roof.measured:
            whole(roof.measured)
        rows, env = rivals(options.run)
        env |= {"peak_gflops_1_thread": roof.peak_gflops}
        save(options.out / "bench_rivals", rows, options.run, env, _command("rivals"))
        shown = [[r["network"], f"{r['batch']}/{r['threads']}", r["candidate"], r["median_ms"],
                  f"{r['ratio_to_timm']:.3f} [{r['low']:.3f}, {r['high']:.3f}]"] for r in rows]  # fmt: skip
        print(text_table(["network", "batch/threads", "candidate", "median ms", "timm / this"], shown))
        print("\n".join(verdicts(rows, roof.peak_gflops)))


if __name__ == "__main__":
    main()
