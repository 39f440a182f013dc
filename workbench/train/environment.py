"""What a number depends on besides the method: machine, versions, threads."""

from __future__ import annotations

import os
import platform
from typing import Any

from ..machine import cpu_name, version_of

PACKAGES = ("torch", "torchvision", "ultralytics", "numpy", "opencv-python", "backbone-workbench")


def environment(device: Any = "cpu") -> dict[str, Any]:
    """Return machine, versions and threads as a dictionary that JSON can hold.

    Args:
        device: the device that was used.

    >>> sorted(environment())[:4]
    ['cpu', 'cpus', 'device', 'load']
    """
    import psutil
    import torch

    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "device": name,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,  # of the last minute
        "packages": {p: version_of(p) for p in PACKAGES},
    }
