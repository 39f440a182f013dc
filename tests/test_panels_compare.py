"""The Compare panel and what it stands on: costs, filter, front, table; driven in the kernel, with nonsense too."""

from __future__ import annotations

import asyncio
import csv
import io
import itertools

import ipywidgets
import nbformat
import pytest

import workbench as wb
from workbench.cli.app import write_pages
from workbench.errors import WorkbenchError
from workbench.panels import _compare as pure
from workbench.panels._compare_filter import parse_filter
from workbench.panels.compare import BUTTONS, Compare
from workbench.train.results import load_results
from workbench.yolo import comparison
from workbench.yolo.comparison import STOCK, Conditions, compare

SMALL = ["starnet_s050", "fasternet_t0", "mobileone_s0"]
QUICK = {"imgsz": 32, "budget_s": 20.0}


def panel(names=SMALL, **state):
    return Compare(list(names), **(QUICK | state))


# --- the comparison itself ---


def test_counts_are_those_of_the_ruler():
    row = compare(["mobileone_s0"], Conditions(form="train", imgsz=64), time=False).row("mobileone_s0")
    counted = wb.measure.count(wb.create_backbone("mobileone_s0", num_classes=1000), imgsz=64)
    assert (row["macs"], row["params"], row["activations"]) == (counted.macs, counted.params, counted.activations)
    assert row["channels"] == (48, 128, 256, 1024)
    assert row["latency_ms"] is None


def test_a_large_batch_is_counted_without_memory():
    one, many = (compare(["fasternet_t0"], Conditions(batch=b), time=False).rows[0]["macs"] for b in (1, 512))
    assert many == 512 * one


def test_inside_a_host_the_stock_one_stands_beside_the_transplant():
    found = compare([STOCK, "starnet_s050"], Conditions(imgsz=64, host="yolo11"), time=False)
    stock, mine = found.rows
    assert stock["params"] == sum(p.numel() for p in wb.YOLO("yolo11n.yaml").model.fuse(verbose=False).parameters())
    assert mine["params"] != stock["params"]
    assert found.conditions.place == "in yolo11n"


def test_times_come_from_one_interleaved_run():
    found = compare(SMALL[:2], Conditions(imgsz=32), rounds=5, budget_s=60, progress=False)
    assert all(r["n"] >= 3 for r in found.rows)  # rounds may be dropped as disturbed, and made up for
    for r in found.rows:
        assert r["low_ms"] <= r["latency_ms"] <= r["high_ms"]
        assert r["gmacs_per_s"] == pytest.approx(r["macs"] / r["latency_ms"] / 1e6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "fused"}, "form='fused' is unknown; expected one of deploy, train"),
        ({"imgsz": 100, "host": "yolo11"}, "imgsz=100 given inside yolo11; expected a multiple of 32"),
        ({"batch": 0}, "batch=0 given; expected a positive integer"),
        ({"host": "yolo11", "imgsz": 64, "scale": "q"}, "scale 'q' given for yolo11; expected one of n, s, m, l, x"),
    ],
)
def test_conditions_no_comparison_can_have(arguments, message, bad_input):
    with pytest.raises(WorkbenchError) as e:
        Conditions(**arguments)
    assert str(e.value) == message
    bad_input("comparison", ", ".join(f"{k}={v!r}" for k, v in arguments.items()), e.value)


def test_the_stock_host_needs_a_host():
    with pytest.raises(WorkbenchError, match="there is no host"):
        compare([STOCK], time=False)


# --- the pure side ---

ROWS = [
    {"name": "a", "macs": 1e8, "top1": 70.0, "params": 5e6, "family": "x", "channels": (1, 2), "latency_ms": None},
    {"name": "b", "macs": 2e8, "top1": 69.0, "params": 5e6, "family": "y", "channels": None, "latency_ms": None},
    {"name": "c", "macs": 3e8, "top1": 75.0, "params": 5e6, "family": "y", "channels": (3, 4), "latency_ms": 2.5},
]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "abc"), ("macs<200M", "a"), ("macs<=200M", "ab"), ("macs < 0.25G", "ab"), ("macs>=200", "bc"),
        ("top>69.5, macs>100M", "c"), ("b", "b"), ("*", "abc"), ("latency<3", "c"), ("latency>0", "c"),
    ],
)  # fmt: skip
def test_filter(text, kept):
    keep = parse_filter(text)
    assert "".join(r["name"] for r in ROWS if keep(r)) == kept


@pytest.mark.parametrize(("text", "part"), [("macs<", "'macs<' is no filter"), ("flops<3", "no property 'flops'"),
                                            ("macs<1.2.3", "'1.2.3'"), ("m<3", "no property 'm'")])  # fmt: skip
def test_a_filter_that_means_nothing(text, part, bad_input):
    with pytest.raises(WorkbenchError) as e:
        parse_filter(text)
    assert part in str(e.value)
    bad_input("panels", f"Compare filter {text!r}", e.value)


def test_front_minds_which_end_is_better():
    f = pure.FIELDS
    assert pure.front(ROWS, f["macs"], f["top1"]) == ["a", "c"]
    assert pure.front(ROWS, f["macs"], f["intensity"]) == []  # neither end is better
    dominated = {
        r["name"] for r, o in itertools.permutations(ROWS, 2) if o["macs"] <= r["macs"] and o["top1"] >= r["top1"]
    }
    assert dominated == {"b"}


def test_the_table_has_ratios_to_the_leftmost_and_can_leave_out_what_is_alike():
    full, short = pure.table(ROWS), pure.table(ROWS, differences=True)
    lines = {line["label"]: line for line in full}
    assert [c["ratio"] for c in lines["MACs, M"]["cells"]] == [None, 2.0, 3.0]
    assert [c["text"] for c in lines["parameters, M"]["cells"]] == ["5.00"] * 3
    assert {line["label"] for line in full} - {line["label"] for line in short} == {"parameters, M"}


def test_recorded_map_is_that_of_the_runs():
    scores = load_results(pure.TRAINED).scores("yolo11n-fasternet_t0")
    found = pure.trained("fasternet_t0")
    assert found["seeds"] == len(scores) == 3
    assert found["map50"] == pytest.approx(sum(scores) / 3)
    assert (found["map50_low"], found["map50_high"]) == (min(scores), max(scores))
    assert pure.trained("fasternet_l") == {"map50": None, "map50_low": None, "map50_high": None, "seeds": 0}


# --- the panel, driven ---


def test_set_state_and_code_restore_a_panel():
    p = panel(x="params", y="macs", filter="star", differences=True)
    again = eval(p.code(), {"wb": wb})
    assert again.state == p.state
    assert [r["name"] for r in again.result.rows] == ["starnet_s050"]
    assert again.result.hidden == SMALL[1:]


def test_the_scene_has_what_the_result_has():
    p = panel(y="params")
    scene = p.canvas.scene
    assert [q["name"] for q in scene["points"]] == scene["columns"] == SMALL
    assert scene["points"][0]["base"]
    assert [q["x"] for q in scene["points"]] == [r["macs"] / 1e6 for r in p.result.rows]
    assert set(scene["front"]) == set(p.result.front)


def test_ticking_by_hand():
    p = panel()
    p.ticks.boxes["starnet_s100"].value = True
    assert [r["name"] for r in p.result.rows] == [*SMALL, "starnet_s100"]
    p.ticks.boxes["starnet_s050"].value = False
    assert p.canvas.scene["columns"] == ["fasternet_t0", "mobileone_s0", "starnet_s100"]
    p._attempt(p._rebase, "starnet_s100")
    assert p.canvas.scene["columns"] == ["starnet_s100", "fasternet_t0", "mobileone_s0"]


def test_names_of_ones_own_are_added_by_text():
    p = panel(SMALL[:1])
    p.ticks.also.value = "fasternet_t0, mobilone_s0"
    assert "mobilone_s0" in p.message.value
    assert p.ticks.also.value  # the text stays, to be mended
    p.ticks.also.value = "fasternet_t0, mobileone_s0"
    assert p.canvas.scene["columns"] == SMALL


def test_clearing_the_last_tick_is_answered_and_mended():
    p = panel(SMALL[:1])
    p.ticks.boxes[SMALL[0]].value = False
    assert "no network is ticked" in p.message.value
    p.ticks.boxes[SMALL[1]].value = True
    assert "Not possible" not in p.message.value
    assert p.canvas.scene["columns"] == SMALL[1:2]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"imgsz": 33, "host": "yolo11"}, "expected a multiple of 32"),
        ({"filter": "flops<3"}, "no property 'flops'"),
        ({"batch": 1_000_000}, "expected 1 to 1024"),
        ({"x": "speed"}, "expected macs"),
        ({"colour": "red"}, "Compare has no control 'colour'"),
        ({"names": ["starnet_s9"]}, "starnet_s9"),
        ({"names": []}, "no network chosen"),
        ({"differences": "yes"}, "expected bool"),
    ],
)
def test_nonsense_leaves_the_panel_as_it_was(change, part, bad_input):
    p = panel()
    before, scene = p.state, p.canvas.scene
    with pytest.raises(WorkbenchError) as e:
        p.set(**change)
    assert part in str(e.value)
    assert p.state == before
    assert p.canvas.scene["columns"] == scene["columns"]
    p.set(y="params")  # and goes on working
    bad_input("panels", "Compare: " + ", ".join(f"{k}={v!r}" for k, v in change.items()), e.value)


def test_too_much_memory_is_refused_before_anything_is_built(monkeypatch):
    p = panel(batch=1024, imgsz=224)
    monkeypatch.setattr(comparison.psutil, "virtual_memory", lambda: type("M", (), {"available": 2**30})())
    with pytest.raises(WorkbenchError, match="choose a smaller batch or image"):
        p.measure()
    assert not p.buttons["measure"].disabled
    p.set(batch=1)


def test_a_network_that_cannot_stand_there_is_named_and_the_others_are_shown():
    p = panel(["starnet_s050", "vanillanet_13_x1_5_ada_pool"], host="yolo11", imgsz=64)
    assert list(p.result.failed) == ["vanillanet_13_x1_5_ada_pool"]
    assert p.canvas.scene["columns"] == ["starnet_s050"]
    assert "classifier only" in p.message.value


def test_measure_fills_times_and_a_later_tick_is_not_mixed_in():
    p = panel(SMALL[:2], y="latency_ms")
    assert p.canvas.scene["points"] == []
    assert "Press measure" in p.canvas.scene["empty"]
    shown = p.measure()
    assert all(r["latency_ms"] > 0 for r in shown.rows)
    assert [q["name"] for q in p.canvas.scene["points"]] == SMALL[:2]
    assert "1 thread" in shown.taken
    p.ticks.boxes[SMALL[2]].value = True
    assert p.result.row(SMALL[2])["latency_ms"] is None
    assert "not timed together with the others: mobileone_s0" in p.message.value
    p.set(imgsz=64)
    assert p.result.timing is None  # other conditions, other times
    p.set(imgsz=32)
    assert p.result.timing is shown.timing


def test_the_button_measures_in_the_background_and_can_be_cancelled():
    p = panel(SMALL[:2], budget_s=600.0)
    p.buttons["measure"].click()
    assert p.buttons["measure"].disabled
    p.buttons["cancel"].click()
    p._thread.join(60)
    assert not p._thread.is_alive()
    assert p.buttons["cancel"].disabled
    assert "Not possible" not in p.message.value
    p.set(y="params")


def test_inside_a_kernel_counting_lets_messages_through():
    """With an event loop around, networks are counted one a turn, and a later change takes over."""
    p = panel(SMALL[:1])

    async def hand():
        p.controls["imgsz"].value = 40
        p.ticks.set([*SMALL, "starnet_s100"])
        p._changed()
        turns = 0
        while p.canvas.scene["columns"] != [*SMALL, "starnet_s100"]:
            await asyncio.sleep(0.001)
            turns += 1
        return turns

    assert asyncio.run(asyncio.wait_for(hand(), 60)) >= 2
    assert p.progress.value == ""


def test_csv_is_complete_and_exact(tmp_path):
    p = panel(SMALL[:2])
    rows = list(csv.DictReader(io.StringIO(p.to_csv(tmp_path / "c.csv").read_text())))
    assert [r["name"] for r in rows] == SMALL[:2]
    assert [int(r["macs"]) for r in rows] == [r["macs"] for r in p.result.rows]
    assert rows[0]["imgsz"] == "32"
    assert "torch" in rows[0]["environment"]


def test_without_a_kernel_there_is_a_figure():
    p = panel(y="params")
    (ax,) = p.static().axes
    assert ax.get_xlabel() == "MACs, M"
    assert {t.get_text() for t in ax.texts} == set(SMALL)
    assert "image/png" in p._repr_mimebundle_()


def test_every_control_has_a_label_and_a_tooltip():
    p = panel(SMALL[:1])
    todo, seen = [p.widget], []
    while todo:
        w = todo.pop()
        todo += getattr(w, "children", ())
        seen.append(w)
    controls = [w for w in seen if hasattr(w, "description") and not isinstance(w, ipywidgets.HTML)]
    assert len(controls) > 40
    assert not [w for w in controls if not (w.description and w.tooltip)]
    assert {b.description for b in p.buttons.values()} == set(BUTTONS)


def test_cards_say_what_is_known():
    p = panel(["fasternet_t0"])
    p.canvas.selected = "fasternet_t0"
    assert "P3 80 channels at stride 8" in p.card.value
    assert 'wb.create_backbone("fasternet_t0", deploy=True)' in p.card.value.replace("&quot;", '"')
    p.canvas.selected = "nobody"
    assert p.card.value == ""


def test_pages_of_the_app_hold_a_panel_each(tmp_path):
    for page in sorted(write_pages(tmp_path).glob("*.ipynb")):
        notebook = nbformat.read(page, as_version=4)
        nbformat.validate(notebook)
        made = {}
        exec(notebook.cells[1].source.replace("\n\nwb.", "\n\npanel = wb."), made)
        assert "image/png" in made["panel"]._repr_mimebundle_()
    assert len(list(tmp_path.iterdir())) == 3
