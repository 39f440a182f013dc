"""Verbs that look and count: list, info, measure."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..backbones.registry import family_of, list_backbones, unknown
from .options import Form, ImgSz, Json, image_size, model_of


def list_(
    pattern: Annotated[str, typer.Argument(help="Shell-style pattern, such as 'fasternet*'.")] = "*",
    json_: Json = False,
) -> None:
    """List the backbones, one name per line."""
    names = list_backbones(pattern)
    if not names:
        raise unknown(pattern)
    if json_:
        print(json.dumps([{"name": n, "family": family_of(n)} for n in names], indent=2))
    else:
        print("\n".join(names))


def info(
    name: Annotated[str, typer.Argument(help="A backbone, or a detector's .yaml or .pt.")],
    imgsz: ImgSz = "",
    form: Form = "train",
    json_: Json = False,
) -> None:
    """Count parameters, MACs, FLOPs and memory traffic, exactly."""
    from .. import measure

    detector = name.endswith((".yaml", ".yml", ".pt"))
    size = image_size(imgsz or ("640" if detector else "224"))
    counted = measure.count(model_of(name, form), imgsz=size, name=name)
    print(counted.to_json() if json_ else counted)
