"""The guides are followed literally: every block that a reader is told to save, run or type, in that order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ROOT / "docs" / "guides"
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"# ([\w/]+\.py)\n")


def follow(guide: str, folder: Path, **environment: str) -> str:
    """Do what a guide says, in a folder: save named files, run the shell blocks, then the Python blocks as one script.

    Returns everything that was printed.
    """
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "MPLBACKEND": "Agg", "YOLO_OFFLINE": "true", "PATH": search, **environment}
    script, printed = [], ""
    for language, code in BLOCK.findall((GUIDES / guide).read_text(encoding="utf-8")):
        if language == "bash":
            done = subprocess.run(["sh", "-e", "-c", code], cwd=folder, env=env, capture_output=True, text=True)
            printed += done.stdout
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        elif name := FILE.match(code):
            (folder / name.group(1)).write_text(code[name.end() :], encoding="utf-8")
        else:
            script.append(code)
    if script:
        (folder / "follow.py").write_text("\n".join(script), encoding="utf-8")
        done = subprocess.run([sys.executable, "follow.py"], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


def test_a_backbone_of_your_own_reaches_an_exported_detector(tmp_path):
    pytest.importorskip("onnx", reason="ONNX export needs the extra runtimes")
    printed = follow("your_backbone.md", tmp_path)
    assert "P5 must be at stride 32" in printed, "the network with the forgotten stride was not refused"
    assert printed.count("1 of 1 epochs") == 2, "on the drawn set, and on images of one's own"
    assert "train: 9 images (0 without a box), 9 boxes of 2 classes" in printed
    assert (tmp_path / "run" / "weights" / "best.onnx").stat().st_size > 1e6


def test_a_lesson_is_added(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so there is no list of files to copy")
    wanted = ("workbench/", "data/weights/", "conftest.py", "pyproject.toml")
    for name in filter(lambda n: n.startswith(wanted) and (ROOT / n).is_file(), listed.stdout.split("\0")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    printed = follow("add_a_lesson.md", tmp_path, PYTHONPATH=str(tmp_path))
    assert "6 passed" in printed, printed


def test_no_guide_is_forgotten():
    followed = set(re.findall(r'follow\("(\w+\.md)"', Path(__file__).read_text(encoding="utf-8")))
    assert followed == {p.name for p in GUIDES.glob("*.md")}
