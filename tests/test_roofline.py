"""Roofs by hand-made numbers; a real measurement only for its plumbing."""

import json

import pytest
import torch
from torch import nn

from workbench.errors import WorkbenchError
from workbench.measure import Latency, Roofline, count, latency, roofline
from workbench.measure.stats import Sample

ROOF = Roofline(200.0, "a convolution", {10**6: 50.0, 10**9: 20.0}, 2.0, {"threads": 1, "device": "cpu"})


def measured(**seconds):
    samples = {n: [Sample(i, t, t, 1, 0.0) for i in range(20)] for n, t in seconds.items()}
    return Latency(samples, {"threads": 1}, next(iter(samples)))


def test_attainable_is_the_lower_of_the_two_roofs():
    assert ROOF.ridge == 10.0
    assert ROOF.attainable_gflops(1.0) == 20.0
    assert ROOF.attainable_gflops(1.0, nbytes=1000) == 50.0
    assert ROOF.attainable_gflops(100.0) == 200.0


def test_bandwidth_is_that_of_the_next_larger_working_set():
    assert [ROOF.bandwidth(b) for b in (1, 10**6, 10**6 + 1, 10**12)] == [50.0, 50.0, 20.0, 20.0]


def test_bound_of_one_convolution_by_hand():
    dense = count(nn.Conv2d(64, 64, 3, padding=1, bias=False), imgsz=32)
    assert ROOF.bound_s(dense) == pytest.approx(dense.flops / 200e9)  # arithmetic
    light = count(nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), imgsz=32)
    assert ROOF.bound_s(light) == pytest.approx(light.bytes_moved / 50e9)  # memory, in the cache


def test_depthwise_intensity_is_what_the_protocol_says():
    """MEASUREMENT.md: a depthwise 3×3 convolution computes 2.25 FLOP per byte."""
    assert count(nn.Conv2d(96, 96, 3, padding=1, groups=96, bias=False), imgsz=56).intensity == pytest.approx(
        2.25, rel=0.01
    )


def test_placement_by_hand():
    c = count(nn.Conv2d(64, 64, 3, padding=1, bias=False), imgsz=32)
    point = ROOF.place(measured(a=2 * c.flops / 200e9), {"a": c}).points[0]
    assert point.share_of_peak == pytest.approx(0.5)
    assert point.share_of_roof == pytest.approx(0.5)
    assert point.gflops == pytest.approx(100)
    text = str(ROOF.place(measured(a=1.0), {"a": c}))
    assert "% roof" in text
    assert "thread" in text
    with pytest.raises(WorkbenchError, match="both measured"):
        ROOF.place(measured(a=1.0), {"b": c})


def test_roofs_print_and_export():
    text = str(ROOF)
    for part in ("a convolution", "200.00", "GFLOP/s", "triad over", "ridge"):
        assert part in text
    assert json.loads(ROOF.to_json())["bandwidth_gbs"] == {"1000000": 50.0, "1000000000": 20.0}


def test_a_real_measurement_has_every_roof():
    r = roofline(rounds=1, budget_s=60, process="here", progress=False)
    assert r.peak_gflops > 0
    assert r.peak_by.startswith("conv")
    assert len(r.bandwidth_gbs) == 3
    assert all(b > 0 for b in r.bandwidth_gbs.values())
    assert r.env["threads"] == 1
    one = latency({"c": nn.Conv2d(8, 8, 3)}, torch.rand(1, 8, 16, 16), rounds=1, process="here", progress=False)
    assert r.place(one, {"c": count(nn.Conv2d(8, 8, 3), torch.rand(1, 8, 16, 16))}).points[0].share_of_roof > 0
