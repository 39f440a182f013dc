"""Damaged and hostile input to the loaders of model YAMLs and checkpoints: refused, quickly, and never executed.

Every draw damages something that works: a YAML's rows, keys or bytes; a checkpoint's bytes. Whatever comes, the loader
either reads it or says in one line what is wrong; it runs no code from it and writes nothing.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest
import torch
import yaml
from families import small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.backbones.weights import load_weights
from workbench.errors import WorkbenchError

LONGEST_S = 60  # of CPU time, whatever else runs: a loader that hangs is a bug; nothing here needs more than a second
roomy = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3000), st.floats(-2, 2), st.sampled_from(("", "nc", "Conv", "os.system"))
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@pytest.fixture(scope="module")
def good_yaml() -> dict:
    from workbench.yolo import detector_yaml

    return detector_yaml("yolo11", "fasternet_t0", "n")


def damaged(config: dict, draw) -> dict:
    """Change one thing in a model YAML: a key, a row, or one entry of a row."""
    made = copy.deepcopy(config)
    where = draw(st.sampled_from(("key", "row", "entry", "argument")))
    rows = made[draw(st.sampled_from(("backbone", "head")))]
    row = draw(st.integers(0, len(rows) - 1))
    if where == "key":
        made[draw(st.sampled_from(sorted(made)))] = draw(anything)
    elif where == "row":
        rows[row] = draw(anything)
    elif where == "entry":
        rows[row][draw(st.integers(0, 3))] = draw(anything)
    else:
        rows[row][3] = [*rows[row][3], draw(anything)]
    return made


@roomy
@given(data=st.data())
def test_a_damaged_model_yaml_builds_or_is_refused(data, good_yaml, tmp_path):
    import workbench as wb

    file = tmp_path / "yolo11n-fuzzed.yaml"
    file.write_text(yaml.safe_dump(damaged(good_yaml, data.draw)), encoding="utf-8")
    before, start = sorted(tmp_path.rglob("*")), time.process_time()
    complaint = None
    try:
        wb.YOLO(str(file), task="detect")
    except Exception as e:  # ultralytics' own errors have no common class
        complaint = f"{e}"
    assert complaint != "", "an error without a word"
    assert time.process_time() - start < LONGEST_S
    assert sorted(tmp_path.rglob("*")) == before


@roomy
@given(junk=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)))
def test_bytes_that_are_no_yaml_are_refused_in_one_line(junk, tmp_path, capsys):
    from workbench.cli import main

    file = tmp_path / "yolo11n-junk.yaml"
    file.write_bytes(junk)
    assert main(["layers", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("workbench: ")
    assert said.count("\n") == 1


EVIL = (
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{canary}']]",
    "backbone: !!python/name:os.system\nhead: []",
    "backbone: [[-1, 1, \"__import__('os').system('touch {canary}')\", []]]\nhead: []\nnc: 1",
    "backbone: [[-1, 1, Conv, [\"__import__('os').system('touch {canary}')\"]]]\nhead: []\nnc: 1",
    "backbone: &a [*a]\nhead: *a",
)


@pytest.mark.parametrize("text", EVIL)
def test_a_hostile_yaml_runs_nothing(text, tmp_path):
    import workbench as wb

    canary = tmp_path / "executed"
    file = tmp_path / "yolo11n-evil.yaml"
    file.write_text(text.format(canary=canary), encoding="utf-8")
    refused = False
    try:
        wb.YOLO(str(file), task="detect")
    except Exception:  # ultralytics' own errors have no common class
        refused = True
    assert refused
    assert not canary.exists()


@roomy
@given(data=st.data())
def test_a_damaged_checkpoint_loads_or_changes_nothing(data, tmp_path):
    net = small("starnet")
    path = tmp_path / "w.pth"
    torch.save(small("starnet").state_dict(), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(("flip", "cut", "zero", "insert")))
        if how == "flip":
            content[at] ^= 0xFF
        elif how == "cut":
            del content[at : at + data.draw(st.integers(1, 400))]
        elif how == "zero":
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        else:
            content[at:at] = data.draw(st.binary(max_size=40))
        content = content or bytearray(b"\0")
    path.write_bytes(bytes(content))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    start = time.process_time()
    complaint = ""
    try:
        load_weights(net, path)
    except WorkbenchError as e:
        complaint = str(e)
    assert "\n" not in complaint
    same = all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert same or not complaint, "a refused file changed the network"
    assert time.process_time() - start < LONGEST_S
    assert [p.name for p in Path(tmp_path).iterdir()] == ["w.pth"]
