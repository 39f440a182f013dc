"""One training run, from checked arguments to a folder that says everything about it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from .. import settings as process
from ..errors import WorkbenchError, one_line, tell_interrupted
from ..files import replace_text
from ..yolo.arguments import check_arguments
from ..yolo.data import DatasetReport, anchored, check_imgsz, verify_dataset
from .control import clear
from .environment import environment
from .models import described, model_name, open_detector, start_from
from .preflight import check_resources, clear_folder, prepare_folder
from .presets import get_preset
from .run import RECORD, SUMMARY, TRAIN_IS_VAL, Run, named_metrics, quiet_ultralytics
from .watch import OnEpoch, Watcher, now

NOTE = """These checkpoints hold classes of the package `workbench` of the distribution backbone-workbench. They open
with plain ultralytics where that is installed. (The unrelated package named `workbench` on PyPI is of no use here.)
To hand a model to somebody without it, export it: YOLO("best.pt").export(format="onnx").
"""


def train(
    host: str = "yolo11",
    scale: str = "n",
    backbone: str | None = None,
    data: str | Path | None = None,
    preset: str = "class",
    *,
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    weights: str | Path | None = None,
    resume: str | Path | None = None,
    model: str | Path | None = None,
    threads: int | None = None,
    on_epoch: OnEpoch | None = None,
    quiet: bool = False,
    ultralytics: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Run:
    """Train a stock host or a transplant and return its run folder.

    Everything that can be wrong is checked before the first epoch; seeds are set before the network is built. An
    interrupted run keeps its last checkpoint and goes on with ``train(resume=folder)``.

    Args:
        host: ``"yolo11"``, ``"yolov8"``, ``"rtdetr-l"`` …
        scale: n, s, m, l or x.
        backbone: a name from ``list_backbones()``; None trains the host as it is.
        data: dataset YAML: ``wb.datasets.shapes()``, ``wb.datasets.coco128()`` or your own file.
        preset: ``"article-100"``, ``"article-150"``, ``"class"`` or ``"fast"``; ``PRESETS`` shows what they set.
        epochs: instead of the preset's.
        seed: of the weights, the order of images and the augmentation.
        out: run folder; default ``runs/<model>-<data>-<preset>-seed<seed>``.
        weights: ``"imagenet"`` or a file for the backbone alone, or a detector's checkpoint (.pt), of which every
            layer that means the same in both is taken over.
        resume: folder of an unfinished run; every other argument but `threads` and `on_epoch` then comes from it.
        model: a model YAML or checkpoint instead of `host`, `scale` and `backbone`.
        threads: torch threads; default as they are.
        on_epoch: called after every epoch with its row of the curves.
        quiet: print nothing per epoch.
        ultralytics: more ultralytics arguments, as a dictionary: ``{"scale": 0.0}`` is its zoom augmentation, whose
            name is taken here.
        **overrides: any other ultralytics argument (``imgsz=320``, ``device=0``, ``lr0=0.01``); ``exist_ok=True``
            replaces an earlier run in the same folder.

    Raises:
        WorkbenchError: bad input, too little disk or memory, or a loss that is not finite.
        KeyboardInterrupt: passed on, after saying how to resume.
    """
    if resume is not None:
        return _resume(Path(resume), threads, on_epoch, quiet)
    overrides = {**overrides, **(ultralytics or {})}
    arguments = _arguments(preset, epochs, seed, overrides)
    name = str(model) if model is not None else model_name(host, scale, backbone)
    report = verify_dataset(_data_path(data))
    replace = bool(arguments.pop("exist_ok", False))
    folder = prepare_folder(out, f"{Path(name).stem}-{report.path.stem}-{preset}-seed{seed}", replace)
    with _threads(threads):
        process.seed_everything(seed)
        detector = open_detector(name)
        if weights is not None:
            arguments |= start_from(detector, weights)
        device = arguments.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        size = sum(p.numel() for p in detector.model.parameters())
        check_resources(folder, size, int(arguments["batch"]), arguments["imgsz"], device)
        clear_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        named = {"host": host, "scale": scale, "backbone": backbone} if model is None else described(detector)
        record = {
            "model": Path(name).stem,
            **named,
            "weights": None if weights is None else str(weights),
            "preset": preset,
            "seed": seed,
            **{key: arguments[key] for key in ("epochs", "imgsz", "batch", "nbs")},
            "overrides": {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in overrides.items()},
            "parameters": size,
            "data": _describe(report),
        }
        replace_text(folder / "model.yaml", yaml.safe_dump(json.loads(json.dumps(detector.model.yaml, default=str))))
        arguments["data"] = str(anchored(report.path, folder))
        return _run(detector, folder, record, arguments, on_epoch, quiet)


def _arguments(preset: str, epochs: int | None, seed: int, overrides: dict[str, Any]) -> dict[str, Any]:
    reserved = {"project", "name", "save_dir", "resume", "mode", "task"} & set(overrides)
    if reserved:
        raise WorkbenchError(f"{', '.join(sorted(reserved))}= cannot be given to train(); use out= for the folder")
    arguments = {**get_preset(preset).settings, "plots": False, "seed": seed, **overrides}
    if "batch" in overrides and "nbs" not in overrides:
        arguments["nbs"] = overrides["batch"]
    if epochs is not None:
        arguments["epochs"] = epochs
    for key in ("epochs", "batch", "nbs"):
        if not isinstance(arguments[key], int) or arguments[key] < 1:
            raise WorkbenchError(f"{key}={arguments[key]!r} is not a positive integer")
    check_imgsz(arguments["imgsz"])
    check_arguments(arguments)
    return arguments


def _data_path(data: str | Path | None) -> Path:
    if data is None:
        raise WorkbenchError("train() needs data=: wb.datasets.shapes(), wb.datasets.coco128(), or a dataset YAML")
    if str(data) in ("shapes", "coco128"):
        raise WorkbenchError(f"data={data!r} is a dataset's name; give its YAML: data=wb.datasets.{data}()")
    return Path(data)


def _describe(report: DatasetReport) -> dict[str, Any]:
    return {
        "name": report.path.stem,
        "path": str(report.path),
        "classes": len(report.names),
        "train_images": len(report.train.images),
        "val_images": len(report.val.images),
        "held_out": report.held_out,
    }


def _resume(folder: Path, threads: int | None, on_epoch: OnEpoch | None, quiet: bool) -> Run:
    from .resume import prepare_resume

    run = Run(folder)
    checkpoint, done = prepare_resume(run)
    record = run.record
    with _threads(threads):
        process.seed_everything(record["seed"])
        detector = open_detector(checkpoint)
        if done >= record["epochs"]:  # killed between the last epoch and the final evaluation
            return _close(run, record, run.evaluate(record["data"]["path"], label="final"))
        if not quiet:
            print(f"resuming after epoch {done} of {record['epochs']}")
        yaml_file = anchored(record["data"]["path"], run.folder)
        arguments = {"resume": True, "data": str(yaml_file), "save_dir": str(run.folder)}
        return _run(detector, run.folder, record, arguments, on_epoch, quiet)


def _run(
    detector: Any,
    folder: Path,
    record: dict[str, Any],
    arguments: dict[str, Any],
    on_epoch: OnEpoch | None,
    quiet: bool,
) -> Run:
    """Train, and keep ``run.json`` true whatever happens."""
    watcher = Watcher(folder, on_epoch, quiet)
    watcher.attach(detector)
    place = {} if "resume" in arguments else {"project": str(folder.parent), "name": folder.name, "exist_ok": True}
    record |= {"status": "running", "started": now(), "environment": environment(arguments.get("device") or "cpu")}
    before = record.get("seconds", 0.0)
    start = time.perf_counter()
    clear(folder)
    _write_record(folder, record)
    (folder / "weights").mkdir(exist_ok=True)
    replace_text(folder / "weights" / "README.txt", NOTE)
    if notice := _notice(record):
        print(notice)
    try:
        with quiet_ultralytics():
            detector.train(**arguments, **place)
    except BaseException as e:
        status = "interrupted" if isinstance(e, KeyboardInterrupt) else "failed"
        record |= {"status": status, "seconds": before + time.perf_counter() - start, "error": one_line(e)}
        _write_record(folder, record)
        if isinstance(e, KeyboardInterrupt):
            tell_interrupted(e, _how_to_go_on(Run(folder)))
        raise
    record |= {"seconds": before + time.perf_counter() - start, "environment": environment(watcher.device or "cpu")}
    return _close(Run(folder), record, named_metrics(detector.trainer.metrics))


def _close(run: Run, record: dict[str, Any], metrics: dict[str, float]) -> Run:
    _write_record(run.folder, record | {"status": "finished", "finished": now(), "metrics": metrics})
    for spare in (run.folder / "weights").glob("last-previous.pt"):
        spare.unlink()
    replace_text(run.folder / SUMMARY, f"# {record['model']} on {record['data']['name']}\n\n```\n{run}\n```\n")
    return run


def _how_to_go_on(run: Run) -> str:
    if run.last.is_file():
        return f"go on with wb.train(resume={str(run.folder)!r}) or `workbench train --resume {run.folder}`"
    return f"no epoch was finished, so start it again, with exist_ok=True or another folder than {run.folder}"


def _notice(record: dict[str, Any]) -> str:
    return "" if record["data"]["held_out"] else f"{record['data']['name']}: {TRAIN_IS_VAL}"


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    replace_text(folder / RECORD, json.dumps(record, indent=2) + "\n")


@contextlib.contextmanager
def _threads(n: int | None) -> Iterator[None]:
    before = process.set_threads(n) if n is not None else torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
