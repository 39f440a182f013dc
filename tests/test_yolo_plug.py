"""The plug: what it changes in ultralytics, and that everything else stays bit-identical."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import workbench as wb
from workbench import yolo
from workbench.errors import WorkbenchError
from workbench.yolo import tasks

ROOT = Path(__file__).resolve().parent.parent


PATCHES = [
    "layer name",
    "unit name",
    "rows",
    "BN settings",
    "names in nn.tasks",
    "names in engine.model",
    "the right class",
    "loading by meaning",
    "hand-loaded weights",
    "GFLOPs",
    "the ramp",
    "before an export",
    "font of a dataset",
    "font of labels",
]


def test_the_patches_are_a_closed_list_with_reasons():
    assert [p.name for p in tasks.PATCHES] == PATCHES
    assert all(len(p.reason) > 30 for p in tasks.PATCHES)


def test_every_patch_can_be_taken_out_and_put_back():
    ours = [p.now for p in tasks.PATCHES]
    try:
        yolo.uninstall()
        theirs = [p.now for p in tasks.PATCHES]
    finally:
        yolo.install()
    yolo.install()  # a second time changes nothing
    again = [p.now for p in tasks.PATCHES]
    for patch, old, new, back in zip(tasks.PATCHES, theirs, ours, again, strict=True):
        if isinstance(old, list):  # a list of callbacks: theirs, then ours
            assert new == back == [*old, *new[len(old) :]]
            assert {f.__module__ for f in new[len(old) :]} <= {"workbench.yolo.ramp", "workbench.yolo.exports"}
            assert len(new) > len(old)
        elif old is None:
            assert new is back
            assert new.__module__ == "workbench.yolo.layer"
        else:
            assert old.__module__.startswith("ultralytics")
            assert new.__wrapped__ is back.__wrapped__ is old, patch.name


def test_nothing_else_of_ultralytics_is_changed():
    """Everything in the modules the plug touches is defined there, or is on the list."""
    from ultralytics.engine import model, trainer
    from ultralytics.nn import tasks as nn_tasks
    from ultralytics.utils import torch_utils

    listed = {(p.target, p.attribute) for p in tasks.PATCHES if not isinstance(p.target, dict)}
    for place in (nn_tasks, torch_utils, model, trainer, nn_tasks.BaseModel, model.Model, trainer.BaseTrainer):
        for name, value in vars(place).items():
            code = getattr(value, "__code__", None)
            ours = code.co_filename.startswith(str(ROOT / "workbench")) if code else False
            ours |= str(getattr(value, "__module__", "")).startswith("workbench")
            assert not ours or (place, name) in listed, (place, name)


def test_the_classes_are_ultralytics_own():
    import ultralytics

    assert wb.YOLO is ultralytics.YOLO
    assert wb.RTDETR is ultralytics.RTDETR


def test_layers_are_numbered_as_in_the_articles():
    net = wb.YOLO("yolo11n-fasternet_t0.yaml").model
    kinds = [layer.type.rsplit(".", 1)[-1] for layer in net.model]
    assert kinds[:7] == ["BackboneLayer", "Index", "Index", "Index", "Index", "SPPF", "C2PSA"]
    assert [net.model[i].f for i in (8, 11, 14, 17, 19)] == [[-1, 3], [-1, 2], [-1, 9], [-1, 6], [12, 15, 18]]
    assert sorted(set(net.save) - {0}) == [2, 3, 6, 9, 12, 15, 18]
    assert net.stride.tolist() == [8, 16, 32]


def test_initialisation_leaves_the_backbones_bn_alone():
    net = wb.YOLO("yolo11n-fasternet_t0.yaml").model
    own = [m for m in net.model[0].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    others = [m for m in net.model[5:].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in own} == {(1e-5, 0.1)}
    assert {(m.eps, m.momentum) for m in others} == {(1e-3, 0.03)}


@pytest.mark.parametrize("scale", "nsmlx")
def test_the_scale_is_the_names_and_the_backbone_does_not_scale(scale):
    net = wb.YOLO(f"yolo11{scale}-fasternet_t0.yaml").model
    assert net.yaml["scale"] == scale
    assert [lv.channels for lv in net.model[0].feature_info] == [40, 80, 160, 320]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yolo11n-fasternet_t9.yaml", "unknown backbone 'fasternet_t9'; did you mean 'fasternet_t"),
        ("yolo13n-fasternet_t0.yaml", "unknown host 'yolo13'"),
        ("yolo11q-fasternet_t0.yaml", "gives the scale 'q'; expected one of n, s, m, l, x"),
        ("yolo11-fasternet_t0.yaml", "gives no scale; expected one of n, s, m, l, x, as in 'yolo11n-fasternet_t0'"),
        ("rtdetr-q-fasternet_t0.yaml", "unknown host 'rtdetr-q'"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_near_ones(name, said):
    with pytest.raises(WorkbenchError) as e:
        wb.YOLO(name)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_an_rtdetr_opened_as_a_yolo_is_told_the_class():
    with pytest.raises(WorkbenchError, match=r"rtdetr-l-starnet_s050 is an RT-DETR: open it with wb\.RTDETR"):
        wb.YOLO("rtdetr-l-starnet_s050.yaml")
    with pytest.raises(NotImplementedError):  # a stock one is ultralytics' own affair
        wb.YOLO("rtdetr-l.yaml")


def test_a_name_of_another_kind_stays_ultralytics_own_error():
    with pytest.raises(FileNotFoundError):
        wb.YOLO("no-such-model.yaml")


def test_bad_rows_are_answered_in_one_line(tmp_path):
    def build(row):
        cfg = wb.detector_yaml("yolo11", "fasternet_t0")
        cfg["backbone"][0] = row
        return yolo.tasks.ultralytics_tasks.DetectionModel(cfg, verbose=False)

    for row, said in [
        ([-1, 1, "fasternet_t9", []], "row 0 names 'fasternet_t9'"),
        ([-1, 1, "fasternet_t0", [0.5]], "has the arguments [0.5]; expected [], one dict"),
        ([-1, 2, "fasternet_t0", []], "reads -1, 2 times"),
        ([-1, 1, "fasternet_t0", [{"num_classes": 10}]], "sets 'num_classes'"),
    ]:
        with pytest.raises(WorkbenchError) as e:
            build(row)
        assert said in str(e.value)
    with pytest.raises(WorkbenchError) as e:
        build([-1, 1, "parse_modle", []])
    assert "parse_model" not in str(e.value), "only layers and backbones can be meant"
    with pytest.raises(TypeError, match="drop_path_rate"):
        build([-1, 1, "fasternet_t0", [{"drop_path_rat": 0.1}]])


STOCK_MODELS = ["yolo11n.yaml", "yolov8n.yaml", "rtdetr-l.yaml"]
STOCK = """
import sys, torch
if sys.argv[1] == "with": import workbench.yolo
else:
    from workbench import _torchvision; _torchvision.ensure()
from ultralytics import YOLO, RTDETR
for name in sys.argv[2:]:
    torch.manual_seed(0)
    model = (RTDETR if name.startswith("rtdetr") else YOLO)(name)
    net = model.model
    x = torch.rand(1, 3, 64 if name[0] == "y" else 128, 64 if name[0] == "y" else 128)
    with torch.no_grad():
        out = net.eval()(x)[0]
    state = sum(float(v.double().abs().sum()) for v in net.state_dict().values())
    from types import SimpleNamespace
    net.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, **{"class_weights": None})
    net.nc = 80
    sgd = torch.optim.SGD(net.parameters(), 0.01)
    losses = []
    for step in range(2):
        batch = dict(img=torch.rand(2, *x.shape[1:]), batch_idx=torch.tensor([0., 1.]),
                     cls=torch.tensor([[1.], [2.]]), bboxes=torch.tensor([[.5, .5, .4, .4], [.3, .6, .2, .5]]))
        loss = net.train().loss(batch)[0].sum()
        sgd.zero_grad(); loss.backward(); sgd.step()
        losses.append(float(loss.detach()).hex())
    print(name, sum(p.numel() for p in net.parameters()), state.hex(), float(out.double().sum()).hex(), *losses)
"""


def test_stock_models_are_bit_identical_with_the_plug_in():
    out = [
        subprocess.run(
            [sys.executable, "-c", STOCK, how, *STOCK_MODELS], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout
        for how in ("with", "without")
    ]
    assert [line.split()[0] for line in out[0].splitlines() if ".yaml " in line and "WARN" not in line] == STOCK_MODELS
    assert out[0] == out[1]
