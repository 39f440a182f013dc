"""``doctor`` finds what is amiss, says how to mend it, and changes nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

import workbench as wb
from workbench import _torchvision, health
from workbench.health import Finding, Health

WORKBENCH_DATA = os.environ.get("WORKBENCH_DATA")


@pytest.fixture(autouse=True)
def private(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "yolo"))
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)


def found(name: str) -> Finding:
    (finding,) = [f for f in wb.doctor().findings if f.name == name]
    return finding


def rows(check) -> dict[str, Finding]:
    return {f.name: f for f in check()}


def test_this_environment_is_sound():
    report = wb.doctor()
    assert report.ok, str(report)
    names = [f.name for f in report.findings]
    assert len(names) == len(set(names)) >= 15
    looked_at = (
        "workbench python packages ultralytics torchvision processor memory gpu disk cache budget coco128 weights"
    )
    assert {*looked_at.split(), "extras", "compiler", "browser", "sandbox"} <= set(names)
    assert torch.__version__ in found("packages").found
    assert found("torchvision").state == {"compiled": "ok", "repaired": "note"}[_torchvision.ensure()]


def test_json_and_text_say_the_same():
    report = Health((Finding("a", "ok", "fine"), Finding("bb", "broken", "is <gone>", "get it")))
    assert not report.ok
    assert json.loads(report.to_json()) == {
        "ok": False,
        "findings": [
            {"name": "a", "state": "ok", "found": "fine", "fix": ""},
            {"name": "bb", "state": "broken", "found": "is <gone>", "fix": "get it"},
        ],
    }
    assert str(report).splitlines() == [
        "✓ a   fine", "✗ bb  is <gone>", "      → get it", "", "not ready: see the lines marked ✗",
    ]  # fmt: skip
    assert "&lt;gone&gt;" in report._repr_html_()
    assert Health((Finding("a", "note", "x"),)).ok


def test_every_problem_has_a_fix(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for finding in wb.doctor().findings:
        assert finding.state in health.SIGNS
        assert finding.state == "ok" or finding.fix or finding.name == "gpu", finding


def test_a_broken_check_does_not_hide_the_others(monkeypatch):
    def _printer():
        raise RuntimeError("on fire\nfetch water")

    monkeypatch.setattr(health, "CHECKS", (_printer, health._folders))
    first, *others = wb.doctor().findings
    assert first == Finding("printer", "broken", "on fire", "fetch water")
    assert {"cache", "disk"} <= {f.name for f in others}


def test_missing_and_old_packages(monkeypatch):
    real = importlib.metadata.version
    versions = {"torch": "1.13.0", "nbgrader": None}

    def version(name):
        value = versions.get(name, "")
        if value is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return value or real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    findings = rows(health._versions)
    assert findings["torch"].state == "broken"
    assert "1.13.0 installed; needed: >=2.6" in findings["torch"].found
    assert findings["extras"].state == "note"
    assert "classroom (nbgrader)" in findings["extras"].found
    monkeypatch.setattr(health, "EXTRAS", ("classroom",))
    extras = rows(health._versions)["extras"]
    assert extras.found == "not installed: classroom (nbgrader)"
    assert "[classroom]" in extras.fix
    versions["nbgrader"] = "0.9.6"
    assert rows(health._versions)["extras"] == Finding("extras", "ok", "installed: classroom")


def test_another_copy_of_ultralytics_is_named(tmp_path, monkeypatch):
    """Pain 2 of people who swap backbones: they edited a copy that is not the one imported."""
    copy = tmp_path / "edited" / "ultralytics"
    copy.mkdir(parents=True)
    (copy / "__init__.py").touch()
    assert rows(health._which_ultralytics)["ultralytics"].state == "ok"
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy.parent)])
    finding = rows(health._which_ultralytics)["ultralytics"]
    assert finding.state == "note"
    assert str(copy) in finding.fix


def test_the_unrelated_package_is_noticed(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0" if name == "workbench" else real(name))
    finding = rows(health._which_ultralytics)["name clash"]
    assert finding.state == "broken"
    assert finding.fix.startswith("pip uninstall workbench")


def test_coco128_absent_present_and_damaged(tmp_path, monkeypatch):
    assert found("coco128").state == "note"
    assert "workbench data coco128" in found("coco128").fix
    (tmp_path / "data" / "coco128" / "images" / "train2017").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    broken = [f for f in wb.doctor().findings if f.state == "broken"]
    assert len(broken) == 1
    assert "0 images" in broken[0].found


@pytest.mark.skipif(not WORKBENCH_DATA, reason="WORKBENCH_DATA names no folder with coco128")
def test_coco128_is_found(monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", WORKBENCH_DATA)
    assert "128 images" in found("coco128").found


def test_little_disk_and_no_cache(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    assert rows(health._folders)["disk"].fix.startswith("less than 5 GB")
    (tmp_path / "file").touch()
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file" / "cache"))
    finding = found("folders")
    assert finding.state == "broken"
    assert "WORKBENCH_CACHE" in finding.found


def test_nothing_is_changed(tmp_path):
    wb.doctor()
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == [Path("cache")]  # made, and empty
