"""Every panel meets nonsense: it says so inside itself, keeps the last good picture, and goes on working."""

from __future__ import annotations

import base64
import datetime
import io
import json
import re

import ipywidgets as widgets
import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from PIL import Image

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.panels import Detections, FeatureMaps, Leaderboard, OperatorLab, Reparam, Training, Wiring

RECORDED = "shapes_128_class"
ROWS = [
    {"rank": rank, "name": name, "macs": macs, "params": 1000 * rank, "map50": 0.9 / rank, "map50_95": 0.5 / rank}
    for rank, name, macs in ((1, "Ada", 900), (2, "Bob", 300))
]
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9999999999 bytes."


def leaderboard(folder):
    (folder / "a5.json").write_text(json.dumps({"rows": ROWS}))
    return Leaderboard(folder / "a5.json")


PANELS = {
    "ConvCost": lambda _: wb.panels.ConvCost(),
    "ChannelReach": lambda _: wb.panels.ChannelReach(),
    "StarBoundary": lambda _: wb.panels.StarBoundary(),
    "OperatorLab": lambda _: OperatorLab(budget_s=1, rounds=3, channels=16, size=7),
    "Reparam": lambda _: Reparam("mobileone", channels=8),
    "Leaderboard": leaderboard,
    "Wiring": lambda _: Wiring("yolo11", "n", "starnet_s050"),
    "Training": lambda _: Training(RECORDED, every_s=0),
    "FeatureMaps": lambda _: FeatureMaps("starnet_s050", "cat", imgsz=64),
    "Detections": lambda _: Detections(RECORDED, index=1),
    "Compare": lambda _: wb.panels.Compare(["starnet_s050", "fasternet_t0"], imgsz=32),
}
LESSON = [name for name in PANELS if name not in ("Wiring", "Training", "FeatureMaps", "Detections", "Compare")]
HAND = {  # a control, and the value a hand gives it
    "ConvCost": ("kernel", 5),
    "ChannelReach": ("n_div", 2),
    "StarBoundary": ("data", "moons"),
    "OperatorLab": ("size", 14),
    "Reparam": ("step", "folded"),
    "Leaderboard": ("cost", "params"),
}


def test_every_panel_is_here():
    assert set(PANELS) == set(wb.panels.__all__)


@pytest.fixture(params=PANELS)
def panel(request, tmp_path):
    return PANELS[request.param](tmp_path)


def walk(widget):
    """A widget and all below it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def test_every_control_says_what_it_is(panel):
    controls = [
        w
        for w in walk(panel.widget)
        if isinstance(w, widgets.ValueWidget | widgets.Button | widgets.FileUpload)
        and not isinstance(w, widgets.HTML | widgets.Image | widgets.Accordion)
    ]
    assert controls
    nameless = [type(w).__name__ for w in controls if not (w.description or getattr(w, "tooltip", ""))]
    assert not nameless


def test_there_is_a_picture_without_a_kernel(panel):
    bundle = panel._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in bundle
    if "image/png" in bundle:
        picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("L")
        assert min(picture.size) > 100
        assert np.asarray(picture).std() > 5  # something is drawn
    else:
        assert re.search(r"<td[^>]*>[^<]+</td>", bundle["text/html"])
    assert panel.widget._repr_mimebundle_().keys() == bundle.keys()  # the same for `panel` and `panel.widget`
    output = nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)
    cell = nbformat.v4.new_code_cell("panel", outputs=[output], execution_count=1)
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert 'src="data:image/png' in page or "</td>" in page


def test_a_control_that_does_not_exist_and_a_value_that_is_none(panel, bad_input):
    before, name = {k: c.value for k, c in panel.controls.items()}, next(iter(panel.controls))
    for values in ({"nonsense": 1}, {name: object()}):
        with pytest.raises(WorkbenchError) as error:
            panel.set(**values)
        assert "\n" not in str(error.value)
        assert {k: c.value for k, c in panel.controls.items()} == before
    bad_input("panels", f"{type(panel).__name__}.set(nonsense=1)", _refused(panel))


def _refused(panel):
    with pytest.raises(WorkbenchError) as error:
        panel.set(nonsense=1)
    return error.value


@pytest.mark.parametrize("name", LESSON)
@pytest.mark.parametrize(
    "error", [RuntimeError(FULL), MemoryError(), KeyError("lost"), WorkbenchError("no such thing")]
)
def test_a_fault_is_answered_inside(name, error, tmp_path, monkeypatch):
    panel = PANELS[name](tmp_path)
    control, value = HAND[name]
    before, picture, words = panel.controls[control].value, panel.picture.value, panel.words.value

    def fail(**_):
        raise error

    monkeypatch.setattr(panel, "_compute", fail)
    panel.controls[control].value = value
    assert 'role="alert"' in panel.words.value
    assert ("not enough memory" in panel.words.value) == isinstance(error, RuntimeError | MemoryError)
    assert panel.picture.value == picture
    assert panel.controls[control].value == before
    with pytest.raises(WorkbenchError):
        panel.set(**{control: value})
    monkeypatch.undo()
    panel.controls[control].value = value
    assert panel.controls[control].value == value
    assert 'role="alert"' not in panel.words.value
    if name != "OperatorLab":  # which measures: its words are never the same twice
        panel.controls[control].value = before
        assert panel.words.value == words


# --- images ---


def encoded(mode, size, format="PNG"):
    buffer = io.BytesIO()
    width, height = size
    ramp = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
    image = Image.fromarray(ramp)
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "CMYK":
        image = image.convert("RGB").convert("CMYK")
    else:
        image = image.convert(mode)
    image.save(buffer, format)
    return buffer.getvalue()


def upload(panel, name, data):
    now = datetime.datetime.now(datetime.UTC)
    file = {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": now}
    panel.upload.value = (file,)


@pytest.fixture(scope="module", params=["FeatureMaps", "Detections"])
def viewer(request, tmp_path_factory):
    if request.param == "FeatureMaps":
        return PANELS["FeatureMaps"](None)
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    wb.YOLO("yolo11n-starnet_s050.yaml").save(path)
    return Detections({"small": path}, imgsz=64)


GOOD = {
    "1x1.png": ("RGB", (1, 1), "PNG"),
    "large.jpg": ("L", (6000, 4000), "JPEG"),
    "rgba.png": ("RGBA", (60, 40), "PNG"),
    "grey.png": ("L", (60, 40), "PNG"),
    "deep.png": ("I;16", (60, 40), "PNG"),
    "print.jpg": ("CMYK", (60, 40), "JPEG"),
    "palette.gif": ("P", (60, 40), "GIF"),
    "strip.png": ("RGB", (3000, 2), "PNG"),
}


@pytest.mark.parametrize("name", GOOD)
def test_any_image_is_shown(viewer, name):
    mode, size, format = GOOD[name]
    upload(viewer, name, encoded(mode, size, format))
    assert viewer.message.value == ""
    image = viewer.controls.get("image") or viewer.controls["images"]
    assert name in str(image.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.txt", b"not a picture"),
        ("empty.png", b""),
        ("cut.jpg", encoded("L", (300, 200), "JPEG")[:700]),
        ("header.png", encoded("RGB", (60, 40))[:20]),
        ("zeros.png", bytes(5000)),
    ],
)
def test_what_is_no_image_is_said_and_the_last_one_stays(viewer, name, data, bad_input):
    upload(viewer, "good.png", encoded("RGB", (60, 40)))
    before, state = viewer.result, viewer.state
    upload(viewer, name, data)
    line = viewer.message.value
    assert 'role="alert"' in line
    assert name in line
    assert "JPEG or PNG" in line
    assert viewer.result is before
    assert viewer.state == state
    bad_input("panels", f"{type(viewer).__name__}: upload {name}", re.sub("<[^>]+>", "", line))
    upload(viewer, "after.png", encoded("RGB", (50, 50)))
    assert viewer.message.value == ""
    assert viewer.result is not before


# --- folders ---


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"status": 5}'])
def test_a_folder_that_is_no_run(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(WorkbenchError) as error:
        Training(tmp_path, every_s=0)
    assert "\n" not in str(error.value)


def test_a_run_whose_table_breaks_while_it_is_watched(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "running", "epochs": 5}')
    table = tmp_path / "results.csv"
    table.write_text("epoch,time,train/box_loss,metrics/mAP50(B)\n1,2.0,3.0,0.1\n")
    panel = Training({"live": tmp_path}, every_s=0)
    picture = panel.picture.value
    (tmp_path / "run.json").write_text("{")
    panel.refresh()
    assert 'role="alert"' in panel.message.value
    assert panel.picture.value == picture
    (tmp_path / "run.json").write_text('{"status": "running", "epochs": 5}')
    table.write_text(table.read_text() + "2,4.0,2.0,0.2\n")
    panel.refresh()
    assert panel.picture.value != picture


# --- the Reparam panel's clock ---


def test_both_forms_are_timed_on_demand_and_kept_with_their_block():
    panel = Reparam("mobileone", channels=8)
    assert "ms" not in panel.result
    panel.button.click()
    assert set(panel.result["ms"]) == {"branches", "merged"}
    assert panel.result["speedup"].low <= panel.result["speedup"].ratio <= panel.result["speedup"].high
    assert "milliseconds" in panel.words.value
    measured = panel.result["ms"]
    panel.set(step="merged")
    assert panel.result["ms"] == measured
    panel.set(channels=4)
    assert "ms" not in panel.result
    panel.set(channels=8)
    assert panel.result["ms"] == measured
