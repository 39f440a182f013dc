"""Drive a grid to its end, on this machine's cores or on a Ray cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, WorkbenchError, first_line, tell_interrupted
from .grid import Job, read_grid
from .table import Table, collect
from .worker import finish

ENGINES = ("local", "ray")
HERE: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}  # a Ray for this machine alone
Say = Callable[[str], object]


def sweep(
    grid: str | Path | Mapping[str, Any],
    out: str | Path = "runs/sweep",
    *,
    engine: str = "local",
    jobs: int = 1,
    address: str | None = None,
    retries: int = 2,
    threads: int | None = None,
    resolve: Callable[[str], Any] | None = None,
    say: Say | None = print,
) -> Table:
    """Train every run of a grid and return one table. Started again, it repeats nothing that is finished.

    Each run has a process of its own. One that dies is gone on with from its last checkpoint, at most `retries` times;
    when the driver dies, its workers do, and the next start goes on from their checkpoints.

    Args:
        grid: a YAML file or its contents; see `read_grid`.
        out: folder with one run folder per run, and ``table.csv``.
        engine: ``"local"``: processes on this machine; ``"ray"``: tasks of a Ray cluster (extra ``cluster``), whose
            machines share the folders of `out` and of the datasets.
        jobs: runs at the same time; the cores are divided between them.
        address: of a running Ray cluster; None starts one on this machine, listening on loopback only.
        retries: how often a run whose worker died is taken up again.
        threads: of each run; default the machine's cores, divided between the runs at the same time.
        resolve: turns names under ``data`` into the paths of dataset YAMLs.
        say: is given a line after every run, with the time left; None for silence.

    Raises:
        WorkbenchError: a bad grid, or a run that failed for a reason of its own, after all others were finished.
        MissingExtraError: Ray is not installed.
    """
    if engine not in ENGINES or not isinstance(jobs, int) or jobs < 1:
        raise WorkbenchError(
            f"engine={engine!r}, jobs={jobs!r} given; expected {' or '.join(ENGINES)}, and jobs above 0"
        )
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise WorkbenchError(f"threads={threads!r} is not a thread count; give an integer of at least 1")
    wanted = read_grid(grid, resolve).jobs()
    folder = Path(out).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    labels = [job.label for job in wanted]
    done = {row["label"] for row in collect(folder, labels).finished()}
    left = [job for job in wanted if job.label not in done]
    progress = _Progress(len(wanted), len(done), say or (lambda _: None), folder, labels)
    threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    try:
        run_all = _local if engine == "local" else _ray
        failed = run_all(left, folder, jobs, threads, retries, address, progress)
    except KeyboardInterrupt as e:
        finished = len(collect(folder, labels).finished())
        tell_interrupted(e, f"{finished} of {len(wanted)} runs are finished; the same call goes on", say)
        raise
    finally:
        table = collect(folder, labels)
        table.save(folder)
    if failed:
        label, reason = next(iter(failed.items()))
        raise WorkbenchError(f"{len(failed)} of {len(wanted)} runs failed; {label}: {reason}")
    return table


class _Progress:
    """Say how far it is and how long it will take, and keep the table on disk true."""

    def __init__(self, total: int, done: int, say: Say, folder: Path, labels: Sequence[str]) -> None:
        self.total, self.first, self.done, self.say = total, done, done, say
        self.folder, self.labels, self.start = folder, labels, time.monotonic()
        if done:
            say(f"{done} of {total} runs are finished already")

    def __call__(self, label: str, note: str = "finished") -> None:
        table = collect(self.folder, self.labels)
        table.save(self.folder)
        self.done = len(table.finished())
        new = max(self.done - self.first, 1)
        left = (time.monotonic() - self.start) / new * (self.total - self.done)
        self.say(f"{label}: {note}; {self.done} of {self.total}, about {left:.0f} s left")


def _local(
    left: list[Job], folder: Path, jobs: int, threads: int, retries: int, _: str | None, progress: _Progress
) -> dict[str, str]:
    waiting, running, tries = list(left), dict[str, tuple[Job, Any]](), dict.fromkeys((j.label for j in left), 0)
    failed: dict[str, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                job = waiting.pop(0)
                running[job.label] = (job, _start(job, folder, threads))
            time.sleep(0.05)
            for label, (job, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[label]
                said = process.stdout.read().strip()
                if process.returncode == 0:
                    progress(label)
                elif process.returncode > 0 or tries[label] >= retries:  # it said why, or it will not live
                    failed[label] = (said.splitlines() or [f"its worker ended with code {process.returncode}"])[-1]
                    progress(label, "failed")
                else:
                    tries[label] += 1
                    waiting.insert(0, job)
                    progress(label, "its worker was killed, going on with it")
    finally:
        for _job, process in running.values():
            process.kill()
            process.wait()
    return failed


def _start(job: Job, folder: Path, threads: int) -> Any:
    command = [sys.executable, "-m", "workbench.sweep.worker", str(folder / job.label), str(threads)]
    log = (folder / f"{job.label}.log").open("a", encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
    )
    log.close()
    assert process.stdin is not None
    process.stdin.write(job.to_json())
    process.stdin.close()
    return process


def _ray(
    left: list[Job], folder: Path, jobs: int, threads: int, retries: int, address: str | None, progress: _Progress
) -> dict[str, str]:
    try:
        import ray
    except ImportError as e:
        raise MissingExtraError("ray", "cluster") from e
    here: dict[str, Any] = {} if address else {"num_cpus": jobs, **HERE}
    ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    try:
        remote = ray.remote(num_cpus=1, max_retries=retries)(_remote)
        label_of = {remote.remote(str(folder / job.label), job.arguments, threads): job.label for job in left}
        failed: dict[str, str] = {}
        pending = list(label_of)
        while pending:
            ready, pending = ray.wait(pending, num_returns=1)
            label = label_of[ready[0]]
            try:
                reason = ray.get(ready[0])
            except ray.exceptions.RayError as e:
                reason = first_line(e)
            if reason:
                failed[label] = reason
            progress(label, "failed" if reason else "finished")
        return failed
    finally:
        ray.shutdown()


def _remote(folder: str, arguments: dict[str, Any], threads: int) -> str:
    """Run one job on a worker of the cluster; return why it failed, or nothing."""
    try:
        finish(Path(folder), arguments, threads)
    except WorkbenchError as e:
        return str(e)
    return ""
