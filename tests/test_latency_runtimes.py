"""Runtimes: refused before timing when missing or wrong; equal to eager when there."""

import importlib.util

import pytest
import torch
from torch import nn

from workbench.errors import MissingExtraError, WorkbenchError
from workbench.measure import RUNTIMES, runtimes
from workbench.measure import runtimes as runtimes_function
from workbench.measure.runtimes import available, check_equal, compiled, why_not

OPTIONS = {"budget_s": 30.0, "rounds": 2, "sample_ms": 0.5, "progress": False, "process": "here"}
HERE = [r for r in available() if r != "compile"]


class TwoMaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return [x, self.b(x)]


@pytest.mark.parametrize("runtime", HERE)
def test_every_runtime_equals_eager(runtime):
    torch.manual_seed(0)
    m, x = TwoMaps().eval(), torch.randn(2, 3, 16, 16)
    call, placed = compiled(m, x, runtime)
    with torch.inference_mode():
        assert check_equal(call(placed), m(x), runtime) < 1e-4


@pytest.mark.long
@pytest.mark.skipif("compile" not in available(), reason="no C++ compiler on PATH")
def test_compile_equals_eager():
    m, x = TwoMaps().eval(), torch.randn(2, 3, 16, 16)
    call, placed = compiled(m, x, "compile")
    with torch.inference_mode():
        assert check_equal(call(placed), m(x), "compile") < 1e-4


def test_a_backbone_in_every_runtime_of_this_machine():
    r = runtimes_function("starnet_s050", HERE, imgsz=64, **OPTIONS)
    assert r.names == [f"starnet_s050 · {n}" for n in HERE]
    assert r.baseline == "starnet_s050 · eager"
    assert len(set(r.macs.values())) == 1
    assert all(len(s) >= 2 for s in r.samples.values())


def test_modules_are_taken_too():
    assert runtimes(TwoMaps(), ["eager", "channels_last"], torch.rand(1, 3, 8, 8), **OPTIONS).names == [
        "TwoMaps · eager",
        "TwoMaps · channels_last",
    ]


def test_a_wrong_runtime_is_not_timed(monkeypatch):
    timed = []

    def wrong(model, x, threads):
        return (lambda a: (timed.append(1), [t * 1.01 for t in model(a)])[1]), x

    monkeypatch.setitem(runtimes.__globals__["_BUILDERS"], "channels_last", wrong)
    with pytest.raises(WorkbenchError, match=r"differs from eager by 0\.01.*not timed"):
        runtimes(TwoMaps(), ["channels_last"], torch.rand(1, 3, 8, 8), **OPTIONS)
    assert len(timed) == 1


def test_shapes_and_nan_are_differences():
    with pytest.raises(WorkbenchError, match="other shapes"):
        check_equal(torch.zeros(2), torch.zeros(3), "x")
    with pytest.raises(WorkbenchError, match="differs"):
        check_equal(torch.tensor([float("nan")]), torch.ones(1), "x")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_missing_package_names_its_extra(runtime, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == runtime else real(n, *a))
    assert isinstance(why_not(runtime), MissingExtraError)
    assert runtime not in available()
    with pytest.raises(MissingExtraError, match=rf"{runtime} is not installed.*\[runtimes\]"):
        runtimes(TwoMaps(), [runtime], **OPTIONS)


def test_no_compiler_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(WorkbenchError, match=r"needs a C\+\+ compiler"):
        runtimes(TwoMaps(), ["compile"], **OPTIONS)


def test_unknown_runtime_names_the_near_one():
    assert "eager" in RUNTIMES
    with pytest.raises(WorkbenchError, match="did you mean 'onnxruntime'"):
        runtimes("fasternet_t0", ["onnxruntim"], **OPTIONS)
