"""Re-parameterisation: the deploy form computes the same function, for every variant and every kind of block."""

from __future__ import annotations

import copy
import itertools
import logging
import pickle

import pytest
import torch
from families import SMALL, calibrated, randomised, relative, small
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from workbench import deploy
from workbench.backbones import create_backbone, list_backbones
from workbench.backbones.layers import bn_scale_shift, fold_conv_bn, merge_convs
from workbench.backbones.mobileone import MobileOneBlock, MobileOneUnit
from workbench.backbones.reparam import (
    is_deployed,
    ramp_schedule,
    ramp_value,
    ready_to_merge,
    set_activation_ramp,
    to_deploy_,
)
from workbench.backbones.vanillanet import Block
from workbench.errors import WorkbenchError

HEAVY = {"fasternet_s", "fasternet_m", "fasternet_l", *(f"vanillanet_{depth}" for depth in range(6, 10))}
UP_TO_VANILLANET_9 = [v for v in list_backbones("*_*") if not v.startswith("vanillanet_1")]


def cases() -> list:
    return [pytest.param(v, marks=pytest.mark.long if v in HEAVY else ()) for v in UP_TO_VANILLANET_9]


def batch_norms(model: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


# ------------------------------------------------------------------ whole networks


@pytest.mark.parametrize("name", cases())
@torch.no_grad()
def test_deploy_equals_train(name):
    model = randomised(create_backbone(name, num_classes=10))
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    for dtype, limit in ((torch.float32, 1e-4), (torch.float64, 1e-10)):
        model.to(dtype)
        merged = deploy(model, x.to(dtype))
        assert merged.deploy_report.difference < limit
        assert relative(merged.forward_features(x.to(dtype)), model.forward_features(x.to(dtype))) < limit
    assert is_deployed(merged)
    assert not is_deployed(model)
    assert batch_norms(merged) == 0


@torch.no_grad()
def test_a_network_that_amplifies_rounding_is_compared_in_float64():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
    model[0].bias.add_(1e6)  # float32 is left with a resolution of 0.06 here,
    model[1].running_mean.add_(1e6)  # which BN uncovers; folding removes the large number
    report = deploy(model).deploy_report
    assert report.difference > 1e-3
    assert report.difference_float64 < 1e-6
    assert "in float64 by" in str(report)
    assert "differs by" in refusal(model, tolerance=1e-3)


@pytest.mark.parametrize("key", SMALL)
@torch.no_grad()
def test_deploy_is_a_copy_trainable_and_idempotent(key):
    model = calibrated(small(key, num_classes=4))
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    once = deploy(model)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    twice = deploy(once)
    assert relative(twice(x), once(x)) == 0
    assert twice.deploy_report.difference == 0
    assert list(twice.state_dict()) == list(once.state_dict())
    assert not any(m.training for m in once.modules())
    assert all(p.requires_grad for p in once.parameters())
    with torch.enable_grad():
        optimizer = torch.optim.SGD(once.parameters(), lr=1e-3)
        once.train()(x).square().mean().backward()
        optimizer.step()
    assert relative(once.eval()(x), twice(x)) > 0


@pytest.mark.parametrize("key", SMALL)
def test_frozen_weights_stay_frozen(key):
    model = calibrated(small(key)).requires_grad_(False)
    assert not any(p.requires_grad for p in deploy(model).parameters())


@torch.no_grad()
def test_norms_on_the_levels_stay_and_the_rest_folds():
    model = calibrated(small("fasternet", out_norm=True))
    merged = deploy(model)
    assert batch_norms(merged) == 4, "after an addition there is no convolution to fold into"
    assert is_deployed(merged)
    x = torch.randn(1, 3, 64, 64)
    assert relative(merged(x), model(x)) < 1e-5


def test_deploy_draws_no_random_number_and_leaves_the_mode_alone():
    model = calibrated(small("mobileone-k3-se"))
    before = torch.random.get_rng_state()
    deploy(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(m.training for m in to_deploy_(model.train()).modules())


def test_the_report_is_kept_printed_and_logged(caplog):
    model = calibrated(small("mobileone"))
    with caplog.at_level(logging.INFO, logger="workbench"):
        merged = deploy(model)
    report = merged.deploy_report
    assert report.params_train == sum(p.numel() for p in model.parameters())
    assert report.params_deploy == sum(p.numel() for p in merged.parameters()) < report.params_train
    assert 0 < report.difference < 1e-4
    assert (report.dtype, report.input_shape) == ("float32", (2, 3, 64, 64))
    assert caplog.messages == [str(report)]
    assert f"{report.params_train:,} → {report.params_deploy:,}" in str(report)
    assert pickle.loads(pickle.dumps(merged)).deploy_report == report


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision_networks_deploy(dtype):
    model = calibrated(small("mobileone")).to(dtype)
    merged = deploy(model)
    assert {p.dtype for p in merged.parameters()} == {dtype}


def test_an_input_of_your_own_is_what_is_compared():
    model = calibrated(small("starnet"))
    assert deploy(model, torch.randn(1, 3, 96, 32)).deploy_report.input_shape == (1, 3, 96, 32)


# ------------------------------------------------------------------ refusals


def refusal(model: nn.Module, **options) -> str:
    with pytest.raises(WorkbenchError) as error:
        deploy(model, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("switch", [deploy, to_deploy_])
def test_a_name_is_not_a_network(switch):
    with pytest.raises(WorkbenchError, match=rf"{switch.__name__}\(\) got 'starnet_s1', not a network; give what wb"):
        switch("starnet_s1")


def test_training_mode_is_refused():
    model = calibrated(small("starnet"))
    assert "call .eval() first" in refusal(model.train())
    model.eval().stages[1].train()
    assert "call .eval() first" in refusal(model), "one stage in training mode is enough"


def test_no_weights_and_no_convolution_are_refused():
    assert "to_deploy_()" in refusal(small("starnet").eval().to("meta"))
    assert "deploy(model, x)" in refusal(nn.Linear(3, 3).eval())
    assert deploy(nn.Linear(3, 3).eval(), torch.randn(2, 3)).deploy_report.difference == 0


class Liar(nn.Module):
    """A block whose deploy form forgets its bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)

    def reparameterize(self) -> None:
        nn.init.zeros_(self.conv.bias)


def test_a_wrong_deploy_form_is_refused_with_its_difference():
    model = nn.Sequential(Liar()).eval()
    assert "differs by" in refusal(model)
    assert deploy(model, tolerance=10.0).deploy_report.difference > 0.01
    assert "more than 1e-09; check" in refusal(nn.Sequential(Liar()).eval().double()), "float64 is held to more"
    nn.init.constant_(model[0].conv.weight, float("nan"))
    assert "differs by nan" in refusal(model)


# ------------------------------------------------------------------ the parts


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("stride", "dilation", "groups", "bias"), [(1, 1, 1, False), (2, 2, 4, True), (3, 1, 8, False)]
)
@torch.no_grad()
def test_folding_keeps_every_setting_of_the_convolution(padding_mode, stride, dilation, groups, bias):
    conv = nn.Conv2d(8, 16, 3, stride, 2, dilation, groups, bias, padding_mode).double()
    pair = calibrated(nn.Sequential(conv, nn.BatchNorm2d(16, eps=1e-2).double()), size=16)
    folded = fold_conv_bn(*pair)
    x = torch.randn(2, 8, 17, 13).double()
    assert relative(folded(x), pair(x)) < 1e-12
    assert (folded.stride, folded.dilation, folded.groups) == (conv.stride, conv.dilation, conv.groups)


@torch.no_grad()
def test_bn_without_affine_folds_and_without_statistics_is_left():
    plain = calibrated(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)))
    bn = nn.BatchNorm2d(8, affine=False)
    bn.running_mean, bn.running_var = plain[1].running_mean, plain[1].running_var
    bare = nn.Sequential(plain[0], bn).eval()
    x = torch.randn(2, 3, 9, 9)
    assert relative(fold_conv_bn(*bare)(x), bare(x)) < 1e-5
    stateless = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match="track_running_stats=True"):
        bn_scale_shift(stateless[1])
    assert batch_norms(to_deploy_(stateless)) == 1


@pytest.mark.parametrize("bias", list(itertools.product([True, False], repeat=2)))
@torch.no_grad()
def test_a_convolution_and_a_pointwise_one_merge(bias):
    first, second = nn.Conv2d(6, 10, 3, stride=2, bias=bias[0]).double(), nn.Conv2d(10, 4, 1, bias=bias[1]).double()
    x = torch.randn(2, 6, 11, 9).double()
    assert relative(merge_convs(first, second)(x), second(first(x))) < 1e-12


@pytest.mark.parametrize(
    ("first", "second"),
    [({"groups": 2}, {}), ({}, {"groups": 2}), ({}, {"kernel_size": 3}), ({}, {"stride": 2})],
    ids=["grouped first", "grouped second", "3×3 second", "strided second"],
)
def test_what_does_not_merge_is_refused_rather_than_merged_wrongly(first, second):
    pair = nn.Conv2d(6, 10, 3, **first), nn.Conv2d(10, 4, **{"kernel_size": 1, **second})
    with pytest.raises(ValueError, match="do not merge"):
        merge_convs(*pair)


BLOCKS = [
    {"c1": 8, "c2": 8, "kernel_size": 3, "groups": 8},
    {"c1": 8, "c2": 8, "kernel_size": 3, "groups": 2, "num_conv_branches": 3},
    {"c1": 8, "c2": 12, "kernel_size": 1, "num_conv_branches": 4},
    {"c1": 8, "c2": 8, "kernel_size": 1, "num_conv_branches": 2, "use_se": True},
    {"c1": 1, "c2": 8, "kernel_size": 3, "stride": 2},
    {"c1": 1, "c2": 1, "kernel_size": 3, "num_conv_branches": 2},
    {"c1": 8, "c2": 8, "kernel_size": 5, "dilation": 2, "groups": 4},
    {"c1": 8, "c2": 8, "kernel_size": 7, "stride": 3, "groups": 8, "use_se": True},
]


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("block", BLOCKS, ids=str)
@torch.no_grad()
def test_every_kind_of_mobileone_block_merges(block, padding_mode):
    model = calibrated(MobileOneBlock(**block, padding_mode=padding_mode).double(), size=24)
    merged = deploy(model)
    x = torch.randn(2, block["c1"], 23, 18).double()
    assert relative(merged(x), model(x)) < 1e-11
    convs = [m for m in merged.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == (3 if block.get("use_se") else 1)


@pytest.mark.parametrize("key", ["vanillanet", "vanillanet-stem-is-p2"])
@torch.no_grad()
def test_without_merging_only_bn_folds_at_any_ramp(key):
    model = calibrated(small(key, num_classes=4).double())
    set_activation_ramp(model, 0.4)
    x = torch.randn(2, 3, 64, 64).double()
    partial = to_deploy_(copy.deepcopy(model), merge=False)
    assert relative(partial(x), model(x)) < 1e-12
    assert batch_norms(partial) == 0
    assert not is_deployed(partial)
    assert ramp_value(partial) == pytest.approx(0.4)
    set_activation_ramp(partial, 1.0)
    set_activation_ramp(model, 1.0)
    assert relative(deploy(partial)(x), model(x)) < 1e-12, "the pairs can still merge later"


@torch.no_grad()
def test_without_merging_the_other_families_reach_their_deploy_form():
    for key in ("fasternet", "starnet", "mobileone-k3-se"):
        assert is_deployed(to_deploy_(small(key), merge=False))


def test_a_vanillanet_block_by_itself_halves_the_map():
    block = calibrated(Block(3, 8), size=16)
    x = torch.randn(1, 3, 16, 16)
    assert block(x).shape == (1, 8, 8, 8)
    assert relative(deploy(block)(x), block(x)) < 1e-5


def test_a_part_of_a_larger_model_can_switch():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), MobileOneUnit(8, 16, 3, 2))
    calibrated(model)
    x = torch.randn(1, 3, 32, 32)
    want = model(x)
    assert relative(to_deploy_(model)(x), want) < 1e-5
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 3


# ------------------------------------------------------------------ the activation ramp


@torch.no_grad()
def test_the_ramp_is_refused_below_one_and_the_error_is_measured():
    model = calibrated(small("vanillanet", num_classes=4))
    x = torch.randn(2, 3, 64, 64)
    for ramp in (0.0, 0.5, 0.99):
        set_activation_ramp(model, ramp)
        message = refusal(model, x=x)
        really = relative(to_deploy_(copy.deepcopy(model))(x), model(x))
        assert really > 1e-4
        assert f"ramp is {ramp:g}" in message
        assert f"{really:.2g} (relative)" in message
    set_activation_ramp(model, 1)
    assert deploy(model).deploy_report.difference < 1e-4


def test_the_ramp_is_one_scalar_buffer_written_in_place():
    model = small("vanillanet")
    assert [(n, b.shape) for n, b in model.named_buffers() if "act_learn" in n] == [("act_learn", ())]
    tensor = model.act_learn
    assert set_activation_ramp(model, 0.25) == 1
    assert model.act_learn is tensor
    assert float(tensor) == 0.25
    assert set_activation_ramp(nn.ModuleList([model, small("vanillanet"), small("starnet")]), 0.5) == 2
    assert ramp_value(nn.ModuleList([model, small("vanillanet")])) == 0.5, "the lowest counts"
    assert set_activation_ramp(small("fasternet"), 0.5) == 0
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(WorkbenchError, match="expected 0"):
            set_activation_ramp(model, wrong)


@torch.no_grad()
def test_the_ramp_goes_where_the_weights_go():
    model = calibrated(small("vanillanet", num_classes=4))
    x = torch.randn(1, 3, 64, 64)
    full = model(x)
    set_activation_ramp(model, 0.25)
    want = model(x)
    assert relative(want, full) > 1e-2
    fresh = small("vanillanet", num_classes=4).eval()
    fresh.load_state_dict(model.state_dict(), strict=True)
    for twin in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert ramp_value(twin) == 0.25
        assert relative(twin(x), want) == 0
        set_activation_ramp(twin, 1.0)
        assert relative(twin(x), full) == 0
    assert ramp_value(model) == 0.25, "a copy has a ramp of its own"
    assert ramp_value(copy.deepcopy(model).half()) == 0.25
    assert model.to(torch.float64)(x.double()).dtype == torch.float64
    assert model.to("meta")(x.double().to("meta")).is_meta


@torch.no_grad()
def test_the_ramp_works_under_fake_tensors_autocast_and_export():
    model = calibrated(small("vanillanet"))
    set_activation_ramp(model, 0.25)
    x = torch.randn(1, 3, 64, 64)
    want = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert relative([y.float() for y in model(x)], want) < 0.1
    exported = torch.export.export(model, (x,))
    assert relative(exported.module()(x), want) < 1e-5
    assert float(dict(exported.named_buffers())["act_learn"]) == 0.25
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert [tuple(y.shape) for y in model(torch.empty(1, 3, 64, 64))] == [tuple(y.shape) for y in want]


def test_a_file_without_the_ramp_means_one_and_a_partial_file_leaves_it():
    model = small("vanillanet")
    official = {k: v for k, v in model.state_dict().items() if k != "act_learn"}
    set_activation_ramp(model, 0.25)
    model.load_state_dict({"stages.0.act.weight": official["stages.0.act.weight"]}, strict=False)
    assert ramp_value(model) == 0.25
    model.load_state_dict(official, strict=True)
    assert ramp_value(model) == 1.0
    wrapped = nn.ModuleDict({"backbone": model})
    set_activation_ramp(wrapped, 0.25)
    wrapped.load_state_dict({f"backbone.{k}": v for k, v in official.items()}, strict=True)
    assert ramp_value(wrapped) == 1.0


def test_the_deploy_form_has_no_ramp():
    merged = deploy(calibrated(small("vanillanet")))
    assert ramp_value(merged) is None
    assert ready_to_merge(merged)
    assert "act_learn" not in merged.state_dict()


def test_the_activation_fades_like_a_leaky_relu():
    from workbench.backbones.vanillanet import fading_relu

    x = torch.linspace(-3, 3, 25, dtype=torch.float64, requires_grad=True)
    for ramp in (0.0, 0.3, 1.0):
        y, want = fading_relu(x, torch.tensor(ramp)), nn.functional.leaky_relu(x, ramp)
        torch.testing.assert_close(y, want)
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], torch.autograd.grad(want.sum(), x)[0])
    assert torch.equal(fading_relu(x, 1.0), x), "at 1 it is the identity to the last bit"


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedules_rise_from_zero_to_one_and_stay(kind):
    values = [ramp_schedule(epoch, 100, kind) for epoch in range(150)]
    assert values[0] == 0.0
    assert values[50] == pytest.approx(0.5)
    assert values == sorted(values)
    assert set(values[100:]) == {1.0}
    assert ramp_schedule(0, 0, kind) == 1.0
    with pytest.raises(WorkbenchError, match="linear, cosine"):
        ramp_schedule(1, 10, "square")
