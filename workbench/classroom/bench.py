"""What grading costs: ``python -m workbench.classroom.bench``. Our sandbox against plain nbgrader, and 200 at once.

`ways` grades the same 20 submissions of assignment 1 with plain ``nbgrader autograde``, and in the sandbox with one
process and with two: ten and the other ten by turns, the ways in changing order, each as the command that an
instructor types. `jobs` grades all 20 in one call, with one process and with two. `many` grades 200 and notes, after
every one, how long it took and what memory the driver holds. `seat` runs every lesson and assignment as a student
does, and notes the memory and processor time that a seat needs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError
from ..files import scratch
from ..measure.bench import Row, save
from ..measure.environment import environment
from ..measure.stats import Ratio, Sample, paired_ratio
from ..measure.tables import text_table
from .course import Course
from .made import hand_in_made, made_course
from .seat import seat

NAME = "a1"
SECTIONS = ("ways", "jobs", "many", "seat")
ROUNDS, MANY, PART = 6, 200, 50
WAYS = {  # way → jobs
    "plain nbgrader": 1,
    "sandbox, 1 job": 1,
    "sandbox, 2 jobs": 2,
}
PLAIN, ONE, TWO = WAYS
MOST_OF_PLAIN, LEAST_OF_TWO = 1.3, 1.5  # the targets


def ways(run: int, root: Path, n: int = 20, rounds: int = ROUNDS) -> list[Row]:
    """Grade `n` submissions in each way, one half and the other by turns; return a row per round and way."""
    courses = {way: made_course(root / f"course{i}") for i, way in enumerate(WAYS)}
    shards = [[f"shard{k}-{i:02}" for i in range(n // 2)] for k in range(2)]
    for course in courses.values():
        hand_in_made(course, NAME, [s for shard in shards for s in shard])
    return _rounds(run, courses, [shards[k % 2] for k in range(rounds)])


def jobs(run: int, root: Path, n: int = 20, rounds: int = ROUNDS - 1) -> list[Row]:
    """Grade `n` submissions in one call with one job and with two; return a row per round and way."""
    courses = {way: made_course(root / f"course{i}") for i, way in enumerate((ONE, TWO))}
    students = [f"shard0-{i:02}" for i in range(n)]
    for course in courses.values():
        hand_in_made(course, NAME, students)
    return _rounds(run, courses, [students] * rounds)


def _rounds(run: int, courses: Mapping[str, Course], groups: Sequence[Sequence[str]]) -> list[Row]:
    """Time every way once a round, in an order that changes from round to round."""
    rows, n = [], len(courses)
    for round_, students in enumerate(groups):
        order = list(courses)[round_ % n :] + list(courses)[: round_ % n]
        for way in order[:: -1 if round_ // n % 2 else 1]:
            seconds = _timed(courses[way], way, students)
            rows.append({"run": run, "round": round_, "way": way, "jobs": WAYS[way], "submissions": len(students),
                         "wall_s": seconds, "s_per_submission": seconds / len(students)})  # fmt: skip
            print(f"run {run}: round {round_}, {way}: {seconds / len(students):.2f} s per submission", flush=True)
    return rows


def _timed(course: Course, way: str, students: Sequence[str]) -> float:
    """Return the seconds of one command, from its start to its end.

    Raises:
        WorkbenchError: it failed, or left a submission ungraded.
    """
    bin_ = Path(sys.executable).parent
    if way == "plain nbgrader":
        command = [sys.executable, "-m", "nbgrader", "autograde", NAME, "--force", "--student", students[0][:-2] + "*"]
    else:
        named = [part for s in students for part in ("--student", s)]
        command = [
            sys.executable,
            "-m",
            "workbench",
            "class",
            "grade",
            NAME,
            "--jobs",
            str(WAYS[way]),
            "--again",
            *named,
        ]
    env = os.environ | {"PATH": f"{bin_}{os.pathsep}{os.environ.get('PATH', '')}"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=course.root, env=env, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    missing = [s for s in students if not (course.autograded(s, NAME) / f"{NAME}.ipynb").is_file()]
    if done.returncode or missing:
        raise WorkbenchError(f"{way} left {', '.join(missing) or 'an error'}: {done.stderr.strip()[-300:]}")
    return seconds


def ratio(rows: Sequence[Row], over: str, under: str) -> Ratio:
    """Return how many times the time of `under` the way `over` takes; a round of a run is a pair.

    >>> way = {"a": 3.0, "b": 2.0}
    >>> rows = [{"run": 1, "round": k, "way": w, "s_per_submission": s} for k in range(5) for w, s in way.items()]
    >>> print(ratio(rows, "a", "b"))
    1.5 [1.5, 1.5]
    """
    samples = {
        way: [
            Sample(1000 * int(r["run"]) + int(r["round"]), float(r["s_per_submission"]), None, 1, 0.0)
            for r in rows
            if r["way"] == way
        ]
        for way in (over, under)
    }
    return paired_ratio(samples[over], samples[under])


def many(run: int, root: Path, n: int = MANY, jobs: int = 2) -> list[Row]:
    """Grade `n` submissions with one command; return a row per fifty, for the whole, and for one with nothing to do.

    ``driver_mib`` is the most that the command itself held so far, ``all_mib`` with everything that it has started.
    """
    course = made_course(root / "course")
    hand_in_made(course, NAME, [f"student{i:03}" for i in range(n)])

    def row(what: str, count: int, seconds: float, held: tuple[float, float]) -> Row:
        return {"run": run, "what": what, "jobs": jobs, "submissions": count, "wall_s": seconds,
                "s_per_submission": seconds / count, "driver_mib": held[0], "all_mib": held[1]}  # fmt: skip

    marks, whole = _watched(course, jobs)
    if len(marks) != n + 1:
        raise WorkbenchError(f"{len(marks) - 1} of {n} submissions were graded")
    rows = []
    for first in range(0, n, PART):
        last = min(first + PART, n)
        before = marks[first - 1][0] if first else 0.0
        rows.append(row(f"{first + 1} to {last}", last - first, marks[last - 1][0] - before, marks[last - 1][1]))
    rows.append(row("into the gradebook", n, whole - marks[-2][0], marks[-1][1]))
    rows.append(row("all", n, whole, marks[-1][1]))
    again, seconds = _watched(course, jobs)
    return [*rows, row("again, nothing has changed", n, seconds, again[-1][1])]


def _watched(course: Course, jobs: int) -> tuple[list[tuple[float, tuple[float, float]]], float]:
    """Run the command; return (seconds, (its peak, all's, in MiB)) for each line it says and its end; and its time."""
    import psutil

    held = [0.0, 0.0]

    def look(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                me = psutil.Process(process.pid)
                sizes = [p.memory_info().rss / 2**20 for p in (me, *me.children(recursive=True))]
                held[:] = max(held[0], sizes[0]), max(held[1], sum(sizes))
            time.sleep(0.1)

    command = [sys.executable, "-m", "workbench", "class", "grade", NAME, "--jobs", str(jobs)]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=course.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # it says a line for each submission on its standard error
    watcher = threading.Thread(target=look, args=(process,), daemon=True)
    watcher.start()
    marks = []
    for _ in process.stderr or ():
        marks.append((time.perf_counter() - start, (held[0], held[1])))
        if len(marks) % PART == 0:
            print(f"{len(marks)} after {marks[-1][0]:.0f} s", flush=True)
    code = process.wait()
    seconds = time.perf_counter() - start
    watcher.join()
    if code:
        raise WorkbenchError(f"{' '.join(command)} ended with {code}")
    return [*marks, (seconds, (held[0], held[1]))], seconds


def verdicts(section: str, rows: Sequence[Row]) -> list[str]:
    """Return the targets of a section, each with what was measured."""
    lines = []
    if section == "ways":
        r = ratio(rows, ONE, PLAIN)
        met = "met" if r.ratio <= MOST_OF_PLAIN else "missed"
        lines.append(f"sandbox with one job / plain nbgrader: {r} (n = {r.n}; at most {MOST_OF_PLAIN} wanted: {met})")
    if section in ("ways", "jobs"):
        r = ratio(rows, ONE, TWO)
        met = "met" if r.ratio >= LEAST_OF_TWO else "missed"
        wanted = f"; at least {LEAST_OF_TWO} wanted: {met}" if section == "jobs" else ""
        lines.append(f"one job / two jobs: {r} (n = {r.n}{wanted})")
    return lines


def main() -> None:
    """Measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", nargs="*", help=f"some of {', '.join(SECTIONS)} (default all)")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder; data/results is committed")
    parser.add_argument("--run", type=int, default=1, help="number under which the rows are kept")
    options = parser.parse_args()
    sections = options.section or SECTIONS
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; expected some of {', '.join(SECTIONS)}")
    parts: dict[str, tuple[str, Callable[[int, Path], list[Row]]]] = {
        "ways": ("bench_classroom", ways),
        "jobs": ("bench_classroom_jobs", jobs),
        "many": ("bench_classroom_many", many),
        "seat": ("bench_classroom_seat", seat),
    }
    for section in [s for s in SECTIONS if s in sections]:
        file, measure = parts[section]
        with scratch("bench") as folder:
            found = measure(options.run, folder)
        stamp: dict[str, Any] = environment("cpu", sandbox="bubblewrap") | {"nbgrader": _nbgrader()}
        save(options.out / file, found, options.run, stamp, f"python -m workbench.classroom.bench {section}")
        print(text_table(list(found[0]), [list(r.values()) for r in found], f"grading, {section}"))
        print("\n".join(verdicts(section, found)))


def _nbgrader() -> str:
    from importlib.metadata import version

    return version("nbgrader")


if __name__ == "__main__":
    main()
