"""Another ultralytics than the pinned one: it works, or one sentence says what changed and what to install."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import workbench.yolo  # noqa: F401 - the plug is in while the check looks: it must see through its wrappers
from workbench.errors import WorkbenchError
from workbench.yolo import fits

ROOT = Path(__file__).resolve().parent.parent


def test_the_installed_ultralytics_fits_and_so_with_the_plug_in():
    assert [need.missing() for need in fits.NEEDS] == [""] * len(fits.NEEDS)
    fits.require_fit()


def test_every_patch_of_something_of_theirs_is_asked_about():
    from workbench.yolo import tasks

    asked = {need.name.rsplit(".", 1)[-1] for need in fits.NEEDS}
    new = {"BackboneLayer", "MobileOneUnit"}  # names that ultralytics has not
    events = {"on_train_epoch_start", "on_export_start"}
    assert {p.attribute for p in tasks.PATCHES} - new - events <= asked
    assert events <= set(tasks.default_callbacks)


def test_the_tested_versions_are_the_pinned_ones():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert f"ultralytics=={fits.TESTED[-1]}" in pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = next(r for r in map(Requirement, project["dependencies"]) if r.name == "ultralytics").specifier
    assert all(allowed.contains(version) for version in fits.TESTED)


def parse_model(d, ch, verbose=True):
    """A parse_model of some other year: it resolves names elsewhere and knows no local variables in arguments."""
    return d, ch, verbose


CHANGES = [  # what a release might do, the name it concerns, what is put there (None: removed), what the message says
    ("ultralytics.nn.tasks", "parse_model", parse_model, "parse_model no longer has 'globals()[m]'"),
    ("ultralytics.nn.tasks", "parse_model", lambda cfg, channels: None, "parse_model no longer takes 'd'"),
    ("ultralytics.nn.tasks", "yaml_model_load", None, "ultralytics.nn.tasks.yaml_model_load is gone"),
    ("ultralytics.nn.tasks", "BaseModel", types.SimpleNamespace(), "BaseModel.fuse is gone"),
    ("ultralytics.utils.torch_utils", "get_flops", lambda network: 0.0, "get_flops no longer takes 'model'"),
    ("ultralytics.utils.events", "events", types.SimpleNamespace(on=False), "events.events.enabled is gone"),
]


@pytest.mark.parametrize(("module", "name", "new", "said"), CHANGES, ids=[c[3] for c in CHANGES])
def test_a_change_is_one_sentence_with_the_fix(monkeypatch, bad_input, module, name, new, said):
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "8.4.999")
    target = importlib.import_module(module)
    if new is None:
        monkeypatch.delattr(target, name)
    else:
        monkeypatch.setattr(target, name, new)
    with pytest.raises(WorkbenchError) as error:
        fits.require_fit()
    message = str(error.value)
    assert message.startswith("ultralytics 8.4.999 has changed what the workbench builds on: ultralytics.")
    assert said in message
    assert message.endswith("; tested with 8.4.190: pip install 'ultralytics==8.4.190', then restart Python")
    assert "\n" not in message
    bad_input("ultralytics", f"a release in which {said.removeprefix('ultralytics.nn.tasks.')}", error.value)


AS_A_USER = """
import sys
from workbench import _torchvision
_torchvision.ensure()
import ultralytics.nn.tasks as theirs
if len(sys.argv) > 1:
    import another
    theirs.parse_model = another.parse_model
from workbench.cli import main
sys.exit(main(["layers", "yolo11n-fasternet_t0.yaml"]))
"""


@pytest.mark.parametrize("changed", [False, True])
def test_the_command_line_says_it_before_anything_is_built(changed, tmp_path):
    """In a fresh process, as a user would meet it: one line on stderr, exit code 2, no traceback."""
    (tmp_path / "another.py").write_text("def parse_model(d, ch, verbose=True):\n    return d\n")
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", AS_A_USER, *(["changed"] if changed else [])],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == (2 if changed else 0), done.stderr
    if changed:
        assert "Traceback" not in done.stderr
        (line,) = [x for x in done.stderr.splitlines() if "ultralytics" in x]
        assert "parse_model no longer has 'globals()[m]' (and 3 more)" in line
        assert "pip install 'ultralytics==8.4.190'" in line
    else:
        assert "fasternet_t0" in done.stdout


def test_a_weekly_workflow_runs_what_make_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/latest.yml").read_text(encoding="utf-8"))
    triggers = workflow[True]  # YAML 1.1 reads the word on as true
    (when,) = triggers["schedule"]
    minute, hour, day, month, weekday = when["cron"].split()
    assert (day, month) == ("*", "*")
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert weekday.isdigit(), "once a week"
    assert "workflow_dispatch" in triggers
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert any(step.get("run") == "make test-latest" for step in job["steps"])
    assert "whl/cpu" in job["env"]["PIP_EXTRA_INDEX_URL"], "never a torch with CUDA"


def test_make_test_latest_keeps_torch_and_frees_the_rest(tmp_path):
    """The pins of torch stay; of what the project itself requires every other is left to pip."""
    done = subprocess.run(
        [sys.executable, ".ci/latest.py", "--constraints"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pins = done.stdout.split()
    assert {p.partition("==")[0] for p in pins} >= {"torch", "torchvision", "ruff", "mypy"}
    assert "torch==2.13.0" in pins
    assert not [p for p in pins if p.startswith(("ultralytics==", "numpy==", "timm==", "anywidget=="))]
