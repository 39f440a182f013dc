"""The recorded costs of teaching as text, for the instructor's guide: from ``data/results``, not from a hand."""

from __future__ import annotations

import csv
import json
import statistics
from typing import Any

from ..errors import WorkbenchError
from ..measure.bench import Row
from ..settings import data_dir
from .bench import ONE, PLAIN, TWO, ratio

WAYS, JOBS = "bench_classroom", "bench_classroom_jobs"
MANY, SEAT = "bench_classroom_many", "bench_classroom_seat"


def recorded(name: str) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows and the environment of a recorded benchmark's last run.

    Raises:
        WorkbenchError: it is not recorded.
    """
    path = data_dir() / "results" / f"{name}.csv"
    if not path.is_file():
        raise WorkbenchError(f"{path} is not there; python -m workbench.classroom.bench --out data/results writes it")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["environments"]
    last = max(known, key=int)
    return [r for r in rows if r["run"] == last], known[last]


def costs() -> str:
    """Return what grading costs, as Markdown: a table of the ways, their ratios, and what many at once cost."""
    (ways, env), (both, env_both) = recorded(WAYS), recorded(JOBS)
    lines = ["| way | submissions a call | seconds per submission, median (least to most) |", "| --- | --- | --- |"]
    for rows in (ways, both):
        for way in dict.fromkeys(r["way"] for r in rows):
            mine = [r for r in rows if r["way"] == way]
            each = [float(r["s_per_submission"]) for r in mine]
            spread = f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f}, n = {len(each)})"
            lines.append(f"| {way} | {mine[0]['submissions']} | {spread} |")
    against, two = ratio(ways, ONE, PLAIN), ratio(both, ONE, TWO)
    lines += ["", f"In pairs of one round, the sandbox with one job takes {_range(against)} × the time of plain "
              f"nbgrader on the same submissions. One job takes {_range(two)} × the time of two on all "
              f"{both[0]['submissions']}.{_beside(env_both)}", "", *_many(),
              f"*{env['cpu']}, {env['cores']} cores, Python {env['python']}, torch {env['torch']}, "
              f"nbgrader {env['nbgrader']}; in brackets 95 % intervals.*"]  # fmt: skip
    return "\n".join(lines)


def _beside(env: dict[str, Any], so: str = ", which takes from two jobs most") -> str:
    """Say so where the machine was not ours alone: two jobs want both cores."""
    load, cores = float(env.get("load_average", 0.0)), int(env["cores"])
    if load <= cores + 1:
        return ""
    return f" Other work ran beside this (load average {load:.1f} on {cores} cores){so}."


def _range(found: Any) -> str:
    return f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _many() -> list[str]:
    try:
        rows, env = recorded(MANY)
    except WorkbenchError:
        return []
    mine = {r["what"]: r for r in rows}
    whole = mine["all"]
    n, jobs = int(whole["submissions"]), int(whole["jobs"])
    parts = [r for w, r in mine.items() if " to " in w]
    lines = [f"| {n} submissions in one call, {jobs} jobs | seconds | per submission | MiB of the driver |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for r in (*parts, mine["into the gradebook"], whole, mine["again, nothing has changed"]):
        lines.append(
            f"| {r['what']} | {float(r['wall_s']):.0f} | {float(r['s_per_submission']):.2f} | "
            f"{float(r['driver_mib']):.0f} |"
        )
    growth = float(parts[-1]["s_per_submission"]) / float(parts[0]["s_per_submission"])
    lines += ["", f"The last {parts[-1]['submissions']} cost {growth:.2f} × what the first {parts[0]['submissions']} "
              f"did. The driver, its {jobs} workers and their sandboxes hold {float(whole['all_mib']):.0f} MiB at most "
              f"(libraries that they share counted more than once).{_beside(env, '')}", ""]  # fmt: skip
    return lines


def largest_mib() -> float:
    """Return the most memory that a lesson or assignment was seen to need: its kernel, its child and JupyterLab."""
    rows, _ = recorded(SEAT)
    lab = max(float(r["kernel_mib"]) for r in rows if r["what"].startswith("JupyterLab"))
    return lab + max(_mib(r) for r in rows if not r["what"].startswith("JupyterLab"))


def _mib(row: Row) -> float:
    return float(row["kernel_mib"]) + float(row["child_mib"])


def seats() -> str:
    """Return what a student's seat needs, as Markdown."""
    rows, env = recorded(SEAT)
    lines = ["| run from top to bottom | memory, MiB | processor, s |", "| --- | --- | --- |"]
    lines += [f"| {r['what'].replace('_', ' ')} | {_mib(r):.0f} | {float(r['cpu_s']):.0f} |" for r in rows]
    most = max(rows[1:], key=_mib)
    lines += ["", "Memory is the kernel's peak and that of its largest child process together. The most, "
              f"{most['what']} with JupyterLab, is {largest_mib() / 1024:.1f} GiB. Two open notebooks are two kernels: "
              "that is what the rest of the limit is for, and the guarantee is about what one kernel with torch and "
              f"ultralytics needs. (Budget `fast`; torch {env['torch']} for the CPU.)"]  # fmt: skip
    return "\n".join(lines)
