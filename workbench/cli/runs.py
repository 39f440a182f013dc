"""Verbs over many runs: sweep, results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..files import replacing
from ..settings import set_threads
from .course import dataset_path
from .options import check_picture


def sweep(
    grid: Annotated[
        Path, typer.Argument(help="YAML with lists: backbones, hosts, scales, seeds, data; preset, settings.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run folders and table.csv.")] = Path("runs/sweep"),
    engine: Annotated[str, typer.Option(help="local (processes here) or ray.")] = "local",
    jobs: Annotated[int, typer.Option(help="Runs at the same time.")] = 1,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of each run; default the cores, divided.")] = None,
) -> None:
    """Train every run of a grid. Started again, it repeats nothing that is finished."""
    from ..sweep import sweep as run

    print(run(grid, out, engine=engine, jobs=jobs, address=address, threads=threads, resolve=dataset_path))


def results(
    what: Annotated[str, typer.Argument(help="Folder of a sweep, a run folder, or a recorded experiment's name.")] = "",
    csv: Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves of mAP50 into this file.")] = None,
) -> None:
    """Show a sweep, a run, or a recorded experiment. Without an argument: the list of these."""
    from ..train.results import recorded

    check_picture(plot)
    if not what:
        print("\n".join(recorded()))
        return
    set_threads(1)
    text, rows, curves = _read(what)
    print(rows if csv else text)
    if plot is not None:
        _draw(curves, plot)


def _read(what: str) -> tuple[str, str, dict[str, Any]]:
    """Return (text, CSV, label → curves)."""
    from ..sweep.table import collect
    from ..train import Run, load_results

    folder = Path(what)
    if (folder / "run.json").is_file():
        run = Run(folder)
        return str(run), collect(folder.parent, [folder.name]).to_csv().rstrip(), {folder.name: run.curves}
    if folder.is_dir():
        table = collect(folder)
        return str(table), table.to_csv().rstrip(), {r["label"]: Run(folder / r["label"]).curves for r in table.rows}
    found = load_results(what)
    lines = [f"{label:<24} {r['model']:<24} mAP50 {r['metrics']['map50']:.4f}" for label, r in found.runs.items()]
    notes = [f"made by: {found.command}"]
    if any(not r["data"]["held_out"] for r in found.runs.values()):
        notes.append("val = train: these numbers say how well the training images were memorised")
    columns = list(dict.fromkeys(key for row in found.curves for key in row))
    body = [",".join(str(row.get(c, "")) for c in columns) for row in found.curves]
    return "\n".join([*lines, *notes]), "\n".join([",".join(columns), *body]), {k: found.curve(k) for k in found.runs}


def _draw(curves: dict[str, Any], plot: Path) -> None:
    import matplotlib.pyplot as plt

    from ..plots.style import HOUSE
    from ..plots.training import training_curves

    with plt.style.context(HOUSE):
        figure = plt.figure(figsize=(7, 4), layout="constrained")
        training_curves(curves, ax=figure.add_subplot())
        with replacing(plot) as part:
            figure.savefig(part)
    print(plot)
