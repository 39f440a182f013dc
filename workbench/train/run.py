"""A finished, interrupted or running training: a folder, read back."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataNotFoundError, WorkbenchError
from ..files import replace_text
from ..settings import set_threads

RECORD, CURVES, SUMMARY = "run.json", "curves.csv", "summary.md"
TRAIN_IS_VAL = "val = train, so this mAP says how well the training images were memorised, not how well it detects"

# ultralytics' column → ours; loss names differ between hosts and pass through
_COLUMNS = {
    "time": "seconds",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
    "metrics/mAP50(B)": "map50",
    "metrics/mAP50-95(B)": "map50_95",
}


class Run:
    """One training run: its folder and what is in it.

    ``curves.csv`` has one row per epoch, ``run.json`` what was asked for, the environment and the outcome,
    ``args.yaml`` every ultralytics argument, ``summary.md`` the same for a reader, ``weights/`` best and last
    checkpoint. Everything is read when asked for, so a `Run` also follows a training that is still going on.

    Args:
        folder: as given to ``train(out=…)``.

    Raises:
        DataNotFoundError: the folder holds no run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        if not (self.folder / RECORD).is_file():
            raise DataNotFoundError(
                f"{self.folder} holds no training run (no {RECORD}); give the folder that train() filled"
            )

    @property
    def record(self) -> dict[str, Any]:
        """Everything in ``run.json``.

        Raises:
            WorkbenchError: it is not the record of a training.
        """
        file = self.folder / RECORD
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise WorkbenchError(f"{file} cannot be read ({e}); train again into another folder") from e
        if not isinstance(found, dict) or not isinstance(found.get("status"), str):
            raise WorkbenchError(f"{file} is not the record of a training: it has no status; give another folder")
        return found

    @property
    def status(self) -> str:
        """``"running"``, ``"finished"``, ``"interrupted"`` or ``"failed"``."""
        return self.record["status"]

    @property
    def curves(self) -> list[dict[str, float]]:
        """One row per epoch: ``epoch`` from 1, ``seconds``, ``train_…`` and ``val_…`` losses, ``map50`` and others."""
        return read_curves(self.folder / "results.csv")

    @property
    def metrics(self) -> dict[str, float]:
        """precision, recall, map50, map50_95 of ``best.pt`` on the validation split; empty until finished."""
        return self.record.get("metrics") or {}

    @property
    def map50(self) -> float:
        """The mAP at IoU 0.5 of the best checkpoint on the validation split; nan until finished."""
        return self.metrics.get("map50", float("nan"))

    @property
    def held_out(self) -> bool:
        """Whether the validation images were kept out of training."""
        return bool(self.record["data"]["held_out"])

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        """The checkpoint of the last epoch, from which a run resumes."""
        return self.folder / "weights" / "last.pt"

    def detector(self) -> Any:
        """Open the best checkpoint as a ``YOLO`` (or ``RTDETR``)."""
        from ..yolo import RTDETR, YOLO

        return (RTDETR if self.record["host"].startswith("rtdetr") else YOLO)(str(self.best))

    def evaluate(self, data: str | Path, split: str = "val", label: str | None = None) -> dict[str, float]:
        """Validate the best checkpoint on a split of a dataset and note the result in ``run.json``.

        Args:
            data: dataset YAML with the classes the run was trained on.
            split: ``"val"``, or ``"train"`` to see how much of the training set was memorised.
            label: key under ``evaluations`` in the record; default dataset and split.
        """
        import torch

        from ..yolo.data import anchored

        imgsz, detector, threads = int(self.record["imgsz"]), self.detector(), torch.get_num_threads()
        detector.add_callback("on_val_start", lambda _: set_threads(threads))  # selecting a device changes them
        with quiet_ultralytics(), tempfile.TemporaryDirectory() as elsewhere:  # it makes a folder for its plots
            options = {"workers": 0, "plots": False, "verbose": False, "project": elsewhere}
            yaml_file = anchored(data, Path(elsewhere))
            found = detector.val(data=str(yaml_file), split=split, imgsz=imgsz, **options)
        metrics = named_metrics(found.results_dict)
        known = self.record.get("evaluations", {})
        self.note(evaluations=known | {label or f"{Path(data).stem} {split}": metrics})
        return metrics

    def note(self, **values: Any) -> None:
        """Add entries to ``run.json``, values that JSON can hold."""
        replace_text(self.folder / RECORD, json.dumps(self.record | values, indent=2) + "\n")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def __str__(self) -> str:
        record, curves = self.record, self.curves
        env = record["environment"]
        where = f"{env['cpu'] if env['device'] == 'cpu' else env['device']}, {env['threads']} threads"
        what = f"{record['model']} on {record['data']['name']}, preset {record['preset']}, seed {record['seed']}"
        done = f"{len(curves)} of {record['epochs']} epochs at {record['imgsz']} px"
        lines = [f"{what}: {self.status}", f"{done} in {record.get('seconds', 0):.0f} s on {where}"]
        if self.metrics:
            values = ", ".join(f"{k} {v:.3f}" for k, v in self.metrics.items())
            lines.append(f"best checkpoint on {record['data']['val_images']} validation images: {values}")
            if not self.held_out:
                lines.append(f"{record['data']['name']}: {TRAIN_IS_VAL}")
        return "\n".join([*lines, str(self.folder)])


def named_metrics(values: Mapping[str, Any]) -> dict[str, float]:
    """Return ultralytics' four box metrics under plain names."""
    return {ours: float(values[theirs]) for theirs, ours in _COLUMNS.items() if theirs.startswith("metrics/")}


@contextlib.contextmanager
def quiet_ultralytics() -> Iterator[None]:
    """Let ultralytics speak only when something is wrong; one line per epoch is ours."""
    logger = logging.getLogger("ultralytics")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def read_curves(path: Path) -> list[dict[str, float]]:
    """Return the rows of ultralytics' ``results.csv`` under plain names, one per epoch.

    A run that was killed after writing a row and before writing the checkpoint repeats that epoch: the later row
    counts. A row cut short by a kill is left out.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if None not in row and None not in row.values()]
    by_epoch: dict[int, dict[str, float]] = {}
    for row in rows:
        named = {_COLUMNS.get(k.strip(), k.strip().replace("/", "_")): float(v) for k, v in row.items()}
        by_epoch[int(named["epoch"])] = named | {"epoch": int(named["epoch"])}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def write_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Write the rows as CSV, replacing the file at once."""
    if rows:
        lines = [",".join(rows[0]), *(",".join(f"{v:.6g}" for v in row.values()) for row in rows)]
        replace_text(path, "\n".join(lines) + "\n")
