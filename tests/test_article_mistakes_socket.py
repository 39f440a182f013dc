"""The articles' wiring mistakes, one test each: it fails if the mistake comes back.

A to E are the five articles (FasterNet and its paper notes, StarNet, MobileOne, VanillaNet); mistakes inside the
families themselves are held by `test_article_mistakes_families.py`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import YAML
from ultralytics.utils.callbacks import get_default_callbacks
from ultralytics.utils.torch_utils import ModelEMA

import workbench as wb
from workbench.backbones.ramp import ramp_value
from workbench.errors import WorkbenchError
from workbench.yolo import layer_map
from workbench.yolo.layer import BackboneLayer
from workbench.yolo.names import CFG
from workbench.yolo.ready import unit_yaml
from workbench.yolo.rows import _say_once, expand

STARNET_YAML = Path(__file__).parent / "fixtures" / "yolo11-StarNet.yaml"


def build(cfg, nc: int | None = None) -> torch.nn.Module:
    cfg = YAML.load(cfg) | {"scale": "n"} if isinstance(cfg, Path) else cfg
    return ultralytics_tasks.DetectionModel(cfg, nc=nc, verbose=False)


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_s1_building_a_detector_leaves_bn_statistics_alone():
    """A 640 × 640 training-mode forward in the constructor had polluted them."""
    net = build(wb.detector_yaml("yolo11", "starnet_s050"))
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) > 50
    for m in norms:
        assert int(m.num_batches_tracked) == 0
        assert not m.running_mean.any()
        assert bool((m.running_var == 1).all())


@pytest.mark.parametrize("channels", [1, 4])
def test_s2_a_detector_may_have_other_image_channels(channels):
    net = ultralytics_tasks.DetectionModel(wb.detector_yaml("yolo11", "starnet_s050"), ch=channels, verbose=False)
    assert next(net.parameters()).shape[1] == channels
    assert net.eval()(torch.zeros(1, channels, 64, 64))[0].shape == (1, 84, 84)


def test_s5_every_row_names_a_class_so_restricted_loading_builds_it(monkeypatch):
    """Factory functions in a YAML are refused by restricted loading."""
    monkeypatch.setattr(ultralytics_tasks._SafeLoad, "restricted", classmethod(lambda cls: True))
    for host, backbone in (("yolo11", "starnet_s050"), ("yolov8", "mobileone_s0")):
        assert isinstance(build(wb.detector_yaml(host, backbone)).model[0], BackboneLayer)
    assert build(unit_yaml() | {"scale": "n"}).stride.tolist() == [8, 16, 32]


def test_a1_forward_is_the_classes_not_an_attribute_of_the_instance():
    net = build(wb.detector_yaml("yolo11", "fasternet_t0"))
    assert not [n for n, m in net.named_modules() if "forward" in vars(m)]


def test_a6_fasternet_has_norms_on_the_levels_that_are_read_and_each_gets_a_gradient():
    """The article's P2 norm is read by no head and never trained: 2 × channels parameters more."""
    net = build(wb.detector_yaml("yolo11", "fasternet_t0"))
    norms = sorted(n for n, _ in net.model[0].backbone.named_children() if n.startswith("norm"))
    assert norms == ["norm2", "norm4", "norm6"]  # P3, P4, P5
    net.train()
    outputs = net(torch.rand(2, 3, 64, 64))
    (outputs["boxes"].sum() + outputs["scores"].sum()).backward()
    backbone = net.model[0].backbone
    assert all(m.weight.grad.abs().sum() > 0 for m in (backbone.norm2, backbone.norm4, backbone.norm6))
    assert not [n for n, p in net.model[0].named_parameters() if p.grad is None]
    four = build({**wb.detector_yaml("yolo11", "fasternet_t0", out_norm=["P2", "P3", "P4", "P5"])})
    assert parameters(four) - parameters(net) == 2 * 40


def test_a7_every_ready_yaml_is_there_and_names_no_path():
    files = sorted(CFG.glob("*.yaml"))
    assert len(files) >= 13
    assert not [p.name for p in files if "\\" in p.read_text() or "/" in p.read_text().replace("# ", "")]


def test_c2_the_depth_of_the_articles_row_is_named_as_unused_and_a_working_one_exists(caplog):
    """The article's depth has no effect; 1,826,058 parameters come out only without it."""
    _say_once.cache_clear()
    with caplog.at_level("INFO", "ultralytics"):
        half, whole = (build(_starnet([depth, 0.25])) for depth in (0.5, 1.0))
    assert parameters(half) == parameters(whole)
    assert "the depth 0.5 changes nothing" in caplog.text
    assert "{depth: 0.5, width: 0.25, round_to: 8}" in caplog.text
    assert "depth 1 " not in caplog.text, "one is what the article means by as it is"
    with caplog.at_level("INFO", "ultralytics"):
        build(_starnet([2, 0.25]))
    assert "the depth 2 changes nothing" in caplog.text
    works = build(_starnet([{"depth": 0.5, "width": 0.25, "round_to": 8}]))
    assert parameters(works) < parameters(half)


def _starnet(args: list) -> dict:
    cfg = YAML.load(STARNET_YAML) | {"scale": "n"}
    cfg["backbone"][0][3] = args
    return cfg


def test_c3_the_backbones_width_is_the_rows_own_and_the_same_at_every_scale():
    """The article lets one think that the scale reaches the backbone; here the row alone says its width."""
    for scale in "nsmlx":
        net = build(YAML.load(STARNET_YAML) | {"scale": scale})
        assert [lv.channels for lv in net.model[0].feature_info] == [8, 16, 32, 64]
    row = expand(YAML.load(STARNET_YAML) | {"scale": "x"})["backbone"][0]
    assert row[3][1] == {"name": "starnet_s1", "width": 0.25, "round_to": 8}  # what is printed is what is built


def test_c4_numbers_are_written_on_the_layer_not_on_its_class():
    before = set(vars(BackboneLayer))
    big, small = (build(wb.detector_yaml("yolo11", name)) for name in ("starnet_s1", "starnet_s050"))
    assert set(vars(BackboneLayer)) == before
    assert (big.model[0].np, small.model[0].np) == (parameters(big.model[0]), parameters(small.model[0]))
    assert big.model[0].np != small.model[0].np


def test_c5_the_layer_type_is_a_class_name():
    """The article's was a 14,100-character printout of the network."""
    net = build(STARNET_YAML)
    assert net.model[0].type == "workbench.yolo.layer.BackboneLayer"
    assert max(len(layer.type) for layer in net.model) < 60


def test_c6_rtdetr_runs_and_prints_its_gflops():
    """With only `_predict_once` patched it built, printed 0.0 GFLOPs and failed at the first image."""
    net = wb.RTDETR("rtdetr-l-starnet_s050.yaml").model
    assert net.info(imgsz=320)[3] > 5
    found = net.eval()(torch.zeros(1, 3, 64, 96))[0]
    assert found.shape[-1] in (6, 84)
    assert torch.isfinite(found).all()


def test_c7_embed_works_because_predict_once_is_ultralytics_own():
    assert ultralytics_tasks.BaseModel._predict_once.__module__ == "ultralytics.nn.tasks"
    detector = wb.YOLO(str(STARNET_YAML))
    vectors = detector.embed([np.zeros((64, 64, 3), np.uint8)], imgsz=64, verbose=False)
    assert [tuple(v.shape) for v in vectors] == [(256,)]


def test_c8_the_backbone_answers_with_four_maps_and_nothing_is_inserted():
    net = build(STARNET_YAML).eval()
    maps = net.model[0](torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)]
    for k, index in enumerate(net.model[1:5]):
        assert index(maps) is maps[k]
    assert len(maps) == 4


def test_c9_a_backbone_need_not_be_the_first_row():
    cfg = wb.detector_yaml("yolo11", "starnet_s050")
    cfg["backbone"].insert(0, [-1, 1, "Conv", [64, 3, 1]])  # a stem of one's own, 16 wide at scale n
    for row in (*cfg["backbone"], *cfg["head"]):  # every layer number moves by one
        row[0] = [f + (f >= 0) for f in row[0]] if isinstance(row[0], list) else row[0] + (row[0] >= 0)
    net = build(cfg)
    assert next(net.model[1].parameters()).shape[1] == 16
    assert [layer.f for layer in net.model[2:6]] == [1, 1, 1, 1]
    assert net.stride.tolist() == [8, 16, 32]
    assert net.eval()(torch.zeros(1, 3, 64, 64))[0].shape == (1, 84, 84)


def test_c10_weights_of_the_stock_host_go_to_the_same_layers_or_nowhere():
    """By position 6 of 648 tensors matched, in wrong layers."""
    torch.manual_seed(0)
    stock, net = (build(ultralytics_tasks.yaml_model_load(n)) for n in ("yolo11n.yaml", "yolo11n-starnet_s1.yaml"))
    before = {k: v.clone() for k, v in net.model[0].state_dict().items()}
    net.load(stock, verbose=False)
    assert all(torch.equal(v, before[k]) for k, v in net.model[0].state_dict().items())
    same = {new for old, new in layer_map(net).old_to_new.items() if _equal(stock.model[old], net.model[new])}
    assert same >= {7, 8, 10, 11, 13, 14, 15, 16, 17, 18, 19}
    with pytest.raises(WorkbenchError, match="no counterpart"):
        net.load(build(ultralytics_tasks.yaml_model_load("yolov8n.yaml")), verbose=False)


def _equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def test_c11_the_stride_is_measured_as_ultralytics_does_it():
    """The article's last steps (a 640 pixel stride probe, a rewritten get_flops) change nothing that is needed."""
    assert "s = 256" in inspect.getsource(ultralytics_tasks.DetectionModel.__init__)
    net = build(STARNET_YAML)
    assert net.stride.tolist() == [8, 16, 32]
    assert net.info()[3] == pytest.approx(4.522, abs=6e-4)


def test_c12_the_articles_summary_belongs_to_six_classes():
    net = build(STARNET_YAML, nc=6)
    assert parameters(net) == 1_826_058
    assert parameters(build(STARNET_YAML)) == 1_859_128
    frozen = sum(p.numel() for n, p in net.named_parameters() if ".dfl" in n)
    assert 1_826_058 - frozen == 1_826_042  # the gradients it prints


def test_d2_the_unit_keeps_its_squeeze_and_excitation_in_both_forms():
    cfg = unit_yaml() | {"scale": "n"}
    cfg["backbone"][3][3] = [256, 3, 2, 2, True]  # kernel, stride, branches, use_se
    net = build(cfg).eval()
    unit, x = net.model[3], torch.rand(1, 32, 16, 16)
    gates = [n for n, _ in unit.named_modules() if n.endswith("se.reduce")]
    assert len(gates) == 2
    before = unit(x)
    unit.fuse_convs()
    assert [n for n, _ in unit.named_modules() if n.endswith("se.reduce")] == gates
    assert (unit(x) - before).abs().max() <= 1e-4 * before.abs().max()


def test_d5_mobileone_gives_a_detector_four_maps():
    net = build(wb.detector_yaml("yolov8", "mobileone_s0")).eval()
    assert [m.shape[-1] for m in net.model[0](torch.zeros(1, 3, 96, 96))] == [24, 12, 6, 3]


def test_e2_channels_come_from_the_contract_not_from_an_attribute_the_parser_wants():
    cfg = expand(wb.detector_yaml("rtdetr-l", "vanillanet_5"))
    assert [row[3] for row in cfg["backbone"][1:5]] == [[512, 0], [1024, 1], [2048, 2], [4096, 3]]


def test_e4_a_variant_with_fixed_map_sizes_is_refused_before_anything_is_built():
    with pytest.raises(WorkbenchError, match="classifier only"):
        wb.detector_yaml("rtdetr-l", "vanillanet_13_x1_5_ada_pool")


def test_e6_training_ramps_the_activation_in_the_network_and_its_ema():
    """Every public port trains VanillaNet without its own method."""
    net = build(wb.detector_yaml("yolo11", "vanillanet_5", dims=[8, 16, 16, 32]))
    trainer = SimpleNamespace(model=net, ema=ModelEMA(net), epoch=0, epochs=6, best_fitness=None)
    trainer.stopper = SimpleNamespace()
    seen = []
    for trainer.epoch in range(6):
        for callback in get_default_callbacks()["on_train_epoch_start"]:
            callback(trainer)
        trainer.ema.update(net)
        seen.append((ramp_value(net), ramp_value(trainer.ema.ema)))
    assert seen == [(r, r) for r in (0, 0.5, 1, 1, 1, 1)]
