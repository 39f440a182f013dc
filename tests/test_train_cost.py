"""What the wrapper costs: a stock network does in it exactly what it does in plain ultralytics, no call more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import workbench as wb

# Counts everything that costs time, by what it is, in a process of its own, the plain one without the plug. Both take
# torchvision as it can be loaded here: `_torchvision` supplies the one operator that some installations of it lack.
COUNTER = """
    import collections, json, os, sys
    import torch
    from workbench import _torchvision
    _torchvision.ensure()
    from torch.nn.modules.module import register_module_forward_hook
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from ultralytics import YOLO
    from ultralytics.data.base import BaseDataset
    from ultralytics.engine.trainer import BaseTrainer
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.torch_utils import ModelEMA

    counts = collections.Counter()

    def count(owner, name):
        theirs = getattr(owner, name)
        def counted(*args, **kwargs):
            counts[f"{owner.__name__}.{name}"] += 1
            return theirs(*args, **kwargs)
        setattr(owner, name, counted)

    for owner, name in ((BaseValidator, "__call__"), (BaseTrainer, "optimizer_step"), (BaseTrainer, "save_model"),
                        (BaseTrainer, "final_eval"), (ModelEMA, "update"), (BaseDataset, "get_image_and_label"),
                        (torch.Tensor, "backward")):
        count(owner, name)
    register_module_forward_hook(lambda module, args, out: counts.update([f"forward of {type(module).__name__}"]))
    register_optimizer_step_post_hook(lambda optimizer, args, kwargs: counts.update(["step"]))
    way, data, out, settings, preset = *sys.argv[1:4], json.loads(sys.argv[4]), json.loads(sys.argv[5])
    torch.set_num_threads(1)
    if way == "plain":
        import ultralytics.data.utils
        ultralytics.data.utils.check_font = lambda font: None  # it would ask the network for Arial
        place = {"project": os.path.dirname(out), "name": os.path.basename(out)}
        YOLO("yolo11n.yaml").train(data=data, **{**preset, **settings, "plots": False}, **place)
        assert not {"workbench.yolo", "workbench.train"} & set(sys.modules)
    else:
        import workbench as wb
        wb.train(data=data, out=out, preset="fast", threads=1, quiet=True, **settings)
    print("COUNTS", json.dumps(counts))
"""
EPOCHS, BATCHES = 2, 3  # 24 images in batches of 8


def run(way: str, data: Path, out: Path) -> dict[str, int]:
    """Train in a process of its own and return how often each thing was done."""
    given = [json.dumps({"epochs": EPOCHS, "seed": 3}), json.dumps(dict(wb.train.PRESETS["fast"].settings))]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COUNTER), way, str(data), str(out), *given],
        capture_output=True, text=True, timeout=300, cwd=out.parent,
        env=os.environ | {"YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("COUNTS"))
    return json.loads(line.removeprefix("COUNTS"))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same training by plain ultralytics and by the wrapper: counts and folder of each."""
    root = tmp_path_factory.mktemp("cost")
    data = wb.datasets.shapes(n_train=24, n_val=8, imgsz=64)
    return {way: (run(way, data, root / way), root / way) for way in ("plain", "ours")}


def test_every_call_is_made_exactly_as_often(both):
    plain, ours = both["plain"][0], both["ours"][0]
    assert ours == plain
    assert plain["step"] == plain["BaseTrainer.optimizer_step"] == plain["ModelEMA.update"] == EPOCHS * BATCHES
    assert plain["Tensor.backward"] == EPOCHS * BATCHES
    assert plain["BaseValidator.__call__"] == EPOCHS + 1  # and best.pt once more at the end
    assert plain["forward of DetectionModel"] > EPOCHS * BATCHES
    assert plain["forward of Conv2d"] > 50 * plain["forward of DetectionModel"]  # what is counted is the whole network


def test_every_number_of_the_curves_is_the_same(both):
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in wb.train.read_curves(folder / "results.csv")]
            for _, folder in both.values()]  # fmt: skip
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == list(range(1, EPOCHS + 1))
