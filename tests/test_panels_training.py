"""The Training panel: recorded curves, a training in a child process that pauses, goes on and stops."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.panels import Training
from workbench.train import control
from workbench.train.run import Run

RECORD = '{{"status": "{}", "epochs": 5}}'
HEAD = "epoch,time,train/box_loss,metrics/mAP50(B)\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "run.json").write_text(RECORD.format("running"))
    (tmp_path / "results.csv").write_text(HEAD + "1,2.0,3.0,0.1\n")
    return tmp_path


def test_recorded_runs_are_overlaid():
    panel = Training("shapes_128_class", every_s=0)
    recorded = wb.train.load_results("shapes_128_class")
    assert panel.controls["shown"].value == tuple(recorded.runs)
    assert {k: v["epochs"] for k, v in panel.result.items()} == {k: len(recorded.curve(k)) for k in recorded.runs}
    before = panel.picture.value
    panel.set(metric="train_box_loss", x="seconds")
    assert panel.picture.value != before
    assert all(button.disabled for button in panel.buttons.values())
    again = Training("shapes_128_class", every_s=0).set(**panel.state)
    assert again.state == panel.state


def test_a_running_training_is_followed_and_an_unchanged_one_is_not_redrawn(folder):
    panel = Training({"live": folder}, every_s=0)
    pictures: list[bytes] = []
    panel.picture.observe(lambda change: pictures.append(change["new"]), names="value")
    panel.refresh()
    assert pictures == []
    (folder / "results.csv").write_text(HEAD + "1,2.0,3.0,0.1\n2,4.0,2.0,0.2\n")
    panel.refresh()
    assert len(pictures) == 1
    assert panel.result["live"]["last"]["map50"] == 0.2


def test_buttons_ask_through_the_folder_and_the_training_obeys(folder):
    panel = Training({"live": folder}, every_s=0)
    panel.buttons["pause"].click()
    waiting = threading.Thread(target=control.obey, args=(folder,), daemon=True)
    waiting.start()
    deadline = time.monotonic() + 20
    while not control.is_paused(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    panel.refresh()
    assert panel.result["live"]["status"] == "paused"
    panel.buttons["run"].click()
    waiting.join(20)
    assert not waiting.is_alive()
    assert not control.is_paused(folder)
    panel.buttons["stop"].click()
    with pytest.raises(control.Stopped, match="stopped from outside"):
        control.obey(folder)


def test_a_finished_training_cannot_be_asked(folder):
    panel = Training({"live": folder}, every_s=0)
    (folder / "run.json").write_text(RECORD.format("finished"))
    panel.buttons["stop"].click()
    assert 'role="alert"' in panel.message.value
    assert "finished" in panel.message.value
    panel.set(metric="recall", x="epoch")
    assert panel.message.value == ""
    with pytest.raises(WorkbenchError, match="expected one of"):
        control.request(folder, "dance")


@pytest.mark.parametrize("values", [{"metric": "mAP"}, {"x": "hours"}, {"nonsense": 1}, {"shown": ("nobody",)}])
def test_a_bad_value_leaves_the_panel_as_it_was(folder, values):
    panel = Training({"live": folder}, every_s=0)
    before = panel.state
    with pytest.raises(WorkbenchError):
        panel.set(**values)
    assert panel.state == before


def test_a_damaged_folder_is_answered_inside_the_panel(folder):
    panel = Training({"live": folder}, every_s=0)
    (folder / "run.json").write_text("{")
    panel.refresh()
    assert 'role="alert"' in panel.message.value
    (folder / "run.json").write_text(RECORD.format("interrupted"))
    panel.set(metric="map50")
    assert panel.result["live"]["status"] == "interrupted"


def test_every_control_has_a_label():
    panel = Training(every_s=0)
    assert all(c.description and c.tooltip for c in [*panel.controls.values(), *panel.buttons.values()])


def test_a_child_that_cannot_start_says_why(tmp_path):
    panel = Training(every_s=0)
    with pytest.raises(WorkbenchError, match=r"did not start.*needs data="):
        panel.start(tmp_path / "run", backbone="starnet_s050")


@pytest.mark.long
def test_a_real_training_stops_when_asked(tmp_path):
    panel = Training(every_s=0)
    data = wb.datasets.shapes(16, 8, 64)
    child = panel.start(tmp_path / "run", data=data, preset="fast", epochs=200, imgsz=64, batch=8, workers=0)
    try:
        deadline = time.monotonic() + 240
        while not Run(tmp_path / "run").curves and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        panel.refresh()
        panel.buttons["pause"].click()
        while not control.is_paused(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert control.is_paused(tmp_path / "run")
        panel.buttons["stop"].click()
        child.wait(60)
    finally:
        child.kill()
    run = Run(tmp_path / "run")
    assert run.status == "interrupted"
    assert 1 <= len(run.curves) < 200
    assert run.last.is_file()
