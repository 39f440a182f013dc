"""Every family in every host: built, read at the right strides, run, fused, saved, reopened, trained for one step."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn import tasks as ultralytics_tasks

import workbench as wb
from workbench.backbones.ramp import set_activation_ramp
from workbench.yolo.layer import BackboneLayer
from workbench.yolo.ready import yaml_text

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = list(csv.DictReader((ROOT / "data" / "detectors.csv").open()))
NARROW = {  # VanillaNet-5's blocks at a width a laptop can train; the others at their smallest published size
    "fasternet": ("fasternet_t0", {}),
    "starnet": ("starnet_s050", {}),
    "mobileone": ("mobileone_s0", {}),
    "vanillanet": ("vanillanet_5", {"dims": [32, 48, 64, 96]}),
}
SMALL_HOSTS = [("yolo11", "n"), ("yolov8", "n"), ("yolo12", "n"), ("yolo26", "n"), ("rtdetr-l", "l")]
LARGE_HOSTS = [("yolo11", "m"), *SMALL_HOSTS]


def build(host: str, scale: str, backbone: str, config: dict | None = None, nc: int = 80) -> torch.nn.Module:
    """Build a detector's network, its BN statistics and VanillaNet's ramp as after training."""
    torch.manual_seed(0)
    kind = ultralytics_tasks.RTDETRDetectionModel if host.startswith("rtdetr") else ultralytics_tasks.DetectionModel
    net = kind(wb.detector_yaml(host, backbone, scale, **(config or {})), nc=nc, verbose=False)
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
    set_activation_ramp(net, 1)
    return net.eval()


def maps_of_the_neck(net: torch.nn.Module, height: int, width: int) -> dict[int, tuple[int, ...]]:
    """Return layer number → shape of the backbone's maps that other layers read."""
    shapes: dict[int, tuple[int, ...]] = {}
    read = {j if j >= 0 else m.i + j for m in net.model[5:] for j in ([m.f] if isinstance(m.f, int) else m.f)}
    handles = [
        layer.register_forward_hook(lambda m, _, out: shapes.update({m.i: tuple(out.shape)}))
        for layer in net.model[1:5]
        if layer.i in read
    ]
    with torch.no_grad():
        net(torch.rand(1, 3, height, width))
    for handle in handles:
        handle.remove()
    return shapes


def raw(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the head's raw maps: boxes and class scores before they are decoded, picked or sorted."""
    with torch.no_grad():
        out = net(x)
    raw = out[1]
    if isinstance(raw, tuple):  # RT-DETR: encoder's boxes and scores decide which queries exist; compare the levels
        return [net.model[-1].input_proj[k](f) for k, f in enumerate(head_inputs(net, x))]
    raw = raw.get("one2many", raw)
    return [raw["boxes"], raw["scores"]]


def head_inputs(net: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    handle = net.model[-1].register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    with torch.no_grad():
        net(x)
    handle.remove()
    return [t.clone() for t in seen]


def one_step(net: torch.nn.Module) -> float:
    """Train one step; return the loss. Every parameter that is trained gets a gradient."""
    net.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=1, class_weights=None)
    net.nc = net.yaml["nc"]
    net.train()
    generator = torch.Generator().manual_seed(0)
    batch = {
        "img": torch.rand(2, 3, 64, 64, generator=generator),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.3, 0.3, 0.4, 0.4], [0.6, 0.5, 0.5, 0.7]]),
    }
    sgd = torch.optim.SGD(net.parameters(), 1e-3)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    loss = net.loss(batch)[0].sum()
    loss.backward()
    backbone = [n for n, _ in net.named_parameters() if n.startswith("model.0.")]
    without = [n for n, p in net.named_parameters() if n in backbone and p.grad is None]
    assert not without, f"never trained: {without[:3]}"
    sgd.step()
    assert any(not torch.equal(p, before[n]) for n, p in net.named_parameters() if n in backbone)
    net.criterion = None
    return float(loss.detach())


@pytest.mark.parametrize(("host", "scale"), SMALL_HOSTS, ids=lambda v: v)
@pytest.mark.parametrize("family", NARROW)
def test_every_family_in_every_host(family, host, scale, tmp_path):
    net = build(host, scale, *NARROW[family], nc=4)
    channels = [lv.channels for lv in net.model[0].feature_info]
    maps = maps_of_the_neck(net, 128, 192)
    assert maps == {
        k: (1, channels[k - 1], 128 // s, 192 // s) for k, s in ((2, 8), (3, 16), (4, 32))
    }  # P3, P4, P5; nobody reads P2
    x = torch.rand(1, 3, 64, 96)
    before, parameters = raw(net, x), sum(p.numel() for p in net.parameters())
    torch.save({"model": net}, tmp_path / "net.pt")
    again = torch.load(tmp_path / "net.pt", weights_only=False)["model"]
    assert isinstance(again.model[0], BackboneLayer)
    assert all(torch.equal(a, b) for a, b in zip(raw(again, x), before, strict=True))
    assert math.isfinite(one_step(again))
    net.fuse(verbose=False)
    left = [n for n, m in net.model[0].backbone.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert left == (["norm2", "norm4", "norm6"] if family == "fasternet" else [])  # after a sum: no conv to fold into
    assert sum(p.numel() for p in net.parameters()) < parameters
    for a, b in zip(before, raw(net, x), strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()


REOPEN = """
import json, sys
import numpy as np
from ultralytics import RTDETR, YOLO
out = {}
for path in sys.argv[1:]:
    detector = (RTDETR if "rtdetr" in path else YOLO)(path)
    state = detector.model.state_dict()
    out[path] = [type(detector.model.model[0]).__name__, sum(float(v.double().sum()) for v in state.values())]
    out[path].append(len(detector.predict(np.zeros((64, 64, 3), "uint8"), imgsz=64, verbose=False)))
print("RESULT" + json.dumps(out))
"""


def test_saved_detectors_reopen_in_a_fresh_process_with_plain_ultralytics(tmp_path):
    expected = {}
    for family, (variant, config) in NARROW.items():
        for host, scale in (("yolo11", "n"), ("rtdetr-l", "l")):
            if host == "rtdetr-l" and family != "starnet":
                continue
            path = tmp_path / f"{host}{'' if host == 'rtdetr-l' else scale}-{family}.yaml"
            path.write_text(yaml_text(wb.detector_yaml(host, variant, scale, **config)))
            detector = (wb.RTDETR if host == "rtdetr-l" else wb.YOLO)(str(path))
            saved = str(path.with_suffix(".pt"))
            detector.save(saved)
            halves = (v.half().float() if v.is_floating_point() else v for v in detector.model.state_dict().values())
            expected[saved] = sum(float(v.double().sum()) for v in halves)
    run = subprocess.run(
        [sys.executable, "-c", REOPEN, *expected], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found = json.loads(run.stdout.split("RESULT")[1])
    assert {p: v[0] for p, v in found.items()} == dict.fromkeys(expected, "BackboneLayer")
    assert {p: v[1] for p, v in found.items()} == pytest.approx(expected, rel=1e-6)
    assert {v[2] for v in found.values()} == {1}


def detector_row(row: dict[str, str]) -> torch.nn.Module:
    config = {"width": 0.25, "round_to": 8} if row["arguments"] == "width 0.25" else {}
    host = {"rtdetr": "rtdetr-l"}.get(row["host"], row["host"])
    net = build(host, row["scale"], row["backbone"], config)
    if row["arguments"] == "deploy form":
        net.model[0].fuse_convs()
    return net


def ident(row: dict[str, str]) -> str:
    return f"{row['host']}-{row['backbone']}-{row['arguments']}".replace(" ", "")


LIGHT = [r for r in REFERENCE if float(r["gflops_conv_matmul_640"]) < 12]


@pytest.mark.parametrize(
    "row", [r if r in LIGHT else pytest.param(r, marks=pytest.mark.long) for r in REFERENCE], ids=ident
)
def test_detectors_have_the_reference_sizes(row):
    net = detector_row(row)
    channels = row["backbone_channels"].split("/")
    unread = 2 * int(channels[0]) if row["backbone"].startswith("fasternet") else 0  # a norm on P2 that no head reads
    assert sum(p.numel() for p in net.parameters()) == int(row["total_params"]) - unread
    assert sum(p.numel() for p in net.model[0].parameters()) == int(row["backbone_params"]) - unread
    assert [str(lv.channels) for lv in net.model[0].feature_info] == channels
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net(torch.zeros(1, 3, 640, 640))
    assert counter.get_total_flops() / 1e9 == pytest.approx(float(row["gflops_conv_matmul_640"]), abs=6e-4)


@pytest.mark.long
@pytest.mark.parametrize(("host", "scale"), LARGE_HOSTS, ids=lambda v: v)
@pytest.mark.parametrize("variant", ["fasternet_t0", "starnet_s050", "mobileone_s0", "vanillanet_5"])
def test_the_published_sizes_run_at_640_320_and_384_by_640_and_fuse(variant, host, scale):
    net = build(host, scale, variant)
    sizes = [(640, 640), (320, 320), (384, 640)]
    before = {size: raw(net, torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))) for size in sizes}
    net.fuse(verbose=False)
    for size, expected in before.items():
        found = raw(net, torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)))
        for a, b in zip(expected, found, strict=True):
            assert (a - b).abs().max() <= 1e-3 * a.abs().max(), size
    assert math.isfinite(one_step(build(host, scale, variant, nc=4)))


@pytest.mark.long
@pytest.mark.parametrize("variant", ["fasternet_t0", "starnet_s050", "mobileone_s0", "vanillanet_5"])
def test_yolov8x_builds(variant):
    net = build("yolov8", "x", variant)
    stock = ultralytics_tasks.DetectionModel("yolov8x.yaml", verbose=False)
    ours = [layer.type for layer in net.model[5:]]
    assert ours == [layer.type for layer in stock.model[9:]]
    assert net.stride.tolist() == [8, 16, 32]
