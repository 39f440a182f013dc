"""Counters disagree, each in its way: the reference table, to the digits it prints; ours is the truth."""

from __future__ import annotations

import pytest
import torch
from families import table

from workbench.backbones import create_backbone
from workbench.errors import WorkbenchError
from workbench.measure import count
from workbench.measure.counters import COUNTERS, counters, summary

TABLE = {  # million MACs at 224, 1000 classes: torch, fvcore, torchinfo, thop as ultralytics bundles it
    ("fasternet_t0", "train"): (335.42, 335.42, 338.04, 335.43, 340.6),
    ("starnet_s1", "train"): (421.88, 421.88, 424.61, 426.88, 427.3),
    ("mobileone_s0", "train"): (1051.94, 1051.94, 1088.5, None, 1124.9),
    ("vanillanet_5", "deploy"): (5161.2, 5161.2, 5161.4, 5021, 5014),
}


@pytest.mark.parametrize(("name", "form"), TABLE)
def test_the_reference_table(name, form):
    pytest.importorskip("fvcore", reason="fvcore comes with the extra reference")
    net = create_backbone(name, num_classes=1000, deploy=form == "deploy").eval()
    found = counters(net, torch.zeros(1, 3, 224, 224))
    for counter, printed in zip(COUNTERS, TABLE[name, form], strict=True):
        if printed is not None:
            digits = len(str(printed).partition(".")[2])
            assert found[counter] / 1e6 == pytest.approx(printed, abs=0.51 * 10**-digits), counter
    row = next(r for r in table("backbones.csv") if r["variant"] == name)
    assert found["ours"] == int(row[f"macs_{form}"])
    assert found["fvcore"] == int(row[f"macs_fvcore_{form}"])


def test_a_stock_detector():
    from workbench.yolo import YOLO

    pytest.importorskip("fvcore", reason="fvcore comes with the extra reference")
    net = YOLO("yolo11n.yaml").model.eval()
    found = counters(net, torch.zeros(1, 3, 640, 640), ("ours", "torch", "fvcore", "torchinfo"))
    printed = {"ours": 3271.3, "torch": 3271.3, "fvcore": 3305, "torchinfo": 3242}
    for counter, value in printed.items():
        assert found[counter] / 1e6 == pytest.approx(value, abs=0.6), counter
    assert count(net, imgsz=640).params == 2_624_080


def test_torchinfos_table_is_there_for_reading():
    text = summary(create_backbone("starnet_s050").eval(), torch.zeros(1, 3, 64, 64))
    assert "Total params" in text
    assert "ConvBN" in text


def test_an_unknown_counter_is_named(bad_input):
    with pytest.raises(WorkbenchError, match="unknown counter 'fvcor'; did you mean 'fvcore'") as caught:
        counters(torch.nn.ReLU(), torch.zeros(1), ("fvcor",))
    bad_input("measuring", "counters(net, x, ('fvcor',))", caught.value)
