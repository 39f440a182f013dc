"""Door 2: the edits as a diff and on a fork, exactly reversible; on a copy; and equal to the plug to the last bit."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from workbench.errors import WorkbenchError
from workbench.yolo import surgery
from workbench.yolo.surgery import files

INSTALLED = files.installed_package()
TASKS = INSTALLED / "nn" / "tasks.py"
PRISTINE = TASKS.read_bytes()
ARTICLE = Path(__file__).parent / "fixtures" / "yolo11-StarNet.yaml"


@pytest.fixture
def fork(tmp_path):
    """A fork's root: the two files of it that the surgery looks at."""
    return make_fork(tmp_path / "fork")


def make_fork(root: Path, version: str = surgery.KNOWN_VERSIONS[0], content: bytes = PRISTINE) -> Path:
    (root / "ultralytics" / "nn").mkdir(parents=True)
    (root / "ultralytics" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    tasks_of(root).write_bytes(content)
    return root


def tasks_of(root: Path) -> Path:
    return root / "ultralytics" / "nn" / "tasks.py"


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# ---- on a fork -------------------------------------------------------------------------------------------------


def test_apply_and_revert_restore_identical_bytes(fork):
    before = everything(fork)
    said = surgery.apply(fork)
    assert f"{len(surgery.EDITS)} edits made" in said
    assert "\n" not in said
    edited = tasks_of(fork).read_bytes()
    assert edited != PRISTINE
    assert all(files.state(edited.decode()))
    assert set(everything(fork)) == set(before), "no file is left beside it"
    assert "taken out" in surgery.revert(fork)
    assert everything(fork) == before


def test_apply_twice_and_revert_twice_change_nothing_more(fork):
    surgery.apply(fork)
    edited = everything(fork)
    assert "already" in surgery.apply(fork)
    assert everything(fork) == edited
    surgery.revert(fork)
    assert "no edit" in surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == PRISTINE


def test_windows_line_ends_are_kept(tmp_path):
    crlf = PRISTINE.replace(b"\n", b"\r\n")
    fork = make_fork(tmp_path / "fork", content=crlf)
    surgery.apply(fork)
    edited = tasks_of(fork).read_bytes()
    assert edited.count(b"\n") == edited.count(b"\r\n") > crlf.count(b"\r\n")
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == crlf


def test_a_fork_with_changes_of_its_own_elsewhere(tmp_path):
    own = PRISTINE.replace(b"class Ensemble(", b"class MyOwnHead:\n    pass\n\n\nclass Ensemble(")
    assert own != PRISTINE
    fork = make_fork(tmp_path / "fork", content=own)
    surgery.apply(fork)
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == own


@pytest.mark.parametrize("given", ["", "ultralytics", "ultralytics/nn", "ultralytics/nn/tasks.py"])
def test_root_package_folder_and_file_are_all_understood(fork, given):
    surgery.apply(fork / given)
    surgery.revert(str(fork / given))
    assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("version", ["8.3.0", "8.4.191", "9.0.0"])
@pytest.mark.parametrize("act", [surgery.apply, surgery.revert])
def test_an_unknown_version_is_refused_and_nothing_written(tmp_path, act, version):
    fork = make_fork(tmp_path / "fork", version)
    before = everything(fork)
    with pytest.raises(WorkbenchError, match=f"ultralytics {version}; the surgery knows 8.4.190") as refused:
        act(fork)
    assert "\n" not in str(refused.value)
    assert everything(fork) == before


def test_revert_works_after_the_fork_moved_on_to_an_unknown_version(fork):
    surgery.apply(fork)
    (fork / "ultralytics" / "__init__.py").write_text('__version__ = "8.5.0"\n')
    surgery.revert(fork)
    assert tasks_of(fork).read_bytes() == PRISTINE


def test_a_lone_copy_is_known_by_its_bytes(tmp_path):
    lone = tmp_path / "tasks.py"
    lone.write_bytes(PRISTINE)
    surgery.apply(lone)
    surgery.revert(lone)
    assert lone.read_bytes() == PRISTINE
    lone.write_bytes(PRISTINE + b"# mine\n")
    with pytest.raises(WorkbenchError, match="does not say which ultralytics"):
        surgery.apply(lone)


@pytest.mark.parametrize("n", range(len(surgery.EDITS)))
def test_half_applied_is_rolled_back(fork, n):
    """One edit made by hand and the rest not, or the rest made and one not: either way back to the untouched file."""
    only = surgery.EDITS[n]
    for edits in ([only], [e for e in surgery.EDITS if e is not only]):
        half = files.with_edits(PRISTINE.decode(), edits)
        tasks_of(fork).write_bytes(half.encode())
        with pytest.raises(WorkbenchError, match=f"held {len(edits)} of {len(surgery.EDITS)} edits and was rolled"):
            surgery.apply(fork)
        assert tasks_of(fork).read_bytes() == PRISTINE
        tasks_of(fork).write_bytes(half.encode())
        surgery.revert(fork)
        assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("n", range(len(surgery.EDITS)))
def test_a_missing_anchor_is_named_and_nothing_written(fork, n):
    edit = surgery.EDITS[n]
    other = PRISTINE.decode().replace(edit.anchor, edit.anchor.replace("\n", "  # mine\n", 1))
    tasks_of(fork).write_bytes(other.encode())
    before = everything(fork)
    with pytest.raises(WorkbenchError, match=f"edit '{edit.step}' in {edit.where}".replace("(", r"\(")):
        surgery.apply(fork)
    assert everything(fork) == before


def test_an_edit_changed_after_it_was_made_is_not_reverted(fork):
    surgery.apply(fork)
    changed = tasks_of(fork).read_text().replace("m_.width_list = c2", "m_.width_list = list(c2)")
    tasks_of(fork).write_text(changed)
    with pytest.raises(WorkbenchError, match="was changed after it was made"):
        surgery.revert(fork)
    assert tasks_of(fork).read_text() == changed


def test_a_write_that_fails_leaves_the_old_file(fork, monkeypatch):
    before = everything(fork)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(WorkbenchError, match=r"No space left on device.*nothing was changed"):
        surgery.apply(fork)
    assert everything(fork) == before


def test_permissions_survive_and_a_link_stays_a_link(fork, tmp_path):
    tasks_of(fork).chmod(0o640)
    link = tmp_path / "linked"
    link.symlink_to(fork)
    surgery.apply(link)
    assert stat.S_IMODE(tasks_of(fork).stat().st_mode) == 0o640
    assert link.is_symlink()
    surgery.revert(link)
    assert tasks_of(fork).read_bytes() == PRISTINE


@pytest.mark.parametrize("given", [INSTALLED, INSTALLED.parent, TASKS])
@pytest.mark.parametrize("act", [surgery.apply, surgery.revert])
def test_the_imported_package_is_refused(act, given):
    with pytest.raises(WorkbenchError, match=r"belongs to the ultralytics this Python imports.*give a clone"):
        act(given)
    assert TASKS.read_bytes() == PRISTINE


def test_the_imported_package_is_refused_through_a_link_too(tmp_path):
    (tmp_path / "innocent").symlink_to(INSTALLED)
    with pytest.raises(WorkbenchError, match="this Python imports"):
        surgery.apply(tmp_path / "innocent")


def test_a_folder_without_tasks_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match=r"holds no nn/tasks.py; give the root of your ultralytics fork"):
        surgery.apply(tmp_path)


# ---- the diff --------------------------------------------------------------------------------------------------


def test_diff_applies_and_reverses_with_standard_tools(fork, tmp_path):
    (tmp_path / "surgery.patch").write_text(surgery.surgery_diff())
    git = shutil.which("git") or pytest.skip("git is not installed")
    subprocess.run([git, "apply", "--check", "../surgery.patch"], cwd=fork, check=True)
    subprocess.run([git, "apply", "../surgery.patch"], cwd=fork, check=True)
    by_git = tasks_of(fork).read_bytes()
    assert "already" in surgery.apply(fork)
    subprocess.run([git, "apply", "-R", "../surgery.patch"], cwd=fork, check=True)
    assert tasks_of(fork).read_bytes() == PRISTINE
    surgery.apply(fork)
    assert tasks_of(fork).read_bytes() == by_git


def test_diff_changes_what_it_says():
    removed = [line for line in surgery.surgery_diff().splitlines() if line[:1] == "-" and line[:3] != "---"]
    added = [line for line in surgery.surgery_diff().splitlines() if line[:1] == "+" and line[:3] != "+++"]
    assert 0 < len(removed) < len(added) < 60
    assert any("create_backbone" in line for line in added)


@pytest.mark.parametrize("version", ["8.3.0", "1.0", "newest"])
def test_diff_of_an_unknown_version_is_refused(version):
    with pytest.raises(WorkbenchError, match=r"the surgery knows 8\.4\.190"):
        surgery.surgery_diff(version)


def test_diff_of_the_installed_version_by_name():
    assert surgery.surgery_diff(surgery.KNOWN_VERSIONS[0]) == surgery.surgery_diff()
