"""Networks built by the papers' own code: ours gives their logits, their four features and their deploy form."""

from __future__ import annotations

import pytest
import torch
from families import FIXTURES, fixture, relative
from safetensors.torch import load_file
from torch import nn

from workbench import deploy
from workbench.backbones import create_backbone
from workbench.backbones.reparam import ready_to_merge, set_activation_ramp, to_deploy_

FAMILIES = ("fasternet", "starnet", "mobileone", "vanillanet")
TOLERANCE = 1e-5  # relative: float32 noise
FEATURES = ("feat_s4", "feat_s8", "feat_s16", "feat_s32")


def build(family: str, **changes) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Return our network with the official weights in it, loaded strictly, and the official inputs and outputs."""
    model = create_backbone(family, **{**fixture(family)["config"], **changes}).eval()
    model.load_state_dict(load_file(FIXTURES / f"{family}_A.state.safetensors"), strict=True)
    return model, load_file(FIXTURES / f"{family}_A.io.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_features_and_parameters(family):
    model, io = build(family)
    assert relative(model(io["input"]), io["logits"]) < TOLERANCE
    assert relative(model.forward_features(io["input"]), [io[k] for k in FEATURES]) < TOLERANCE
    assert sum(p.numel() for p in model.parameters()) == fixture(family)["params"]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_deploy_gives_the_same_outputs(family):
    model, io = build(family)
    merged = deploy(model)
    suffix = "_deploy" if "logits_deploy" in io else ""
    assert relative(merged(io["input"]), io[f"logits{suffix}"]) < TOLERANCE
    assert relative(merged.forward_features(io["input"]), [io[k + suffix] for k in FEATURES]) < TOLERANCE
    assert relative(deploy(model.double())(io["input"].double()), model(io["input"].double())) < 1e-12


@pytest.mark.parametrize("family", ["mobileone", "vanillanet"])
@torch.no_grad()
def test_the_official_deploy_form_is_ours_key_by_key(family):
    official = load_file(FIXTURES / f"{family}_A.deploy.safetensors")
    model, io = build(family)
    ours = to_deploy_(model).state_dict()
    assert set(ours) == set(official)
    for key, value in official.items():
        assert relative(ours[key], value) < TOLERANCE, key
    direct = create_backbone(family, deploy=True, **fixture(family)["config"]).eval()
    direct.load_state_dict(official, strict=True)
    assert relative(direct(io["input"]), io["logits_deploy"]) < TOLERANCE
    assert relative(direct.forward_features(io["input"]), [io[f"{k}_deploy"] for k in FEATURES]) < TOLERANCE
    assert sum(p.numel() for p in direct.parameters()) == fixture(family)["deploy_params"]


@torch.no_grad()
def test_fasternet_detection_norms():
    config = fixture("fasternet")["config"] | {"num_classes": 0}
    model = create_backbone("fasternet", out_norm=True, **config).eval()
    model.load_state_dict(load_file(FIXTURES / "fasternet_A.det_state.safetensors"), strict=True)
    io = load_file(FIXTURES / "fasternet_A.io.safetensors")
    assert relative(model(io["input"]), [io[f"det{k}"] for k in FEATURES]) < TOLERANCE
    assert relative(deploy(model)(io["input"]), [io[f"det{k}"] for k in FEATURES]) < TOLERANCE


@torch.no_grad()
def test_mobileone_stem_output():
    model, io = build("mobileone")
    assert relative(model.stage0(io["input"]), io["feat_s2"]) < TOLERANCE


@torch.no_grad()
def test_vanillanet_in_the_middle_of_its_ramp():
    model, io = build("vanillanet")
    assert ready_to_merge(model), "an official file has no ramp, and that means 1"
    set_activation_ramp(model, 0.3)
    assert relative(model(io["input"]), io["logits_act_learn_0_3"]) < TOLERANCE
    assert relative(model(io["input"]), io["logits"]) > 0.1
    wrong = (to_deploy_(model)(io["input"]) - io["logits_act_learn_0_3"]).abs().max()
    assert float(wrong) == pytest.approx(fixture("vanillanet")["max_abs_diff_deploy_when_act_learn_0_3"], rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_fixtures_would_show_a_wrong_eps(family):
    model, io = build(family)
    for bn in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        bn.eps = 1e-3
    moved = float((model(io["input"]) - io["logits"]).abs().max())
    assert moved == pytest.approx(fixture(family)["sensitivity_logits_if_bn_eps_1e_3"], rel=1e-3)
