"""The contract every backbone keeps, written once and run over the registry."""

from __future__ import annotations

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from families import SMALL, calibrated, meta, relative, small, table, tensors
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workbench import deploy
from workbench.backbones import FAMILIES, create_backbone, list_backbones
from workbench.errors import WorkbenchError

VARIANTS = [row["variant"] for row in table("backbones.csv")]
WITH_LEVELS = [name for name in VARIANTS if not name.endswith("ada_pool")]
ROWS = {row["variant"]: row for row in table("backbones.csv")}
SIZES = [(224, 224), (320, 320), (256, 416), (225, 319)]  # H, W; the last is odd in every level


def params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, height: int = 224, width: int = 224) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2


# ------------------------------------------------------------------ numbers


def test_the_table_has_every_variant():
    assert list_backbones("*_*") == VARIANTS == [v for _, variants in FAMILIES.values() for v in variants]


def test_a_pattern_is_a_string():
    with pytest.raises(WorkbenchError, match=r"a pattern is a string such as 'starnet\*'; came 5"):
        list_backbones(5)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_and_macs_in_both_forms(name):
    row = ROWS[name]
    train = meta(name, num_classes=1000)
    assert (params(train), macs(train)) == (int(row["params_train"]), int(row["macs_train"]))
    merged = meta(name, num_classes=1000, deploy=True)
    if row["params_deploy"]:
        assert (params(merged), macs(merged)) == (int(row["params_deploy"]), int(row["macs_deploy"]))
    else:  # no official deploy form: folding BN keeps every multiplication and drops two numbers per channel
        assert macs(merged) == macs(train)
        assert params(merged) < params(train)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in merged.modules())


@pytest.mark.parametrize("row", table("detectors.csv"), ids=lambda r: f"{r['host']}-{r['backbone']}-{r['arguments']}")
def test_a_detectors_backbone_has_its_parameters_and_channels(row):
    changes: dict = {"deploy": row["arguments"] == "deploy form"}
    if row["arguments"].startswith("width"):
        changes |= {"width": float(row["arguments"].split()[1]), "round_to": 8}
    if row["arguments"] == "article defaults (ReLU)":
        changes |= {"drop_path_rate": 0.1, "act_layer": "RELU"}
    if row["backbone"].startswith("fasternet"):
        changes["out_norm"] = True  # the articles' FasterNet has a norm on each level, even P2, which no head reads
    model = meta(row["backbone"], **changes)
    assert "/".join(str(lv.channels) for lv in model.feature_info) == row["backbone_channels"]
    assert params(model) == int(row["backbone_params"])


# ------------------------------------------------------------------ levels


@pytest.mark.parametrize("name", WITH_LEVELS)
def test_channels_strides_and_map_sizes(name):
    for form in (False, True):
        model = meta(name, deploy=form)
        info = model.feature_info
        assert "/".join(str(lv.channels) for lv in info) == ROWS[name]["channels"]
        assert "/".join(str(lv.stride) for lv in info) == ROWS[name]["strides"]
        assert [lv.name for lv in info] == ["P2", "P3", "P4", "P5"]
        for height, width in SIZES:
            maps = model.forward_features(torch.zeros(1, 3, height, width, device="meta"))
            for lv, fmap in zip(info, maps, strict=True):
                assert fmap.shape[:2] == (1, lv.channels)
                for side, pixels in zip(fmap.shape[2:], (height, width), strict=True):
                    assert side in {math.floor(pixels / lv.stride), math.ceil(pixels / lv.stride)}


@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("key", SMALL)
def test_a_level_is_the_output_of_the_module_it_names(key, form):
    model = small(key, deploy=form).eval()
    seen: dict[str, torch.Tensor] = {}
    for lv in model.feature_info:
        model.get_submodule(lv.module).register_forward_hook(lambda _m, _x, y, name=lv.name: seen.__setitem__(name, y))
    for lv, fmap in zip(model.feature_info, model.forward_features(torch.randn(1, 3, 64, 64)), strict=True):
        assert seen[lv.name] is fmap


@pytest.mark.parametrize("key", SMALL)
def test_forward_gives_logits_with_a_head_and_the_levels_without(key):
    x = torch.randn(2, 3, 64, 64)
    headless, classifier = small(key).eval(), small(key, num_classes=7).eval()
    assert classifier(x).shape == (2, 7)
    assert relative(headless(x), headless.forward_features(x)) == 0
    shared = {k: v for k, v in classifier.state_dict().items() if k in headless.state_dict()}
    assert set(shared) == set(headless.state_dict()), "a classifier is its backbone with a head on top"
    headless.load_state_dict(shared)
    assert relative(headless(x), classifier.forward_features(x)) == 0


@pytest.mark.parametrize("key", SMALL)
@pytest.mark.parametrize("in_chans", [1, 4])
def test_other_input_channels(key, in_chans):
    model = small(key, in_chans=in_chans, num_classes=3)
    assert next(model.parameters()).shape[1] == in_chans, "ultralytics reads the input channels there"
    assert model(torch.randn(2, in_chans, 64, 64)).shape == (2, 3)
    deployed = small(key, in_chans=in_chans, deploy=True)
    assert next(deployed.parameters()).shape[1] == in_chans


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("head", [0, 5], ids=["levels", "logits"])
@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("key", SMALL)
def test_every_parameter_gets_a_gradient(key, form, head):
    model = calibrated(small(key, num_classes=head))
    model = (deploy(model) if form else model).train()
    out = model(torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    sum(y.square().mean() for y in tensors(out)).backward()
    none = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert none == []
    # A bias in front of BN moves nothing (BN subtracts it again); every other parameter must really be pulled.
    still = [n for n, p in model.named_parameters() if p.ndim > 1 and not p.grad.abs().max() > 0]
    assert still == []


def test_norms_for_some_levels_are_built_and_trained_for_those_alone():
    model = small("fasternet", out_norm=("P3", "P4", "P5"))
    assert [n for n, _ in model.named_children() if n.startswith("norm")] == ["norm2", "norm4", "norm6"]
    sum(y.square().mean() for y in model(torch.randn(2, 3, 64, 64))[1:]).backward()
    assert all(p.grad is not None for p in model.parameters())


# ------------------------------------------------------------------ copies and files


@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("key", SMALL)
@torch.no_grad()
def test_copy_pickle_and_state_dict_round_trips(key, form):
    model = calibrated(small(key, num_classes=5, deploy=form))
    x = torch.randn(1, 3, 64, 64)
    want = model(x)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh = create_backbone(SMALL[key][0], **{**SMALL[key][1], "num_classes": 5, "deploy": form}).eval()
    fresh.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    for twin in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert relative(twin(x), want) == 0
        assert twin.feature_info == model.feature_info
        next(twin.parameters()).add_(1.0)  # the copies own their weights
    assert relative(model(x), want) == 0


@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("key", ["fasternet", "starnet", "mobileone-k3-se", "vanillanet"])
def test_torch_export(key, form):
    model = calibrated(small(key, deploy=form))
    x = torch.randn(1, 3, 64, 64)
    exported = torch.export.export(model, (x,))
    assert relative(exported.module()(x), model(x)) < 1e-5
    y = torch.randn(1, 3, 64, 64)
    assert relative(exported.module()(y), model(y)) < 1e-5


def onnx_outputs(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Export without TorchScript, check, and run in onnxruntime."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    onnx.checker.check_model(program.model_proto)
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(np.asarray(y)) for y in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ["fasternet", "starnet", "mobileone-k3-se", "vanillanet"])
@torch.no_grad()
def test_onnx_in_deploy_form(key):
    model = calibrated(small(key, deploy=True))
    x = torch.randn(1, 3, 64, 64)
    assert relative(onnx_outputs(model, x), model(x)) < 1e-4


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("name", ["fasternet_t0", "starnet_s050", "mobileone_s0", "vanillanet_5"])
@torch.no_grad()
def test_onnx_of_the_smallest_variants(name, form):
    model = calibrated(create_backbone(name, num_classes=10, deploy=form))
    x = torch.randn(1, 3, 64, 64)
    assert relative(onnx_outputs(model, x), [model(x)]) < 1e-4


# ------------------------------------------------------------------ construction


@pytest.mark.parametrize("form", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("key", SMALL)
def test_a_constructor_initialises_and_does_nothing_else(key, form, monkeypatch):
    def forbidden(self, *args, **kwargs):
        raise AssertionError(f"{type(self).__name__} ran a forward pass during construction")

    monkeypatch.setattr(nn.Module, "_call_impl", forbidden)
    model = small(key, deploy=form)
    assert all(int(m.num_batches_tracked) == 0 for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    before = torch.random.get_rng_state()
    meta(SMALL[key][0], **SMALL[key][1], deploy=form)  # where nothing is initialised, nothing is drawn
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("key", SMALL)
def test_the_deploy_form_draws_the_same_random_numbers(key):
    states = []
    for form in (False, True):
        torch.manual_seed(3)
        create_backbone(SMALL[key][0], **SMALL[key][1], deploy=form)
        states.append(torch.random.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("family", "wrong"),
    [
        ("fasternet", {"depths": (1, 2, 3)}),
        ("fasternet", {"act_layer": "gelu"}),
        ("starnet", {"depths": (1, 2, 3)}),
        ("starnet", {"width": 0.0}),
        ("starnet", {"round_to": 0}),
        ("mobileone", {"num_blocks_per_stage": (2, 8, 10)}),
        ("mobileone", {"width_multipliers": (1.0, 1.0, 0.0, 1.0)}),
        ("mobileone", {"num_conv_branches": 0}),
        ("vanillanet", {"dims": (8, 8), "strides": (1, 2)}),
        ("vanillanet", {"ada_pool": (1, 2)}),
    ],
)
def test_an_impossible_configuration_is_one_line_that_names_it(family, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))) as error:
        create_backbone(family, **wrong)
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_keyword_is_a_type_error_with_the_known_ones(family):
    with pytest.raises(TypeError, match="no configuration keyword"):
        create_backbone(family, no_such_keyword=1)
