"""The eye, against cases that can be worked out by hand."""

import copy
import math

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.backbones.fasternet import PConv
from workbench.errors import WorkbenchError
from workbench.features import (
    branches,
    capture,
    channel_stats,
    cka,
    cka_matrix,
    effective_receptive_field,
    layer_cam,
    layers,
    star,
    touched_channels,
)
from workbench.features.similarity import hsic1

LEVEL_SHAPES = {"P2": 16, "P3": 8, "P4": 4, "P5": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# --- capture ---


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("name", ["fasternet_t0", "starnet_s050", "mobileone_s0", "vanillanet_5"])
def test_levels_of_every_family_in_both_forms(name, deploy):
    m = wb.create_backbone(name, deploy=deploy).eval()
    x = torch.randn(1, 3, 64, 64)
    maps = capture(m, x)
    with torch.no_grad():
        expected = m.forward_features(x)
    assert list(maps) == list(LEVEL_SHAPES)
    for level, ours, theirs in zip(m.feature_info, maps.values(), expected, strict=True):
        assert torch.equal(ours, theirs), level
        assert ours.shape == (1, level.channels, LEVEL_SHAPES[level.name], LEVEL_SHAPES[level.name])


def test_in_place_operators_do_not_change_what_was_captured():
    m = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 3, 5, 5)
    got = capture(m, x, ["0", "1"])
    assert got["0"].min() < 0
    assert torch.equal(got["1"], got["0"].relu())


def test_network_modes_and_hooks_are_left_as_they_were():
    m = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)).train()
    m[1].eval()
    capture(m, torch.randn(2, 3, 4, 4), "1")
    assert [m.training, m[0].training, m[1].training] == [True, True, False]
    assert int(m[0].num_batches_tracked) == 0
    assert not any(mod._forward_hooks for mod in m.modules())


def test_hooks_go_even_when_the_forward_fails():
    m = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(RuntimeError):
        capture(m, torch.randn(1, 5, 4, 4), "0")
    assert not m[0]._forward_hooks


def test_inside_a_detector_and_lists():
    yolo = pytest.importorskip("workbench.yolo")
    m = yolo.YOLO("yolo11n-fasternet_t0.yaml").model
    maps = capture(m, torch.zeros(1, 3, 64, 64), ["model.0", "model.1"])
    assert len(maps["model.0"]) == 4
    assert maps["model.1"].shape == maps["model.0"][0].shape == (1, 40, 16, 16)


def test_layers_come_in_running_order():
    shapes = layers(wb.create_backbone("fasternet_t0"), torch.zeros(1, 3, 64, 64))
    names = list(shapes)
    assert names.index("patch_embed") < names.index("stages.0") < names.index("stages.6")
    assert shapes["stages.2.blocks.1.spatial_mixing"] == (1, 80, 8, 8)


@pytest.mark.parametrize(
    ("names", "message"),
    [("stages.22", "did you mean"), ("P6", "levels: P2, P3, P4, P5"), ("head", "has no module"), ([], None)],
)
def test_unknown_names_are_answered(names, message):
    m = wb.create_backbone("fasternet_t0")
    if message is None:
        assert capture(m, torch.zeros(1, 3, 32, 32), names) == {}
    else:
        with pytest.raises(WorkbenchError, match=message):
            capture(m, torch.zeros(1, 3, 32, 32), names)


def test_a_module_that_did_not_run_is_named():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(WorkbenchError, match="'unused' did not run"):
        capture(Skip(), torch.zeros(1, 3, 4, 4), "unused")
    with pytest.raises(WorkbenchError, match="names no levels"):
        capture(Skip(), torch.zeros(1, 3, 4, 4))


# --- channels ---


def test_statistics_by_hand():
    maps = torch.zeros(4, 2, 2)
    maps[1] = 2.0
    maps[2] = torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    maps[3] = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]])
    s = channel_stats(maps)
    assert s.energy.tolist() == [0.0, 4.0, 4.0, 1.0]
    assert s.variance.tolist() == [0.0, 0.0, 3.0, 1.0]
    assert s.sparsity.tolist() == [1.0, 0.0, 0.75, 0.0]
    assert s.dead.tolist() == [True, False, False, False]
    assert s.order("energy") == [1, 2, 3, 0]
    assert s.order("variance") == [2, 3, 0, 1]
    assert s.order() == [0, 1, 2, 3]
    with pytest.raises(WorkbenchError, match="expected one of index"):
        s.order("size")


def test_statistics_run_over_batch_and_positions():
    x = torch.randn(3, 5, 4, 6)
    s = channel_stats(x)
    assert torch.allclose(s.energy, x.square().mean((0, 2, 3)))
    assert torch.allclose(s.variance, x.var((0, 2, 3), unbiased=False), atol=1e-6)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(0, 2, 2)])
def test_no_map_no_statistics(bad):
    with pytest.raises(WorkbenchError, match="expected"):
        channel_stats(bad)


def test_touched_channels_are_those_the_convolution_changes():
    m = PConv(16).eval()
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        y = m(x)
    n = touched_channels(m)
    assert n == 4
    assert not torch.isclose(y[:, :n], x[:, :n]).all(dim=(0, 2, 3)).any()
    assert torch.equal(y[:, n:], x[:, n:])
    assert touched_channels(nn.Conv2d(3, 3, 1)) is None


# --- families ---


def test_star_is_the_product_the_block_uses():
    m = wb.create_backbone("starnet_s050").eval()
    x = torch.randn(2, 3, 64, 64)
    s = star(m, x, "stages.1.1")
    assert torch.equal(s.product, s.x1 * s.x2)
    assert 0 <= s.x1.min() <= s.x1.max() <= 6  # ReLU6
    assert s.x2.min() < 0
    with pytest.raises(WorkbenchError, match="not a star block"):
        star(m, x, "stem")


def test_branches_add_up_to_what_the_merged_block_computes():
    m = wb.create_backbone("mobileone_s0").eval()
    for norm in (b for b in m.modules() if isinstance(b, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 2.0)
    x = torch.randn(1, 3, 64, 64)
    name = next(n for n, b in m.named_modules() if getattr(b, "rbr_skip", None) is not None and b.rbr_scale is not None)
    parts = branches(m, x, name)
    assert list(parts) == ["conv 0", "conv 1", "conv 2", "conv 3", "scale", "skip", "sum"]
    assert torch.allclose(parts["sum"], sum(v for k, v in parts.items() if k != "sum"), atol=1e-5)
    merged = copy.deepcopy(m)
    merged.get_submodule(name).reparameterize()
    assert torch.allclose(capture(merged, x, name)[name], parts["sum"].relu(), atol=1e-4)
    with pytest.raises(WorkbenchError, match="is merged"):
        branches(merged, x, name)
    with pytest.raises(WorkbenchError, match="parallel branches"):
        branches(m, x, "stage1")


# --- receptive field ---


class Average(nn.Module):
    """k × k means: every pixel of the window has the same influence."""

    def __init__(self, k, stride=1):
        super().__init__()
        self.pool = nn.AvgPool2d(k, stride, padding=k // 2)

    def forward(self, x):
        return self.pool(x)


def test_field_of_a_mean_is_its_window():
    field = effective_receptive_field(Average(5), "pool", imgsz=21, samples=2)
    window = torch.zeros(21, 21)
    window[8:13, 8:13] = 1 / 25
    assert torch.allclose(field.influence, window, atol=1e-6)
    assert field.reach == (5, 5)
    assert field.side(1.0) == 5
    assert field.side(0.3) == 3  # 9 of 25 pixels hold 36 %
    assert field.side(0.01) == 1


def test_field_of_stacked_convolutions_grows_by_two_and_is_denser_inside():
    convs = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(6)))
    field = effective_receptive_field(convs, "5", imgsz=33)
    assert field.reach == (13, 13)
    assert field.influence[16, 16] > 5 * field.influence[10, 10] > 0
    assert field.side(0.95) < 13


def test_stride_multiplies_the_field():
    deep = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 3, padding=1))
    field = effective_receptive_field(deep, "1", imgsz=(32, 40))
    assert field.reach == (12, 12)
    assert field.unit == (4, 5)
    assert field.centre == (18, 22)


def test_pconv_networks_have_a_field_at_every_level():
    m = wb.create_backbone("fasternet_t0")
    sides = [effective_receptive_field(m, lv, imgsz=96, samples=2).side(0.95) for lv in ("P2", "P3", "P4")]
    assert sides[0] < sides[1] < sides[2]


@pytest.mark.parametrize("call", [lambda: Average(3), lambda: nn.Sequential(nn.Flatten())])
def test_field_needs_a_map_and_a_share(call):
    m = call()
    if isinstance(m, nn.Sequential):
        with pytest.raises(WorkbenchError, match="no map"):
            effective_receptive_field(m, "0", imgsz=8)
    else:
        with pytest.raises(WorkbenchError, match="above 0"):
            effective_receptive_field(m, "pool", imgsz=9).side(0)


# --- CKA ---


def test_hsic1_by_hand():
    """Song et al., equation 5, written out element by element on a 5 × 5 example."""
    k, m = (torch.rand(5, 5, dtype=torch.float64) for _ in range(2))
    k, m = k + k.T, m + m.T
    k0, m0, n = k - torch.diag(k.diag()), m - torch.diag(m.diag()), 5
    one = torch.ones(n, dtype=torch.float64)
    by_hand = (k0 @ m0).trace() + (one @ k0 @ one) * (one @ m0 @ one) / (4 * 3) - 2 / 3 * one @ k0 @ m0 @ one
    assert hsic1(k, m) == pytest.approx(float(by_hand / (n * (n - 3))))


def test_unrelated_layers_score_zero_where_the_biased_estimator_does_not():
    x, y = torch.randn(40, 500), torch.randn(40, 500)
    scores = [cka(torch.randn(40, 500), torch.randn(40, 500)) for _ in range(20)]
    assert abs(sum(scores) / 20) < 0.02
    k, m = ((t - t.mean(0)) @ (t - t.mean(0)).T for t in (x, y))
    biased = float((k * m).sum() / (k.norm() * m.norm()))
    assert biased > 0.5  # what Kornblith's estimator says of two unrelated layers


def test_cka_ignores_scale_and_rotation_and_sees_change():
    x = torch.randn(60, 10)
    rotation = torch.linalg.qr(torch.randn(10, 10))[0]
    assert cka(x, 5 * x @ rotation) == pytest.approx(1, abs=1e-5)
    assert 0.2 < cka(x, x + 2 * torch.randn(60, 10)) < 0.9
    assert cka(x, x.reshape(60, 2, 5)) == pytest.approx(1)


def test_cka_matrix_averages_batches_and_knows_itself():
    m = wb.create_backbone("starnet_s050")
    batches = [torch.randn(6, 3, 32, 32) for _ in range(2)]
    c = cka_matrix(m, ["P2", "P3", "P5"], m, ["P2", "P3", "P5"], batches)
    assert torch.allclose(c.diagonal(), torch.ones(3, dtype=torch.float64))
    assert torch.allclose(c, c.T)
    one = cka_matrix(m, ["P2"], m, ["P3"], batches[:1])
    maps = capture(m, batches[0], ["P2", "P3"])
    assert float(one) == pytest.approx(cka(maps["P2"], maps["P3"]))


def test_a_layer_that_says_nothing_is_like_no_other():
    m = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    torch.nn.init.constant_(m[0].bias, -1e3)  # every ReLU is dead
    x = torch.randn(5, 3, 8, 8)
    c = cka_matrix(m, ["0", "1"], m, ["0", "1"], [x])
    assert c[0, 0] == pytest.approx(1)
    assert torch.isnan(c[:, 1]).all()
    assert math.isnan(cka(torch.zeros(5, 4), x.flatten(1)))


def test_cka_needs_four_examples():
    with pytest.raises(WorkbenchError, match="4 or more"):
        cka(torch.randn(3, 2), torch.randn(3, 2))
    with pytest.raises(WorkbenchError, match="same 4"):
        cka(torch.randn(5, 2), torch.randn(6, 2))
    m = nn.Sequential(nn.Flatten())
    with pytest.raises(WorkbenchError, match="4 or more"):
        cka_matrix(m, ["0"], m, ["0"], [torch.randn(3, 3, 4, 4)])
    with pytest.raises(WorkbenchError, match="no batch"):
        cka_matrix(m, ["0"], m, ["0"], [])


# --- LayerCAM ---


class Corner(nn.Module):
    """Class 0 is the mean of channel 0 minus that of channel 1."""

    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        m = self.same(x * 1.0).mean((2, 3))
        return torch.stack([m[:, 0] - m[:, 1], m[:, 1]], 1)


def test_layer_cam_by_hand():
    """∂score/∂A is 1/64 on channel 0 and −1/64 on channel 1, so the map is channel 0 where it is positive."""
    x = torch.zeros(1, 3, 8, 8)
    x[0, 0, 2, 3], x[0, 0, 5, 5], x[0, 0, 1, 1], x[0, 1, 7, 7] = 4.0, 2.0, -3.0, 9.0
    cam = layer_cam(Corner(), x, "same", class_index=0)
    expected = torch.zeros(8, 8)
    expected[2, 3], expected[5, 5] = 1.0, 0.5
    assert torch.allclose(cam, expected, atol=1e-6)
    assert layer_cam(Corner(), x, "same").argmax() == 63  # the highest score is class 1


def test_layer_cam_on_a_classifier_has_the_image_s_size():
    m = wb.create_backbone("fasternet_t0", num_classes=5)
    x = torch.randn(1, 3, 64, 96)
    cam = layer_cam(m, x, "P4", 2)
    assert cam.shape == (64, 96)
    assert 0 <= cam.min() <= cam.max() <= 1
    assert not cam.requires_grad
    assert all(p.grad is None for p in m.parameters())


@pytest.mark.parametrize(
    ("make", "x", "name", "index", "message"),
    [
        (lambda: wb.create_backbone("fasternet_t0"), (1, 3, 32, 32), "P3", None, "num_classes > 0"),
        (lambda: wb.create_backbone("fasternet_t0", num_classes=3), (2, 3, 32, 32), "P3", None, "one image"),
        (lambda: wb.create_backbone("fasternet_t0", num_classes=3), (1, 3, 32, 32), "P3", 3, "classes are 0 to 2"),
        (lambda: wb.create_backbone("fasternet_t0", num_classes=3), (1, 3, 32, 32), "head", None, "no map"),
    ],
)
def test_layer_cam_bad_input(make, x, name, index, message):
    with pytest.raises(WorkbenchError, match=message):
        layer_cam(make(), torch.zeros(x), name, index)
