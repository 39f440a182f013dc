"""The articles' mistakes, as far as the four families are concerned, each with the right behaviour.

Weights (S3), sockets (C3 to C12, E6, A6) and restricted loading (S5) have their tests with the rooms they belong to.
"""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from families import ROOT, SMALL, calibrated, meta, relative, small
from torch import nn

from workbench import deploy
from workbench.backbones import FAMILIES, config_of, create_backbone, list_backbones
from workbench.backbones.fasternet import PConv
from workbench.backbones.mobileone import MobileOneUnit, SEBlock
from workbench.backbones.reparam import set_activation_ramp, to_deploy_
from workbench.errors import WorkbenchError


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


# ------------------------------------------------------------------ shared


@pytest.mark.parametrize("key", SMALL)
def test_s1_channels_come_from_the_configuration_not_from_a_forward_pass(key):
    model = small(key)
    for bn in norms(model):
        assert int(bn.num_batches_tracked) == 0
        assert torch.equal(bn.running_mean, torch.zeros_like(bn.running_mean))
        assert torch.equal(bn.running_var, torch.ones_like(bn.running_var))
    maps = model.eval()(torch.zeros(1, 3, 64, 64))
    assert [lv.channels for lv in model.feature_info] == [fmap.shape[1] for fmap in maps]


@pytest.mark.parametrize("family", FAMILIES)
def test_s2_the_image_may_have_any_number_of_channels(family):
    for in_chans in (1, 2, 6):
        assert len(small(family, in_chans=in_chans)(torch.randn(2, in_chans, 64, 64))) == 4
    with pytest.raises(WorkbenchError, match="in_chans=0"):
        create_backbone(family, in_chans=0)


def test_s4_starnet_keeps_the_official_initialisation_of_its_convolutions():
    """`isinstance(m, Linear or Conv2d)` reaches Linear alone; the published networks were trained from that."""
    torch.manual_seed(0)
    model = create_backbone("starnet_s1", num_classes=1000)
    weights = {name: p.detach() for name, p in model.named_parameters()}
    conv = weights["stages.3.0.conv.weight"]  # torch's own: uniform up to 1/√fan_in, not a normal of 0.02
    bound = 1 / math.sqrt(conv[0].numel())
    assert float(conv.abs().max()) <= bound
    assert float(conv.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert float(weights["stages.3.0.conv.bias"].abs().max()) > 0
    assert float(weights["head.weight"].std()) == pytest.approx(0.02, rel=0.02)
    assert float(weights["head.bias"].abs().max()) == 0
    fasternet = create_backbone("fasternet_t0")  # the official FasterNet does test both types
    assert float(fasternet.stages[5].reduction.weight.detach().std()) == pytest.approx(0.02, rel=0.02)


# ------------------------------------------------------------------ A and B: FasterNet


@pytest.mark.parametrize("form", ["split_cat", "slicing"])
def test_a1_forward_belongs_to_the_class(form):
    model = small("fasternet", pconv_fw_type=form).eval()
    assert not any("forward" in vars(m) for m in model.modules())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert relative(twin(x), model(x)) == 0


def test_a2_slicing_infers_and_says_why_it_cannot_train():
    trains, infers = PConv(16), PConv(16, form="slicing").eval()
    infers.load_state_dict(trains.state_dict())
    x = torch.randn(2, 16, 8, 8)
    before = x.clone()
    with torch.no_grad():
        assert torch.equal(infers(x), trains(x))
    assert torch.equal(x, before), "the block's shortcut still needs its input"
    with pytest.raises(RuntimeError, match="use form='split_cat'"):
        infers.train()(x)
    trains(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert trains.partial_conv3.weight.grad is not None
    with pytest.raises(ValueError, match="split_cat, slicing"):
        PConv(16, form="slice")


def test_a3_each_size_has_its_own_activation_and_drop_path():
    published = {"t0": (nn.GELU, 0.0), "t1": (nn.GELU, 0.02), "t2": (nn.ReLU, 0.05), "s": (nn.ReLU, 0.1)}
    published |= {"m": (nn.ReLU, 0.2), "l": (nn.ReLU, 0.3)}
    for size, (activation, drop_path) in published.items():
        model = meta(f"fasternet_{size}", num_classes=1000)
        kinds = {type(m) for m in model.modules() if isinstance(m, nn.GELU | nn.ReLU)}
        assert kinds == {activation}
        assert config_of(f"fasternet_{size}").drop_path_rate == drop_path
        assert model.stages[6].blocks[-1].drop_path.p == pytest.approx(drop_path)


def test_a4_without_a_head_there_are_four_features_and_with_one_there_are_logits():
    headless, classifier = small("fasternet"), small("fasternet", num_classes=10)
    x = torch.randn(2, 3, 64, 64)
    assert [tuple(f.shape) for f in headless(x)] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2)]
    assert classifier(x).shape == (2, 10)
    assert not hasattr(headless, "head")


def test_a5_no_environment_variable_changes_the_network(monkeypatch):
    before = list(small("fasternet", out_norm=True).state_dict())
    monkeypatch.setenv("FORK_LAST3", "1")
    model = small("fasternet", out_norm=True)
    assert list(model.state_dict()) == before
    assert len(model(torch.randn(2, 3, 64, 64))) == 4


# ------------------------------------------------------------------ C: StarNet


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 40), (1, 1), (33, 17)])
def test_c1_small_images_keep_all_four_levels(height, width):
    model = small("starnet").eval()
    maps = model(torch.randn(1, 3, height, width))
    assert [f.shape[1] for f in maps] == [lv.channels for lv in model.feature_info]
    for lv, fmap in zip(model.feature_info, maps, strict=True):
        assert tuple(fmap.shape[2:]) == (math.ceil(height / lv.stride), math.ceil(width / lv.stride))


def test_c2_the_depth_argument_has_an_effect():
    def blocks(**changes) -> list[int]:
        return [len(stage) - 1 for stage in meta("starnet_s1", **changes).stages]

    assert blocks() == [2, 2, 8, 3]
    assert blocks(depth=0.5) == [1, 1, 4, 2]
    assert blocks(depth=0.01) == [1, 1, 1, 1]
    assert blocks(depth=2.0) == [4, 4, 16, 6]


def test_widths_are_rounded_only_when_asked():
    assert [lv.channels for lv in meta("starnet_s100").feature_info] == [20, 40, 80, 160]
    assert [lv.channels for lv in meta("starnet_s100", round_to=8).feature_info] == [24, 48, 96, 192]
    for name in list_backbones("starnet_s?"):
        model = meta(name, width=0.25, round_to=8)
        assert [lv.channels for lv in model.feature_info] == [8, 16, 32, 64]
        assert model.stem[0].conv.out_channels == 8


# ------------------------------------------------------------------ D: MobileOne


def test_d1_a_family_lifted_out_with_its_layers_runs_alone(tmp_path):
    package = tmp_path / "lifted"
    package.mkdir()
    (package / "__init__.py").touch()
    program = "import sys, torch\ntorch.set_default_device('meta')\n"
    for name in ("layers", *FAMILIES):
        shutil.copy(ROOT / "workbench" / "backbones" / f"{name}.py", package)
    for family, (cls, variants) in FAMILIES.items():
        program += (
            f"from lifted.{family} import {cls}, VARIANTS\n"
            f"assert list(VARIANTS) == {list(variants)}\n"
            f"assert {cls}(VARIANTS[{variants[0]!r}], 10)(torch.zeros(2, 3, 64, 64)).shape == (2, 10)\n"
        )
    program += "assert not {'workbench', 'timm', 'torchvision', 'ultralytics'} & set(sys.modules)\n"
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@torch.no_grad()
def test_d2_squeeze_and_excitation_is_there_and_survives_the_merge():
    assert sum(isinstance(m, SEBlock) for m in meta("mobileone_s4").modules()) == 12
    assert sum(isinstance(m, SEBlock) for m in meta("mobileone_s3").modules()) == 0
    unit = calibrated(MobileOneUnit(8, 16, 3, 2, use_se=True), size=16)
    x = torch.randn(2, 8, 16, 16)
    merged = deploy(unit)
    assert sum(isinstance(m, SEBlock) for m in merged.modules()) == 2
    assert relative(merged(x), unit(x)) < 1e-5
    for se in (m for m in merged.modules() if isinstance(m, SEBlock)):
        se.expand.bias.sub_(3.0)  # what SE says must matter
    assert relative(merged(x), unit(x)) > 0.5


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (225, 319), (250, 64)])
def test_d3_any_image_size_works(height, width):
    model = small("mobileone", num_classes=5).eval()
    assert model(torch.randn(1, 3, height, width)).shape == (1, 5)


def test_d4_no_classes_means_no_head_and_none_is_refused():
    assert not hasattr(small("mobileone", num_classes=0), "linear")
    for wrong in (None, -1, 2.5, True):
        with pytest.raises(WorkbenchError, match="num_classes="):
            create_backbone("mobileone_s0", num_classes=wrong)


def test_d5_four_features():
    maps = small("mobileone")(torch.randn(2, 3, 64, 64))
    assert [tuple(f.shape) for f in maps] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4), (2, 128, 2, 2)]


def test_d6_it_is_the_official_mobileone():
    model = meta("mobileone_s0")
    assert model.stage0.rbr_scale is not None, "the first stage is a block with branches too"
    assert len(model.stage0.rbr_conv) == 1, "but not over-parameterised"
    assert len(model.stage3[0].rbr_conv) == 4
    # stage3 goes from 128 to 256 channels in its first pair; the later pointwise blocks keep 256 and have the bare BN
    assert model.stage3[1].rbr_skip is None
    assert isinstance(model.stage3[3].rbr_skip, nn.BatchNorm2d)
    unit = MobileOneUnit(16, 16, 3, 2)
    assert unit[0].rbr_skip is None, "a stride changes the shape"
    assert isinstance(unit[1].rbr_skip, nn.BatchNorm2d), "the pointwise block after a stride has its bare BN"


@torch.no_grad()
def test_d7_one_input_channel_merges_right():
    for model in (small("mobileone-k3-se", in_chans=1), MobileOneUnit(1, 8), MobileOneUnit(1, 1)):
        calibrated(model)
        x = torch.randn(2, 1, 64, 64)
        assert relative(deploy(model)(x), model(x)) < 1e-4


def test_d8_the_merged_network_trains():
    model = deploy(calibrated(small("mobileone-k3-se", num_classes=3))).train()
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = torch.randn(16, 3, 32, 32), torch.arange(16) % 3
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("k", "s", "d"), [(3, 1, 1), (3, 2, 2), (5, 1, 2), (7, 2, 1), (1, 1, 1)])
@torch.no_grad()
def test_d9_kernel_stride_dilation_and_padding_mode_survive(k, s, d, padding_mode):
    unit = calibrated(MobileOneUnit(4, 6, k, s, branches=2, d=d, padding_mode=padding_mode), size=24)
    merged = deploy(unit)
    conv = merged[0].reparam_conv
    assert (conv.kernel_size, conv.stride, conv.dilation) == ((k, k), (s, s), (d, d))
    assert (conv.groups, conv.padding_mode) == (4, padding_mode)
    x = torch.randn(2, 4, 21, 26)
    assert relative(merged(x), unit(x)) < 1e-4


def test_d9_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="expected an odd one"):
        MobileOneUnit(4, 4, 2)


# ------------------------------------------------------------------ E: VanillaNet


def test_e1_every_part_and_variant_is_there():
    module = importlib.import_module("workbench.backbones.vanillanet")
    assert len(module.VARIANTS) == 11
    for name in module.VARIANTS:
        depth = int(name.split("_")[1])
        model = meta(name, num_classes=10)
        assert len(model.stages) + 2 == depth, "stem and classifier count"


def test_e2_channels_are_in_feature_info_for_every_family():
    for family in FAMILIES:
        assert all(lv["channels"] == lv.channels > 0 for lv in small(family).feature_info)


@pytest.mark.parametrize("size", [330, 200, 100, 64])
@pytest.mark.parametrize("name", ["vanillanet_5", "vanillanet_6", "vanillanet_9", "vanillanet_13"])
def test_e3_features_are_picked_by_stage_at_any_size(name, size):
    maps = meta(name)(torch.zeros(1, 3, size, size, device="meta"))
    assert [tuple(f.shape[2:]) for f in maps] == [(size // s, size // s) for s in (4, 8, 16, 32)]
    assert [f.shape[1] for f in maps] == [512, 1024, 2048, 4096]


def test_e4_adaptive_pooling_is_for_classifiers_and_says_so():
    model = meta("vanillanet_13_x1_5_ada_pool", num_classes=10)
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 10)
    assert model(torch.zeros(1, 3, 300, 200, device="meta")).shape == (1, 10)
    headless = meta("vanillanet_13_x1_5_ada_pool")
    x = torch.zeros(1, 3, 224, 224, device="meta")
    for ask in (lambda: model.feature_info, lambda: model.forward_features(x), lambda: headless(x)):
        with pytest.raises(ValueError, match="classifier only") as error:
            ask()
        assert "vanillanet_13_x1_5" in str(error.value)
        assert "\n" not in str(error.value)


def test_e4_strides_that_give_no_four_levels_say_so_too():
    too_few = {"dims": (8, 8, 8), "strides": (2, 1)}
    three_pixel_stem = {"dims": (8, 8, 8, 8), "strides": (2, 2, 2), "ada_pool": (0, 0, 0)}
    for config in (too_few, three_pixel_stem):
        model = create_backbone("vanillanet", num_classes=3, **config)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)
        with pytest.raises(ValueError, match="classifier only"):
            _ = model.feature_info


@torch.no_grad()
def test_e5_merging_before_the_ramp_ends_is_refused_with_the_error_it_would_make():
    model = calibrated(small("vanillanet", num_classes=4))
    assert "act_learn" in model.state_dict()
    set_activation_ramp(model, 0.5)
    with pytest.raises(WorkbenchError, match=r"ramp is 0\.5: .* change the outputs by \d+\.\d+"):
        deploy(model)
    assert model.stem is None, "refused before anything was merged"


@pytest.mark.parametrize("key", SMALL)
@torch.no_grad()
def test_e7_merging_twice_changes_nothing(key):
    model = calibrated(small(key, num_classes=4))
    x = torch.randn(1, 3, 64, 64)
    once = to_deploy_(copy.deepcopy(model))
    want, keys = once(x), list(once.state_dict())
    assert to_deploy_(once) is once
    assert list(once.state_dict()) == keys
    assert relative(once(x), want) == 0
    for part in once.modules():
        if hasattr(part, "reparameterize"):
            part.reparameterize()
    assert relative(once(x), want) == 0


@pytest.mark.parametrize("key", SMALL)
@torch.no_grad()
def test_e8_the_deploy_forms_own_state_dict_loads(key):
    model = deploy(calibrated(small(key, num_classes=4)))
    fresh = create_backbone(SMALL[key][0], **{**SMALL[key][1], "num_classes": 4, "deploy": True}).eval()
    fresh.load_state_dict(model.state_dict(), strict=True)
    x = torch.randn(1, 3, 64, 64)
    assert relative(fresh(x), model(x)) == 0
