"""The cell below a panel asserts on what it sets itself: it works whatever a hand has moved before."""

from __future__ import annotations

import json

import lesson_files as lf
import matplotlib as mpl
import pytest

import workbench as wb
from workbench.measure.formulas import operator_costs
from workbench.settings import data_dir

mpl.use("agg")
MOVED = {  # lesson → (panel cell, cell below it, every control at another value)
    "01": ("panel-cost", "panel-drive", {"channels": 16, "size": 112, "kernel": 7, "n_div": 8}),
    "02": ("panel-reach", "panel-drive", {"n_div": 8, "blocks": 5}),
    "03": ("panel-boundary", "panel-drive", {"data": "halves", "act": "relu6", "layers": 2, "width": 1, "steps": 10}),
    "04": ("panel", "panel-check", {"family": "vanillanet", "ramp": 0.5, "channels": 5, "step": "folded"}),
    "05": ("panel", "panel-check", {"family": "mobileone", "channels": 4, "branches": 1, "channel": 3}),
    "06": ("panel-maps", "panel-drive", {
        "image": "cat", "imgsz": 128, "layer": "stages.1", "show": "maps", "sort": "index", "page": 2, "per_page": 16,
        "scale": "shared", "overlay": 0.5, "pinned": (3,),
    }),
}  # fmt: skip


def names_of(lesson: str) -> dict:
    """What the panel's cells take from cells above that are not definitions."""
    if lesson == "01":
        return {"formula": operator_costs(192, 28)}
    if lesson != "06":
        return {}
    config = json.loads((data_dir() / "weights" / "weights.json").read_text())["networks"]["fasternet"]["config"]
    networks = {name: wb.create_backbone("fasternet", num_classes=8, **config) for name in ("untrained", "trained")}
    return {"networks": networks, "x_new": wb.datasets.shape_crops(1, imgsz=64)[0], "names": ["star"]}


@pytest.mark.parametrize("lesson", MOVED)
def test_the_cell_below_a_panel_works_whatever_was_moved(lesson, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    shows, drives, moved = MOVED[lesson]
    names = lf.definitions_before(lesson, shows) | names_of(lesson)
    cells = {c.id: c for c in lf.code_cells(lesson)}
    exec(compile(lf.tree(cells[shows]), shows, "exec"), names)
    panel = names["panel"]
    before = panel.state
    panel.set(**moved)
    assert all(panel.state[k] != before[k] for k in moved if k != "show")
    exec(compile(lf.tree(cells[drives]), drives, "exec"), names)
