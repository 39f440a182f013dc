"""What must be true before a detector is exported; checked before anything is written."""

from __future__ import annotations

import importlib.util
from typing import Any

from torch import nn
from ultralytics.utils import checks

from ..backbones.ramp import ramp_value, ready_to_merge
from ..errors import MissingExtraError, WorkbenchError

PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxslim"), "openvino": ("openvino",)}  # the extra "runtimes" brings them


def refuse_unfinished(exporter: Any) -> None:
    """Stop an export before anything is written when the ramp has not ended; on ``on_export_start``.

    Raises:
        WorkbenchError: the network would be exported unmerged, slower than what it was trained for.
    """
    network = getattr(exporter, "model", None)
    if isinstance(network, nn.Module) and not ready_to_merge(network):
        raise WorkbenchError(
            f"the activation ramp is {ramp_value(network):g}, so VanillaNet's layers cannot be merged for export; "
            "train until it is 1, or set_activation_ramp(model, 1) if these weights need no training"
        )


def name_missing_extra(exporter: Any) -> None:
    """Stop an export whose package is missing with the extra that brings it; on ``on_export_start``.

    Ultralytics would install it behind the user's back, which the workbench switches off.

    Raises:
        MissingExtraError: a package of this format is not installed.
    """
    if checks.AUTOINSTALL:
        return
    for package in PACKAGES.get(exporter.args.format, ()):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "runtimes")
