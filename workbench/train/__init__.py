"""Training runs. The module is itself a function: ``wb.train(…)`` is one run, ``wb.train.PRESETS`` its settings.

    import workbench as wb
    run = wb.train(host="yolo11", scale="n", backbone="fasternet_t0", data=wb.datasets.shapes(), preset="class")
    print(run)                        # metrics, time, machine
    run.curves                        # one row per epoch
    run.detector()("photo.jpg")       # the best checkpoint, opened
    wb.train(resume=run.folder)       # go on with an interrupted run

A name that is both needs a class of its own for the module: Python looks ``__call__`` up on the type.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from .claims import claim, compare_seeds, results_table, standings
from .engine import train
from .environment import environment
from .models import open_detector
from .presets import PRESETS, Preset, get_preset
from .results import Results, load_results, save_results
from .run import Run, read_curves

__all__ = [
    "PRESETS",
    "Preset",
    "Results",
    "Run",
    "claim",
    "compare_seeds",
    "environment",
    "get_preset",
    "load_results",
    "open_detector",
    "read_curves",
    "results_table",
    "save_results",
    "standings",
    "train",
]


class _CallableModule(ModuleType):
    __call__ = staticmethod(train)


sys.modules[__name__].__class__ = _CallableModule
__signature__ = inspect.signature(train)  # shown by help() and by Tab in a notebook
