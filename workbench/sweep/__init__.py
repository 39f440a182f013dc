"""Many runs: a grid of backbones, hosts, scales, seeds and datasets, trained to the end whatever is killed meanwhile.

    import workbench as wb
    table = wb.sweep({"backbones": [None, "fasternet_t0"], "seeds": [0, 1], "data": [wb.datasets.shapes()]}, out="grid")
    print(table)                      # one row per run; grid/table.csv holds the same

The module is itself that function, as `workbench.train` is.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from .driver import sweep
from .grid import Grid, Job, read_grid
from .table import Table, collect

__all__ = ["Grid", "Job", "Table", "collect", "read_grid", "sweep"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(sweep)


sys.modules[__name__].__class__ = _CallableModule
__signature__ = inspect.signature(sweep)  # shown by help() and by Tab in a notebook
