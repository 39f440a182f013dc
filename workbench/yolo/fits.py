"""Does the installed ultralytics still have what the plug is plugged into? Asked once, before anything is put in.

The socket leans on a few functions of ultralytics: their names, their arguments, and here and there one line of their
source. A release that changes one of them would otherwise be noticed far away, as a KeyError in a YAML or, worse, as a
network that is silently not folded. So each is listed with what needs it, and a change is one sentence with the fix.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import WorkbenchError

TESTED = ("8.4.190",)  # what `make test` runs with; the newest last


@dataclass(frozen=True)
class Need:
    """One thing of ultralytics: where it is, the arguments it takes, a piece of its source, and what needs it."""

    module: str
    name: str
    why: str
    takes: tuple[str, ...] = ()
    marker: str = ""

    def missing(self) -> str:
        """Return what is no longer so, as the end of a sentence; "" when all is as expected."""
        path = f"{self.module}.{self.name}"
        try:
            found: Any = functools.reduce(getattr, self.name.split("."), importlib.import_module(self.module))
        except (ImportError, AttributeError):
            return f"{path} is gone"
        if self.takes and (lost := [a for a in self.takes if a not in inspect.signature(found).parameters]):
            return f"{path} no longer takes {lost[0]!r}"
        if self.marker and self.marker not in (_source(found) or self.marker):
            return f"{path} no longer has {self.marker!r}"
        return ""


TASKS, UTILS = "ultralytics.nn.tasks", "ultralytics.utils"
NEEDS = (
    Need(TASKS, "parse_model", "backbone rows are expanded before it", ("d", "ch", "verbose"), "globals()[m]"),
    Need(TASKS, "parse_model", "a backbone row names its input channels 'c2'", marker="locals()[a]"),
    Need(TASKS, "parse_model", "MobileOneUnit rows are scaled in the place of Focus", marker="Focus,"),
    Need(TASKS, "parse_model", "the maps of a backbone are picked by Index rows", marker="Index}"),
    Need(TASKS, "BaseModel.fuse", "deploy forms are made by fuse()", marker="isinstance(m, RepConv)"),
    Need(TASKS, "BaseModel.fuse", "deploy forms are made by fuse()", marker="m.fuse_convs()"),
    Need(TASKS, "BaseModel.load", "weights cross by meaning", ("self", "weights", "verbose")),
    Need(TASKS, "initialize_weights", "backbones keep their BN settings", ("model",)),
    Need(TASKS, "yaml_model_load", "names of transplants need no file", ("path",)),
    Need("ultralytics.engine.model", "yaml_model_load", "names of transplants need no file", ("path",)),
    Need("ultralytics.engine.model", "guess_model_task", "an RT-DETR is told its class", ("model",)),
    Need("ultralytics.engine.model", "Model.train", "hand-loaded weights are kept", ("self", "trainer", "kwargs")),
    Need("ultralytics.nn.modules.conv", "RepConv", "the layers of the plug are RepConvs"),
    Need(f"{UTILS}.torch_utils", "get_flops", "GFLOPs are counted exactly", ("model", "imgsz")),
    Need(f"{UTILS}.torch_utils", "unwrap_model", "the ramp is written into the network itself"),
    Need(f"{UTILS}.callbacks", "default_callbacks", "VanillaNet's ramp rises by a callback"),
    Need("ultralytics.data.utils", "check_font", "no training asks the network for a font", ("font",)),
    Need(f"{UTILS}.plotting", "check_font", "no training asks the network for a font", ("font",)),
    Need(f"{UTILS}.checks", "AUTOINSTALL", "nothing is installed behind the user's back"),
    Need(f"{UTILS}.events", "events.enabled", "nothing is reported about the user"),
    Need(UTILS, "env_bool", "a choice of the user in the environment is kept"),
)


def require_fit(needs: Iterable[Need] = NEEDS) -> None:
    """Refuse an ultralytics that has changed what the plug relies on; say nothing about any other.

    Raises:
        WorkbenchError: what changed, what needs it, which versions are tested, and the command that installs one.
    """
    changed = [(need, missing) for need in needs if (missing := need.missing())]
    if not changed:
        return
    need, missing = changed[0]
    others = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
    raise WorkbenchError(
        f"ultralytics {importlib.metadata.version('ultralytics')} has changed what the workbench builds on: "
        f"{missing}{others}, and {need.why}; tested with {', '.join(TESTED)}: "
        f"pip install 'ultralytics=={TESTED[-1]}', then restart Python"
    )


@functools.cache  # finding where a function ends means reading it; parse_model is asked about several times
def _source(found: Any) -> str | None:
    """Return a function's source, the original's where the plug has wrapped it; None where only bytecode is there."""
    try:
        return inspect.getsource(inspect.unwrap(found))
    except OSError:
        return None
