"""Where a number was measured: hardware, versions, threads, allocator. And the cure for the allocator's page faults."""

from __future__ import annotations

import ctypes
import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from .. import __version__

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
PACKAGES = ("onnxruntime", "openvino", "timm", "ultralytics")


def cure_allocator() -> str:
    """Keep freed memory in the process instead of returning it to the kernel, and say what was done.

    glibc maps every large tensor afresh and unmaps it when freed, so each forward pass pays a page fault per 4 KiB.
    On ten depthwise convolutions that costs five times the computation. The setting holds for the whole process.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return "default (the cure is for Linux with glibc)"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return "default (no mallopt)"
    done = mallopt(M_MMAP_THRESHOLD, 1 << 30) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return "glibc, memory kept" if done else "default (mallopt refused)"


def cpu_name() -> str:
    """Return the CPU's model name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _library_version(name: str) -> str:
    """Return a version out of torch's build description, "none" where it was built without the library."""
    match = re.search(rf"{name}[^\n]*?v?(\d+\.\d+(?:\.\d+)?)", torch.__config__.show())
    return match.group(1) if match else "none"


def environment(device: str = "cpu", **settings: Any) -> dict[str, Any]:
    """Return the environment block: everything a reader needs to judge a number, as plain values.

    Args:
        device: "cpu" or a CUDA device.
        **settings: what the measurement was told: threads, layout, form, seed and so on.

    >>> environment(threads=1)["torch"] == torch.__version__
    True
    """
    out: dict[str, Any] = {
        "device": device,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onednn": _library_version("(?:MKL-DNN|oneDNN)"),
        "mkl": _library_version("(?:oneAPI )?Math Kernel Library Version"),
        "workbench": __version__,
        **{p: v for p in PACKAGES if (v := _version(p))},
        **settings,
        "taken": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if hasattr(os, "getloadavg"):
        out["load_average"] = round(os.getloadavg()[0], 2)
    if device.startswith("cuda"):
        out |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "tf32": torch.backends.cudnn.allow_tf32,
        }
    return out


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe(env: dict[str, Any]) -> str:
    """Return the line printed below every table of measured numbers."""
    where = env.get("gpu") if str(env.get("device", "cpu")).startswith("cuda") else env.get("cpu")
    threads = env.get("threads", "?")
    parts = [f"{where} ({env.get('device')})", f"{threads} thread{'' if threads == 1 else 's'} of {env.get('cores')}"]
    parts += [f"torch {env.get('torch')}", f"oneDNN {env.get('onednn')}", f"MKL {env.get('mkl')}"]
    parts += [f"allocator {env['allocator']}"] if "allocator" in env else []
    parts += [str(env[k]) for k in ("dtype", "process") if env.get(k)]
    if env.get("load_average") is not None:
        parts.append(f"load {env['load_average']}")
    return " · ".join(parts)
