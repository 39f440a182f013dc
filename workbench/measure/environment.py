"""Where a number was measured: hardware, versions, threads; and what the allocator does with freed memory."""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
import re
from typing import Any

import torch

from .. import __version__
from ..errors import WorkbenchError
from ..machine import cpu_name, version_of

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
# mode → bytes from which memory is mapped afresh, bytes of free memory from which the process gives some back
ALLOCATORS = {"kept": (1 << 30, 2**31 - 1), "returned": (1 << 17, 1 << 17), "default": (0, 0)}
PACKAGES = ("onnxruntime", "openvino", "timm", "ultralytics")


def set_allocator(mode: str = "kept") -> str:
    """Choose what glibc does with freed memory in this process, and return what is now in force.

    For a large tensor glibc may map new memory and give it back when the tensor is freed; the kernel then zeroes every
    page again at its first touch, one page fault per 4 KiB in every forward pass. On ten depthwise convolutions that
    costs several times the computation. Whether a process does so is a matter of what it allocated before, so the same
    script shows either time from run to run.

    Args:
        mode: "kept" keeps freed memory in the process (the default of every measurement here); "returned" gives it
            back always, as a naive script does when it is unlucky; "default" leaves the process as it is.

    Raises:
        WorkbenchError: another mode.
    """
    if mode not in ALLOCATORS:
        raise WorkbenchError(f"allocator={mode!r} is unknown; expected one of {', '.join(ALLOCATORS)}")
    if mode == "default":
        return "default"
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return "default (the setting is for Linux with glibc)"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return "default (no mallopt)"
    large, trim = ALLOCATORS[mode]
    done = mallopt(M_MMAP_THRESHOLD, large) and mallopt(M_TRIM_THRESHOLD, trim)
    return f"glibc, memory {mode}" if done else "default (mallopt refused)"


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
        **{p: v for p in PACKAGES if (v := version_of(p))},
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
