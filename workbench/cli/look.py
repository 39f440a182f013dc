"""Verbs that look and count: list, info, measure."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backbones.registry import classes_for, family_of, list_backbones, unknown
from ..files import replacing
from .options import Form, ImgSz, Json, check_form, check_picture, image_size, model_of

if TYPE_CHECKING:
    from ..measure import Latency


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


def measure(
    names: Annotated[list[str], typer.Argument(help="Backbones; the first is what the others are compared with.")],
    imgsz: ImgSz = "224",
    batch: Annotated[int, typer.Option(help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    form: Form = "deploy",
    runtime: Annotated[str, typer.Option(help="eager, channels_last, compile, onnxruntime, openvino; a,b.")] = "eager",
    seconds: Annotated[float, typer.Option(help="Time for everything.")] = 60.0,
    json_: Json = False,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the result into this file (.png, .svg, .pdf).")] = None,
) -> None:
    """Time backbones against each other, interleaved in one run."""
    from ..measure import latency

    check_picture(plot)
    result = latency(
        _candidates(names, form, runtime.split(",")), imgsz=image_size(imgsz), batch=batch, threads=threads,
        device=device, form=form, budget_s=seconds,
    )  # fmt: skip
    if plot is not None:
        _draw(result, plot)
    if json_:
        print(json.dumps({"environment": dict(result.env), "candidates": result.rows()}, indent=2))
    elif csv_:
        rows = result.rows()
        writer = csv.DictWriter(sys.stdout, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        print(result)


def _draw(result: Latency, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from ..measure.environment import describe
    from ..plots.latency import latency_bars
    from ..plots.style import HOUSE

    with plt.style.context(HOUSE):
        ax = latency_bars(result)
        ax.set_title(textwrap.fill(describe(dict(result.env)), 90), fontsize=7)  # no number without its machine
        with replacing(path) as part:
            plt.savefig(part, bbox_inches="tight")
        plt.close()


def _candidates(names: list[str], form: str, runtimes: list[str]) -> dict[str, Any]:
    """Return label → recipe for every name in every runtime, refusing what cannot be built or cannot run here."""
    from ..measure import factory
    from ..measure.runtimes import why_not

    for runtime in runtimes:
        if (problem := why_not(runtime)) is not None:
            raise problem
    check_form(form)
    recipes = {n: factory(n, num_classes=classes_for(n), deploy=form == "deploy") for n in names}
    label = "{}" if len(runtimes) == 1 else "{} · {}"
    pairs = itertools.product(recipes, runtimes)
    return {label.format(n, r): dataclasses.replace(recipes[n], runtime=r) for n, r in pairs}
