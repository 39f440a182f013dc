"""The Wiring panel and the data behind it: numbers that are the detector's own, and a panel that survives nonsense."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.yolo.wiring import wiring

TABLE = Path(__file__).parents[1] / "data" / "detectors.csv"
ROWS = {(r["host"], r["backbone"]): r for r in csv.DictReader(TABLE.open()) if r["arguments"] in ("", "train form")}
FASTERNET_P2_NORM = 2 * 40  # the table's FasterNets have a norm on P2 that nobody reads


@pytest.mark.parametrize(
    ("host", "backbone"), [("yolo11", "fasternet_t0"), ("yolo11", "mobileone_s0"), ("rtdetr", "vanillanet_5")]
)
def test_cost_equals_the_reference_table(host, backbone):
    row = ROWS[host, backbone]
    w = wiring(host + "-l" * (host == "rtdetr"), backbone, row["scale"])
    surplus = FASTERNET_P2_NORM if backbone == "fasternet_t0" else 0
    assert w.params == int(row["total_params"]) - surplus
    assert w.gflops == pytest.approx(float(row["gflops_conv_matmul_640"]), rel=1e-4)
    assert "/".join(str(m.channels) for m in w.levels.values()) == row["backbone_channels"]
    assert w.deploy_params < w.params
    assert w.deploy_gflops <= w.gflops


@pytest.mark.parametrize(
    ("host", "offset", "read_by"),
    [
        ("yolo11", 4, [(), (11,), (8,), (5,)]),
        ("yolov8", 4, [(), (10,), (7,), (5,)]),
        ("rtdetr-l", 5, [(), (14,), (9,), (5,)]),
    ],
)
def test_the_map_of_each_host(host, offset, read_by):
    w = wiring(host, "starnet_s050")
    assert [x.new for x in w.layers] == list(range(len(w.layers)))
    assert {int(x.old) - x.new for x in w.layers[5:]} == {offset}
    assert list(w.read_by.values()) == read_by
    assert [x.stride for x in w.layers[1:5]] == [4, 8, 16, 32]
    assert [x.channels for x in w.layers[1:5]] == [16, 32, 64, 128]
    assert sum(x.params for x in w.layers) == w.params
    assert str(w).count("\n") == len(w.layers) + 1


def test_the_yaml_is_a_file_that_opens(tmp_path):
    w = wiring("yolov8", "starnet_s050", "s")
    path = tmp_path / "yolov8s-mine.yaml"
    path.write_text(w.yaml)
    assert yaml.safe_load(w.yaml)["backbone"][0] == [-1, 1, "starnet_s050", []]
    assert sum(p.numel() for p in wb.YOLO(path).model.parameters()) == w.params


def test_looking_at_a_wiring_draws_no_random_number():
    import torch

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    wiring("yolo11", "starnet_s050", base_dim=16)
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def panel():
    return wb.panels.Wiring("yolo11", "n", "starnet_s050")


def test_a_moved_control_redraws(panel):
    panel.set(host="yolo11", scale="n", backbone="starnet_s050")
    before = panel.table.value
    panel.controls["scale"].value = "s"  # as a hand would
    assert panel.result.scale == "s"
    assert panel.table.value != before
    assert panel.yaml.value == panel.result.yaml
    assert f"{panel.result.params:,}" in panel.words.value
    assert "<td" in panel.table.value


def test_the_host_decides_the_scales(panel):
    panel.set(host="yolo11", scale="s", backbone="starnet_s050")
    panel.set(host="rtdetr-l")
    assert panel.controls["scale"].options == ("l",)
    assert panel.result.scale == "l"
    panel.set(host="yolov8", scale="n")
    assert panel.controls["scale"].options == ("n", "s", "m", "l", "x")
    assert panel.code() == "wb.panels.Wiring(host='yolov8', scale='n', backbone='starnet_s050')"


def test_a_host_with_one_scale_does_not_change_the_chosen_one(panel):
    panel.set(host="yolo11", scale="s", backbone="starnet_s050")
    for host in ("rtdetr-l", "yolo11"):
        panel.controls["host"].value = host
    assert panel.result.scale == "s"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"host": "yolo99"}, "did you mean 'yolov8'"),
        ({"scale": "q"}, "expected one of n, s, m, l, x"),
        ({"backbone": "starnet_s11"}, "did you mean 'starnet_s1'"),
        ({"host": "yolov8", "backbone": "vanillanet_13_x1_5_ada_pool"}, "no maps at strides 4, 8, 16, 32"),
    ],
)
def test_nonsense_is_answered_and_the_panel_stays_as_it_was(panel, bad, said):
    panel.set(host="yolo11", scale="n", backbone="starnet_s050")
    before = panel.result
    with pytest.raises(WorkbenchError, match=said):
        panel.set(**bad)
    assert panel.result is before
    assert [c.value for c in panel.controls.values()] == ["yolo11", "n", "starnet_s050"]
    assert f"{before.params:,}" in panel.words.value
    panel.set(scale="s")
    assert panel.result.scale == "s"


def test_an_unknown_control_is_answered(panel):
    with pytest.raises(WorkbenchError, match="no control 'hosts'; did you mean 'host'"):
        panel.set(hosts="yolo11")


def test_a_hand_that_picks_a_classifier_gets_a_message_and_can_go_on(panel):
    panel.set(host="yolo11", scale="n", backbone="starnet_s050")
    panel.controls["backbone"].value = "vanillanet_13_x1_5_ada_pool"
    assert "Not possible" in panel.message.value
    assert panel.controls["backbone"].value == panel.result.backbone == "starnet_s050"
    panel.controls["backbone"].value = "fasternet_t0"
    assert panel.message.value == ""


def test_every_control_says_what_it_is(panel):
    assert all(c.description and c.tooltip for c in panel.controls.values())


def test_your_own_backbone_is_offered(panel):
    from workbench.backbones import registry

    registry._custom["mine_for_the_panel"] = lambda **kw: wb.create_backbone("starnet_s050", base_dim=8, **kw)
    try:
        panel.set(host="yolo11", scale="n", backbone="mine_for_the_panel")
        assert panel.result.levels["P5"].channels == 64
    finally:
        del registry._custom["mine_for_the_panel"]
        panel.set(backbone="starnet_s050")
