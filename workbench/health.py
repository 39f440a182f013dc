"""``doctor``: what the workbench finds on this machine, and the fix for whatever is amiss. Changes nothing."""

from __future__ import annotations

import html
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .errors import how_to_install
from .machine import version_of
from .settings import budget, cache_dir, own_dir

DISTRIBUTION = "backbone-workbench"
ROOMY_GB = 5.0  # free disk below this gets a warning: a training run with its checkpoints, and the caches
EXTRAS = ("runtimes", "reference", "classroom", "cluster", "app")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox", "safari", "msedge")
COMPILERS = ("c++", "g++", "clang++", "cl")
SIGNS = {"ok": "✓", "note": "·", "broken": "✗"}


@dataclass(frozen=True)
class Finding:
    """One row: what was looked at, its state ("ok", "note" or "broken"), what was found, and the fix."""

    name: str
    state: str
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Health:
    """All findings. Prints as a list; `ok` is False when something the lessons need is broken."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken (a note is no fault)."""
        return all(f.state != "broken" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"ok": bool, "findings": [{"name", "state", "found", "fix"}, …]}``."""
        return {"ok": self.ok, "findings": [asdict(f) for f in self.findings]}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        width = max(len(f.name) for f in self.findings)
        lines = []
        for f in self.findings:
            lines.append(f"{SIGNS[f.state]} {f.name:{width}s}  {f.found}")
            if f.fix:
                lines.append(f"  {'':{width}s}  → {f.fix}")
        return "\n".join([*lines, "", "ready" if self.ok else "not ready: see the lines marked ✗"])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def doctor() -> Health:
    """Look at this machine: versions, hardware, folders, data, tools. Nothing is changed and nothing is fetched.

    >>> "python" in [f.name for f in doctor().findings]
    True
    """
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as e:  # a broken part must not hide the findings about the others
            name = check.__name__.strip("_").replace("_", " ")
            message = str(e).strip().splitlines() or [type(e).__name__]
            findings.append(Finding(name, "broken", message[0], "" if len(message) == 1 else message[-1]))
    return Health(tuple(findings))


def _versions() -> Iterator[Finding]:
    yield Finding("workbench", "ok", f"{__version__} from {Path(__file__).parent}")
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    fix = "" if fits else "the workbench needs Python 3.11, 3.12 or 3.13: make lab PYTHON=/path/to/python3.12"
    found = f"{platform.python_version()} at {sys.executable} on {platform.platform()}"
    yield Finding("python", "ok" if fits else "broken", found, fix)
    for name, problem in _unmet(extra=None):
        yield Finding(name, "broken", problem, "make lab installs it, or: pip install -c constraints.txt -e .")
    versions = {n: importlib.metadata.version(n) for n in ("torch", "torchvision", "ultralytics", "jupyterlab")}
    yield Finding("packages", "ok", ", ".join(f"{n} {v}" for n, v in versions.items()))
    yield _extras()


def _extras() -> Finding:
    missing = {extra: ", ".join(name for name, _ in _unmet(extra)) for extra in EXTRAS}
    found = {"installed": [e for e in EXTRAS if not missing[e]],
             "not installed": [f"{e} ({missing[e]})" for e in EXTRAS if missing[e]]}  # fmt: skip
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items() if names)
    if not found["not installed"]:
        return Finding("extras", "ok", said)
    first = next(e for e in EXTRAS if missing[e])
    return Finding("extras", "note", said, f"only if you need one, for example: {how_to_install(first)}")


def _unmet(extra: str | None) -> Iterator[tuple[str, str]]:
    """Yield (package, what is wrong) for the declared requirements of an extra (None: of the core)."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        need = Requirement(line)
        if ("extra" in str(need.marker or "")) != (extra is not None):
            continue
        if need.marker and not need.marker.evaluate({"extra": extra or ""}):
            continue
        if (version := version_of(need.name)) is None:
            yield need.name, f"not installed; needed: {need.specifier or 'any version'}"
        elif not need.specifier.contains(version, prereleases=True):
            yield need.name, f"{version} installed; needed: {need.specifier}"


def _which_ultralytics() -> Iterator[Finding]:
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        yield Finding("ultralytics", "broken", "not importable", "make lab installs it")
        return
    here = Path(spec.origin).parent
    copies = {Path(p or ".").resolve() / "ultralytics" for p in sys.path}
    others = sorted(str(c) for c in copies if (c / "__init__.py").exists() and c != here.resolve())
    installed = {"site-packages", "dist-packages"} & set(here.parts)
    if others:
        fix = f"edits to {', '.join(others)} have no effect; rename or remove the copy you do not mean"
        yield Finding("ultralytics", "note", f"imported from {here}", fix)
    elif not installed:
        yield Finding("ultralytics", "note", f"imported from {here}", "a copy of your own, not the installed package")
    else:
        yield Finding("ultralytics", "ok", f"imported from {here}")
    if (version := version_of("workbench")) is not None:
        fix = "pip uninstall workbench, then make lab"
        yield Finding("name clash", "broken", f"the unrelated package 'workbench' {version} is installed too", fix)


def _torchvision() -> Iterator[Finding]:
    from ._torchvision import ensure

    state = ensure()
    if state == "absent":
        yield Finding("torchvision", "broken", "not installed", "make lab installs it")
    elif state == "repaired":
        fix = "right but slower NMS; for the compiled one install torch and torchvision from the same index"
        yield Finding("torchvision", "note", "its compiled operators do not load; the workbench supplies NMS", fix)
    else:
        yield Finding("torchvision", "ok", "compiled operators load")


def _processor() -> Iterator[Finding]:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    asked = os.environ.get("OMP_NUM_THREADS")
    threads = f"{torch.get_num_threads()} torch threads{f' (OMP_NUM_THREADS={asked})' if asked else ''}"
    cores = f"{psutil.cpu_count(logical=False) or '?'} cores, {os.cpu_count()} logical"
    yield Finding("processor", "ok", f"{platform.machine()}, {cores}, {threads}")
    yield Finding("memory", "ok", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB free")
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("gpu", "ok", f"{', '.join(devices)} (CUDA {torch.version.cuda})")
    elif torch.backends.mps.is_available():
        yield Finding("gpu", "ok", "Apple GPU (MPS)")
    elif shutil.which("nvidia-smi"):
        fix = "this torch is built for the CPU; the torch wheel of the package registry is built for CUDA"
        yield Finding("gpu", "note", f"an NVIDIA driver is here and torch {torch.__version__} cannot use it", fix)
    else:
        yield Finding("gpu", "note", "none; everything runs on the CPU")


def _folders() -> Iterator[Finding]:
    shared, cache = cache_dir(), own_dir()  # raises where neither can be written
    if shared == cache:
        yield Finding("cache", "ok", str(cache))
    else:
        yield Finding("cache", "note", f"{shared} (read-only)", f"nothing to mend: what you make goes to {cache}")
    free = shutil.disk_usage(cache).free / 1e9
    fix = "" if free > ROOMY_GB else f"less than {ROOMY_GB:g} GB; WORKBENCH_CACHE can point at another disk"
    yield Finding("disk", "note" if fix else "ok", f"{free:.1f} GB free for the cache", fix)
    yield Finding("budget", "ok", f"{budget()} (WORKBENCH_BUDGET=fast or full)")


def _data() -> Iterator[Finding]:
    from .datasets.coco128 import find_coco128, verify_coco128

    folder = find_coco128()
    if folder is None:
        fix = "workbench data coco128 fetches it (7 MB); without it the lessons use the drawn set shapes()"
        yield Finding("coco128", "note", "not on this machine", fix)
    else:
        images, labels = verify_coco128(folder)
        yield Finding("coco128", "ok", f"complete ({len(images)} images, {len(labels)} label files) at {folder}")


def _weights() -> Iterator[Finding]:
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = sorted(p.name for p in folder.glob("*.pt*")) if folder.is_dir() else []
    found = f"{len(files)} checkpoint{'s' * (len(files) != 1)} in {folder}"
    fix = "" if files else 'create_backbone(…, weights="imagenet") fetches what it needs; TORCH_HOME moves the folder'
    yield Finding("weights", "ok" if files else "note", found, fix)


def _tools() -> Iterator[Finding]:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    fix = "" if compiler else "only torch.compile needs one; it is left out of comparisons here"
    yield Finding("compiler", "ok" if compiler else "note", compiler or "none found", fix)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    fix = "" if browser else "JupyterLab prints an address; open it in any browser. The browser tests are skipped"
    yield Finding("browser", "ok" if browser else "note", browser or "none found on the path", fix)
    sandbox = shutil.which("bwrap")
    fix = "" if sandbox else "only grading submissions needs it: on Linux, apt install bubblewrap"
    yield Finding("sandbox", "ok" if sandbox else "note", sandbox or "bwrap not found", fix)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions, _which_ultralytics, _torchvision, _processor, _folders, _data, _weights, _tools,
)  # fmt: skip
