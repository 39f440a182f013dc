"""Verbs around the course: data, train, doctor, lab."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import WorkbenchError, did_you_mean
from ..settings import cache_dir, data_dir
from .options import Json

DATASETS = ("coco128", "shapes")
FIRST_LESSON = "notebooks/00_start_here.ipynb"
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def data(
    name: Annotated[str, typer.Argument(help="coco128 (found, checked or fetched) or shapes (drawn).")],
    root: Annotated[Path | None, typer.Option(help="Folder to keep it in instead of the cache.")] = None,
) -> None:
    """Prepare a dataset and print the path of its YAML."""
    from .. import datasets

    if name not in DATASETS:
        hint = did_you_mean(name, DATASETS) or f"; expected {' or '.join(DATASETS)}"
        raise WorkbenchError(f"unknown dataset {name!r}{hint}")
    if root is not None:
        os.environ["WORKBENCH_CACHE"] = str(root)
    print(datasets.coco128() if name == "coco128" else datasets.shapes())


def doctor(json_: Json = False) -> None:
    """Examine this machine; exit code 1 if something is broken."""
    from ..health import doctor as examine

    health = examine()
    print(health.to_json() if json_ else health)
    if not health.ok:
        raise typer.Exit(1)


def lab(context: typer.Context) -> None:
    """Open JupyterLab on the first lesson (takes its options)."""
    root = data_dir().parent
    if not (root / FIRST_LESSON).is_file():
        raise WorkbenchError(f"{root} holds no lessons ({FIRST_LESSON}); run this from a clone of the repository")
    config = cache_dir() / "jupyter" / "labconfig"  # read beside the user's own configuration, which stays as it is
    config.mkdir(parents=True, exist_ok=True)
    (config / "page_config.json").write_text(json.dumps(NO_NEWS), encoding="utf-8")
    _prepend("JUPYTER_CONFIG_PATH", str(config.parent))
    _prepend("PATH", str(Path(sys.executable).parent))  # so that a terminal in JupyterLab knows `workbench`
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, not one registered for the user

    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(argv=lab_arguments(root, context.args))


def lab_arguments(root: Path, given: list[str]) -> list[str]:
    """Return JupyterLab's arguments: the lesson, loopback only (its token stays on), and what the user gave.

    >>> lab_arguments(Path("/course"), ["--port", "8899"])[-2:]
    ['--port', '8899']
    """
    ours = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}"]
    if not any(a.startswith(("--ip", "--ServerApp.ip")) for a in given):
        ours.append("--ServerApp.ip=127.0.0.1")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        ours.append("--allow-root")  # a container or a CI machine; JupyterLab would refuse to start
    return [*ours, *given]


def _prepend(variable: str, folder: str) -> None:
    rest = os.environ.get(variable)
    os.environ[variable] = f"{folder}{os.pathsep}{rest}" if rest else folder
