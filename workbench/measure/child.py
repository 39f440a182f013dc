"""Run a measurement in a clean child process: ``python -m workbench.measure.child JOB``.

The parent writes the job to a private folder and reads one JSON line per progress step; the result comes back as a
file. A file named ``stop`` in that folder ends the measurement after the sample that is running.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError, first_line
from .rounds import Progress

if TYPE_CHECKING:
    from .latency import Job, Outcome

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def measure_in_child(job: Job, stop: Callable[[], bool] | None, show: Callable[[Progress], object]) -> Outcome:
    """Run a job in a clean process and return its outcome; an interrupt keeps the finished rounds.

    Raises:
        WorkbenchError: what the measurement raised, or that the child died.
    """
    job.process = "clean process"
    with tempfile.TemporaryDirectory(prefix="workbench-measure-") as name:
        folder = Path(name)
        (folder / "path").write_text(json.dumps(sys.path), "utf-8")
        (folder / "job").write_bytes(pickle.dumps(job))
        environ = os.environ | dict.fromkeys(THREAD_VARIABLES, str(job.setting.threads))
        root = str(Path(__file__).resolve().parents[2])  # the child must find the same workbench
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        with (folder / "stderr").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(folder)], stdout=subprocess.PIPE, stderr=log,
                env=environ, start_new_session=True, text=True, encoding="utf-8",
            )  # fmt: skip
            try:
                _follow(process, folder, stop, show)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()
        return _result(folder, process.returncode)


def _follow(process: subprocess.Popen[str], folder: Path, stop: Any, show: Callable[[Progress], object]) -> None:
    """Pass progress on until the child ends; the first interrupt asks it to stop, the second kills it."""
    asked = False
    assert process.stdout is not None
    while True:
        try:
            line = process.stdout.readline()
            if not line:
                process.wait()
                return
            with contextlib.suppress(ValueError, TypeError):
                show(Progress(**json.loads(line)))
            if stop is not None and stop():
                (folder / "stop").touch()
        except KeyboardInterrupt:
            if asked:
                raise
            asked = True
            (folder / "stop").touch()


def _result(folder: Path, code: int) -> Outcome:
    file = folder / "result"
    if not file.exists():
        tail = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        raise WorkbenchError(
            f"the measuring process ended with code {code} and no result: {''.join(tail) or 'no output'}"
        )
    outcome = pickle.loads(file.read_bytes())  # written by our own child into our own private folder
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def main(folder: Path) -> None:
    """Run the job in `folder` and leave ``result`` there: an outcome, or the exception for the parent to raise."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")  # progress goes here, whatever libraries print
    os.dup2(2, 1)
    path = json.loads((folder / "path").read_text("utf-8"))
    sys.path[:] = [*path, *(p for p in sys.path if p not in path)]
    parent = os.getppid()

    def show(p: Progress) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(vars(p)), file=lines, flush=True)

    def stop() -> bool:
        return (folder / "stop").exists() or os.getppid() != parent

    outcome: Any
    try:
        from .latency import measure_here

        outcome = measure_here(pickle.loads((folder / "job").read_bytes()), stop, show)
    except WorkbenchError as e:
        outcome = WorkbenchError(str(e))  # a plain one: subclasses with other constructors do not survive pickling
    except Exception as e:
        outcome = WorkbenchError(f"the measurement failed: {type(e).__name__}: {first_line(e)}")
    partial = folder / "partial"
    partial.write_bytes(pickle.dumps(outcome))
    partial.replace(folder / "result")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
