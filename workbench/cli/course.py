"""Verbs around the course: data, train, doctor, lab."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from ..errors import WorkbenchError, did_you_mean
from ..files import replace_text
from ..settings import data_dir, own_dir
from .options import Json

FIRST_LESSON = "notebooks/00_start_here.ipynb"
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def data(
    name: Annotated[str, typer.Argument(help="coco128, coco128-held-out (found or fetched), or shapes (drawn).")],
    root: Annotated[Path | None, typer.Option(help="Folder to keep it in instead of the cache.")] = None,
) -> None:
    """Prepare a dataset and print the path of its YAML."""
    if root is not None:
        os.environ["WORKBENCH_CACHE"] = str(root)
    print(dataset_path(name))


def train(
    host: Annotated[str, typer.Option(help="yolo11, yolov8, rtdetr-l …")] = "yolo11",
    scale: Annotated[str, typer.Option(help="Size of neck and head: n, s, m, l or x.")] = "n",
    backbone: Annotated[str | None, typer.Option(help="A backbone's name; without it the host as it is.")] = None,
    data: Annotated[str, typer.Option(help="shapes, coco128, coco128-held-out, or a dataset YAML.")] = "shapes",
    preset: Annotated[str, typer.Option(help="fast, class, article-100 or article-150.")] = "class",
    epochs: Annotated[int | None, typer.Option(help="Instead of the preset's.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Image side in pixels, instead of the preset's.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Run folder.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this interrupted run.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Of ultralytics.")] = None,
) -> None:
    """Train a detector. Its run folder holds curves, settings, machine and weights."""
    from ..train import train as run

    if resume is not None:
        print(run(resume=resume))
        return
    settings: dict[str, Any] = {
        "host": host,
        "scale": scale,
        "backbone": backbone,
        "data": dataset_path(data),
        "preset": preset,
    }
    settings |= {"epochs": epochs, "seed": seed, "out": out} | ({"imgsz": imgsz} if imgsz is not None else {})
    settings |= dict(_key_value(text) for text in overrides or [])
    print(run(**settings))


def dataset_path(name: str) -> Path:
    """Return the dataset YAML of a name the command line knows, preparing the dataset, or of a path."""
    from .. import datasets

    ready: dict[str, Callable[[], Path]] = {
        "shapes": datasets.shapes,
        "coco128": datasets.coco128,
        "coco128-held-out": lambda: datasets.coco128(held_out=True),
    }
    if name in ready:
        return ready[name]()
    if Path(name).suffix not in (".yaml", ".yml"):
        hint = did_you_mean(name, ready) or f"; expected {', '.join(ready)}, or the path of a dataset YAML"
        raise WorkbenchError(f"unknown dataset {name!r}{hint}")
    return Path(name)


def _key_value(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.isidentifier():
        raise WorkbenchError(f"{text!r} is no setting; write KEY=VALUE, such as imgsz=320")
    return key, yaml.safe_load(value)


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
    if not (root / "notebooks").is_dir():
        raise WorkbenchError(f"{root} holds no lessons (no notebooks folder); install from a clone of the repository")
    config = own_dir() / "jupyter" / "labconfig"  # read beside the user's own configuration, which stays as it is
    config.mkdir(parents=True, exist_ok=True)
    replace_text(config / "page_config.json", json.dumps(NO_NEWS))
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
    ours = {
        "--ServerApp.root_dir": str(root),
        "--LabApp.default_url": f"/lab/tree/{FIRST_LESSON}",
        "--ServerApp.ip": "127.0.0.1",
    }
    short = {"--notebook-dir": "--ServerApp.root_dir", "--ip": "--ServerApp.ip"}
    chosen = {argument.partition("=")[0] for argument in given}
    chosen |= {short[name] for name in chosen & set(short)}
    arguments = [f"{name}={value}" for name, value in ours.items() if name not in chosen]  # it refuses two values
    if hasattr(os, "geteuid") and os.geteuid() == 0 and "--allow-root" not in chosen:
        arguments.append("--allow-root")  # a container or a CI machine; JupyterLab would refuse to start
    return [*arguments, *given]


def _prepend(variable: str, folder: str) -> None:
    rest = os.environ.get(variable)
    os.environ[variable] = f"{folder}{os.pathsep}{rest}" if rest else folder
