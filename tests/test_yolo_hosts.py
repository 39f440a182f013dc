"""Transplants: what is replaced is found in the host's own YAML, and everything else is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import YAML
from ultralytics.utils.checks import check_yaml

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.yolo import layer_map
from workbench.yolo.hosts import HOSTS, read_host, yaml_name
from workbench.yolo.mapping import kept_layers
from workbench.yolo.names import CFG
from workbench.yolo.ready import READY, ready_files, unit_yaml, yaml_text
from workbench.yolo.rows import numbered, reads, rows_of

ROOT = Path(__file__).resolve().parent.parent
STARNET_YAML = ROOT / "tests" / "fixtures" / "yolo11-StarNet.yaml"
STARNETS = ("s1", "s2", "s3", "s4", "s050", "s100", "s150")


def build(cfg: dict, nc: int | None = None) -> torch.nn.Module:
    rtdetr = cfg["head"][-1][2] == "RTDETRDecoder"
    kind = ultralytics_tasks.RTDETRDetectionModel if rtdetr else ultralytics_tasks.DetectionModel
    return kind(cfg, nc=nc, verbose=False)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("host", "replaced", "levels"),
    [
        ("yolo11", 9, {2: "P2", 4: "P3", 6: "P4", 8: "P5"}),
        ("yolov8", 9, {2: "P2", 4: "P3", 6: "P4", 8: "P5"}),
        ("yolo12", 9, {2: "P2", 4: "P3", 6: "P4", 8: "P5"}),
        ("yolo26", 9, {2: "P2", 4: "P3", 6: "P4", 8: "P5"}),
        ("rtdetr-l", 10, {1: "P2", 3: "P3", 7: "P4", 9: "P5"}),
        ("rtdetr-x", 14, {1: "P2", 4: "P3", 10: "P4", 13: "P5"}),
    ],
)
def test_the_replaced_stages_are_found(host, replaced, levels):
    found = read_host(host)
    assert (found.replaced, found.level_of) == (replaced, levels)


@pytest.mark.parametrize("host", HOSTS)
def test_everything_after_the_stages_is_kept(host):
    theirs = YAML.load(check_yaml(f"{host}.yaml"))
    ours = wb.detector_yaml(host, "starnet_s050")
    replaced = read_host(host).replaced
    assert [row[1:] for row in rows_of(ours)[1:]] == [row[1:] for row in rows_of(theirs)[replaced:]]
    new = layer_map(ours).old_to_new
    for (i, row), (old, row_there) in zip(
        list(numbered(rows_of(ours)))[1:], list(enumerate(rows_of(theirs)))[replaced:], strict=True
    ):
        assert new[old] == i
        assert reads(i, row) == [new[j] for j in reads(old, row_there)]
    assert {k: v for k, v in ours.items() if k in theirs and k not in ("backbone", "head")} == {
        k: v for k, v in theirs.items() if k not in ("backbone", "head")
    }


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_builds_and_its_kept_layers_keep_their_kind(host):
    cfg = wb.detector_yaml(host, "starnet_s050")
    model = getattr(wb, "RTDETR" if host.startswith("rtdetr") else "YOLO")(cfg["yaml_file"])
    stock = ultralytics_tasks.parse_model({**read_host(host).cfg, "scale": cfg["scale"]}, ch=3, verbose=False)[0]
    for old, new in layer_map(cfg).old_to_new.items():
        if old >= read_host(host).replaced:
            assert type(model.model.model[new]) is type(stock[old])
    assert model.model.yaml["scale"] == cfg["scale"]
    assert model.task == {"seg": "segment", "pose": "pose", "obb": "obb"}.get(host.partition("-")[2], "detect")


def test_the_stock_yaml_is_not_changed_by_a_transplant():
    before = YAML.load(check_yaml("yolo11.yaml"))
    cfg = wb.detector_yaml("yolo11", "starnet_s050")
    cfg["head"][0][3].append("changed")
    cfg["scales"]["n"] = None
    assert read_host("yolo11").cfg == before
    assert wb.detector_yaml("yolo11", "starnet_s050")["head"][0][3] == ["None", 2, "nearest"]


def test_rtdetr_reads_levels_4_3_2():
    rows = dict(numbered(rows_of(wb.detector_yaml("rtdetr-l", "vanillanet_5"))))
    projections = [i for i, row in rows.items() if row[2] == "Conv" and len(row[3]) == 7]
    assert [reads(i, rows[i]) for i in projections] == [[4], [3], [2]]


@pytest.mark.parametrize("variant", STARNETS)
def test_the_starnet_articles_yaml_works_verbatim(variant, tmp_path):
    text = STARNET_YAML.read_text().replace("starnet_s1", f"starnet_{variant}")
    path = tmp_path / "yolo11-StarNet.yaml"
    path.write_text(text)
    model = wb.YOLO(str(path)).model
    expected = {"s1": 1859128, "s2": 1769264, "s3": 1915512, "s4": 2042064, "s050": 1637456, "s100": 1681072,
                "s150": 1698272}  # fmt: skip
    assert parameters(model) == expected[variant]
    assert [lv.channels for lv in model.model[0].feature_info] == [8, 16, 32, 64]
    assert sorted(set(model.save) - {0}) == [2, 3, 6, 9, 12, 15, 18]


def test_the_starnet_article_counts_1826058_parameters_at_six_classes():
    assert parameters(ultralytics_tasks.DetectionModel(str(STARNET_YAML), nc=6, verbose=False)) == 1_826_058


def test_a_width_of_any_size_works_in_the_articles_spelling():
    for width, channels in ((0.5, 16), (1.0, 24), (1.5, 40)):
        cfg = YAML.load(STARNET_YAML) | {"scale": "n"}
        cfg["backbone"][0][3] = [1.0, width]
        assert build(cfg).model[0].feature_info[0].channels == channels


def test_a_scale_in_the_file_is_read_and_one_that_is_none_is_refused(tmp_path, caplog):
    path = tmp_path / "yolo11mobileone.yaml"  # ultralytics takes the m for a scale
    text = yaml_text(wb.detector_yaml("yolo11", "mobileone_s0", "s"))
    path.write_text(text)
    assert wb.YOLO(str(path)).model.yaml["scale"] == "s"
    path.write_text(text.replace("scale: s\n", ""))
    with caplog.at_level("WARNING", "ultralytics"):
        assert wb.YOLO(str(path)).model.yaml["scale"] == "n"
    assert "yolo11mobileone.yaml names no scale; built as n, the first of n, s, m, l, x" in caplog.text
    path.write_text(text.replace("scale: s\n", "scale: q\n"))
    with pytest.raises(WorkbenchError, match="scale: 'q'; expected one of n, s, m, l, x"):
        wb.YOLO(str(path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("yolo13", "starnet_s1"), "unknown host 'yolo13'; did you mean 'yolo1"),
        (("yolo11", "starnet_s11"), "unknown backbone 'starnet_s11'; did you mean 'starnet_s1"),
        (("yolo11", "starnet_s1", "q"), "scale 'q' given for yolo11; expected one of n, s, m, l, x"),
        (("rtdetr-l", "starnet_s1", "x"), "scale 'x' given for rtdetr-l; expected one of l"),
    ],
)
def test_unknown_names_are_answered_in_one_line(arguments, said):
    with pytest.raises(WorkbenchError) as e:
        wb.detector_yaml(*arguments)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_unknown_configuration_keywords_are_a_type_error():
    with pytest.raises(TypeError, match="depth"):
        wb.detector_yaml("yolo11", "starnet_s1", dept=0.5)


def test_the_ready_files_are_what_the_generator_writes():
    files = ready_files()
    assert len(files) == len(READY) + 1
    assert {p.name for p in CFG.glob("*.yaml")} == set(files)
    for name, text in files.items():
        assert (CFG / name).read_bytes() == text.encode(), name


@pytest.mark.parametrize("name", sorted(p.name for p in CFG.glob("*-*_*.yaml")))
def test_a_ready_file_by_path_is_the_model_of_that_name(name):
    by_path, by_name = (ultralytics_tasks.yaml_model_load(p) for p in (CFG / name, name))
    assert by_path == by_name
    assert by_name["yaml_file"] == str(CFG / name)  # a real file, by its absolute path


def test_yaml_text_reads_back_as_the_same_model():
    for host in HOSTS:
        cfg = wb.detector_yaml(host, "fasternet_t0", drop_path_rate=0.1)
        import yaml

        assert yaml.safe_load(yaml_text(cfg)) == {k: v for k, v in cfg.items() if k != "yaml_file"}


def test_the_layer_map_prints_both_numberings():
    table = layer_map("yolo11n-starnet_s1.yaml")
    assert table.host == "yolo11"
    assert table.old_to_new == {2: 1, 4: 2, 6: 3, 8: 4, **{old: old - 4 for old in range(9, 24)}}
    lines = str(table).splitlines()
    assert len(lines) == 21
    assert lines[4].split() == ["3", "0", "Index", "P4", "backbone", "6"]
    assert lines[-1].split() == ["19", "[12,", "15,", "18]", "Detect", "head", "23"]


def test_the_layer_map_recognises_the_articles_yaml_and_a_built_model():
    assert layer_map(STARNET_YAML).host == "yolo11"
    assert layer_map(wb.YOLO(str(STARNET_YAML))).rows == layer_map(STARNET_YAML).rows
    assert layer_map("yolov8n.yaml").old_to_new == {}
    with pytest.raises(WorkbenchError, match="no layers to show"):
        layer_map(torch.nn.Linear(1, 1))


def test_kept_layers_are_matched_by_meaning_or_refused():
    stock = {h: ultralytics_tasks.yaml_model_load(f"{h}n.yaml") for h in ("yolo11", "yolov8", "yolo12")}
    target = wb.detector_yaml("yolo11", "starnet_s1")
    assert kept_layers(stock["yolo11"], target) == {old: old - 4 for old in range(9, 24)}
    assert kept_layers(target, stock["yolo11"]) == {new: new + 4 for new in range(5, 20)}
    assert kept_layers(target, wb.detector_yaml("yolo11", "fasternet_t0", "s")) == {i: i for i in range(5, 20)}
    for other in ("yolov8", "yolo12"):
        with pytest.raises(WorkbenchError, match="no counterpart"):
            kept_layers(stock[other], target)
    swapped = wb.detector_yaml("yolo11", "starnet_s1")
    swapped["head"][1][0], swapped["head"][4][0] = [-1, 2], [-1, 3]  # the same modules, reading other levels
    with pytest.raises(WorkbenchError, match="no counterpart"):
        kept_layers(stock["yolo11"], swapped)


@pytest.mark.parametrize(("scale", "c2"), [("n", 64), ("s", 128), ("m", 192), ("x", 320)])
def test_the_mobileone_unit_is_an_ordinary_row_scaled_like_any_other(scale, c2):
    model = wb.YOLO(f"yolov8{scale}-mobileoneunit.yaml").model
    stock = ultralytics_tasks.parse_model({**read_host("yolov8").cfg, "scale": scale}, ch=3, verbose=False)[0]
    units = [m for m in model.model if type(m).__name__ == "MobileOneUnit"]
    x = torch.zeros(1, units[0].unit[0].rbr_conv[0].conv.in_channels, 8, 8)
    assert units[0].eval()(x).shape == (1, c2, 4, 4) == stock[3].eval()(x).shape
    assert len(units) == 3
    assert model.stride.tolist() == [8, 16, 32]
    assert model.yaml["scale"] == scale


def test_fuse_merges_a_mobileone_unit():
    torch.manual_seed(0)
    detector = wb.YOLO("yolov8n-mobileoneunit.yaml")
    for m in detector.model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.uniform_(-0.5, 0.5)
            m.running_var.uniform_(0.5, 2)
    x = torch.rand(1, 3, 64, 64)
    before = detector.model.eval()(x)[0].detach()
    detector.fuse()
    after = detector.model(x)[0].detach()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in detector.model.modules())
    assert 0 < (after - before).abs().max() < 1e-3 * before.abs().max()


def test_focus_is_focus_again_after_a_yaml_with_units():
    from ultralytics.nn.modules import Focus

    wb.YOLO("yolov8n-mobileoneunit.yaml")
    assert ultralytics_tasks.Focus is Focus
    cfg = unit_yaml() | {"scale": "n"}
    cfg["backbone"] = [[-1, 1, "Focus", [64, 3]], *cfg["backbone"][1:]]
    with pytest.raises(WorkbenchError, match="cannot use Focus too"):
        build(cfg)


def test_yaml_names():
    assert yaml_name("yolo11-obb", "fasternet_t0", "m") == "yolo11m-obb-fasternet_t0.yaml"
    assert yaml_name("rtdetr-x", "fasternet_t0", "x") == "rtdetr-x-fasternet_t0.yaml"
