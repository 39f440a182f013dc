"""What this machine calls itself and what is installed on it. No torch, so anything may ask."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path


def cpu_name() -> str:
    """Return the CPU's model name, or as much of it as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    """Return the version of an installed distribution, or None.

    >>> version_of("no-such-distribution") is None
    True
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
