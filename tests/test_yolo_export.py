"""Exported = PyTorch: every family in every host, through ONNX (static and dynamic), OpenVINO and TorchScript."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import workbench as wb
from workbench.backbones.ramp import set_activation_ramp
from workbench.yolo.ready import yaml_text

FAMILIES = {  # the smallest published size; VanillaNet narrow, since its smallest is 17 million parameters wide
    "fasternet": ("fasternet_t0", {}),
    "starnet": ("starnet_s050", {}),
    "mobileone": ("mobileone_s0", {}),
    "vanillanet": ("vanillanet_5", {"dims": [32, 48, 64, 96]}),
}
HOSTS = ("yolo11n", "yolov8n", "rtdetr-l")
FORMATS = ("torchscript", "onnx", "onnx-dynamic", "openvino")
QUICK = {  # what `make test` runs; `make test-full` runs all 48
    *(("starnet", "yolo11n", f) for f in FORMATS),
    ("fasternet", "yolov8n", "torchscript"),
    ("mobileone", "yolov8n", "onnx"),
    ("vanillanet", "yolo11n", "onnx"),
    ("starnet", "rtdetr-l", "torchscript"),
}
SIZE = (64, 96)  # height, width
CASES = [
    pytest.param(family, host, kind, marks=() if (family, host, kind) in QUICK else pytest.mark.long)
    for family in FAMILIES
    for host in HOSTS
    for kind in FORMATS
]


def detector(family: str, host: str, folder: Path):
    """Build a detector as after training: BN statistics, the ramp's end, and class scores that tell boxes apart."""
    variant, config = FAMILIES[family]
    name, scale = (host, "l") if host.startswith("rtdetr") else (host[:-1], host[-1])
    path = folder / f"{host}-{family}.yaml"
    path.write_text(yaml_text(wb.detector_yaml(name, variant, scale, **config)))
    torch.manual_seed(0)
    found = (wb.RTDETR if host.startswith("rtdetr") else wb.YOLO)(str(path))
    for m in found.model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 2)
    head = found.model.model[-1]
    if host.startswith("rtdetr"):  # its score layers read normalised features; its box layers start at zero
        scores, spread = [head.enc_score_head, *head.dec_score_head], 0.05
        for layer in (m.layers[-1] for m in (head.enc_bbox_head, *head.dec_bbox_head)):
            torch.nn.init.normal_(layer.weight, std=spread)
    else:
        scores, spread = [branch[-1] for branch in head.cv3], 0.5
    for layer in scores:
        torch.nn.init.normal_(layer.weight, std=spread)
        torch.nn.init.normal_(layer.bias, mean=-1, std=spread)
    set_activation_ramp(found.model, 1)
    found.model.eval()
    return found


def run(file: str, kind: str, x: torch.Tensor) -> np.ndarray:
    """Run an exported file on an image batch and return its first output."""
    if kind == "torchscript":
        with torch.no_grad():
            return torch.jit.load(file)(x).numpy()
    if kind.startswith("onnx"):
        runtime = pytest.importorskip("onnxruntime", reason="needs the extra 'runtimes'")
        session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return session.run(None, {"images": x.numpy()})[0]
    openvino = pytest.importorskip("openvino", reason="needs the extra 'runtimes'")
    xml = next(Path(file).glob("*.xml"))
    compiled = openvino.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled(x.numpy()).values()))


def assert_same_head(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare boxes and class scores of every anchor, (B, 4 + classes, anchors), each within 1e-3 relative."""
    assert found.shape == expected.shape
    for part in (slice(0, 4), slice(4, None)):
        a, b = found[:, part], expected[:, part]
        assert b.std() > 1e-3 * np.abs(b).max()  # a constant would compare nothing
        assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max()


def assert_same_detections(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare detections (B, N, 6) [x1, y1, x2, y2, score, class] as sets: noise reorders near-equal scores."""
    assert found.shape == expected.shape
    assert np.ptp(expected[..., 4]) > 0.01
    for a, b in zip(found, expected, strict=True):
        scale = np.array([max(SIZE)] * 4 + [1.0]) if b[:, :4].max() > 2 else np.ones(5)
        far = np.abs(a[:, None, :5] - b[None, :, :5]) / scale  # (N, N, 5)
        other_class = a[:, None, 5] != b[None, :, 5]
        gap = far.max(-1) + other_class
        last = b[:, 4].min() + 1e-4  # whoever is at the very end of the list may have changed places with who is not
        assert gap.min(1)[a[:, 4] > last].max() <= 1e-3
        assert gap.min(0)[b[:, 4] > last].max() <= 1e-3


@pytest.mark.parametrize(("family", "host", "kind"), CASES)
def test_an_exported_detector_computes_what_pytorch_does(family, host, kind, tmp_path, monkeypatch):
    for package in {"onnx": ["onnx", "onnxslim"], "openvino": ["openvino"]}.get(kind.partition("-")[0], []):
        pytest.importorskip(package, reason="needs the extra 'runtimes'")
    monkeypatch.chdir(tmp_path)
    model = detector(family, host, tmp_path)
    file = model.export(format=kind.partition("-")[0], imgsz=SIZE, dynamic=kind.endswith("dynamic"), verbose=False)
    sizes = [SIZE, (96, 64), (128, 128)] if kind.endswith("dynamic") else [SIZE]
    for height, width in sizes:
        x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = model.model(x)[0].numpy()
        (assert_same_detections if host.startswith("rtdetr") else assert_same_head)(run(file, kind, x), expected)


def test_the_comparisons_can_fail():
    """A class score off by 1 %, a box off by 1 %, a detection of another class: each is noticed."""
    rng = np.random.default_rng(0)
    head = np.concatenate([rng.uniform(0, 96, (1, 4, 50)), rng.uniform(0, 1, (1, 8, 50))], 1)
    for row in (2, 7):
        wrong = head.copy()
        wrong[0, row] *= 1.01
        with pytest.raises(AssertionError):
            assert_same_head(wrong, head)
    found = np.concatenate([rng.uniform(0, 96, (1, 30, 4)), rng.uniform(0, 1, (1, 30, 1)), np.ones((1, 30, 1))], 2)
    assert_same_detections(found[:, ::-1], found)
    best = found[0, :, 4].argmax()
    for column, value in ((0, 2.0), (4, -0.2), (5, 1.0)):
        wrong = found.copy()
        wrong[0, best, column] += value
        with pytest.raises(AssertionError):
            assert_same_detections(wrong, found)


def test_the_exported_file_holds_the_deploy_form(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="needs the extra 'runtimes'")
    monkeypatch.chdir(tmp_path)
    model = detector("mobileone", "yolo11n", tmp_path)
    graph = onnx.load(model.export(format="onnx", imgsz=SIZE, verbose=False, simplify=False)).graph
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
    merged = detector("mobileone", "yolo11n", tmp_path).model.fuse(verbose=False)
    convolutions = [m for m in merged.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([node for node in graph.node if node.op_type == "Conv"]) == len(convolutions)
