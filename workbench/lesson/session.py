"""The lesson that is running: its number, predictions, passed exercises and score; and the budget it runs under."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .. import __version__, settings
from ..errors import WorkbenchError, did_you_mean
from ..machine import cpu_name

TITLES = {
    "00": "Start here",
    "01": "The cost of a convolution",
    "02": "FasterNet",
    "03": "StarNet",
    "04": "MobileOne",
    "05": "VanillaNet",
    "06": "Feature maps",
    "07": "FLOPs and latency",
    "08": "Wiring YOLO11",
    "09": "Other hosts",
    "10": "Training on coco128",
    "11": "Compare",
}
T = TypeVar("T")


@dataclass
class Session:
    """State of one run through one lesson; `begin` replaces it."""

    lesson: str = ""
    predictions: dict[str, tuple[Any, str]] = field(default_factory=dict)  # key → (answer, unit)
    revealed: set[str] = field(default_factory=set)
    exercises: dict[str, str] = field(default_factory=dict)  # key → "passed" | "wrong" | "not attempted"
    score: tuple[int, int] | None = None  # checkpoint: right, of


_session = Session()


def current() -> Session:
    """Return the session of this process (an empty one before `begin`)."""
    return _session


def device_name() -> str:
    """Return the name of the GPU when torch sees one, else of the CPU."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)} (cuda)"
    return f"{cpu_name()} (cpu)"


def begin(lesson: str, *, seed: int = 0, threads: int = 1) -> None:
    """Start a lesson: seed everything, set threads and plot style, print where and under which budget it runs.

    Args:
        lesson: ``"00"`` to ``"11"``.
        seed: for Python, NumPy and torch.
        threads: torch intra-op threads. One is the default everywhere: a shared machine gives steadier numbers.

    Raises:
        WorkbenchError: no such lesson, or ``WORKBENCH_BUDGET`` holds something unknown.
    """
    global _session
    if lesson not in TITLES:
        hint = did_you_mean(lesson, TITLES) or "; expected '00' to '11'"
        raise WorkbenchError(f"there is no lesson {lesson!r}{hint}")
    budget = settings.budget()
    import torch

    settings.seed_everything(seed)
    settings.set_threads(threads)
    import matplotlib.pyplot as plt

    plt.style.use("workbench.plots.house")  # a style sheet, workbench/plots/house.mplstyle
    _session = Session(lesson)
    longer = "trains and measures for longer"
    other = f"WORKBENCH_BUDGET=full {longer}" if budget == "fast" else longer
    print(f"Lesson {lesson} · {TITLES[lesson]} · budget {budget} ({other})")
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    versions += [f"ultralytics {importlib.metadata.version('ultralytics')}", f"workbench {__version__}"]
    print(" · ".join(versions))
    print(f"{device_name()} · {threads} thread{'s' * (threads > 1)} of {os.cpu_count()} · seed {seed}")


def pick(*, fast: T, full: T) -> T:
    """Return `fast` or `full`, by the lesson budget.

    >>> pick(fast=1, full=100) in (1, 100)
    True
    """
    return fast if settings.budget() == "fast" else full


def progress() -> dict[str, Any]:
    """Return what has been done in this lesson: exercises by state, predictions committed, checkpoint score."""
    committed = {k: v[0] for k, v in _session.predictions.items() if v[0] is not ...}
    return {
        "lesson": _session.lesson,
        "exercises": dict(_session.exercises),
        "predictions": committed,
        "score": _session.score,
    }
