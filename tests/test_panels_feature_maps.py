"""The FeatureMaps panel, driven in the kernel as a hand would drive it."""

import base64
import datetime
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import workbench as wb
from workbench.backbones.fasternet import PConv
from workbench.errors import WorkbenchError
from workbench.features import capture
from workbench.panels import FeatureMaps
from workbench.plots.features import SIGNED, coloured, feature_grid, limits, sheet, to_array


@pytest.fixture
def panel():
    return FeatureMaps("fasternet_t0", "cat", imgsz=64)


def only(panel):
    (view,) = panel.result.views.values()
    return view


def picture(panel, i=0):
    return np.array(Image.open(io.BytesIO(panel.canvas.scene["views"][i]["png"])))


# --- what it shows is what the network computes ---


def test_maps_are_those_of_the_network(panel):
    net = panel.networks[0].model
    x = wb.datasets.load_photo("cat", 64)
    expected = capture(net, x, "P3")["P3"][0].numpy()
    view = only(panel)
    assert view.shape == (80, 8, 8)
    assert np.array_equal(view.maps, expected)
    assert view.energy == pytest.approx((expected**2).mean((1, 2)))


def test_the_canvas_gets_the_selected_channel_s_values(panel):
    panel.set(selected=11)
    sent = panel.canvas.scene["views"][0]
    values = np.frombuffer(sent["values"], np.float32).reshape(sent["size"])
    assert np.array_equal(values, only(panel).maps[11])
    assert sent["top"] == pytest.approx(np.abs(values).max())


def test_the_canvas_gets_mean_and_range_of_every_channel_on_the_page(panel):
    panel.set(sort="energy", per_page=16)
    sent, view = panel.canvas.scene["views"][0], only(panel)
    stats = np.frombuffer(sent["stats"], np.float32).reshape(16, 3)
    page = view.maps[list(view.channels)]
    assert np.allclose(stats, np.stack((page.mean((1, 2)), page.min((1, 2)), page.max((1, 2))), 1))
    assert sent["module"] == view.module == "stages.2"


def test_a_file_is_offered_by_its_name_and_kept_by_its_path(panel, tmp_path):
    paths = [tmp_path / folder / "mine.png" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        Image.new("RGB", (64, 64), "red").save(path)
        panel.set(image=path)
        assert panel.state["image"] == panel.result.image == str(path)
    labels = [label for label, value in panel.controls["image"].options if value in map(str, paths)]
    assert labels == ["mine.png", str(paths[1])]  # a second of that name is told by its path
    panel.set(image="cat").set(image=paths[0])
    assert panel.controls["image"].label == "mine.png"


def test_tiles_are_the_channels_in_their_places(panel):
    panel.set(sort="energy", per_page=16)
    view, grid = only(panel), picture(panel)
    assert grid.shape == (2 * 8, 8 * 8, 3)
    for k, c in enumerate(view.channels):
        tile = grid[k // 8 * 8 : k // 8 * 8 + 8, k % 8 * 8 : k % 8 * 8 + 8]
        assert np.array_equal(tile, coloured(view.maps[[c]], view.top[[c]])[0])


# --- controls ---


def test_every_stage_of_every_family_in_both_forms():
    for name, sizes in (("mobileone_s0", (16, 8, 4, 2)), ("vanillanet_5", (16, 8, 4, 2))):
        for deploy in (False, True):
            p = FeatureMaps({name: wb.create_backbone(name, deploy=deploy)}, imgsz=64)
            for stage, size in zip(("P2", "P3", "P4", "P5"), sizes, strict=True):
                assert only(p.set(stage=stage)).shape[1:] == (size, size)


@pytest.mark.parametrize("by", ["energy", "variance", "sparsity"])
def test_sorting_is_descending_with_real_numbers(panel, by):
    view = only(panel.set(sort=by, per_page=16))
    value = {"energy": view.energy, "sparsity": view.sparsity, "variance": view.maps.var((1, 2))}[by]
    assert list(value[list(view.channels)]) == sorted(value, reverse=True)[:16]


def test_paging_covers_every_channel_once(panel):
    seen = [c for page in range(1, 6) for c in only(panel.set(per_page=16, page=page)).channels]
    assert sorted(seen) == list(range(80))
    assert panel.controls["page"].max == 5


def test_shared_scale_makes_tiles_comparable(panel):
    own, shared = only(panel).top, only(panel.set(scale="shared")).top
    assert len(set(own)) > 1
    assert set(shared) == {own.max()}


def test_overlay_mixes_the_image_in(panel):
    before = picture(panel)
    after = picture(panel.set(overlay=0.5))
    assert after.shape[0] > before.shape[0]  # the image has more pixels than a P3 tile
    assert not np.array_equal(after[: before.shape[0], : before.shape[1]], before)


def test_pins_come_first_and_toggle(panel):
    assert only(panel.set(pinned=[70, 3])).channels[:3] == (70, 3, 0)
    panel._toggle_pin(70)
    assert panel.state["pinned"] == (3,)
    panel.set(selected=9)
    panel.pin.click()
    assert panel.state["pinned"] == (3, 9)


def test_pconv_channels_are_tinted(panel):
    assert only(panel).touched is None
    view = only(panel.set(layer="stages.2.blocks.0.spatial_mixing"))
    assert view.touched == 20
    assert panel.canvas.scene["views"][0]["touched"] == 20
    assert isinstance(panel.networks[0].model.get_submodule(view.module), PConv)


def test_dead_channels_are_marked():
    net = wb.create_backbone("fasternet_t0").eval()
    with torch.no_grad():
        net.stages[1].norm.weight[5] = 0
        net.stages[1].norm.bias[5] = 0
    p = FeatureMaps({"cut": net}, imgsz=64, layer="stages.1")
    assert only(p).dead == (5,)
    assert p.canvas.scene["views"][0]["dead"] == [5]
    assert "1 dead" in p.words.value


def test_star_shows_three_linked_grids():
    p = FeatureMaps("starnet_s050", imgsz=64, stage="P4", show="star", sort="energy")
    x1, x2, product = p.result.views.values()
    assert np.array_equal(product.maps, x1.maps * x2.maps)
    assert x1.channels == x2.channels == product.channels
    assert product.energy[product.channels[0]] == product.energy.max()


def test_branches_add_up():
    p = FeatureMaps("mobileone_s0", imgsz=64, stage="P3", show="branches")
    *parts, total = p.result.views.values()
    assert len(parts) >= 4
    assert np.allclose(sum(v.maps for v in parts), total.maps, atol=1e-4)


def test_three_networks_are_linked_in_image_stage_and_channel():
    random = wb.create_backbone("fasternet_t1")
    p = FeatureMaps({"a": "starnet_s050", "b": "fasternet_t0", "c": random}, "rocket", imgsz=64, stage="P5")
    assert list(p.result.views) == ["a (random weights)", "b (random weights)", "c"]
    assert [v.shape for v in p.result.views.values()] == [(128, 2, 2), (320, 2, 2), (512, 2, 2)]
    p.set(selected=100)
    assert [len(v["values"]) for v in p.canvas.scene["views"]] == [16, 16, 16]
    assert "energy of channel 100" in p.words.value


def test_selecting_a_channel_does_not_redraw_the_grids(panel):
    version, data = panel.canvas.scene["version"], panel.canvas.scene["views"][0]["png"]
    panel.canvas.selected = 7  # as the browser does
    assert panel.result.selected == 7
    assert panel.canvas.scene["version"] == version
    assert panel.canvas.scene["views"][0]["png"] is data
    panel.controls["stage"].value = "P4"
    assert panel.canvas.scene["version"] == version + 1


def test_cached_images_are_not_run_again(panel):
    runs = []
    panel.networks[0].model.register_forward_hook(lambda *a: runs.append(1))
    panel.set(stage="P2").set(stage="P5").set(sort="energy").set(overlay=0.3)
    assert runs == []
    panel.set(image="rocket").set(image="cat")
    assert runs == [1]


def test_state_is_one_line_of_code(panel):
    panel.set(stage="P4", sort="variance", page=2, per_page=16, pinned=[3], selected=8, overlay=0.2, image="coffee")
    other = FeatureMaps("fasternet_t0")
    eval(panel.code(), {"panel": other})
    assert other.state == panel.state
    assert other.canvas.scene["words"] == panel.canvas.scene["words"]


def test_an_image_file(panel, tmp_path):
    Image.new("L", (31, 17), 200).save(tmp_path / "grey.png")
    panel.set(image=tmp_path / "grey.png")
    assert panel.result.image.endswith("grey.png")


def test_reader_without_a_kernel_gets_a_picture(panel):
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size[0] > 64
    assert len(panel.static().axes) == 64


# --- nonsense is answered inside the panel, which goes on working ---


NOW = datetime.datetime.now(datetime.UTC)


def upload(panel, name, data):
    panel.upload.value = (
        {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": NOW},
    )


def encoded(mode, size):
    buffer = io.BytesIO()
    Image.new(mode, size, 128).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (1, 1)), ("RGB", (6000, 4000)), ("RGBA", (40, 30)), ("L", (30, 40)), ("1", (9, 9))]
)
def test_any_picture_can_be_uploaded(panel, mode, size):
    upload(panel, "mine.png", encoded(mode, size))
    assert panel.message.value == ""
    assert panel.result.image == "upload: mine.png"
    assert only(panel).shape == (80, 8, 8)


def test_a_text_file_is_refused_inside_the_panel(panel, bad_input):
    before = panel.result
    upload(panel, "notes.txt", b"not a picture")
    assert "alert" in panel.message.value
    assert "notes.txt is not an image" in panel.message.value
    bad_input("panels", "a text file as image, in FeatureMaps", re.sub(r"<[^>]+>", "", panel.message.value))
    assert panel.result is before
    panel.controls["image"].value = "rocket"
    assert panel.message.value == ""
    assert panel.result.image == "rocket"


def test_memory_that_runs_out_is_said(panel, monkeypatch):
    before = panel.result

    def full(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 999 bytes")

    monkeypatch.setattr(panel.networks[0].model, "forward", full)
    panel.controls["imgsz"].value = 640
    assert "cannot run on this image" in panel.message.value
    assert "not enough memory" in panel.message.value
    assert panel.result is before
    monkeypatch.undo()
    panel.controls["imgsz"].value = 128
    assert panel.message.value == ""
    assert only(panel).shape == (80, 16, 16)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stag": "P3"}, "did you mean 'stage'"),
        ({"stage": "P9"}, "expected P2, P3"),
        ({"image": "no-such.jpg"}, "expected bus"),
        ({"per_page": 7}, "expected 16, 32"),
        ({"show": "star"}, "no star block"),
        ({"show": "branches"}, "no block with branches"),
        ({"layer": "stages.9"}, "not a value"),
        ({"layer": "stages.2", "show": "maps", "sort": "size"}, "expected index"),
    ],
)
def test_set_refuses_in_one_line_and_leaves_the_panel_as_it_was(panel, values, message, bad_input):
    before = panel.state
    with pytest.raises(WorkbenchError, match=message) as e:
        panel.set(**values)
    assert "\n" not in str(e.value)
    if "image" not in values:  # which images there are depends on the machine
        bad_input("panels", f"FeatureMaps.set({', '.join(f'{k}={v!r}' for k, v in values.items())})", e.value)
    assert panel.state == before
    assert only(panel.set(stage="P2")).shape == (40, 16, 16)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["fasternet_t0"] * 0, "0 networks"),
        ({str(i): "starnet_s050" for i in range(4)}, "4 networks"),
        ({"x": 3}, "give a variant's name"),
        ("fasternet_t9", "did you mean"),
    ],
)
def test_networks_are_checked(models, message, bad_input):
    with pytest.raises(WorkbenchError, match=message) as e:
        FeatureMaps(models)
    bad_input("panels", f"FeatureMaps({models!r})", e.value)


def test_a_merged_block_has_no_branches_and_says_so():
    with pytest.raises(WorkbenchError, match="no block with branches before the merge"):
        FeatureMaps({"d": wb.create_backbone("mobileone_s0", deploy=True)}, imgsz=64, show="branches")


def test_a_network_without_levels_offers_its_layers():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten())
    p = FeatureMaps({"plain": net}, imgsz=64)
    assert only(p).shape == (4, 31, 31)
    p.controls["layer"].value = "1"
    assert "puts out no map" in p.message.value


def test_grey_networks_get_a_grey_image():
    assert only(FeatureMaps({"g": wb.create_backbone("starnet_s050", in_chans=1)}, imgsz=64)).shape == (32, 8, 8)


def test_every_control_has_a_label(panel):
    assert all(c.description for c in panel.controls.values())
    assert panel.pin.tooltip


# --- pixels ---


def test_signed_colours_by_hand():
    maps = np.array([[[-2.0, 0.0, 1.0, 2.0]]], np.float32)
    colours = coloured(maps, limits(maps))[0, 0]
    assert colours[1].tolist() == [255, 255, 255]
    assert colours[0].tolist() == SIGNED[0].tolist() == [213, 94, 0]
    assert colours[3].tolist() == [0, 114, 178]
    assert 0 < colours[2][0] < 255


def test_nan_and_constant_maps_are_drawn():
    maps = np.full((2, 3, 3), np.nan, np.float32)
    maps[1] = 0
    assert (sheet(maps, limits(maps), 2) == 255).all()


def test_sheet_pads_the_last_row():
    maps = np.ones((5, 2, 3), np.float32)
    assert sheet(maps, limits(maps), 4).shape == (4, 12, 3)


def test_to_array_and_grid_refuse_what_is_no_map():
    with pytest.raises(WorkbenchError, match="expected"):
        to_array(torch.zeros(2, 3, 4, 4))
    with pytest.raises(WorkbenchError, match="channels 0 to 3"):
        feature_grid(torch.zeros(4, 2, 2), [4])
