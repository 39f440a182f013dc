"""A detector cut into backbone, neck and head computes what the whole computes, and its counts add up."""

from __future__ import annotations

import pytest
import torch

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.measure import count
from workbench.yolo.parts import PARTS, parts

NAMES = ("yolo11n.yaml", "yolo11n-fasternet_t0.yaml", "yolov8n-mobileone_s0.yaml", "yolo12n-starnet_s050.yaml")


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_parts_are_the_whole(name):
    torch.manual_seed(0)
    net = wb.YOLO(name).model.eval()
    x = torch.rand(1, 3, 64, 96)
    whole = net(x)
    cut = parts(net, x)
    assert tuple(cut) == PARTS
    last = cut["head"][0](cut["head"][1])
    assert torch.equal(last[len(net.model) - 1][0], whole[0])
    neck = cut["neck"][0](cut["neck"][1])
    for i in cut["head"][0].before:
        if i in neck:
            assert torch.equal(neck[i], cut["head"][0].before[i])
    total = count(net, x).macs
    assert sum(count(part, given).macs for part, given in cut.values()) == total
    assert sum(p.numel() for part, _ in cut.values() for p in part.parameters()) == sum(
        p.numel() for p in net.parameters()
    )


def test_the_parts_can_be_timed():
    cut = parts(wb.YOLO("yolo11n.yaml"), torch.rand(1, 3, 64, 64))
    r = wb.measure.latency(cut, rounds=3, budget_s=5, sample_ms=1, progress=False, process="here", count=False)
    assert r.names == list(PARTS)
    assert all(r.summary(name).n for name in PARTS)


def test_what_is_no_detector_is_refused():
    with pytest.raises(WorkbenchError, match="no detection network"):
        parts(torch.nn.Conv2d(3, 3, 1), torch.rand(1, 3, 64, 64))
