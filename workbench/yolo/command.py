"""Any command of ultralytics' own command line, with the plug in."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ultralytics.cfg import entrypoint

from ..errors import WorkbenchError


def run(arguments: Sequence[str]) -> None:
    """Run ``yolo ARGUMENTS`` in this process, as the command ``yolo`` would.

    Raises:
        WorkbenchError: ultralytics refuses an argument; the message is its own.
    """
    sys.argv[:] = ["yolo", *arguments]  # ultralytics kept a reference to this very list when it was imported
    try:
        entrypoint()
    except SyntaxError as e:  # what it raises for a mistyped argument
        raise WorkbenchError(str(e)) from e
