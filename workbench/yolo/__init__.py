"""The socket: our backbones in ultralytics' detectors. The only room that imports ultralytics.

Importing it puts the plug in (`tasks.PATCHES`). A checkpoint of ours names `BackboneLayer` by its import path, so
opening one with plain ultralytics imports this package too, and is all that is needed.
"""

from __future__ import annotations

import os

# before ultralytics is imported: ask no name server, install nothing behind the user's back
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

from .. import _torchvision

_torchvision.ensure()

from .fits import require_fit  # noqa: E402
from .greeting import without_greeting  # noqa: E402

with without_greeting():
    require_fit()  # before anything is imported that another ultralytics may lack

from ultralytics import RTDETR, YOLO  # noqa: E402
from ultralytics.utils import checks, env_bool  # noqa: E402
from ultralytics.utils.events import events  # noqa: E402

from .hosts import HOSTS, detector_yaml  # noqa: E402
from .layer import BackboneLayer, MobileOneUnit, backbone_layers  # noqa: E402
from .mapping import LayerMap, layer_map  # noqa: E402
from .safe import announce  # noqa: E402
from .tasks import PATCHES, install, uninstall  # noqa: E402
from .transfer import TransferReport  # noqa: E402
from .weights import freeze_backbone, load_backbone  # noqa: E402

checks.AUTOINSTALL = env_bool("YOLO_AUTOINSTALL", False)  # had ultralytics been imported before
events.enabled = False  # no usage reports from this process; the user's settings file is not touched
install()
announce()

__all__ = [
    "HOSTS",
    "PATCHES",
    "RTDETR",
    "YOLO",
    "BackboneLayer",
    "LayerMap",
    "MobileOneUnit",
    "TransferReport",
    "backbone_layers",
    "detector_yaml",
    "freeze_backbone",
    "install",
    "layer_map",
    "load_backbone",
    "uninstall",
]
