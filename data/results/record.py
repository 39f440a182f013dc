"""Repeat or extend a recorded experiment: ``python data/results/record.py shapes_128_class --threads 2``.

Every experiment is a list of runs. A finished run is not repeated, an interrupted one goes on, so the script may be
stopped at any time. The table is written when all runs are finished, or with ``--finished`` of those that are. Runs
lie in ``runs/results`` unless ``--runs`` names another folder.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from closest import choices, write_models

import workbench as wb
from workbench.backbones.ramp import ramp_value
from workbench.backbones.reparam import to_deploy_
from workbench.errors import DataNotFoundError
from workbench.measure import count
from workbench.settings import cache_dir, seed_everything
from workbench.sweep.worker import finish
from workbench.train import Run, save_results

MODELS = (None, "fasternet_t0")
FOUND = {"confidence": 0.05, "images": 8}  # what is kept of a run's detections


def shapes_128_class(seeds: int = 3) -> dict[str, dict[str, Any]]:
    """The class preset on 320 drawn images, several seeds."""
    data = wb.datasets.shapes(n_train=320, n_val=80, imgsz=128)
    return {
        f"{b or 'stock'}-seed{s}": {"backbone": b, "data": data, "preset": "class", "seed": s}
        for s in range(seeds)
        for b in MODELS
    }


def coco128_320_5epochs() -> dict[str, dict[str, Any]]:
    """Five epochs of the article's settings at 320 pixels; val = train, as coco128 is."""
    settings = {"data": wb.datasets.coco128(), "preset": "article-100", "imgsz": 320, "epochs": 5}
    return {f"{b or 'stock'}-seed0": {"backbone": b, **settings} for b in MODELS}


def five_detectors() -> dict[str, dict[str, Any]]:
    """The stock YOLO11n, and one transplant per family that costs about the same."""
    entries = choices()
    write_models(entries)
    return {"stock": {}, **{entry.family: {"model": entry.model} for entry in entries}}


def coco128_320_100epochs() -> dict[str, dict[str, Any]]:
    """The article's 100 epochs at 320 pixels, one seed; val = train, as coco128 is."""
    settings = {"data": wb.datasets.coco128(), "preset": "article-100", "imgsz": 320}
    return {f"{label}-seed0": {**model, **settings} for label, model in five_detectors().items()}


def coco128_320_heldout() -> dict[str, dict[str, Any]]:
    """The same five and the same settings on 96 of the images, validated on the 32 that were held out; one seed."""
    settings = {"data": wb.datasets.coco128(held_out=True), "preset": "article-100", "imgsz": 320}
    return {f"{label}-seed0": {**model, **settings} for label, model in five_detectors().items()}


def shapes_128_converged(seeds: int = 3) -> dict[str, dict[str, Any]]:
    """The five detectors on drawn images until the curves are flat; validated on images that were held out."""
    data = wb.datasets.shapes(n_train=320, n_val=80, imgsz=128)
    settings = {"data": data, "preset": "class", "epochs": 40}
    models = five_detectors().items()
    return {f"{label}-seed{s}": {**model, **settings, "seed": s} for s in range(seeds) for label, model in models}


def shapes_128_no_ramp(seeds: int = 3) -> dict[str, dict[str, Any]]:
    """The VanillaNet of `shapes_128_converged`, trained as it is where its activation ramp was forgotten.

    It starts from a file of backbone weights whose ramp stands at 1, as in every VanillaNet that was just built: to
    the workbench, weights whose training has ended. They are random draws, of other seeds than the detectors' own.
    """
    data = wb.datasets.shapes(n_train=320, n_val=80, imgsz=128)
    narrow = next(entry for entry in choices() if entry.family == "vanillanet")
    settings = {"model": narrow.model, "data": data, "preset": "class", "epochs": 40}
    runs = {}
    for seed in range(seeds):
        seed_everything(1000 + seed)
        backbone = wb.create_backbone(narrow.family, **narrow.config)
        assert ramp_value(backbone) == 1
        torch.save(backbone.state_dict(), drawn := cache_dir() / f"{narrow.name}-random-{seed}.pth")
        runs[f"forgotten-seed{seed}"] = {**settings, "weights": drawn, "seed": seed}
    return runs


def memory_24_images() -> dict[str, dict[str, Any]]:
    """24 drawn images without augmentation, with an optimiser step per batch and with ultralytics' nominal batch."""
    data = wb.datasets.shapes(n_train=24, n_val=40, imgsz=96)
    plain = dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "erasing"), 0.0)
    settings = {"data": data, "preset": "class", "imgsz": 96, "epochs": 40, "batch": 4, "ultralytics": plain}
    return {f"nbs{nbs}": {"nbs": nbs, **settings} for nbs in (4, 64)}


EXPERIMENTS = {
    f.__name__: f
    for f in (
        *(shapes_128_class, shapes_128_converged, shapes_128_no_ramp, memory_24_images),
        *(coco128_320_5epochs, coco128_320_100epochs, coco128_320_heldout),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--seeds", type=int, help="fewer or more than the experiment has, where it has several")
    parser.add_argument("--only", help="train only the runs whose label begins with this")
    parser.add_argument("--finished", action="store_true", help="train nothing; write the table of what is finished")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/results"))
    options = parser.parse_args()
    runs = {}
    several = {} if options.seeds is None else {"seeds": options.seeds}
    for label, settings in EXPERIMENTS[options.experiment](**several).items():
        folder = options.runs / f"{options.experiment}-{label}"
        if not is_finished(folder) and (options.finished or not label.startswith(options.only or "")):
            continue
        runs[label] = run = finish(folder, settings, options.threads, quiet=False)
        for split in ("train", "val"):  # what was seen, and what was not
            if run.held_out and f"{settings['data'].stem} {split}" not in run.record.get("evaluations", {}):
                run.evaluate(settings["data"], split)
        if run.held_out and run.record["seed"] == 0 and run.record.get("detections_from") != FOUND:
            run.note(detections=detections(run, settings["data"]), detections_from=FOUND)
        if "macs_deploy" not in run.record:
            run.note(macs_deploy=deployed_macs(run))
        print(run, flush=True)
    command = f"python data/results/record.py {options.experiment} --threads {options.threads}"
    command += f" --seeds {options.seeds}" if several else ""
    table = Path(__file__).parent / options.experiment
    save_results(runs, table, command)
    file = table.with_suffix(".json")  # boxes and scores on one line each
    file.write_text(re.sub(r"\[[-\d.,\s]+\]", lambda m: re.sub(r"\s+", " ", m[0]), file.read_text()))


def is_finished(folder: Path) -> bool:
    try:
        return Run(folder).status == "finished"
    except DataNotFoundError:
        return False


def deployed_macs(run: Run) -> int:
    """Return the MACs of a run's detector for one image of its side, branches merged."""
    net = run.detector().model.float().eval()
    for layer in wb.yolo.backbone_layers(net):
        to_deploy_(layer)
    return count(net, imgsz=run.record["imgsz"]).macs


def detections(run: Run, data: Path) -> dict[str, Any]:
    """Return what the best checkpoint finds in the first validation images, down to a low confidence."""
    detector, found = run.detector(), {}
    for index, path in enumerate(wb.datasets.verify_dataset(data).val.images[: FOUND["images"]]):
        found_here = detector.predict(str(path), imgsz=run.record["imgsz"], conf=FOUND["confidence"], verbose=False)
        boxes = found_here[0].boxes
        found[f"val {index}"] = {
            "boxes": [[round(v, 1) for v in box] for box in boxes.xyxy.tolist()],
            "labels": boxes.cls.int().tolist(),
            "scores": [round(v, 3) for v in boxes.conf.tolist()],
        }
    return found


if __name__ == "__main__":
    main()
