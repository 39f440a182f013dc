"""Matching of detections with the truth, and the Detections panel driven in the kernel."""

from __future__ import annotations

import base64
import datetime
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.panels import Detections
from workbench.panels._detections import Found, detectors, verdict
from workbench.panels._pictures import SHAPES, Picture
from workbench.yolo.matching import WHY, box_iou, match

A, B, FAR = [0, 0, 10, 10], [20, 20, 30, 30], [60, 60, 70, 70]


def test_each_kind_of_verdict_by_hand():
    found = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [22, 22, 34, 34], FAR]
    m = match(found, [0, 0, 2, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.5], [A, B], [0, 1])
    assert m.claims.tolist() == [0, -1, -1, -1, -1]
    assert m.why == ("", "duplicate", "wrong class", "loose box", "background")
    assert set(m.why) <= {"", *WHY}
    assert (m.tp, m.fp, m.fn, m.missed.tolist()) == (1, 4, 1, [1])
    assert (m.precision, m.recall) == (1 / 5, 1 / 2)
    assert m.overlaps.round(3).tolist() == [1.0, 0.9, 0.0, 0.356, 0.0]


def test_the_surer_detection_has_the_first_choice():
    """The second fits the object better and comes too late; a looser threshold gives it the neighbour."""
    true = [[0, 0, 10, 10], [0, 6, 10, 16]]
    found = [[0, 2, 10, 12], [0, 0, 10, 10]]
    m = match(found, [0, 0], [0.9, 0.8], true, [0, 0], iou=0.5)
    assert m.claims.tolist() == [0, -1]
    assert match(found, [0, 0], [0.8, 0.9], true, [0, 0], iou=0.4).claims.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("found", "true", "counts"),
    [([], [], (0, 0, 0)), ([], [A, B], (0, 0, 2)), ([A], [], (0, 1, 0)), ([A], [A], (1, 0, 0))],
)
def test_nothing_found_or_nothing_there(found, true, counts):
    m = match(found, [0] * len(found), [0.5] * len(found), true, [0] * len(true))
    assert (m.tp, m.fp, m.fn) == counts
    assert np.isnan(m.precision) == (not found)
    assert np.isnan(m.recall) == (not true)


def test_thresholds_are_reached_by_equality():
    assert match([A], [0], [0.25], [A], [0], iou=1.0, confidence=0.25).tp == 1
    assert match([A], [0], [0.2499], [A], [0], confidence=0.25).kept.size == 0


side = st.integers(0, 12)
box = st.tuples(side, side, st.integers(0, 8), st.integers(0, 8)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
scene = st.lists(st.tuples(box, st.integers(0, 1), st.integers(1, 9)), max_size=6)
truth = st.lists(st.tuples(box, st.integers(0, 1)), max_size=5)


def slowly(found, true, iou, confidence):
    """The rule as a person would follow it, one detection after the other, with pixels counted one by one."""

    def pixels(b):
        return {(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])}

    def overlap(a, b):
        return len(pixels(a) & pixels(b)) / max(len(pixels(a) | pixels(b)), 1)

    free, claims = list(range(len(true))), []
    for b, label, score in sorted(found, key=lambda f: -f[2]):
        if score / 10 < confidence:
            continue
        fits = [t for t in free if true[t][1] == label and overlap(b, true[t][0]) >= iou]
        best = max(fits, key=lambda t: overlap(b, true[t][0]), default=-1)
        claims.append(best)
        free = [t for t in free if t != best]
    return claims, free


@given(scene, truth, st.sampled_from([0.3, 0.5, 0.75]), st.sampled_from([0.0, 0.3, 0.6]))
def test_it_is_the_rule_followed_by_hand(found, true, iou, confidence):
    b, labels, scores = (list(x) for x in zip(*found, strict=True)) if found else ([], [], [])
    tb, tl = (list(x) for x in zip(*true, strict=True)) if true else ([], [])
    m = match(b, labels, [s / 10 for s in scores], tb, tl, iou=iou, confidence=confidence)
    claims, free = slowly(found, true, iou, confidence)
    assert m.claims.tolist() == claims
    assert m.missed.tolist() == free
    assert m.tp + m.fn == len(true)
    assert m.tp + m.fp == len(m.kept)
    stricter = match(b, labels, [s / 10 for s in scores], tb, tl, iou=iou, confidence=min(1, confidence + 0.2))
    assert stricter.claims.tolist() == m.claims.tolist()[: len(stricter.kept)]  # verdicts that stay do not change


def test_true_positives_are_those_ultralytics_counts():
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import box_iou as their_iou

    judge = object.__new__(BaseValidator)
    judge.iouv = torch.linspace(0.5, 0.95, 10)
    rng = np.random.default_rng(7)
    right = 0
    for _ in range(40):
        true = rng.uniform(0, 80, (6, 2))
        true = np.hstack([true, true + rng.uniform(8, 30, (6, 2))])
        found = np.repeat(true, 3, 0) + rng.normal(0, 2.5, (18, 4))
        labels, true_labels = rng.integers(0, 2, 18), rng.integers(0, 2, 6)
        scores = np.sort(rng.random(18))[::-1].copy()
        theirs = judge.match_predictions(
            torch.tensor(labels), torch.tensor(true_labels), their_iou(torch.tensor(true), torch.tensor(found))
        )
        for t, threshold in enumerate(judge.iouv.tolist()):
            ours = match(found, labels, scores, true, true_labels, iou=threshold, confidence=0)
            assert (ours.claims >= 0).tolist() == theirs[:, t].tolist()
            right += ours.tp
    assert right > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iou": 0}, "no IoU threshold"),
        ({"confidence": 1.5}, "no confidence"),
        ({"boxes": [[0, 0, 1]]}, r"expected \(N, 4\)"),
        ({"labels": [0, 0]}, "2 labels given for 1"),
        ({"scores": [float("nan")]}, "one finite number"),
    ],
)
def test_matching_refuses_in_one_line(change, message, bad_input):
    given = {"boxes": [A], "labels": [0], "scores": [0.5], "true_boxes": [A], "true_labels": [0]} | change
    with pytest.raises(WorkbenchError, match=message) as e:
        match(**given)
    bad_input("panels", f"match({', '.join(f'{k}={v!r}' for k, v in change.items())})", e.value)


def test_boxes_without_area_overlap_nothing():
    assert box_iou([[3, 3, 3, 9]], [[3, 3, 3, 9], [0, 0, 9, 9]]).tolist() == [[0, 0]]


# --- the panel ---

RECORDED = "shapes_128_converged"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained detector of the eight shapes, saved; it finds what chance finds."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    wb.YOLO("yolo11n-starnet_s050.yaml").save(path)
    return path


@pytest.fixture
def panel():
    return Detections(RECORDED, index=1)


def test_it_counts_what_matching_counts(panel):
    panel.set(index=2, confidence=0.4, iou=0.6)
    record = wb.train.load_results(RECORDED).runs["stock-seed0"]["detections"]["val 2"]
    scene = wb.datasets.shapes_scene(2, "val", imgsz=128)
    m = match(record["boxes"], record["labels"], record["scores"], scene.boxes, scene.labels, iou=0.6, confidence=0.4)
    shown = panel.result["stock-seed0"]
    assert (shown["tp"], shown["fp"], shown["fn"]) == (m.tp, m.fp, m.fn)
    assert m.tp > 0
    assert shown["why"] == [w for w in m.why if w]
    (view,) = [v for v in panel.canvas.scene["views"] if v["label"] == "stock-seed0"]
    kinds = [b["kind"] for b in view["boxes"]]
    assert [kinds.count(k) for k in ("tp", "fp", "fn")] == [m.tp, m.fp, m.fn]
    assert f"recall {m.recall:.2f} ({m.tp} of {m.tp + m.fn} objects are found)" in panel.words.value


def test_all_five_families_are_recorded_beside_the_truth(panel):
    assert len(panel.result) == 5
    assert [v["label"] for v in panel.canvas.scene["views"]] == ["truth", *panel.result]
    panel.set(shown=("vanillanet-seed0",))
    assert list(panel.result) == ["vanillanet-seed0"]


def test_thresholds_move_verdicts_and_not_the_image(panel):
    photo = panel.canvas.photo
    found = [sum(r["tp"] + r["fp"] for r in panel.set(confidence=c).result.values()) for c in (0.06, 0.3, 0.9)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2]
    right = [sum(r["tp"] for r in panel.set(confidence=0.25, iou=i).result.values()) for i in (0.3, 0.95)]
    assert right[0] > right[1]
    assert panel.canvas.photo is photo
    panel.controls["index"].value = 3
    assert panel.canvas.photo is not photo


def test_classes_are_compared_by_name_and_filtered():
    one = np.array([[0.0, 0, 10, 10]])
    picture = Picture(("x",), np.zeros((20, 20, 3), np.uint8), np.vstack([one + 5, one]), ("cat", "dog"), True)
    found = Found(np.vstack([one, one]), ("cat", "dog"), np.array([0.9, 0.8]))
    m = verdict(picture, found, None, 0.5, 0.1)
    assert (m.kept.tolist(), m.claims.tolist(), m.missed.tolist()) == ([0, 1], [-1, 1], [0])
    m = verdict(picture, found, "dog", 0.5, 0.1)
    assert (m.kept.tolist(), m.claims.tolist(), m.missed.tolist()) == ([1], [1], [])


def test_the_class_control_leaves_the_others_out(panel):
    name = panel.controls["only"].options[1]
    total = panel.result["stock-seed0"]
    mine = panel.set(only=name).result["stock-seed0"]
    assert mine["tp"] + mine["fn"] < total["tp"] + total["fn"]
    assert all(name in b["text"] for v in panel.canvas.scene["views"] for b in v["boxes"])


def test_a_network_runs_once_per_image(checkpoint, monkeypatch):
    p = Detections({"small": checkpoint}, imgsz=64)
    runs, detector = [], p.detectors["small"]._detector
    theirs = detector.predict
    monkeypatch.setattr(detector, "predict", lambda *a, **k: runs.append(1) or theirs(*a, **k))
    p.set(confidence=0.02).set(iou=0.3).set(shown=()).set(shown=("small",))
    assert runs == []
    p.set(index=5).set(index=0).set(index=5)
    assert len(runs) == 1


def test_a_miss_opens_the_feature_maps_there(checkpoint):
    p = Detections({"small": checkpoint}, imgsz=64, confidence=0.9)
    p._clicked(["small", 0])  # as the canvas asks
    assert p.message.value == ""
    assert p.maps.result.image.endswith("framed")
    (view,) = p.maps.result.views.values()
    assert view.module.startswith("model.")
    assert set(p.maps.controls["stage"].options) == {"P2", "P3", "P4", "P5", "neck P3", "neck P4", "neck P5"}
    x1, y1, x2, y2 = p.maps.canvas.scene["mark"]
    assert [64 * v for v in (x1, y1, x2, y2)] == pytest.approx(wb.datasets.shapes_scene(0, "val", 64).boxes[0].tolist())
    assert p.maps.widget in p.below.children
    p.set(miss=None)
    assert p.below.children == ()


def test_a_recording_says_why_it_has_no_maps(panel):
    pair = panel.set(confidence=0.9).controls["miss"].options[1][1]
    panel.controls["miss"].value = pair
    assert "weights were not" in panel.message.value
    panel.controls["index"].value = 3
    assert panel.message.value == ""


def test_the_callers_detector_is_left_as_it_was():
    torch.manual_seed(0)
    mine = wb.YOLO("yolo11n-starnet_s050.yaml")
    p = Detections({"mine": mine}, imgsz=64)
    assert not mine.model.is_fused()
    assert mine.predictor is None
    assert p.result["mine"]["error"] == ""


def test_state_is_one_line_of_code(panel):
    panel.set(index=4, confidence=0.4, iou=0.35, shown=("stock-seed0", "mobileone-seed0"))
    other = Detections(RECORDED)
    eval(panel.code(), {"panel": other})
    assert other.state == panel.state
    assert other.result == panel.result


def test_a_reader_without_a_kernel_gets_a_picture(panel):
    bundle = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size[0] > 600
    titles = [a.get_title() for a in panel.static().axes]
    assert titles == ["truth", *panel.result]
    panel.set(index=0)
    lines = {line.get_linestyle() for a in panel.static().axes for line in a.lines}
    assert {"-", "--", ":"} <= lines  # not by colour alone


def test_every_control_has_a_label(panel):
    assert all(c.description and c.tooltip for c in [*panel.controls.values(), panel.upload])


def upload(panel, name, data):
    now = datetime.datetime.now(datetime.UTC)
    file = {"name": name, "type": "", "size": len(data), "content": memoryview(data), "last_modified": now}
    panel.upload.value = (file,)


@pytest.mark.parametrize(("mode", "size"), [("RGB", (1, 1)), ("RGBA", (40, 30)), ("L", (1500, 900))])
def test_any_picture_can_be_uploaded(checkpoint, mode, size):
    p = Detections({"small": checkpoint}, imgsz=64)
    buffer = io.BytesIO()
    Image.new(mode, size, 128).save(buffer, "PNG")
    upload(p, "mine.png", buffer.getvalue())
    assert p.message.value == ""
    assert p.result["small"]["error"] == ""
    assert "nobody has labelled" in p.words.value


def test_a_text_file_is_refused_inside_the_panel(panel, bad_input):
    before = panel.result
    upload(panel, "notes.txt", b"not a picture")
    assert 'role="alert"' in panel.message.value
    assert "notes.txt is not an image" in panel.message.value
    bad_input("panels", "a text file as image, in Detections", "upload: notes.txt is not an image that can be read")
    assert panel.result is before
    assert panel.controls["images"].value == SHAPES
    panel.controls["index"].value = 2
    assert panel.message.value == ""
    assert panel.result["stock-seed0"]["error"] == ""


def test_detectors_that_cannot_be_opened_do_not_stop_the_others(checkpoint, tmp_path):
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:1000])
    p = Detections({"cut": tmp_path / "cut.pt", "gone": tmp_path / "none", "good": checkpoint}, imgsz=64)
    assert "not a readable checkpoint" in p.result["cut"]["error"]
    assert "holds no training run" in p.result["gone"]["error"]
    assert p.result["good"]["error"] == ""
    assert [v["error"] != "" for v in p.canvas.scene["views"]] == [False, True, True, False]
    p.controls["confidence"].value = 0.9
    assert p.result["good"]["fn"] > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"confidense": 0.5}, "did you mean 'confidence'"),
        ({"confidence": 7}, "expected 0.05 to 0.95"),
        ({"index": 99}, "expected 0 to 7"),
        ({"only": "dragon"}, "in no box here"),
        ({"shown": ("nobody",)}, "not a value"),
        ({"miss": ("stock-seed0", 99)}, "not a value"),
        ({"images": "no-such.jpg"}, "not a value"),
    ],
)
def test_set_refuses_in_one_line_and_leaves_the_panel_as_it_was(panel, values, message, bad_input):
    before, shown = panel.state, panel.result
    with pytest.raises(WorkbenchError, match=message) as e:
        panel.set(**values)
    assert "\n" not in str(e.value)
    assert panel.state == before
    assert panel.result == shown
    if "images" not in values:
        bad_input("panels", f"Detections.set({', '.join(f'{k}={v!r}' for k, v in values.items())})", e.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [("shapes_128_convergd", "did you mean"), ({}, "no detector given"), ({"x": 3}, "'x' is a int")],
)
def test_detectors_are_checked(given, message, bad_input):
    with pytest.raises(WorkbenchError, match=message) as e:
        detectors(given)
    bad_input("panels", f"Detections({given!r})", e.value)
