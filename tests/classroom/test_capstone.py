"""The capstone's files: what is refused and why, what is counted, and that a notebook's own claims decide nothing."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat import v4
from torch import nn
from torch.nn import functional as F

pytest.importorskip("onnx", reason="onnx is not installed (extra runtimes)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra runtimes)")

from onnx_files import BAD, MEMORY, SLOW, UNFIT, detector
from test_assignments import cells, run

import workbench as wb
from workbench.classroom import capstone, exam
from workbench.classroom.answers import Failed
from workbench.classroom.check import _beside
from workbench.classroom.sandbox import Sandbox
from workbench.classroom.submission import Grader
from workbench.classroom.walls import Limits, problem
from workbench.datasets import shapes
from workbench.errors import MissingExtraError, WorkbenchError
from workbench.train.run import named_metrics, quiet_ultralytics
from workbench.yolo import YOLO
from workbench.yolo.handin import module_bytes, onnx_bytes, save_weights, with_weights
from workbench.yolo.scoring import score

ASSIGNMENT = Path(__file__).resolve().parents[2] / "assignments" / "a5"
WEIGHTS = ASSIGNMENT / "a5.safetensors"
RIGHT = bytes(detector().SerializeToString())
FULL = {"choose-test": 3, "maps-test": 2, "budget-test": 3, "detector-test": 2, "export-test": 2, "quality-test": 4}
COUNTED = 80_601_088  # MACs of the solution's detector at 128 pixels, by wb.measure.count


@pytest.fixture
def here(monkeypatch):
    """Files are opened in this process; the process they are opened in otherwise is tested below."""
    monkeypatch.setattr(exam, "opener", exam.Here)
    exam.score_file.cache_clear()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_reason(name, here, bad_input):
    data, reason = BAD[name]
    (found,) = capstone.opened([data])
    assert isinstance(found, Failed), found
    assert reason in found.error
    assert "\n" not in found.error
    bad_input("grading", f"capstone: an ONNX file with {name}", found.error)


class Warped(nn.Module):
    """A network with an operator that is refused, two levels deep."""

    def __init__(self):
        super().__init__()
        self.levels = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(Warp()))

    def forward(self, x):
        return self.levels(x)


class Warp(nn.Module):
    def forward(self, x):
        return F.grid_sample(x, torch.zeros(1, 8, 8, 2), align_corners=False)


def test_a_refused_operator_is_named_with_its_place():
    with pytest.raises(capstone.BadFileError, match=r"operator GridSample in levels\.1\.0 is not one .* convolutions"):
        capstone.own_file(module_bytes(Warped(), (1, 3, 8, 8)))


@pytest.mark.parametrize("name", UNFIT)
def test_a_sound_file_that_is_no_detector_is_refused(name, here):
    data, reason = UNFIT[name]
    found = exam.score_file(data, 1, images=2, timing_s=0.0)
    assert isinstance(found, Failed), found
    assert reason in found.error


@pytest.mark.parametrize("walls", [True, False], ids=["walls", "limits-alone"])
def test_a_file_is_counted_the_same_in_its_own_process(walls, monkeypatch):
    if not walls:
        monkeypatch.setattr(exam, "problem", lambda: "no bubblewrap here")
    found, other = capstone.opened([RIGHT, {"macs": 1}])
    assert found == capstone.own_file(RIGHT)
    assert found.macs == 3 * 12 * 3 * 128 * 128
    assert found.params == 12 * 3 * (8**2 + 16**2 + 32**2)
    assert other == {"macs": 1}, "what is no file stays what it is, and earns nothing"
    many = [[RIGHT] * 1000]
    assert capstone.opened(many) == many, "nobody starts a thousand processes"


def test_detections_and_times_come_from_its_own_process():
    found = exam.score_file(RIGHT, 1, images=4, timing_s=20.0)  # it ends after its rounds, half a second
    assert (found.map50, found.images) == (0.0, 4)
    assert found.latency.low <= found.latency.ratio <= found.latency.high
    assert set(found.to_record()) > {"map50", "macs", "params", "latency_ratio", "latency_low", "latency_high"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
@pytest.mark.parametrize(
    ("data", "part"),
    [(SLOW, "stopped: it used more than 4 s of the processor"), (MEMORY, "more memory than a network may have")],
    ids=["slow", "memory"],
)
def test_what_no_count_foresees_ends_at_the_limits(data, part, monkeypatch):
    small = dataclasses.replace(exam.LIMITS, cpu_s=4, memory_bytes=2 * 2**30, wall_s=60.0)
    monkeypatch.setattr(exam, "LIMITS", small)
    found = exam.score_file(data, 1, images=10, timing_s=0.0)
    assert isinstance(found, Failed)
    assert part in found.error


@pytest.mark.parametrize("name", ["fasternet_t0", "starnet_s050", "mobileone_s0"])
def test_the_graph_has_the_macs_that_the_ruler_counts(name):
    net = wb.deploy(wb.create_backbone(name, num_classes=0).eval())
    found = capstone.own_file(module_bytes(net, (1, 3, 64, 64)))
    counted = wb.measure.count(net, imgsz=64)
    assert found.macs == counted.macs
    assert found.params == pytest.approx(counted.params, rel=1e-2)  # equal biases, such as zeros, are stored once


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The solution's detector with the weights that stand beside its notebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("trained")))
        patch.setattr(sys, "path", list(sys.path))
        names = run("a5")
        yield with_weights(names["wire"](), WEIGHTS)
    sys.modules.pop("mine", None)
    wb.backbones.registry._custom.pop("Mine", None)


def test_weights_that_fit_are_not_trained_again_and_a_check_takes_a_taste(tmp_path, monkeypatch, capsys):
    """`class check` runs the training cell as well: with epochs() = 40 it would take minutes, and then its time out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("WORKBENCH_CHECKING", "1")
    names, cell = run("a5"), next(c.source for c in cells("a5") if c.id == "train-run")
    try:
        exec(compile(cell, "train-run", "exec"), names)
        assert not (tmp_path / "a5.safetensors").exists()
        said = capsys.readouterr().out
        assert "a5.safetensors is not there" in said
        assert "a taste; nothing was written" in said
        shutil.copy(WEIGHTS, tmp_path)
        monkeypatch.delenv("WORKBENCH_CHECKING")
        exec(compile(cell, "train-run", "exec"), names)
        assert capsys.readouterr().out.startswith("a5.safetensors belongs to this network: nothing to train")
    finally:
        sys.modules.pop("mine", None)
        wb.backbones.registry._custom.pop("Mine", None)


def test_map_is_what_ultralytics_says(trained):
    found = capstone.own_score(onnx_bytes(trained, 128), images=24, seed=3)
    seed = capstone.held_out_seed(3)
    model = YOLO("yolo11n.yaml")
    model.model = trained
    data = shapes(n_train=1, n_val=24, imgsz=128, seed=seed)
    with quiet_ultralytics(), tempfile.TemporaryDirectory() as room:
        said = model.val(data=str(data), imgsz=128, rect=False, workers=0, plots=False, verbose=False, project=room)
    theirs = named_metrics(said.results_dict)
    assert found.map50 > 0.6
    assert found.map50 == pytest.approx(theirs["map50"], abs=0.01)  # ONNX rounds otherwise, and so does a PNG's reader
    assert found.map50_95 == pytest.approx(theirs["map50_95"], abs=0.01)
    assert found.low <= found.map50 <= found.high


def test_a_score_needs_arrays_that_belong_together():
    with pytest.raises(WorkbenchError, match="expected"):
        score(np.zeros((2, 6, 3)), [([], [])])
    with pytest.raises(WorkbenchError, match="not finite"):
        score(np.full((1, 6, 3), np.inf), [([], [])])
    assert score(np.zeros((1, 6, 3)), [([[0, 0, 5, 5]], [0])], resamples=5).map50 == 0.0


def test_weights_of_another_network_are_refused(trained, tmp_path):
    with pytest.raises(WorkbenchError, match=r"belongs to another network: model\.0.*train again"):
        with_weights(YOLO("yolo11n.yaml"), WEIGHTS)
    (tmp_path / "a.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WorkbenchError, match="not a file of save_weights"):
        with_weights(YOLO("yolo11n.yaml"), tmp_path / "a.safetensors")
    with pytest.raises(WorkbenchError, match="is not there; train"):
        with_weights(YOLO("yolo11n.yaml"), tmp_path / "b.safetensors")
    again = with_weights(trained, save_weights(trained, tmp_path / "c.safetensors"))
    assert all((again.state_dict()[k] == v).all() for k, v in trained.state_dict().items())


def test_the_images_cannot_be_foreseen():
    seeds = [capstone.held_out_seed(i) for i in range(100)]
    assert len(set(seeds)) == 100
    assert min(seeds) >= 2**31, "nobody trains on these by chance"


def test_check_says_what_is_handed_in_beside_the_notebook(tmp_path):
    assert _beside(tmp_path, ["a5.safetensors"]) == [
        "a5.safetensors is not there; hand it in beside the notebook, which says how it is written"
    ]
    (tmp_path / "a5.safetensors").write_bytes(b"x")
    assert _beside(tmp_path, ["../a5.safetensors"]) == []


def test_a_process_that_does_not_start_is_no_fault_of_the_file(monkeypatch):
    def opener():
        return Sandbox(exam.LIMITS, trusted=True, module="workbench.classroom.no_such_module")

    monkeypatch.setattr(exam, "opener", opener)
    with pytest.raises(WorkbenchError, match="does not start here: the sandbox did not start"):
        capstone.opened([RIGHT])


def test_a_missing_package_is_the_teachers_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="onnx is not installed"):
        Grader(ASSIGNMENT, "a5", 7, Limits())


# --- whole submissions ---

LIES = """
import onnx
import workbench.classroom.exam, workbench.classroom.graph
honest = trained_file
workbench.classroom.graph.facts = lambda model: {"macs": 1, "params": 1}
workbench.classroom.exam.score = lambda *a: None
wb.measure.count = lambda *a, **k: 1

def trained_file(side):
    model = onnx.load_model_from_string(honest(side))
    model.producer_name, model.doc_string = "mAP50 1.0", "1 MAC, 1 parameter"
    for key in ("map50", "macs", "params"):
        model.metadata_props.add(key=key, value="1")
    for value in model.graph.value_info:
        del value.type.tensor_type.shape.dim[:]
    return model.SerializeToString()

def backbone_file(height, width, in_chans):
    return {"macs": 10_000_001, "params": 1, "outputs": [("P2", "float", (1, 8, 1, 1))]}
"""


def graded(folder: Path, monkeypatch, change, weights: bool) -> dict:
    """Grade a submission: the solution, after `change`."""
    notebook = nbformat.read(ASSIGNMENT / "a5.ipynb", as_version=4)
    change(notebook)
    nbformat.write(notebook, folder / "a5.ipynb")
    if weights:
        shutil.copy(WEIGHTS, folder)
    quick = functools.partial(exam.score_file, images=40, timing_s=1.0)
    monkeypatch.setattr(exam, "score_file", quick)
    grader = Grader(ASSIGNMENT, "a5", 7, Limits(), trusted=bool(problem()))
    return grader.grade("ada", folder)[0]


def test_a_notebooks_claims_decide_nothing(tmp_path, monkeypatch):
    record = graded(tmp_path, monkeypatch, lambda n: n.cells.append(v4.new_code_cell(LIES)), weights=True)
    marks = {k: m.points for k, m in record.questions.items()}
    assert marks == FULL | {"maps-test": 0, "budget-test": 0}, record
    assert "ONNX file were expected, came dict" in record.questions["budget-test"].message
    assert record.capstone["macs"] == COUNTED
    assert 0.5 < record.capstone["map50"] < 1
    assert record.capstone["map50"] <= record.capstone["map50_high"]
    assert "mAP50 0." in record.questions["quality-test"].message
    assert "backbone_macs" not in record.capstone


def test_too_many_macs_and_no_weights(tmp_path, monkeypatch):
    def change(notebook):
        cell = next(c for c in notebook.cells if c.id == "backbone-answer")
        cell.source = cell.source.replace("((16, 4, 1), (32, 2, 2)", "((64, 4, 2), (128, 2, 4)")

    record = graded(tmp_path, monkeypatch, change, weights=False)
    assert {k: m.points for k, m in record.questions.items()} == FULL | {"budget-test": 0, "quality-test": 0}, record
    assert "over the budget of 60,000,000" in record.questions["budget-test"].message
    assert "a5.safetensors is not there" in record.questions["quality-test"].message
    assert "a5.safetensors is not there" in record.capstone["refused"]
    assert record.capstone["backbone_macs"] > 75_000_000
