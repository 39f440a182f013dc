"""A class on one shared home: everybody at once, somebody killed, a cache that only the instructor may write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench import datasets, settings
from workbench.datasets.cache import build_once
from workbench.errors import WorkbenchError
from workbench.lesson import results

ROOT = Path(__file__).resolve().parent.parent
STUDENTS = 3
needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill that cannot be caught")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home of nobody else, with its cache inside."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    return tmp_path


def student(code: str, *arguments: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, sys.executable, "-c", code, *arguments], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.splitlines()[-1]


# ------------------------------------------------------------------ at once

FIRST_HOUR = """
import json, sys, time
from pathlib import Path
go = Path(sys.argv[1])
while not go.exists():
    time.sleep(0.002)
from workbench import _torchvision
_torchvision.ensure()
import workbench.yolo as yolo
from ultralytics.utils import SETTINGS, SETTINGS_FILE
json.loads(Path(SETTINGS_FILE).read_text())
row = yolo.detector_yaml("yolo11", "starnet_s050")["backbone"][0]
print(json.dumps([str(SETTINGS_FILE), sorted(SETTINGS)[:3], row]))
"""


def test_ultralytics_settings_are_made_once_and_whole(home):
    """The first import writes them: all students do it in the same second, in a folder that is not there yet."""
    class_ = [student(FIRST_HOUR, str(home / "go"), YOLO_CONFIG_DIR=str(home / "config")) for _ in range(STUDENTS)]
    (home / "go").touch()
    answers = {said(one) for one in class_}
    assert len(answers) == 1
    file, keys, row = json.loads(answers.pop())
    written = json.loads(Path(file).read_text(encoding="utf-8"))
    assert Path(file).is_relative_to(home)
    assert set(keys) <= set(written)
    assert row == [-1, 1, "starnet_s050", []]


TABLE = """
import sys
from workbench.lesson import results
for turn in range(4):
    results.record({"backbone": f"{sys.argv[1]}-{turn}", "params": turn, "lesson": "01"})
print("done")
"""


def test_nobody_s_row_is_lost(home):
    for one in [student(TABLE, str(i)) for i in range(STUDENTS)]:
        assert said(one) == "done"
    rows = results.table()
    assert [r["backbone"] for r in rows] == sorted(f"{i}-{turn}" for i in range(STUDENTS) for turn in range(4))
    left = {p.name for p in (home / "shared").iterdir()}
    assert left == {"comparison.csv", "comparison.lock"}


# ------------------------------------------------------------------ killed

HOLDS = """
import sys, time
from pathlib import Path
from workbench.lesson import results
from workbench.datasets.cache import build_once

def build(root):
    (root / "half").write_text("half")
    print("building", flush=True)
    time.sleep(600)

with results._lock(results.path()):
    build_once("set", build)
"""


@needs_kill
def test_a_classmate_killed_while_building_and_holding_the_lock_stops_nobody(home):
    killed = student(HOLDS)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "building\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    (half,) = (home / "shared").glob(".set-*")
    assert said(student(TABLE, "next")) == "done"  # would wait for ever on a lock that outlived its owner
    built = build_once("set", lambda root: (root / "whole").write_text("whole") and None)
    assert [p.name for p in built.iterdir()] == ["whole"]
    assert half.exists(), "it may be a build that still runs"
    yesterday = time.time() - 2 * 86_400
    os.utime(half, (yesterday, yesterday))
    shutil.rmtree(built)
    build_once("set", lambda root: None)
    assert not half.exists()


# ------------------------------------------------------------------ read-only


def read_only(folder: Path) -> tuple[str, ...]:
    """Take away the right to write below a folder; return the command to put before a student's, or skip.

    Root may write everywhere, but not where the folder is mounted read-only.
    """
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    if not os.access(folder, os.W_OK):
        return ()
    before = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(folder), str(folder))
    if not shutil.which("bwrap") or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("root may write everywhere, and bwrap is not here to mount a folder read-only")
    return before


ON_A_SHARED_CACHE = """
import json
from workbench import datasets, settings
from workbench.lesson import results
from workbench.health import _folders
kept = datasets.shapes(n_train=3, n_val=1, imgsz=64)
made = datasets.shapes(n_train=2, n_val=1, imgsz=64)
results.record({"backbone": "starnet_s1", "params": 1, "lesson": "03"})
print(json.dumps([str(kept), str(made), str(results.path()), len(results.table()), next(_folders()).state]))
"""


def test_a_cache_that_only_the_instructor_may_write_is_used_and_the_rest_is_one_s_own(home):
    kept = datasets.shapes(n_train=3, n_val=1, imgsz=64)
    shared = home / "shared"
    before = sorted(p.name for p in shared.iterdir())
    try:
        answer = json.loads(said(student(ON_A_SHARED_CACHE, before=read_only(shared))))
    finally:
        for path in (shared, *shared.rglob("*")):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    own = home / "own" / "backbone-workbench"
    assert answer[0] == str(kept)
    assert Path(answer[1]).is_relative_to(own)
    assert answer[2:] == [str(own / "comparison.csv"), 1, "note"]
    assert sorted(p.name for p in shared.iterdir()) == before


def test_nowhere_to_write_is_one_sentence(home, monkeypatch, bad_input):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WorkbenchError, match="point WORKBENCH_CACHE at a writable folder") as error:
        settings.own_dir()
    assert "\n" not in str(error.value)
    bad_input("settings", "a cache folder and a home that are read-only", str(error.value).replace(str(home), "…"))
    with pytest.raises(WorkbenchError, match="read-only"):
        datasets.shapes(n_train=1, n_val=1, imgsz=64)
