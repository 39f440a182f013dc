"""A detector through its life: ramp, EMA, fuse, checkpoint, resume, embed, restricted loading, GFLOPs, DDP, CAM."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils.callbacks import get_default_callbacks
from ultralytics.utils.torch_utils import EarlyStopping, ModelEMA

import workbench as wb
from workbench import datasets
from workbench.backbones.ramp import ramp_value, set_activation_ramp
from workbench.errors import MissingExtraError, WorkbenchError
from workbench.yolo.cam import layer_cam
from workbench.yolo.exports import name_missing_extra, refuse_unfinished
from workbench.yolo.layer import _warn_once
from workbench.yolo.ramp import raise_ramp, ramp_at
from workbench.yolo.ready import yaml_text

ROOT = Path(__file__).resolve().parent.parent
NARROW = {"dims": [8, 16, 16, 32], "act_num": 1}  # VanillaNet-5's blocks, narrow
SETTINGS = {"imgsz": 64, "batch": 2, "nbs": 2, "workers": 0, "device": "cpu", "amp": False, "plots": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    before = os.environ.get("WORKBENCH_CACHE")
    os.environ["WORKBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield str(datasets.shapes(n_train=2, n_val=1, imgsz=64, seed=0))
    os.environ.pop("WORKBENCH_CACHE")
    if before is not None:
        os.environ["WORKBENCH_CACHE"] = before


@pytest.fixture
def vanilla(tmp_path):
    """Return a narrow VanillaNet-YOLO11, from a YAML of its own."""
    path = tmp_path / "yolo11n-narrow.yaml"
    path.write_text(yaml_text(wb.detector_yaml("yolo11", "vanillanet_5", **NARROW)))
    return wb.YOLO(str(path))


def as_after_training(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
    return net.eval()


def maps(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return net.model[0](x)


# the ramp ------------------------------------------------------------------------------------------------------------


def test_a_new_detector_can_merge_and_its_training_starts_the_ramp(vanilla):
    assert ramp_value(vanilla.model) == 1
    raise_ramp(fake_trainer(vanilla.model))
    assert ramp_value(vanilla.model) == 0


def test_loaded_weights_bring_their_own_ramp(vanilla):
    set_activation_ramp(vanilla.model, 0.5)
    trained = wb.create_backbone(
        "vanillanet_5", **{k: tuple(v) if isinstance(v, list) else v for k, v in NARROW.items()}
    )
    official = {k: v for k, v in trained.state_dict().items() if k != "act_learn"}  # their files have no ramp: 1
    wb.load_weights(vanilla.model.model[0].backbone, official)
    raise_ramp(fake_trainer(vanilla.model))
    assert ramp_value(vanilla.model) == 1


def test_the_schedule_takes_a_third_of_the_epochs():
    assert [ramp_at(e, 9) for e in (0, 3, 8)] == [0, 1, 1]
    assert ramp_at(50, 300) == 0.5
    assert ramp_at(100, 300) == ramp_at(299, 300) == 1
    assert [ramp_at(0, n) for n in (1, 2, 3)] == [1, 1, 0]


def fake_trainer(net, epoch=0, epochs=6, best=0.5):
    trainer = SimpleNamespace(model=net, ema=ModelEMA(net), epoch=epoch, epochs=epochs, best_fitness=best)
    trainer.stopper = EarlyStopping(patience=1)
    trainer.stopper.best_fitness = 0.9
    return trainer


def test_weights_for_the_neck_and_head_do_not_end_the_ramp_of_a_backbone_that_was_never_trained(vanilla, tmp_path):
    """The trainer then copies the whole detector, its backbone as it was drawn, into a second one."""
    vanilla.load(_saved(wb.YOLO("yolo11n.yaml"), tmp_path / "stock.pt"))
    again = ultralytics_tasks.DetectionModel(vanilla.model.yaml, nc=3, verbose=False)
    again.load(vanilla.model, verbose=False)
    reopened = wb.YOLO(_saved(vanilla, tmp_path / "drawn.pt")).model  # in half precision, as checkpoints are
    for net in (vanilla.model, again, reopened):
        assert not net.model[0].touched
        raise_ramp(fake_trainer(net))
        assert ramp_value(net) == 0
    with torch.no_grad():
        next(vanilla.model.parameters()).add_(0.1)
    set_activation_ramp(vanilla.model, 1)
    again.load(vanilla.model, verbose=False)
    assert again.model[0].touched
    assert wb.YOLO(_saved(vanilla, tmp_path / "trained.pt")).model.model[0].touched


def _saved(detector, path: Path) -> str:
    detector.save(str(path))
    return str(path)


def test_the_ramp_reaches_the_ema_through_its_cached_tensors(vanilla):
    trainer = fake_trainer(vanilla.model)
    for epoch, expected in enumerate((0, 0.5, 1, 1)):
        trainer.epoch = epoch
        raise_ramp(trainer)
        trainer.ema.update(vanilla.model)  # caches the tensors the first time, averages them every time
        assert ramp_value(vanilla.model) == ramp_value(trainer.ema.ema) == expected
        assert float(trainer.ema.ema.state_dict()["model.0.backbone.act_learn"]) == expected


def test_no_best_checkpoint_and_no_early_stop_before_the_ramp_ends(vanilla):
    trainer = fake_trainer(vanilla.model)
    for epoch in (0, 1, 2):
        trainer.epoch, trainer.best_fitness = epoch, 0.5
        raise_ramp(trainer)
        assert trainer.best_fitness is None  # the epoch in which it arrives starts the count anew
        assert (trainer.stopper.best_fitness, trainer.stopper.best_epoch) == (0, epoch)
        trainer.stopper.best_fitness = 0.9
    trainer.epoch, trainer.best_fitness = 3, 0.5
    raise_ramp(trainer)
    assert (trainer.best_fitness, trainer.stopper.best_fitness) == (0.5, 0.9)


def test_a_ramp_that_has_ended_never_falls_again(vanilla):
    with torch.no_grad():
        next(vanilla.model.parameters()).add_(0.1)  # trained or loaded: no longer what the constructor drew
    trainer = fake_trainer(vanilla.model)
    raise_ramp(trainer)
    assert ramp_value(vanilla.model) == ramp_value(trainer.ema.ema) == 1
    assert trainer.best_fitness == 0.5


def test_a_trainer_without_vanillanet_does_not_notice_the_callback():
    trainer = SimpleNamespace(model=wb.YOLO("yolo11n-starnet_s050.yaml").model, epoch=0, epochs=3)
    raise_ramp(trainer)  # it has no ema and no stopper to touch
    assert vars(trainer).keys() == {"model", "epoch", "epochs"}


def test_too_short_a_training_has_no_ramp_and_says_so(vanilla, caplog):
    with caplog.at_level(logging.WARNING, "ultralytics"):
        raise_ramp(fake_trainer(vanilla.model, epochs=2))
    assert ramp_value(vanilla.model) == 1
    assert "2 epochs leave no room for the activation ramp" in caplog.text


def test_fuse_before_the_ramp_ends_folds_bn_keeps_the_pairs_and_warns_once(vanilla, caplog):
    net = as_after_training(vanilla.model)
    set_activation_ramp(net, 0.25)
    x = torch.rand(1, 3, 64, 64)
    before = maps(net, x)
    _warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "ultralytics"):
        net.fuse(verbose=False)
        net.model[0].fuse_convs()
    assert caplog.text.count("activation ramp at 0.25") == 1
    backbone = net.model[0].backbone
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in backbone.modules())
    assert all(block.conv is None for block in backbone.stages)  # the pairs are there
    for a, b in zip(before, maps(net, x), strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()
    with pytest.raises(WorkbenchError, match="ramp"):
        wb.deploy(backbone)
    set_activation_ramp(net, 1)
    after = maps(net, x)
    net.model[0].fuse_convs()
    assert all(block.conv is not None for block in backbone.stages)
    for a, b in zip(after, maps(net, x), strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()


def test_export_before_the_ramp_ends_is_refused_and_writes_nothing(vanilla, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_activation_ramp(vanilla.model, 0)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        WorkbenchError, match="activation ramp is 0, so VanillaNet's layers cannot be merged for export"
    ):
        vanilla.export(format="torchscript", imgsz=64)
    assert sorted(tmp_path.rglob("*")) == before
    assert refuse_unfinished in get_default_callbacks()["on_export_start"]


def test_a_missing_export_package_is_answered_with_its_extra(monkeypatch):
    exporter = SimpleNamespace(args=SimpleNamespace(format="onnx"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxslim" else name)
    with pytest.raises(MissingExtraError, match=r"onnxslim is not installed.*\[runtimes\]"):
        name_missing_extra(exporter)
    exporter.args.format = "torchscript"
    name_missing_extra(exporter)
    assert name_missing_extra in get_default_callbacks()["on_export_start"]


def test_training_raises_the_ramp_saves_it_and_resumes_it_after_a_kill(vanilla, data, tmp_path):
    script = (
        "import os, sys, json\n"
        "import workbench as wb\n"
        "from workbench.backbones.ramp import ramp_value\n"
        "yaml, data, folder = sys.argv[1:4]\n"
        "y = wb.YOLO(yaml)\n"
        "seen = []\n"
        "y.add_callback('on_train_epoch_end', lambda t: seen.append(ramp_value(t.model)))\n"
        "def die(t):\n"
        "    if t.epoch == 3:\n"
        "        print('SEEN' + json.dumps(seen), flush=True)\n"
        "        os._exit(9)\n"
        "y.add_callback('on_model_save', die)\n"
        f"y.train(data=data, epochs=9, project=folder, name='run', val=False, **{SETTINGS!r})\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "yolo11n-narrow.yaml"), data, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert killed.returncode == 9, killed.stderr[-2000:]
    assert json.loads(killed.stdout.split("SEEN")[1]) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    last = tmp_path / "run" / "weights" / "last.pt"
    detector = wb.YOLO(str(last))
    assert detector.ckpt["epoch"] == 3
    seen = []
    detector.add_callback(
        "on_train_epoch_end", lambda t: seen.append((t.epoch, ramp_value(t.model), ramp_value(t.ema.ema)))
    )
    detector.train(resume=True)
    assert seen == [(e, 1.0, 1.0) for e in range(4, 9)]
    assert ramp_value(detector.model) == 1  # best.pt
    assert len((tmp_path / "run" / "results.csv").read_text().splitlines()) == 1 + 9


def test_a_resumed_ramp_goes_on_from_where_it_was(vanilla):
    """The state that resuming starts from: the EMA of the last epoch, in half precision."""
    set_activation_ramp(vanilla.model, 1 / 3)
    vanilla.model.half().float()
    trainer = fake_trainer(vanilla.model, epoch=2, epochs=9)
    raise_ramp(trainer)
    assert ramp_value(vanilla.model) == pytest.approx(2 / 3)
    assert trainer.best_fitness is None


# checkpoints ---------------------------------------------------------------------------------------------------------

PLAIN = """
import json, sys
from ultralytics import YOLO
best, data, image = sys.argv[1:]
detector = YOLO(best)
found = detector.val(data=data, imgsz=64, plots=False, verbose=False, device="cpu").results_dict
boxes = len(detector.predict(image, imgsz=64, conf=0.0001, verbose=False, device="cpu")[0].boxes)
print("RESULT" + json.dumps([found["metrics/mAP50(B)"], boxes, type(detector.model.model[0]).__module__]))
"""


def test_a_trained_checkpoint_opens_validates_and_predicts_in_a_fresh_process_with_plain_ultralytics(data, tmp_path):
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    detector.train(data=data, epochs=2, project=str(tmp_path), name="run", **SETTINGS)
    best = tmp_path / "run" / "weights" / "best.pt"
    here = detector.val(data=data, imgsz=64, plots=False, verbose=False, device="cpu").results_dict["metrics/mAP50(B)"]
    image = str(next((Path(data).parent / "images" / "val").iterdir()))
    command = [sys.executable, "-c", PLAIN, str(best), data, image]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    map50, boxes, module = json.loads(run.stdout.split("RESULT")[1])
    assert (map50, module) == (pytest.approx(here, abs=1e-6), "workbench.yolo.layer")
    assert boxes > 0


SAFE = """
import sys
import workbench.yolo
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils import SAFE_LOAD
assert SAFE_LOAD
for path in sys.argv[1:]:
    net, _ = load_checkpoint(path)
    print(type(net.model[0]).__name__)
"""


def test_restricted_loading_opens_our_checkpoints(tmp_path):
    saved = []
    for variant, config in (("fasternet_t0", {}), ("starnet_s050", {}), ("mobileone_s0", {}), ("vanillanet_5", NARROW)):
        path = tmp_path / f"yolo11n-{variant}.yaml"
        path.write_text(yaml_text(wb.detector_yaml("yolo11", variant, **config)))
        detector = wb.YOLO(str(path))
        detector.save(tmp_path / f"{variant}.pt")
        detector.fuse(verbose=False)
        detector.save(tmp_path / f"{variant}-fused.pt")
        saved += [str(tmp_path / f"{variant}.pt"), str(tmp_path / f"{variant}-fused.pt")]
    unit = wb.YOLO("yolov8n-mobileoneunit.yaml")
    unit.save(tmp_path / "unit.pt")
    run = subprocess.run(
        [sys.executable, "-c", SAFE, *saved, str(tmp_path / "unit.pt")],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "ULTRALYTICS_SAFE_LOAD": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == ["BackboneLayer"] * 8 + ["Conv"]


def test_fusing_twice_and_copying_a_fused_detector_changes_nothing():
    detector = wb.YOLO("yolo11n-mobileone_s0.yaml")
    net = as_after_training(detector.model)
    x = torch.rand(1, 3, 64, 64)
    before = maps(net, x)
    detector.fuse(verbose=False)
    fused = maps(net, x)
    net.model[0].fuse_convs()
    again = pickle.loads(pickle.dumps(net))
    for a, b, c, d in zip(before, fused, maps(net, x), maps(again, x), strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()
        assert torch.equal(b, c)
        assert torch.equal(b, d)


# what ultralytics offers on top --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["yolo11n-starnet_s050.yaml", "rtdetr-l-starnet_s050.yaml"])
def test_embed_returns_one_vector_per_image(name):
    detector = (wb.RTDETR if name.startswith("rtdetr") else wb.YOLO)(name)
    image = np.zeros((64, 64, 3), np.uint8)
    p5 = detector.embed([image], embed=[4], imgsz=64, verbose=False)  # layer 4 is P5
    assert [tuple(v.shape) for v in p5] == [(detector.model.model[0].feature_info[3].channels,)]
    default = detector.embed([image, image], imgsz=64, verbose=False)
    assert len(default) == 2
    assert torch.equal(default[0], default[1])


def test_printed_gflops_are_counted_at_the_size_asked_for_and_never_zero():
    net = wb.YOLO("yolo11n-starnet_s050.yaml").model
    at_640, at_320 = net.info()[3], net.info(imgsz=320)[3]
    assert at_640 == pytest.approx(4 * at_320, rel=0.01)
    assert net.info(imgsz=[320, 640])[3] == pytest.approx(2 * at_320, rel=0.01)
    unit = wb.YOLO("yolov8n-mobileoneunit.yaml").model
    assert unit.info()[3] > 5


@pytest.mark.parametrize("variant", ["fasternet_t0", "mobileone_s0", "vanillanet_5"])
def test_rtdetr_prints_gflops(variant):
    assert wb.RTDETR(f"rtdetr-l-{variant}.yaml").model.info(imgsz=320)[3] > 10


def test_a_ddp_child_finds_everything_it_needs(vanilla, tmp_path):
    """A child process unpickles trainer class, arguments and callbacks, and builds the network by name."""
    cloudpickle = pytest.importorskip("cloudpickle", reason="multi-GPU training needs cloudpickle")
    state = {"callbacks": get_default_callbacks(), "model": "yolo11n-starnet_s050.yaml"}
    path = tmp_path / "state.pt"
    torch.save(state, path, pickle_module=cloudpickle)
    child = (
        "import sys\nfrom ultralytics.utils.patches import torch_load\n"
        "state = torch_load(sys.argv[1], map_location='cpu')\n"
        "from ultralytics.nn.tasks import DetectionModel\n"
        "print(type(DetectionModel(state['model'], verbose=False).model[0]).__name__)\n"
    )
    run = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.split() == ["BackboneLayer"], run.stderr[-2000:]


def test_the_callbacks_a_ddp_child_receives_install_the_plug(tmp_path):
    """The same with the standard pickle: a callback of ours is named by its import path, and importing it plugs in."""
    path = tmp_path / "callbacks.pkl"
    path.write_bytes(pickle.dumps(dict(get_default_callbacks())))
    child = (
        "import pickle, sys\nimport ultralytics.nn.tasks as t\n"
        "assert not hasattr(t, 'BackboneLayer')\n"
        "pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(t.BackboneLayer.__name__)\n"
    )
    run = subprocess.run([sys.executable, "-c", child, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.split() == ["BackboneLayer"], run.stderr[-2000:]


@pytest.mark.parametrize("name", ["yolo11n-fasternet_t0.yaml", "rtdetr-l-starnet_s050.yaml"])
def test_layer_cam_is_an_image_of_evidence_and_leaves_the_detector_alone(name):
    torch.manual_seed(0)
    detector = (wb.RTDETR if name.startswith("rtdetr") else wb.YOLO)(name)
    image = np.zeros((96, 128, 3), np.uint8)
    image[20:60, 30:70] = 255
    overlay = layer_cam(detector, image, imgsz=128, conf=0.99)
    assert overlay.dtype == np.uint8
    assert overlay.shape[1:] == (128, 3)
    assert (overlay.astype(int) != np.pad(image, ((0, overlay.shape[0] - 96), (0, 0), (0, 0)))).mean() > 0.1
    assert detector.predictor is None
    assert not detector.model.is_fused()
    with pytest.raises(WorkbenchError, match=r"model\.onnx has no gradients"):
        layer_cam(SimpleNamespace(model="model.onnx"), image)


def test_every_trainer_gets_the_callback():
    assert raise_ramp in get_default_callbacks()["on_train_epoch_start"]
    assert raise_ramp in wb.YOLO("yolo11n.yaml").callbacks["on_train_epoch_start"]
    assert issubclass(wb.YOLO("yolo11n.yaml").task_map["detect"]["trainer"], BaseTrainer)
    assert ultralytics_tasks.DetectionModel.load is ultralytics_tasks.BaseModel.load
