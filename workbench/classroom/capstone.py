"""The capstone's numbers, decided outside the student's process, from ONNX files that it wrote.

Parameters and MACs are counted from the graph, mAP on images drawn when the work is graded, latency in one interleaved
run beside a stock YOLO11n. For ``answers.py``: `opened` and `scored` stand between a function's results and their
comparison. For students: `own_file` and `own_score` say beforehand what grading will count.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import MissingExtraError
from . import exam
from .answers import Failed
from .exam import IMAGES, IMGSZ, STOCK, Facts, Scored
from .graph import BadFileError, contained

__all__ = [
    "IMAGES", "IMGSZ", "STOCK", "BadFileError", "Facts", "Scored", "contained", "held_out_seed", "opened", "own_file",
    "own_score", "require", "scored",
]  # fmt: skip


MOST = 4  # files that one result may hold; of more none is opened


def require() -> None:
    """Make sure that files can be opened on this machine.

    Raises:
        MissingExtraError: onnx or ONNX Runtime is not installed.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "runtimes")


def own_file(data: bytes) -> Facts:
    """Return what a file of your own is, as grading will count it; opened in this process.

    Raises:
        BadFileError: grading would refuse it.
        MissingExtraError: onnx or ONNX Runtime is not installed.
    """
    require()
    return exam.examine(exam.Here(), data)


def own_score(data: bytes, images: int = 50, seed: int = 0, timing_s: float = 0.0) -> Scored:
    """Return quality and cost of a detector's file of your own, as grading will find them, on other images.

    Args:
        data: the file.
        images: how many are drawn; grading draws more.
        seed: of the images.
        timing_s: seconds for the latency; 0 leaves it out.

    Raises:
        BadFileError: grading would refuse it.
        MissingExtraError: onnx or ONNX Runtime is not installed.
    """
    require()
    return exam.score(exam.Here(), data, held_out_seed(seed), images, timing_s)


def held_out_seed(seed: int) -> int:
    """Return the seed of the images that goes with a seed of inputs: what a submission sees of those tells nothing.

    >>> held_out_seed(1) == held_out_seed(1), held_out_seed(1) == held_out_seed(2)
    (True, False)
    """
    return int.from_bytes(hashlib.sha256(f"held-out images {seed}".encode()).digest()[:8])


def opened(results: Sequence[Any], seed: int = 0) -> list[Any]:
    """Return results in which every file (bytes, also inside a tuple or list) is replaced by its `Facts`.

    A file that is refused becomes a `Failed` that says why. For ``Question(measure=…)``.
    """
    return [_each(result, exam.open_file) for result in results]


def scored(results: Sequence[Any], seed: int) -> list[Any]:
    """Return results in which every file is replaced by its `Scored`, on images drawn with `seed`."""
    return [_each(result, functools.partial(exam.score_file, seed=held_out_seed(seed))) for result in results]


def _each(result: Any, look: Callable[[bytes], Any]) -> Any:
    if type(result) in (tuple, list) and len(result) <= MOST and any(type(r) is bytes for r in result):
        found = [look(r) if type(r) is bytes else r for r in result]
        return next((f for f in found if isinstance(f, Failed)), found)
    return look(result) if type(result) is bytes else result
