"""One run: what it writes, what it refuses, how it is interrupted, killed and resumed."""

from __future__ import annotations

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from torch import nn

import workbench as wb
from workbench.errors import DataNotFoundError, WorkbenchError
from workbench.files import replace_bytes
from workbench.train import PRESETS, Run, get_preset
from workbench.train.models import open_detector
from workbench.train.results import recorded
from workbench.train.resume import prepare_resume
from workbench.train.run import TRAIN_IS_VAL, read_curves
from workbench.train.watch import PREVIOUS, CheckpointPath, find_nan
from workbench.yolo import YOLO

TINY = {"preset": "fast", "epochs": 3, "threads": 1, "quiet": True}


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory):
    """A cache and ultralytics settings of our own, for this module and the processes it starts."""
    root = tmp_path_factory.mktemp("train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE", str(root / "cache"))
        patch.setenv("YOLO_CONFIG_DIR", str(root / "config"))
        yield root


@pytest.fixture(scope="module")
def data(private_cache):
    return wb.datasets.shapes(n_train=16, n_val=8, imgsz=64)


@pytest.fixture(scope="module")
def run(data, private_cache):
    """FasterNet-T0 in YOLO11n, three epochs on 16 images."""
    return wb.train(backbone="fasternet_t0", data=data, out=private_cache / "run", **TINY)


@pytest.fixture(scope="module")
def interrupted(data, private_cache):
    """The same run, interrupted by the user after two epochs."""

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wb.train(backbone="fasternet_t0", data=data, out=private_cache / "interrupted", on_epoch=stop, **TINY)
    return Run(private_cache / "interrupted")


# --- presets and the callable module --------------------------------------------------------------------------------


def test_presets_are_the_articles_settings_and_step_on_every_batch():
    for preset in PRESETS.values():
        assert preset.settings["nbs"] == preset.settings["batch"], preset.name
        assert preset.settings["imgsz"] % 32 == 0
    a = get_preset("article-100").settings
    assert (a["epochs"], a["optimizer"], a["imgsz"], a["batch"]) == (100, "SGD", 640, 4)
    assert (a["workers"], a["close_mosaic"], a["amp"], a["cache"]) == (0, 10, True, False)
    c = get_preset("article-150").settings
    assert {k for k in a if a[k] != c[k]} == {"epochs"}
    assert c["epochs"] == 150
    with pytest.raises(TypeError):
        a["epochs"] = 1  # a preset is no place to keep changes


def test_wb_train_is_a_module_and_a_function():
    assert inspect.ismodule(wb.train)
    assert callable(wb.train)
    assert list(inspect.signature(wb.train).parameters)[:5] == ["host", "scale", "backbone", "data", "preset"]


# --- a finished run -------------------------------------------------------------------------------------------------


def test_a_run_is_a_folder_that_says_everything(run, data):
    assert run.status == "finished"
    names = {p.name for p in run.folder.iterdir()}
    assert {"args.yaml", "model.yaml", "run.json", "curves.csv", "summary.md", "weights"} <= names
    assert {p.name for p in (run.folder / "weights").iterdir()} == {"best.pt", "last.pt", "README.txt"}
    record = run.record
    assert record["backbone"] == "fasternet_t0"
    assert record["data"]["train_images"] == 16
    assert record["environment"]["threads"] == 1
    assert record["environment"]["packages"]["torch"] == torch.__version__
    assert record["seconds"] > 0
    arguments = yaml.safe_load((run.folder / "args.yaml").read_text())
    assert (arguments["nbs"], arguments["seed"], arguments["epochs"]) == (8, 0, 3)
    network = yaml.safe_load((run.folder / "model.yaml").read_text())
    assert network["backbone"][0][2] == "fasternet_t0"


def test_curves_have_one_complete_row_per_epoch(run):
    assert [row["epoch"] for row in run.curves] == [1, 2, 3]
    for row in run.curves:
        assert {"seconds", "train_box_loss", "val_cls_loss", "map50", "map50_95", "precision", "recall"} <= set(row)
        assert row["train_box_loss"] > 0
    with (run.folder / "curves.csv").open() as file:
        written = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert written == [{k: pytest.approx(v, rel=1e-5) for k, v in row.items()} for row in run.curves]


def test_a_run_prints_its_number_with_where_it_comes_from(run):
    text = str(run)
    assert "yolo11n-fasternet_t0 on shapes, preset fast, seed 0: finished" in text
    assert "3 of 3 epochs at 64 px" in text
    assert "1 threads" in text
    assert f"map50 {run.map50:.3f}" in text
    assert TRAIN_IS_VAL not in text  # shapes holds its validation images out
    assert text in (run.folder / "summary.md").read_text()


def test_a_seed_fixes_every_loss_and_another_seed_gives_others(data, tmp_path):
    seeds = {"a": 0, "b": 0, "c": 1}
    runs = [wb.train(data=data, out=tmp_path / n, seed=s, **TINY | {"epochs": 1}) for n, s in seeds.items()]
    first, again, other = ({k: v for k, v in run.curves[0].items() if k != "seconds"} for run in runs)
    assert first == again
    assert first["train_box_loss"] != other["train_box_loss"]


def test_best_checkpoint_reopens_in_a_fresh_process_with_plain_ultralytics(run, data, tmp_path):
    script = f"""
        import json
        from ultralytics import YOLO
        detector = YOLO({str(run.best)!r})
        metrics = detector.val(data={str(data)!r}, imgsz=64, batch=16, workers=0, plots=False, verbose=False,
                               project={str(tmp_path)!r})
        result = detector.predict({str(wb.datasets.photo("bus"))!r}, imgsz=64, conf=0.0001, verbose=False)[0]
        kinds = sorted({{type(m).__module__ for m in detector.model.modules() if "workbench" in type(m).__module__}})
        print("RESULT", json.dumps([metrics.box.map50, list(result.orig_shape), len(result.names), kinds]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env=os.environ | {"YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    map50, shape, classes, kinds = json.loads(line.removeprefix("RESULT"))
    assert map50 == pytest.approx(run.map50, abs=1e-3)
    assert shape == [1080, 810]
    assert classes == 8
    assert "workbench.yolo.layer" in kinds


def test_the_record_of_a_model_by_name_says_what_was_trained(data, tmp_path, monkeypatch):
    """Not the defaults of arguments that do not count there."""
    from workbench.train import engine

    monkeypatch.setattr(engine, "_run", lambda detector, folder, record, *_: record)
    models = {"yolov8s.yaml": ("yolo", "s", None), "yolo11n-starnet_s050.yaml": ("yolo11", "n", "starnet_s050"),
              "rtdetr-l.yaml": ("rtdetr", "l", None)}  # fmt: skip
    for model, expected in models.items():
        record = wb.train(model=model, data=data, out=tmp_path / model, **TINY)
        assert tuple(record[key] for key in ("host", "scale", "backbone")) == expected


def test_the_detector_of_a_run_predicts(run):
    result = run.detector().predict(str(wb.datasets.photo("cat")), imgsz=64, conf=1e-4, verbose=False)[0]
    assert result.orig_shape == (300, 451)
    assert result.boxes.xyxy.shape[1] == 4


def test_checkpoints_of_a_run_can_start_another_one(run, data, tmp_path):
    seen = {}

    def look(row):
        seen.update(row)

    settings = TINY | {"epochs": 1, "lr0": 1e-9, "warmup_bias_lr": 0.0, "optimizer": "SGD"}
    again = wb.train(
        backbone="fasternet_t0", data=data, weights=run.best, out=tmp_path / "more", on_epoch=look, **settings
    )
    assert seen["epoch"] == 1
    theirs, ours = (r.detector().model.state_dict() for r in (run, again))
    learned = [k for k in ours if k.endswith("weight") and ours[k].ndim == 4]
    assert len(learned) > 80
    for key in learned:  # with hardly a learning rate, what comes out is what went in
        assert torch.allclose(ours[key].float(), theirs[key].float(), atol=2e-3), key


def test_weights_of_a_backbone_are_where_training_starts(data, tmp_path, capsys):
    torch.manual_seed(7)
    source = wb.create_backbone("fasternet_t0").state_dict()
    torch.save(source, tmp_path / "backbone.pth")
    still = {"lr0": 1e-9, "warmup_bias_lr": 0.0, "optimizer": "SGD", "epochs": 1}
    settings = {"backbone": "fasternet_t0", "weights": tmp_path / "backbone.pth", "out": tmp_path / "run"}
    started = wb.train(data=data, **settings, **TINY | still)
    network = torch.load(started.last, weights_only=False)["model"].model[0].backbone.state_dict()
    filters = [key for key in source if source[key].ndim == 4]
    assert len(filters) > 30
    for key in filters:
        assert torch.allclose(network[key].float(), source[key], atol=2e-3), key
    assert started.record["weights"].endswith("backbone.pth")
    assert capsys.readouterr().out  # the report of what was loaded


# --- interruption, resumption ---------------------------------------------------------------------------------------


def test_an_interrupted_run_keeps_its_checkpoint_and_says_how_to_resume(interrupted, capsys):
    assert interrupted.status == "interrupted"
    assert interrupted.last.is_file()
    assert [row["epoch"] for row in interrupted.curves] == [1, 2]
    assert "2 of 3 epochs" in str(interrupted)


def test_resuming_ends_where_the_uninterrupted_run_ends(run, interrupted, tmp_path):
    folder = tmp_path / "moved elsewhere"
    shutil.copytree(interrupted.folder, folder)
    epochs = []
    resumed = wb.train(resume=folder, threads=1, quiet=True, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert resumed.folder == folder
    assert resumed.status == "finished"
    assert epochs == [3]
    assert [row["epoch"] for row in resumed.curves] == [1, 2, 3]
    for row, straight in zip(resumed.curves, run.curves, strict=True):
        assert row["lr_pg0"] == pytest.approx(straight["lr_pg0"], rel=1e-5)
    with pytest.raises(WorkbenchError, match="is finished"):
        wb.train(resume=folder)


def test_a_torn_checkpoint_is_replaced_by_the_one_before(interrupted, tmp_path):
    folder = Path(shutil.copytree(interrupted.folder, tmp_path / "torn"))
    last = folder / "weights/last.pt"
    (folder / "weights" / PREVIOUS).is_file() or pytest.fail("the previous checkpoint is not kept")
    last.write_bytes(last.read_bytes()[:100_000])
    (folder / "weights/.last.pt-x1y2z3").write_bytes(b"half")
    checkpoint, done = prepare_resume(Run(folder))
    assert (checkpoint, done) == (last, 1)
    assert [row["epoch"] for row in read_curves(folder / "results.csv")] == [1]
    assert {p.name for p in (folder / "weights").glob("*.pt*")} == {"best.pt", "last.pt"}
    last.write_bytes(b"")
    with pytest.raises(WorkbenchError, match="no readable checkpoint"):
        prepare_resume(Run(folder))


def test_rows_without_a_checkpoint_are_trained_again(interrupted, tmp_path):
    folder = Path(shutil.copytree(interrupted.folder, tmp_path / "ahead"))
    table = folder / "results.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows, rows[-1].replace("2,", "3,", 1), "4,1.0,0."]) + "\n")
    assert prepare_resume(Run(folder))[1] == 2
    assert [row["epoch"] for row in read_curves(table)] == [1, 2]


def test_repeated_and_half_rows_count_once(tmp_path):
    (tmp_path / "results.csv").write_text("epoch,time,metrics/mAP50(B)\n1,5,0.1\n2,9,0.2\n2,12,0.3\n3,1")
    assert [(row["epoch"], row["map50"]) for row in read_curves(tmp_path / "results.csv")] == [(1, 0.1), (2, 0.3)]
    assert read_curves(tmp_path / "absent.csv") == []


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = CheckpointPath(tmp_path / "last.pt")
    path.write_bytes(b"first")
    path.write_bytes(b"second")
    assert (tmp_path / PREVIOUS).read_bytes() == b"first"
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(WorkbenchError, match="No space left"):
        path.write_bytes(b"third")
    assert path.read_bytes() == b"second"
    with pytest.raises(WorkbenchError, match="No space left"):
        replace_bytes(tmp_path / "other.pt", b"x")
    assert {p.name for p in tmp_path.iterdir()} == {"last.pt", PREVIOUS}


# --- NaN ------------------------------------------------------------------------------------------------------------


def test_a_diverging_run_stops_and_names_the_layer(run, data, tmp_path):
    checkpoint = torch.load(run.last, weights_only=False)
    checkpoint["model"].model[5].cv1.conv.weight.data[0, 0] = float("nan")  # as after a step that was too long
    torch.save(checkpoint, tmp_path / "sick.pt")
    broken = {"backbone": "fasternet_t0", "weights": tmp_path / "sick.pt", "out": tmp_path / "nan"}
    expected = r"loss is nan in epoch 1; the first layer with non-finite parameters is model\.5\.cv1\.conv \(Conv2d\)"
    with pytest.raises(WorkbenchError, match=expected) as error:
        wb.train(data=data, **broken, **TINY)
    assert "lower lr0 (now 0.003), or set amp=False" in str(error.value)
    assert "\n" not in str(error.value)
    assert Run(tmp_path / "nan").status == "failed"


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


def test_the_first_layer_with_a_bad_output_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), Root(), nn.ReLU())
    network[0].weight.data.fill_(-1.0)
    assert find_nan(network, torch.ones(1, 3, 4, 4)) == "the first layer with a non-finite output is 1 (Root)"
    network[0].weight.data.fill_(1.0)
    assert "arises in the loss" in find_nan(network, torch.ones(1, 3, 4, 4))
    assert not any(module._forward_hooks for module in network.modules())


# --- bad input ------------------------------------------------------------------------------------------------------


def truncated(tmp_path):
    path = tmp_path / "cut.pt"
    whole = tmp_path / "whole.pt"
    torch.save({"model": nn.Conv2d(3, 64, 3)}, whole)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def unlabelled(tmp_path):
    source = wb.datasets.shapes(n_train=16, n_val=8, imgsz=64).parent
    root = Path(shutil.copytree(source, tmp_path / "set"))
    shutil.rmtree(root / "labels/train")
    return root / "shapes.yaml"


def spoilt(tmp_path, spoil):
    """A copy of a small dataset with one thing wrong."""
    source = wb.datasets.shapes(n_train=16, n_val=8, imgsz=64).parent
    root = Path(shutil.copytree(source, tmp_path / "set"))
    spoil(root)
    return {"data": root / "shapes.yaml"}


def class_99(root):
    label = root / "labels/train/00003.txt"
    label.write_text(label.read_text() + "99 0.5 0.5 0.1 0.1\n")


def nothing_in_the_labels(root):
    for label in (root / "labels/train").iterdir():
        label.write_text("")


def half_an_image(root):
    image = root / "images/train/00005.png"
    image.write_bytes(image.read_bytes()[:500])


def without_val(root):
    shutil.rmtree(root / "images/val")


def without_the_key_val(root):
    config = yaml.safe_load((root / "shapes.yaml").read_text())
    del config["val"]
    (root / "shapes.yaml").write_text(yaml.safe_dump(config))


def below_a_file(tmp_path):
    (tmp_path / "file").touch()
    return tmp_path / "file" / "runs"  # not even root can write there


def occupied(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    return tmp_path / "thesis"


BAD = {
    "host": (lambda t: {"host": "yolo1l"}, "unknown host 'yolo1l'.*yolo11"),
    "scale": (lambda t: {"scale": "q"}, "scale 'q'.*n, s, m, l, x"),
    "backbone": (lambda t: {"backbone": "fasternet_t9"}, "fasternet_t9.*did you mean.*fasternet_t"),
    "preset": (lambda t: {"preset": "article-10"}, "no preset 'article-10'.*article-100"),
    "imgsz": (lambda t: {"imgsz": 100}, "imgsz=100.*multiple of 32.*use 96"),
    "epochs": (lambda t: {"epochs": 0}, "epochs=0"),
    "batch": (lambda t: {"batch": -1}, "batch=-1"),
    "argument": (lambda t: {"learning_rate": 0.1}, "no training argument 'learning_rate'"),
    "argument value": (lambda t: {"lr0": "fast"}, "lr0"),
    "reserved": (lambda t: {"project": "here"}, "project= cannot be given.*out="),
    "no data": (lambda t: {"data": None}, "needs data="),
    "data by name": (lambda t: {"data": "coco128"}, r"wb\.datasets\.coco128\(\)"),
    "absent data": (lambda t: {"data": t / "none.yaml"}, "no dataset YAML"),
    "missing labels": (lambda t: {"data": unlabelled(t)}, "no label file"),
    "class id out of range": (lambda t: spoilt(t, class_99), "00003.txt, line .*class id 99 is not in 0 to 7"),
    "empty labels": (lambda t: spoilt(t, nothing_in_the_labels), "16 images and not one box"),
    "corrupt image": (lambda t: spoilt(t, half_an_image), "00005.png is corrupt"),
    "missing val folder": (lambda t: spoilt(t, without_val), "the val split .*images/val does not exist"),
    "no val in the YAML": (lambda t: spoilt(t, without_the_key_val), "no `val` split"),
    "absent weights": (lambda t: {"weights": t / "none.pt"}, "no checkpoint at"),
    "absent backbone weights": (lambda t: {"backbone": "fasternet_t0", "weights": t / "none.pth"}, "none.pth"),
    "backbone weights for none": (lambda t: {"weights": "imagenet"}, "0 backbones of the workbench"),
    "truncated weights": (lambda t: {"weights": truncated(t)}, "cut.pt is not a readable checkpoint"),
    "truncated model": (lambda t: {"model": truncated(t)}, "cut.pt is not a readable checkpoint"),
    "absent model": (lambda t: {"model": "yolo99n.yaml"}, "no model 'yolo99n.yaml'"),
    "not writable": (lambda t: {"out": below_a_file(t)}, "cannot write .*out="),
    "occupied": (lambda t: {"out": occupied(t)}, "no training run; give another out="),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_anything_is_written(case, data, tmp_path, bad_input, monkeypatch):
    change, message = BAD[case]
    arguments = {"data": data, "out": tmp_path / "out", **TINY} | change(tmp_path)
    monkeypatch.setattr(YOLO, "train", lambda *_, **__: pytest.fail("the training began"))
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with pytest.raises(WorkbenchError, match=message) as error:
        wb.train(**arguments)
    assert "\n" not in str(error.value)
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
    if "weights" not in case and "model" not in case:  # what torch says of a file differs between its versions
        bad_input("training", case, error.value)


def test_a_finished_run_is_not_overwritten_unless_asked(run, data):
    with pytest.raises(WorkbenchError, match="already holds a run"):
        wb.train(data=data, out=run.folder, **TINY)
    assert run.status == "finished"


def test_a_full_disk_is_noticed_before_the_start(data, tmp_path, monkeypatch, bad_input):
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(WorkbenchError, match=r"1 MB free, the run needs \d+ MB") as error:
        wb.train(data=data, out=tmp_path / "runs" / "mine", **TINY)
    assert list((tmp_path / "runs").iterdir()) == []
    bad_input("training", "a full disk", error.value)


def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_from_where_it_was(data, tmp_path, monkeypatch):
    """The second checkpoint cannot be written; with space again the run resumes after the first epoch."""
    theirs, filled = os.fsync, []

    def fsync(handle):
        if os.fstat(handle).st_size > 10**6 and len(epochs) == 1 and not filled:
            filled.append(handle)
            raise OSError(28, "No space left on device")
        theirs(handle)

    epochs = []
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WorkbenchError, match=r"cannot write .*last.pt \(No space left on device\)") as error:
        wb.train(data=data, out=tmp_path / "run", on_epoch=lambda row: epochs.append(row["epoch"]), **TINY)
    assert "\n" not in str(error.value)
    assert Run(tmp_path / "run").status == "failed"
    epochs.clear()
    resumed = wb.train(resume=tmp_path / "run", threads=1, quiet=True, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert (epochs, resumed.status) == ([2, 3], "finished")


def test_too_little_memory_is_noticed_before_the_start(data, tmp_path, monkeypatch):
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=10**8))
    with pytest.raises(WorkbenchError, match=r"100 MB of memory are free and batch=16 at imgsz=640"):
        wb.train(data=data, out=tmp_path / "out", **TINY | {"imgsz": 640, "batch": 16})
    assert not (tmp_path / "out").exists()


def test_validating_on_training_images_is_said_and_threads_are_kept(data, tmp_path, capsys):
    threads, before = [], torch.get_num_threads()

    def count_threads(row):
        threads.append(torch.get_num_threads())

    root = Path(shutil.copytree(data.parent, tmp_path / "set"))
    edited = yaml.safe_load((root / "shapes.yaml").read_text()) | {"val": "images/train"}
    (root / "coco128.yaml").write_text(yaml.safe_dump(edited))
    settings = TINY | {"epochs": 1, "quiet": False, "threads": 2}
    trap = wb.train(data=root / "coco128.yaml", out=tmp_path / "trap", on_epoch=count_threads, **settings)
    assert threads == [2]  # ultralytics would have set its own number
    assert trap.record["environment"]["threads"] == 2
    assert torch.get_num_threads() == before
    printed = capsys.readouterr().out
    assert f"coco128: {TRAIN_IS_VAL}" in printed
    assert "epoch 1/1" in printed
    assert f"coco128: {TRAIN_IS_VAL}" in str(trap)
    assert not trap.held_out


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match="holds no training run"):
        Run(tmp_path)
    with pytest.raises(WorkbenchError, match="no checkpoint"):
        open_detector(tmp_path / "best.pt")


# --- recorded results -----------------------------------------------------------------------------------------------


def test_a_relative_path_in_the_yaml_means_the_same_wherever_python_was_started(data, tmp_path, monkeypatch):
    """ultralytics takes it from the current folder: another set of that name there, or none, must not be used."""
    source, mine = data.parent, tmp_path / "project" / "mine"
    shutil.copytree(source, mine)
    config = yaml.safe_load(data.read_text()) | {"path": "mine"}
    (tmp_path / "project" / "mine.yaml").write_text(yaml.safe_dump(config))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "mine").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    run = wb.train(backbone="starnet_s050", data="../project/mine.yaml", out="run", **TINY | {"epochs": 1})
    assert run.status == "finished"
    assert yaml.safe_load((run.folder / "data.yaml").read_text())["path"] == str(mine.resolve())
    assert run.evaluate("../project/mine.yaml", split="train").keys() == run.metrics.keys()
    assert not list((elsewhere / "mine").iterdir())


def test_a_run_is_evaluated_on_what_it_saw_and_on_what_it_did_not(run, data, tmp_path):
    copy = Run(shutil.copytree(run.folder, tmp_path / "run"))
    seen, unseen = copy.evaluate(data, "train"), copy.evaluate(data)
    assert set(seen) == set(unseen) == {"precision", "recall", "map50", "map50_95"}
    assert copy.record["evaluations"] == {"shapes train": seen, "shapes val": unseen}
    assert unseen["map50"] == pytest.approx(run.map50, abs=1e-3)
    assert "evaluations" not in run.record


def test_results_are_written_and_read_back(run, interrupted, tmp_path, monkeypatch):
    from workbench.train import results

    monkeypatch.setattr(results, "data_dir", lambda: tmp_path)
    saved = wb.train.save_results({"mine": run}, tmp_path / "results" / "tiny", "wb.train(…)")
    read = wb.train.load_results("tiny")
    assert read.command == "wb.train(…)"
    assert read.runs == saved.runs
    assert [row["epoch"] for row in read.curve("mine")] == [1, 2, 3]
    for row, original in zip(read.curve("mine"), run.curves, strict=True):
        assert {k: v for k, v in row.items() if k != "run"} == {k: pytest.approx(v, 1e-5) for k, v in original.items()}
    assert read.labels(model="yolo11n-fasternet_t0", seed=0) == ["mine"]
    assert read.scores("yolo11n-fasternet_t0") == [run.map50]
    text = (tmp_path / "results" / "tiny.json").read_text()
    assert str(run.folder.parent) not in text  # nothing names this machine's folders
    with pytest.raises(WorkbenchError, match="is interrupted; only finished runs"):
        wb.train.save_results({"half": interrupted}, tmp_path / "results" / "half", "")
    with pytest.raises(DataNotFoundError, match="no recorded results 'tinny'; did you mean 'tiny'"):
        wb.train.load_results("tinny")


@pytest.mark.parametrize("name", recorded())
def test_committed_results_are_complete_and_say_where_they_come_from(name):
    found = wb.train.load_results(name)
    assert found.command.startswith(f"python data/results/record.py {name}")
    for label, record in found.runs.items():
        assert record["status"] == "finished"
        assert [row["epoch"] for row in found.curve(label)] == list(range(1, record["epochs"] + 1))
        assert record["environment"]["cpu"]
        assert record["environment"]["threads"] >= 1
        assert record["environment"]["packages"]["torch"]
        assert record["seconds"] > 0
        assert 0 <= record["metrics"]["map50_95"] <= record["metrics"]["map50"] <= 1


# --- long -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_yolo11n_learns_shapes_from_scratch(tmp_path):
    """The preset's number of epochs is fixed, and so is the seed; 140 s of one core."""
    data = wb.datasets.shapes(n_train=320, n_val=80, imgsz=128)
    run = wb.train(data=data, preset="class", out=tmp_path / "run", seed=0, threads=1)
    assert run.held_out
    assert run.map50 >= 0.5


KILL_POINTS = {
    "in a batch": "trainer.add_callback('on_train_batch_end', lambda t: die() if t.epoch == 1 else None)",
    "between row and checkpoint": "patch(trainer, 'save_model', 1, before=True)",
    "after the checkpoint": "patch(trainer, 'save_model', 1, before=False)",
    "while a checkpoint is written": "torn(1)",
    "before the final evaluation": "patch(trainer, 'final_eval', 2, before=True)",
}
KILLER = """
    import os, signal, sys
    import workbench as wb
    from workbench.train import run, watch

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def patch(trainer, name, epoch, before):
        theirs = getattr(trainer, name)
        def ours(*args):
            if before and trainer.epoch == epoch:
                die()
            result = theirs(*args)
            if trainer.epoch == epoch:
                die()
            return result
        setattr(trainer, name, ours)

    def torn(epoch):
        theirs = os.fsync
        def fsync(handle):
            if trainers[0].epoch == epoch and os.fstat(handle).st_size > 10**6:
                os.ftruncate(handle, 10**6)
                die()
            theirs(handle)
        os.fsync = fsync

    trainers = []
    theirs = watch.Watcher.on_train_start
    def on_train_start(self, trainer):
        theirs(self, trainer)
        trainers.append(trainer)
        POINT
    watch.Watcher.on_train_start = on_train_start
    wb.train(data=sys.argv[1], out=sys.argv[2], preset="fast", epochs=3, threads=1, quiet=True)
"""


@pytest.mark.long
@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_run_resumes_and_loses_at_most_the_epoch_it_was_in(point, data, tmp_path):
    script = textwrap.dedent(KILLER).replace("POINT", KILL_POINTS[point])
    killed = subprocess.run([sys.executable, "-c", script, str(data), str(tmp_path / "run")], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    run = Run(tmp_path / "run")
    assert run.status == "running"  # what a killed run looks like
    expected = {"in a batch": 1, "between row and checkpoint": 1, "while a checkpoint is written": 1}.get(point, 2)
    expected = 3 if point == "before the final evaluation" else expected
    epochs = []
    resumed = wb.train(resume=run.folder, threads=1, quiet=True, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert epochs == list(range(expected + 1, 4))
    assert resumed.status == "finished"
    straight = wb.train(data=data, out=tmp_path / "straight", **TINY)
    assert [row["epoch"] for row in resumed.curves] == [1, 2, 3]
    for a, b in zip(resumed.curves, straight.curves, strict=True):
        assert a["lr_pg0"] == pytest.approx(b["lr_pg0"], rel=1e-5)
    for a, b in zip(resumed.curves[:expected], straight.curves[:expected], strict=True):
        assert a["train_box_loss"] == pytest.approx(b["train_box_loss"], rel=1e-4)
    assert not [p.name for p in (run.folder / "weights").iterdir() if p.name.startswith(".")]
