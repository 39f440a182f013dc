"""Weights: every published layout loads, every key is accounted for, and a bad file changes and executes nothing."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from workbench import _torchvision
from workbench.backbones import FAMILIES, create_backbone, list_backbones
from workbench.backbones.checkpoints import PUBLISHED, read_checkpoint
from workbench.backbones.layouts import FAMILY_KEYS, layout_of, to_ours, to_timm
from workbench.backbones.small import create_small, small_table
from workbench.backbones.small import small as small_path
from workbench.backbones.weights import load_then_deploy, load_weights
from workbench.errors import DataNotFoundError, WorkbenchError

DATA = Path(__file__).parents[1] / "data" / "weights"
FIXTURES = Path(__file__).parent / "fixtures"
SMALL = {  # configurations quick enough to build hundreds of times
    "fasternet": {"embed_dim": 8, "depths": (1, 1, 1, 1), "feature_dim": 16},
    "starnet": {"base_dim": 4, "depths": (1, 1, 1, 1)},
    "mobileone": {"num_blocks_per_stage": (1, 1, 1, 1), "width_multipliers": (0.125,) * 4, "num_conv_branches": 2},
    "vanillanet": {"dims": (8, 8, 16, 16, 16), "strides": (1, 2, 2, 2), "act_num": 1},
}


def fixture(family: str) -> tuple[dict, dict[str, torch.Tensor], Path]:
    """Return configuration, inputs and outputs, and the official checkpoint of a fixture."""
    spec = json.loads((FIXTURES / f"{family}_A.json").read_text())
    return spec["config"], load_file(FIXTURES / f"{family}_A.io.safetensors"), FIXTURES / f"{family}_A.ckpt.pth"


def small(family: str, seed: int = 0, **changes) -> nn.Module:
    torch.manual_seed(seed)
    model = create_backbone(family, **SMALL[family], **changes).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):  # statistics that a wrong fold or a lost key would betray
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
    return model


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def covers_every_key(report, model: nn.Module, state) -> bool:
    ours, theirs = set(model.state_dict()), set(state)
    return (
        set(report.loaded) | set(report.missing) == ours
        and not set(report.loaded) & set(report.missing)
        and set(report.loaded.values()) | set(report.skipped) == theirs
        and not set(report.loaded.values()) & set(report.skipped)
        and all({**report.skipped, **report.missing}.values())
    )


# ------------------------------------------------------------------ official checkpoints


@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_s3_pretrained_weights_are_really_loaded(family):
    config, io, path = fixture(family)
    loaded = create_backbone(family, weights=path, **config).eval()
    fresh = create_backbone(family, **config).eval()
    x = io["input"]
    assert close(loaded(x), io["logits"])
    assert not close(fresh(x), io["logits"], 0.1), "a random network must not pass this test"
    for stride, feature in zip((4, 8, 16, 32), loaded.forward_features(x), strict=True):
        assert close(feature, io[f"feat_s{stride}"])


@pytest.mark.parametrize("family", ["mobileone", "vanillanet"])
@torch.inference_mode()
def test_e8_the_deploy_forms_own_checkpoint_loads(family):
    config, io, _ = fixture(family)
    path = FIXTURES / f"{family}_A.deploy.safetensors"
    model = create_backbone(family, deploy=True, weights=path, **config).eval()
    assert close(model(io["input"]), io["logits_deploy"])
    for stride, feature in zip((4, 8, 16, 32), model.forward_features(io["input"]), strict=True):
        assert close(feature, io[f"feat_s{stride}_deploy"])


@pytest.mark.parametrize("family", SMALL)
def test_every_key_is_loaded_skipped_or_missing(family):
    config, _, path = fixture(family)
    state = read_checkpoint(path)
    state = state.get("state_dict", state.get("model", state))
    for changes in ({}, {"num_classes": 0}, {"num_classes": 3}, {"in_chans": 1}, {"num_classes": 0, "in_chans": 5}):
        model = create_backbone(family, **{**config, **changes})
        assert covers_every_key(load_weights(model, path), model, state)


@pytest.mark.parametrize("family", SMALL)
def test_a_state_dict_of_ours_round_trips_in_both_forms(family, tmp_path):
    for deploy in (False, True):
        source = small(family, num_classes=5, deploy=deploy)
        save_file(source.state_dict(), tmp_path / "w.safetensors")
        torch.save(source.state_dict(), tmp_path / "w.pth")
        for given_as in (source.state_dict(), tmp_path / "w.safetensors", str(tmp_path / "w.pth")):
            model = small(family, seed=1, num_classes=5, deploy=deploy)
            report = load_weights(model, given_as)
            assert not report.skipped
            assert not report.missing
            assert unchanged(model, source.state_dict())


@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_a_classifier_loads_into_a_backbone_and_into_other_classes(family):
    config, io, path = fixture(family)
    bare = create_backbone(family, **{**config, "num_classes": 0}).eval()
    report = load_weights(bare, path)
    assert close(bare(io["input"])[3], io["feat_s32"])
    assert set(report.skipped.values()) == {"belongs to the classifier, which this backbone does not have"}

    other = create_backbone(family, **{**config, "num_classes": 3}).eval()
    before = snapshot(other)
    report = load_weights(other, path)
    assert close(other.forward_features(io["input"])[3], io["feat_s32"])
    assert set(report.skipped.values()) == {"its classifier has 10 classes, this model 3"}
    assert "the checkpoint's classifier has 10 classes; keeps its initial values" in report.missing.values()
    assert all(torch.equal(other.state_dict()[k], before[k]) for k in report.missing if not k.endswith("act_learn"))
    assert all(k.startswith(FAMILY_KEYS[family].head) for k in report.missing if not k.endswith("act_learn"))


@pytest.mark.parametrize("family", SMALL)
def test_a_headless_checkpoint_loads_into_a_classifier(family):
    report = load_weights(small(family, num_classes=4), small(family).state_dict())
    assert set(report.missing.values()) == {"the checkpoint has no classifier; keeps its initial values"}


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_one_image_channel_answers_like_the_image_repeated_in_three(family, deploy):
    rgb = small(family, deploy=deploy)
    gray = small(family, seed=1, in_chans=1, deploy=deploy)
    report = load_weights(gray, rgb.state_dict())
    x = torch.rand(1, 1, 64, 64)
    assert close(gray(x)[3], rgb(x.expand(-1, 3, -1, -1))[3])
    assert set(report.adapted.values()) == {"filters of 3 image channels summed to 1"}
    six = small(family, seed=1, in_chans=6, deploy=deploy)
    report = load_weights(six, rgb.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert close(six(x.repeat(1, 2, 1, 1))[3], rgb(x)[3])
    assert set(report.adapted.values()) == {"filters of 3 image channels repeated to 6, scaled by 3/6"}
    assert all(k.startswith(FAMILY_KEYS[family].stem) for k in report.adapted)


def test_half_precision_and_lost_counters_are_no_obstacle():
    source = small("starnet")
    state = {k: v.half() if v.is_floating_point() else v for k, v in source.state_dict().items()}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    model = small("starnet", seed=1)
    report = load_weights(model, state)
    assert set(report.missing.values()) == {"absent; a counter that inference never reads, keeps its value"}
    assert torch.equal(model.stem[0].conv.weight, source.stem[0].conv.weight.half().float())


def test_fasternets_level_norms_are_optional_on_both_sides():
    config, io, path = fixture("fasternet")
    config = {**config, "num_classes": 0}
    with_norms = create_backbone("fasternet", out_norm=True, **config)
    report = load_weights(with_norms, path)
    assert set(report.missing.values()) == {"the checkpoint has no such per-level norm; keeps its initial values"}
    detector = FIXTURES / "fasternet_A.det_state.safetensors"
    assert not load_weights(with_norms, detector).missing
    with torch.inference_mode():
        assert close(with_norms.eval()(io["input"])[0], io["detfeat_s4"])
    read = create_backbone("fasternet", out_norm=("P3", "P4", "P5"), **config)
    assert {k.split(".")[0] for k in load_weights(read, detector).skipped} == {"norm0"}
    half_a_norm = {k: v for k, v in load_file(detector).items() if k != "norm4.bias"}
    with pytest.raises(WorkbenchError, match=r"norm4\.bias: the checkpoint has no such weight"):
        load_weights(with_norms, half_a_norm)


def test_vanillanets_absent_ramp_means_one_and_is_reported():
    config, _, path = fixture("vanillanet")
    model = create_backbone("vanillanet", **config)
    model.act_learn.fill_(0.3)
    ramp = model.act_learn
    report = load_weights(model, path)
    assert "set to 1" in report.missing["act_learn"]
    assert ramp.item() == 1.0, "written in place: the trainer and the EMA hold this very tensor"
    model.act_learn.fill_(0.3)
    other = create_backbone("vanillanet", **config)
    assert "act_learn" in load_weights(other, model.state_dict()).loaded
    assert other.act_learn.item() == pytest.approx(0.3)


# ------------------------------------------------------------------ wrappings


def wrappings(state: dict) -> dict[str, object]:
    arguments = argparse.Namespace(lr=1e-3, model="x")
    return {
        "state_dict": {"state_dict": state, "epoch": 3, "best": torch.tensor(0.7), "args": arguments},
        "model": {"model": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        "model_ema": {"model": {k: v * 0 for k, v in state.items()}, "model_ema": state},
        "nested": {"model": {"state_dict": state}},
        "parallel": {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        "compiled": {f"_orig_mod.module.{k}": v for k, v in state.items()},
        "lightning": {"state_dict": {f"model.{k}": v for k, v in state.items()}, "callbacks": {}},
        "extras": {**state, "epoch": 3},
    }


@pytest.mark.parametrize("wrapping", wrappings({}))
@pytest.mark.parametrize("family", SMALL)
def test_nested_and_prefixed_checkpoints_load(family, wrapping, tmp_path):
    source = small(family)
    torch.save(wrappings(source.state_dict())[wrapping], tmp_path / "c.pth")
    model = small(family, seed=1)
    report = load_weights(model, tmp_path / "c.pth")
    assert unchanged(model, source.state_dict())
    if wrapping == "model_ema":
        assert report.notes == ("took 'model_ema' of the entries 'model_ema', 'model'",)
    if wrapping == "extras":
        assert report.skipped == {"epoch": "not a tensor but int"}


def test_a_report_reads_as_a_summary():
    config, _, path = fixture("mobileone")
    text = repr(load_weights(create_backbone("mobileone", **{**config, "num_classes": 0, "in_chans": 1}), path))
    assert text.splitlines()[0].endswith(f"{path} (official layout)")
    assert "adapted: stage0.rbr_conv.0.conv.weight and 1 more: filters of 3 image channels summed to 1" in text
    assert "skipped: linear.weight and 1 more: belongs to the classifier" in text


# ------------------------------------------------------------------ refusals


def refused(model: nn.Module, source, match: str) -> str:
    """Require a one-line refusal that leaves the model alone, and return it."""
    before = snapshot(model)
    with pytest.raises(WorkbenchError, match=match) as caught:
        load_weights(model, source)
    message = str(caught.value)
    assert "\n" not in message
    assert unchanged(model, before)
    return message


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_does_not_fit_changes_nothing(data):
    family = data.draw(st.sampled_from(sorted(SMALL)))
    state = dict(small(family, num_classes=4).state_dict())
    keys = [k for k in state if state[k].ndim and not k.endswith("act_learn")]
    key = data.draw(st.sampled_from(keys))
    how = data.draw(st.sampled_from(["drop", "rename", "reshape", "int", "meta", "twice"]))
    value = state.pop(key)
    if how == "rename":
        state[f"{key}_"] = value
    elif how == "reshape":
        state[key] = torch.zeros(value.shape[0] + 1, *(n + 1 for n in value.shape[1:]), 1)
    elif how == "int":
        state[key] = torch.zeros(value.shape, dtype=torch.int64)
    elif how == "meta":
        state[key] = torch.empty(value.shape, device="meta")
    elif how == "twice":
        state |= {key: value, f"other.{key}": value}
    message = refused(small(family, seed=1, num_classes=4), state, "does not fit this")
    assert key in message


@pytest.mark.parametrize("family", ["mobileone", "vanillanet", "fasternet", "starnet"])
def test_forms_do_not_mix_and_the_message_names_the_way_out(family):
    train, deploy = small(family, num_classes=4), small(family, num_classes=4, deploy=True)
    refused(small(family, seed=1, num_classes=4), deploy.state_dict(), r"create the model with deploy=True")
    refused(small(family, seed=1, num_classes=4, deploy=True), train.state_dict(), r"then workbench\.deploy\(model\)")


@pytest.mark.parametrize("form", ["train", "deploy"])
@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_load_then_deploy_takes_either_form(family, form):
    source = small(family, num_classes=4, deploy=form == "deploy")
    model = small(family, seed=1, num_classes=4)
    load_then_deploy(model, source.state_dict())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    x = torch.rand(2, 3, 64, 64)
    assert close(model.eval()(x), source(x), 1e-4)


@torch.inference_mode()
def test_deploy_true_takes_a_checkpoint_of_either_form():
    for family in SMALL:
        config, io, path = fixture(family)
        model = create_backbone(family, deploy=True, weights=path, **config).eval()
        assert close(model(io["input"]), io["logits"], 1e-4)


def test_a_vanillanet_before_the_end_of_its_ramp_is_not_merged():
    state = small("vanillanet").state_dict()
    state["act_learn"] = torch.tensor(0.3)
    with pytest.raises(WorkbenchError, match=r"activation ramp of 0\.3, and merging is exact only at 1"):
        create_backbone("vanillanet", deploy=True, weights=state, **SMALL["vanillanet"])


def test_another_family_and_another_size_are_recognised():
    message = refused(small("starnet"), small("fasternet").state_dict(), "looks like a fasternet")
    assert "Nothing was loaded" in message
    t1 = create_backbone("fasternet_t1")
    refused(create_backbone("fasternet_t0"), t1.state_dict(), "shapes are those of fasternet_t1")
    refused(create_backbone("starnet_s050"), create_backbone("starnet_s1").state_dict(), "those of starnet_s1")


def test_not_strict_loads_what_fits_and_reports_the_rest():
    state = dict(small("starnet").state_dict())
    state["stages.1.0.conv.weight"] = torch.zeros(1, 1, 3, 3)
    del state["stages.2.0.conv.bias"]
    state["surplus"] = torch.zeros(1)
    model = small("starnet", seed=1)
    before = snapshot(model)
    report = load_weights(model, state, strict=False)
    assert covers_every_key(report, model, state)
    assert set(report.skipped) == {"stages.1.0.conv.weight", "surplus"}
    assert set(report.missing) == {"stages.1.0.conv.weight", "stages.2.0.conv.bias"}
    assert torch.equal(model.stages[1][0].conv.weight, before["stages.1.0.conv.weight"])
    assert torch.equal(model.stages[1][0].conv.bias, state["stages.1.0.conv.bias"])
    with pytest.raises(WorkbenchError, match="does not fit this StarNet"):
        load_weights(model, {"nothing.of.it": torch.zeros(1)}, strict=False)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("imagenett", "did you mean 'imagenet'"),
        ("no/such/file.pth", "does not exist; give the path of a file"),
        (3, "given as int; expected a path"),
        (nn.Conv2d(1, 1, 1), r"given as Conv2d; expected a path, a state dict"),
        ({}, "holds no named tensors"),
        ({"epoch": 3, "optimizer": {}}, "holds no named tensors \\(entries epoch, optimizer\\)"),
    ],
)
def test_sources_that_are_none(source, match, bad_input):
    given = type(source).__name__ if isinstance(source, nn.Module) else repr(source)
    bad_input("weights", f"load_weights(net, {given})", refused(small("starnet"), source, match))


def test_a_model_without_memory_is_refused():
    with torch.device("meta"):
        model = create_backbone("starnet", **SMALL["starnet"])
    with pytest.raises(WorkbenchError, match="meta device"):
        load_weights(model, small("starnet").state_dict())


# ------------------------------------------------------------------ hostile and broken files


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def broken_files(folder: Path) -> dict[str, str]:
    """Write one file of each kind and return what the refusal must say."""
    state = small("starnet").state_dict()
    torch.save(state, folder / "good.pth")
    good = (folder / "good.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(good[: len(good) // 2])
    (folder / "empty.pth").write_bytes(b"")
    (folder / "page.pth").write_bytes(b"<!DOCTYPE html><html>404</html>")
    flipped = bytearray(good)
    flipped[40:400] = bytes(360)
    (folder / "corrupt.pth").write_bytes(bytes(flipped))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / f"bomb{protocol}.pth").write_bytes(pickle.dumps(Bomb(folder / "executed"), protocol=protocol))
    torch.save({"state_dict": state, "hook": Bomb(folder / "executed")}, folder / "bomb_inside.pth")
    torch.save({"model": small("starnet")}, folder / "module.pth")
    torch.jit.script(nn.ReLU()).save(str(folder / "script.pth"))
    with zipfile.ZipFile(folder / "inflating.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    (folder / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (folder / "folder.pth").mkdir()
    return {
        "truncated.pth": "truncated",
        "empty.pth": "cannot be read as a checkpoint",
        "page.pth": "cannot be read as a checkpoint",
        "corrupt.pth": "cannot be read as a checkpoint",
        **{f"bomb{i}.pth": "nothing was executed|not written by torch.save" for i in range(6)},
        "bomb_inside.pth": "refused unread, nothing was executed",
        "module.pth": r"holds more than weights \(it refers to [\w.]+\); refused unread",
        "script.pth": "TorchScript archive",
        "inflating.pth": "does not compress",
        "cut.safetensors": "cannot be read as a checkpoint",
        "folder.pth": "is a folder",
    }


def test_broken_and_hostile_files_are_refused_in_one_line_and_never_executed(tmp_path, bad_input):
    model = small("starnet")
    for name, says in broken_files(tmp_path).items():
        message = refused(model, tmp_path / name, says)
        assert str(tmp_path / name) in message
        bad_input("weights", f"a file: {Path(name).stem.replace('_', ' ')}", message)
        assert len(message) < 500
        assert "weights_only" not in message, "torch's advice to read the file unsafely must not reach the user"
    assert not (tmp_path / "executed").exists()
    with pytest.raises(FileNotFoundError):
        load_weights(model, tmp_path / "absent.pth")


# ------------------------------------------------------------------ published checkpoints


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Return an empty torch.hub folder on a machine without a network."""

    def no_network(url, *args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_the_table_of_published_checkpoints_is_sound():
    files = [p.file for forms in PUBLISHED.values() for p in forms]
    assert len(files) == len(set(files))
    assert set(PUBLISHED) == set(list_backbones()) - {"starnet_s050", "starnet_s100", "starnet_s150"}
    for forms in PUBLISHED.values():
        assert "train" in {p.form for p in forms} <= {"train", "deploy"}
        for p in forms:
            assert p.url.startswith("https://")
            assert 70 < p.top1 < 85
            assert p.licence


@pytest.mark.parametrize("variant", ["fasternet_t0", "starnet_s1", "mobileone_s1"])
def test_imagenet_weights_come_from_torch_hubs_folder(variant, hub):
    source = create_backbone(variant, num_classes=1000)
    published = PUBLISHED[variant][0]
    torch.save(source.state_dict(), hub / published.file)
    model = create_backbone(variant, num_classes=1000)
    report = load_weights(model, "imagenet")
    assert report.source == str(hub / published.file)
    assert f"{published.top1:g} % top-1" in report.notes[0]
    assert unchanged(model, source.state_dict())


def test_offline_and_absent_names_file_folder_and_url(hub):
    with pytest.raises(DataNotFoundError) as caught:
        create_backbone("starnet_s1", weights="imagenet")
    message = str(caught.value)
    for part in ("starnet_s1.pth.tar is not in", str(hub), "TORCH_HOME", PUBLISHED["starnet_s1"][0].url, "no network"):
        assert part in message
    assert "\n" not in message


def test_imagenet_knows_which_variants_have_weights(hub):
    refused(create_backbone("starnet_s050"), "imagenet", "starnet_s050 is published without weights")
    refused(small("vanillanet"), "imagenet", "none of the official sizes; there are some for vanillanet_5")
    refused(create_backbone("fasternet_t0", act_layer="RELU"), "imagenet", "none of the official sizes")
    refused(nn.Conv2d(3, 8, 3), "imagenet", "for a Conv2d use a path")


def test_a_published_checksum_is_held(hub, monkeypatch):
    published = PUBLISHED["starnet_s1"][0]
    monkeypatch.setitem(PUBLISHED, "starnet_s1", (published._replace(sha256="0" * 64),))
    model = create_backbone("starnet_s1")
    torch.save(model.state_dict(), hub / published.file)
    refused(model, "imagenet", "has sha256 .* published is 000000000000")


def test_the_merged_file_alone_does_not_make_a_training_form(hub):
    torch.save(
        create_backbone("mobileone_s0", num_classes=1000, deploy=True).state_dict(), hub / "mobileone_s0.pth.tar"
    )
    with pytest.raises(WorkbenchError, match=r"mobileone_s0_unfused.*deploy=True"):
        create_backbone("mobileone_s0", weights="imagenet")
    refused(create_backbone("mobileone_s0"), hub / "mobileone_s0.pth.tar", "deploy=True")
    assert load_weights(create_backbone("mobileone_s0", deploy=True), "imagenet").loaded


def bus() -> torch.Tensor:
    """Return ultralytics' photo of a bus as ImageNet networks see it, (1, 3, 224, 224)."""
    import numpy as np
    from PIL import Image

    spec = importlib.util.find_spec("ultralytics")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("ultralytics is not installed: its bus.jpg is the test photo")
    image = Image.open(Path(spec.submodule_search_locations[0]) / "assets" / "bus.jpg")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = torch.from_numpy(np.array(image.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels - mean[:, None, None]) / std[:, None, None])[None]


def test_the_real_mobileone_s0_sees_a_trolleybus(tmp_path, monkeypatch):
    file = Path(os.environ.get("TORCH_HOME", "~/.cache/torch")).expanduser() / "hub/checkpoints/mobileone_s0.pth.tar"
    if not file.is_file():
        pytest.skip(f"Apple's checkpoint is not at {file}; its licence keeps it out of this repository")
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    shutil.copy(file, tmp_path / "hub" / "checkpoints")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = create_backbone("mobileone_s0", num_classes=1000, deploy=True, weights="imagenet").eval()
    with torch.inference_mode():
        top = model(bus())[0].topk(5).indices.tolist()
    assert top[0] == 874
    assert {654, 734, 757} <= set(top)


# ------------------------------------------------------------------ timm


def timm_models() -> list:
    quick = {
        "fasternet_t0",
        "starnet_s050",
        "mobileone_s1",
    }  # S1 trains with fewer weights than S0, which has 4 branches
    names = [n for n in list_backbones() if not n.startswith("vanillanet")]
    return [n if n in quick else pytest.param(n, marks=pytest.mark.long) for n in names]


@pytest.mark.parametrize("variant", timm_models())
@torch.inference_mode()
def test_timms_weights_give_timms_outputs_in_both_directions(variant):
    timm = pytest.importorskip("timm") if _torchvision.ensure() != "absent" else pytest.skip("no torchvision")
    family = variant.split("_")[0]
    torch.manual_seed(0)
    theirs = timm.create_model(variant, pretrained=False, num_classes=10).eval()
    for m in theirs.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.8, 1.2)
    ours = create_backbone(variant, num_classes=10).eval()
    x = torch.randn(1, 3, 96, 64)

    report = load_weights(ours, theirs.state_dict())
    assert not report.skipped
    assert not report.missing
    assert report.layout == ("official" if family == "starnet" else "timm")
    assert close(ours(x), theirs(x), 1e-5)

    back = timm.create_model(variant, pretrained=False, num_classes=10).eval()
    assert not close(back(x), theirs(x), 1e-3)
    back.load_state_dict(to_timm(ours.state_dict(), family))
    assert torch.equal(back(x), theirs(x))


@torch.inference_mode()
def test_timms_merged_mobileone_is_our_deploy_form():
    timm = pytest.importorskip("timm") if _torchvision.ensure() != "absent" else pytest.skip("no torchvision")
    from timm.utils.model import reparameterize_model

    theirs = reparameterize_model(timm.create_model("mobileone_s1", num_classes=10).eval())
    ours = create_backbone("mobileone_s1", num_classes=10, deploy=True, weights=theirs.state_dict()).eval()
    x = torch.randn(1, 3, 64, 64)
    assert close(ours(x), theirs(x))
    theirs.load_state_dict(to_timm(ours.state_dict(), "mobileone"))
    refused(create_backbone("mobileone_s1", num_classes=10), theirs.state_dict(), "deploy=True")


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(["fasternet", "starnet", "mobileone"]),
    depths=st.tuples(*[st.integers(1, 3)] * 4),
    classes=st.sampled_from([0, 7]),
    se=st.booleans(),
)
def test_keys_survive_the_trip_to_timm_and_back(family, depths, classes, se):
    config = {"num_blocks_per_stage": depths, "use_se": se} if family == "mobileone" else {"depths": depths}
    with torch.device("meta"):
        state = create_backbone(family, num_classes=classes, **config).state_dict()
    there = to_timm(state, family)
    assert len(there) == len(state)
    back = to_ours(family, layout_of(there, family))
    assert [back(k) for k in there] == list(state)
    assert all(there[k] is state[back(k)] for k in there)
    assert layout_of(state, family) == "official"


def test_to_timm_refuses_what_timm_has_not():
    with pytest.raises(WorkbenchError, match="no family 'vanillanet'"):
        to_timm({}, "vanillanet")
    with pytest.raises(WorkbenchError, match="no per-level norms"):
        to_timm(small("fasternet", out_norm=True).state_dict(), "fasternet")
    for family in ("fasternet", "starnet"):
        with pytest.raises(WorkbenchError, match="no deploy form"):
            to_timm(small(family, deploy=True).state_dict(), family)


# ------------------------------------------------------------------ our own small networks


@pytest.fixture(scope="module")
def shapes() -> tuple[torch.Tensor, torch.Tensor]:
    from workbench.datasets import shape_crops

    x, y, _ = shape_crops(240, imgsz=64, seed=77)  # neither the training's seed nor the table's
    return x, y


@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_small_networks_know_the_shapes_and_untrained_ones_do_not(family, shapes):
    x, y = shapes
    row = small_table()["networks"][family]
    assert (DATA / row["file"]).stat().st_size == row["bytes"] <= 1_000_000
    right = (create_small(family)(x).argmax(1) == y).double().mean().item()
    assert abs(right - row["accuracy"]) < 0.05
    assert right > 0.85
    assert row["probe_trained"] > 2 * row["probe_untrained"]
    assert (create_small(family, trained=False)(x).argmax(1) == y).double().mean() < 0.4
    merged = create_small(family, deploy=True)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in merged.modules())
    assert close(merged(x[:8]), create_small(family)(x[:8]), 1e-3)


@pytest.mark.parametrize("family", SMALL)
@torch.inference_mode()
def test_a_small_network_is_a_backbone_too(family, shapes):
    bare = create_small(family, classifier=False)
    maps = bare(shapes[0][:2])
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
    report = load_weights(create_small(family, trained=False, classifier=False), small_path(family))
    assert not report.missing
    assert all("belongs to the classifier" in why for why in report.skipped.values())


def test_an_altered_small_file_is_refused(monkeypatch):
    table = json.loads((DATA / "weights.json").read_text())
    table["networks"]["starnet"]["sha256"] = "0" * 64
    monkeypatch.setattr("workbench.backbones.small.small_table", lambda: table)
    with pytest.raises(
        WorkbenchError, match=r"absent or altered; restore it, or make it: python data/weights/make\.py"
    ):
        create_small("starnet")
    with pytest.raises(WorkbenchError, match="no small network of 'starnett'; did you mean 'starnet'"):
        create_small("starnett")


def test_the_readme_says_what_the_table_says():
    text = (DATA / "README.md").read_text()
    for family, row in small_table()["networks"].items():
        assert f"| {family} | {row['params']:,} | {row['bytes'] / 1e6:.2f} MB | {100 * row['accuracy']:.1f} % |" in text


def test_every_family_has_its_keys():
    assert set(FAMILY_KEYS) == set(FAMILIES)
