"""Verbs that put a backbone into a detector: yaml, layers, yolo, surgery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import WorkbenchError
from ..files import replace_text
from .options import detector

YOLO_HELP = """This is ultralytics' own command line, with our backbones known to it. For example:

    workbench yolo train model=yolo11n-fasternet_t0.yaml data=coco128.yaml epochs=5
    workbench yolo val model=runs/detect/train/weights/best.pt data=coco128.yaml
    workbench yolo export model=runs/detect/train/weights/best.pt format=onnx

What follows is ultralytics' own help; write `workbench yolo` where it says `yolo`."""


def yaml_(
    host: Annotated[str, typer.Option(help="yolo11, yolov8, yolo12, yolo26 (also -seg, -pose, -obb), rtdetr-l …")],
    backbone: Annotated[str, typer.Option(help="A backbone's name.")],
    scale: Annotated[str, typer.Option(help="Size of neck and head: n, s, m, l or x.")] = "n",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file, or a folder to name it in.")] = None,
) -> None:
    """Print or write the YAML of a detector with our backbone."""
    from ..yolo import detector_yaml
    from ..yolo.hosts import yaml_name
    from ..yolo.ready import yaml_text

    text = yaml_text(detector_yaml(host, backbone, scale))
    if output is None:
        print(text, end="")
        return
    path = output / yaml_name(host, backbone, scale) if output.is_dir() else output
    replace_text(path, text)
    print(path)


def layers(model: Annotated[str, typer.Argument(help="A detector's name, .yaml or .pt.")]) -> None:
    """Show a detector's layers and their numbers in the stock host."""
    from ..yolo import layer_map

    print(layer_map(detector(model)))


def yolo(context: typer.Context) -> None:
    """Run any ultralytics command with our backbones known."""
    from ..yolo.command import run

    if context.args in ([], ["-h"], ["--help"]):
        print(YOLO_HELP)
        run(["help"])
    else:
        run([_local_data(a) for a in context.args])


def surgery(
    diff: Annotated[bool, typer.Option("--diff", help="Print the edits as a unified diff.")] = False,
    apply: Annotated[Path | None, typer.Option(help="Make them in this fork of ultralytics.")] = None,
    revert: Annotated[Path | None, typer.Option(help="Take them out of this fork again.")] = None,
) -> None:
    """Show, make or undo the articles' edits to tasks.py (lesson 08).

    In a fork of ultralytics that is yours; the installed one stays as it is.
    """
    from ..yolo import surgery as rooms

    if [diff, apply is not None, revert is not None].count(True) != 1:
        raise WorkbenchError("surgery does one thing at a time; give --diff, --apply PATH or --revert PATH")
    if apply is not None:
        print(rooms.apply(apply))
    elif revert is not None:
        print(rooms.revert(revert))
    else:
        print(rooms.surgery_diff(), end="")


def _local_data(argument: str) -> str:
    """Replace ``data=coco128.yaml``, unless it is a file here, by the copy the workbench finds, checks or fetches."""
    if argument == "data=coco128.yaml" and not Path("coco128.yaml").exists():
        from ..datasets import coco128

        return f"data={coco128()}"
    return argument
