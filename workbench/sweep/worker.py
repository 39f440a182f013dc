"""One run of a sweep to its end: begun, gone on with, or left alone when it is finished.

``python -m workbench.sweep.worker FOLDER THREADS`` reads the job from standard input. A worker of its own process can
be killed without taking the others along, and ends with the driver that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError
from ..train import train
from ..train.resume import NoCheckpointError
from ..train.run import RECORD, Run


def finish(folder: Path, arguments: dict[str, Any], threads: int = 1, quiet: bool = True) -> Run:
    """Return a finished run in `folder`: the one that is there, resumed where it can be, or a new one."""
    if not (folder / RECORD).is_file():
        return train(out=folder, threads=threads, quiet=quiet, **arguments)
    run = Run(folder)
    if run.status == "finished":
        return run
    try:
        return train(resume=folder, threads=threads, quiet=quiet)
    except NoCheckpointError:  # killed in its first epoch
        return train(out=folder, threads=threads, quiet=quiet, exist_ok=True, **arguments)


def main() -> int:
    """Run the job on standard input; the one line on standard output says what went wrong, if anything did."""
    verdict = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log: nobody reads the pipe before the end, and it holds 64 KiB
    if sys.platform == "linux":  # die with the driver, however it dies
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() == 1:
        return 1
    job = json.loads(sys.stdin.read())
    try:
        finish(Path(sys.argv[1]), job["arguments"], int(sys.argv[2]))
    except WorkbenchError as e:
        print(str(e), file=verdict, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
