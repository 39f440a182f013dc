"""Many submissions at once: processes of this machine, or tasks of a Ray cluster.

A process that dies takes one submission with it, which is tried again; one that does not come back is killed. What is
decided is on disk already, so that a driver that dies loses nothing either.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ..files import scratch
from .course import ClassroomError, Course
from .handed import COMPANIONS, checksum
from .worker import Job, write

TRIES = 3  # of a submission whose process was killed
Done = Callable[[str, str], None]  # student, "" or why there is no record


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    student: str = ""
    since: float = field(default_factory=time.monotonic)


def patience_s(job: Job) -> float:
    """Return after how long without a word a grading process is given up."""
    return 2 * job.limits.wall_s + job.limits.start_s + 60.0


def local(job: Job, students: Sequence[str], jobs: int, done: Done) -> None:
    """Grade with `jobs` processes of this machine."""
    waiting, tries = list(students), dict.fromkeys(students, 0)
    workers: list[_Worker] = []
    with scratch("grading") as room, selectors.DefaultSelector() as selector:
        try:
            while waiting or any(w.student for w in workers):
                while waiting and (idle := _idle(workers, min(jobs, len(students)), job, room, selector)):
                    _give(idle, waiting.pop(0))
                for key, _ in selector.select(timeout=1.0):
                    worker: _Worker = key.data
                    line = worker.process.stdout.readline() if worker.process.stdout else ""
                    if line:
                        _heard(json.loads(line), worker, done)
                    else:
                        selector.unregister(key.fileobj)
                        workers.remove(worker)
                        _lost(worker, waiting, tries, done)
                for worker in workers:
                    if worker.student and time.monotonic() - worker.since > patience_s(job):
                        worker.process.kill()  # its end is heard like any other
        finally:
            for worker in workers:
                _end(worker.process)
                for stream in (worker.process.stdin, worker.process.stdout):
                    if stream:
                        stream.close()


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, which is the end of it unless something listens, such as what measures the tests; then kill it."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _idle(workers: list[_Worker], most: int, job: Job, room: Path, selector: selectors.BaseSelector) -> _Worker | None:
    free = next((w for w in workers if not w.student), None)
    if free is None and len(workers) < most:
        free = _Worker(_start(job, room))
        workers.append(free)
        selector.register(free.process.stdout, selectors.EVENT_READ, free)  # type: ignore[arg-type]
    return free


def _start(job: Job, room: Path) -> subprocess.Popen[str]:
    threads = str(job.limits.threads)
    env = os.environ | {"TMPDIR": str(room), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-m", "workbench.classroom.worker", job.to_json()]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )


def _give(worker: _Worker, student: str) -> None:
    worker.student, worker.since = student, time.monotonic()
    try:
        assert worker.process.stdin is not None
        worker.process.stdin.write(json.dumps(student) + "\n")
        worker.process.stdin.flush()
    except BrokenPipeError:
        pass  # it is dead, and its end will be heard


def _heard(said: dict[str, str], worker: _Worker, done: Done) -> None:
    if "refused" in said:
        raise ClassroomError(said["refused"])
    worker.student = ""
    done(said["student"], said.get("error", ""))


def _lost(worker: _Worker, waiting: list[str], tries: dict[str, int], done: Done) -> None:
    worker.process.wait()
    for stream in (worker.process.stdin, worker.process.stdout):
        if stream:
            stream.close()
    if worker.student:
        tries[worker.student] += 1
        if tries[worker.student] < TRIES:
            waiting.insert(0, worker.student)
        else:
            done(worker.student, f"the grading process was killed {TRIES} times")


def on_ray(job: Job, students: Sequence[str], jobs: int, done: Done, address: str | None = None) -> None:
    """Grade with Ray tasks; files travel with the task, so that machines need to share no folder.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray as installed
    except ImportError:
        raise MissingExtraError("ray", "cluster") from None
    ray: Any = installed
    here: dict[str, Any] = (
        {} if address else {"num_cpus": jobs, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    )
    course = Course(Path(job.course))
    ray.init(address=address, log_to_driver=False, configure_logging=False, **here)
    try:
        remote = ray.remote(num_cpus=1, max_retries=TRIES - 1)(grade_remote)
        source = ray.put(_files(course.source(job.assignment), ("answers.py", f"{job.assignment}.ipynb")))
        most = max(jobs, int(ray.cluster_resources().get("CPU", 1))) if address else jobs
        waiting, running = list(students), dict[Any, tuple[str, float]]()
        again: set[str] = set()
        while waiting or running:
            while waiting and len(running) < most:
                student = waiting.pop(0)
                files = _files(course.submitted(student, job.assignment))
                running[remote.remote(job.to_json(), student, source, files)] = (student, time.monotonic())
            ready, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for task in ready:
                student, _since = running.pop(task)
                _returned(ray, task, student, job, course, done)
            for task, (student, since) in list(running.items()):
                if time.monotonic() - since > patience_s(job):
                    del running[task]
                    ray.cancel(task, force=True)
                    if student in again:
                        done(student, "the grading task did not come back twice")
                    else:
                        again.add(student)
                        waiting.append(student)
    finally:
        ray.shutdown()


def _returned(ray: Any, task: Any, student: str, job: Job, course: Course, done: Done) -> None:
    from dataclasses import replace

    from .record import Record

    try:
        data, text = ray.get(task)
    except ray.exceptions.RayError as e:
        done(student, " ".join(str(e).split())[:200])
        return
    mark = checksum(course.submitted(student, job.assignment), course.source(job.assignment), job.assignment)
    write(course, replace(Record.from_dict(data), checksum=mark), text)
    done(student, "")


def _files(folder: Path, names: Sequence[str] | None = None) -> dict[str, bytes]:
    """Return the regular files of a folder that grading reads."""
    wanted = [folder / n for n in names] if names is not None else sorted(folder.iterdir()) if folder.is_dir() else []
    keep = (".ipynb", *COMPANIONS)
    limit = 64 * 2**20  # a larger one is refused by its size, which the first bytes beyond the limit show too
    found = {}
    for path in wanted:
        if path.is_file() and not path.is_symlink() and (names is not None or path.suffix.lower() in keep):
            with path.open("rb") as stream:
                found[path.name] = stream.read(limit)
    return found


def grade_remote(job_text: str, student: str, source: dict[str, bytes], files: dict[str, bytes]) -> tuple[Any, str]:
    """Grade one submission on whatever machine this runs; return its record as a dict, and the notebook."""
    from dataclasses import asdict

    from .walls import require

    job = Job.from_json(job_text)
    with scratch("grading") as room:
        require(job.trusted)
        for folder, content in (("source", source), ("submitted", files)):
            (room / folder).mkdir()
            for name, data in content.items():
                (room / folder / Path(name).name).write_bytes(data)
        tempfile.tempdir = str(room)  # what an assignment's answers write goes with it
        try:
            grader = job.grader(room / "source")
            record, text = grader.grade(student, room / "submitted")
        finally:
            tempfile.tempdir = None
    return asdict(record), text
