"""Ask ultralytics whether it will accept training arguments, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultralytics.cfg import DEFAULT_CFG_DICT, get_cfg

from ..errors import WorkbenchError, did_you_mean, one_line


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check names, types and ranges of ultralytics arguments.

    Raises:
        WorkbenchError: an unknown name, with the near ones, or a value that ultralytics refuses.

    >>> check_arguments({"epochs": 3, "imgsz": 64})
    >>> check_arguments({"epoch": 3})
    Traceback (most recent call last):
    workbench.errors.WorkbenchError: ultralytics has no training argument 'epoch'; did you mean 'epochs'?
    """
    for name in arguments:
        if name not in DEFAULT_CFG_DICT:
            hint = did_you_mean(name, DEFAULT_CFG_DICT, n=1) or "; its documentation lists them under Train Settings"
            raise WorkbenchError(f"ultralytics has no training argument {name!r}{hint}")
    try:
        get_cfg(overrides=dict(arguments))
    except (TypeError, ValueError) as e:
        raise WorkbenchError(one_line(e, 600)) from e
