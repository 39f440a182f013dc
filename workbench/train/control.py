"""Pause, go on with, and stop a training from outside: a word in a file of its run folder, read before each batch.

A file reaches a training in this process, in a child process and on another machine that shares the folder, and it
outlives the notebook that wrote it.
"""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import WorkbenchError
from ..files import replace_text
from .run import RECORD, Run

REQUEST, PAUSED = "request.txt", "paused.txt"
REQUESTS = ("run", "pause", "stop")
POLL_S = 0.2


class Stopped(KeyboardInterrupt):
    """A training was stopped from outside; like Ctrl-C it leaves a run that can be resumed."""


def request(folder: str | Path, what: str) -> None:
    """Ask a running training to ``"pause"``, to go on (``"run"``) or to ``"stop"``; it obeys before its next batch.

    Raises:
        WorkbenchError: another word, no run in the folder, or a run that is not going on.
    """
    if what not in REQUESTS:
        raise WorkbenchError(f"{what!r} cannot be asked of a training; expected one of {', '.join(REQUESTS)}")
    run = Run(folder)
    if run.status != "running":
        raise WorkbenchError(f"{run.folder.name} is {run.status}; only a running training can be asked to {what}")
    replace_text(run.folder / REQUEST, what)


def is_paused(folder: str | Path) -> bool:
    """Return whether the training has obeyed a pause and is waiting."""
    return (Path(folder) / PAUSED).is_file()


def clear(folder: Path) -> None:
    """Forget what was asked of an earlier training in this folder."""
    for name in (REQUEST, PAUSED):
        (folder / name).unlink(missing_ok=True)


def obey(folder: Path) -> None:
    """Wait while a pause is asked for.

    Raises:
        Stopped: a stop is asked for.
    """
    try:
        while (asked := _asked(folder)) == "pause":
            if not is_paused(folder):
                replace_text(folder / PAUSED, "waiting before the next batch\n")
            time.sleep(POLL_S)
    finally:
        (folder / PAUSED).unlink(missing_ok=True)
    if asked == "stop":
        raise Stopped(f"stopped from outside ({REQUEST} beside {RECORD})")


def _asked(folder: Path) -> str:
    try:
        return (folder / REQUEST).read_text(encoding="utf-8").strip()
    except OSError:  # nobody asked
        return "run"
