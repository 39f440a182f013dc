"""The project's own files agree with each other, and the two commands behave on machines unlike this one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import workbench
from workbench.errors import how_to_install

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for line in (*PROJECT["dependencies"], *(r for extra in extras for r in extra))]


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env={**env, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("need", requirements(), ids=str)
def test_every_requirement_has_a_pin_in_its_range(need):
    assert need.specifier.contains(PINS[canonicalize_name(need.name)])


def test_the_class_pins():
    assert (PINS["torch"], PINS["torchvision"], PINS["ultralytics"]) == ("2.13.0", "0.28.0", "8.4.190")
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if x and not x.startswith("#")]
    assert len(lines) == len(PINS)  # nothing but exact pins


def test_every_pin_installs_on_an_old_patch_release():
    """Debian's Python is 3.11.2; a package that wants 3.11.5 would leave pip without a solution."""
    checked = 0
    for found in importlib.metadata.distributions():
        wanted = found.metadata.get("Requires-Python")
        if wanted and PINS.get(canonicalize_name(found.name)) == found.version.partition("+")[0]:
            checked += 1
            for python in ("3.11.2", "3.12.0", "3.13.0"):
                assert SpecifierSet(wanted).contains(python), f"{found.name} {found.version} needs Python {wanted}"
    assert checked > 50


def test_the_python_named_everywhere_is_the_same():
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    versions = [f"3.{minor}" for minor in range(int(low), int(high))]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"python{v}" in makefile for v in versions)
    assert f"(3, {low}) <= sys.version_info[:2] <= (3, {int(high) - 1})" in makefile
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    for name in ("environment.yml", ".binder/environment.yml"):
        python = next(
            d for d in yaml.safe_load((ROOT / name).read_text())["dependencies"] if str(d).startswith("python")
        )
        assert python.removeprefix("python=") in versions


def test_conda_and_binder_install_the_same_pins():
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    assert pip == ["--constraint constraints.txt", "--editable ."]
    build = ROOT / ".binder/postBuild"
    assert "-c constraints.txt -e ." in build.read_text()
    assert build.stat().st_mode & stat.S_IXUSR


def test_core_install_stays_small():
    core = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert not core & {"timm", "onnxruntime", "openvino", "nbgrader", "ray", "voila", "pytest", "playwright", "fvcore"}
    assert len(core) <= 16


ASKED_FOR = re.compile(r'MissingExtraError\((?:"(\w+)"|package), "(\w+)"\)')


def test_a_missing_package_is_told_the_extra_that_has_it():
    """What a message says to install is there: interpreter, pins, project, the extra and in it the package."""
    extras = {k: {r.name for r in map(Requirement, v)} for k, v in PROJECT["optional-dependencies"].items()}
    asked = [m.groups() for p in (ROOT / "workbench").rglob("*.py") for m in ASKED_FOR.finditer(p.read_text("utf-8"))]
    assert {extra for _, extra in asked} >= {"runtimes", "reference", "classroom", "cluster"}
    others = {"nbclient": "nbgrader", "Voilà": "voila"}  # comes with it; its name in print
    for package, extra in asked:
        assert not package or others.get(package, package) in extras[extra], (package, extra)
    python, *_, pins, _, project = shlex.split(how_to_install("runtimes"))
    assert python == sys.executable
    assert Path(pins) == ROOT / "constraints.txt"
    assert project == f"{ROOT}[runtimes]"


def test_version_and_licence_agree():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", changelog, re.M)[0] in ("Unreleased", workbench.__version__), "the newest entry"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in licence.splitlines()[0]
    assert "13. Remote Network Interaction" in licence
    assert PROJECT["license"] == "AGPL-3.0-or-later"


def test_the_citation_agrees_with_the_project_and_the_readme():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == workbench.__version__
    assert cited["license"] == PROJECT["license"]
    papers = {reference["url"] for reference in cited["references"]}
    assert papers == set(
        re.findall(r"\]\((https://arxiv.org/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "assignments/README.md"]
)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    dead = [k for k in links if "://" not in k and not (ROOT / name).parent.joinpath(k).exists()]
    assert not dead


def test_the_readme_is_made_from_the_notebooks_and_tables():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "assets/readme.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "fasternet_t0" in made.table()
    assert made.fill_in(text) == text, "run: python assets/readme.py --table"
    assert made.fill_in(text.replace(made.table(), "")) == text


def test_commands_the_readme_shows_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", text)) <= targets
    from workbench.cli import app

    verbs = {c.name for c in app.registered_commands}
    shown = set(re.findall(r"(?:^|`)workbench ([a-z]+)", text, re.MULTILINE))
    assert shown
    assert shown <= verbs


@needs_make
def test_no_fitting_python_gets_a_sentence(tmp_path):
    done = make(f"VENV={tmp_path}/venv", "PYTHON=/nonexistent/python3.9", f"{tmp_path}/venv/bin/python")
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[0]
    assert "needs Python 3.11, 3.12 or 3.13" in sentence
    assert "/nonexistent/python3.9" in sentence
    assert not (tmp_path / "venv").exists()


@needs_make
def test_the_first_fitting_python_is_taken(tmp_path):
    """A command that answers to the name but is no fitting Python is passed over."""
    for name, body in (("python3.11", "exit 127"), ("python3.12", f'exec "{sys.executable}" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"
    done = make(f"VENV={tmp_path}/venv", f"{tmp_path}/venv/bin/python", PATH=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"Building {tmp_path}/venv with python3.12"
    assert (tmp_path / "venv/bin/python").exists()


@needs_make
def test_a_second_run_installs_nothing(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bin/python", ".lab", ".test"):
        (tmp_path / name).touch()
    for target in ("lab", "test", "check", "e2e"):
        plan = make("-n", target, f"VENV={tmp_path}")
        assert plan.returncode == 0
        assert "-m pip" not in plan.stdout
    os.utime(tmp_path / ".lab", (0, 0))  # older than pyproject.toml: something was added to it
    assert "-c constraints.txt -e ." in make("-n", "lab", f"VENV={tmp_path}").stdout


@needs_make
def test_arguments_are_passed_on(tmp_path):
    plan = make("-n", "lab", "ARGS=--no-browser --port 8899").stdout
    assert plan.splitlines()[-1].endswith("-m workbench lab --no-browser --port 8899")


@pytest.mark.parametrize(
    ("body", "code", "closing"),
    [
        ("def test_a(): assert True\n", 0, "1 passed, 0 failed, 0 skipped"),
        ("import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip('x')\ndef test_c(): pass\n", 1,
         "1 passed, 1 failed, 1 skipped"),
        ("raise RuntimeError('cannot be collected')\n", 1, "0 passed, 1 failed, 0 skipped"),
    ],
)  # fmt: skip
def test_the_suite_ends_with_the_counts(tmp_path, body, code, closing):
    """One red section makes the whole red, the others still run, and the last line says how many tests there were."""
    for folder in (".ci", "tests", "workbench"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci/suite.py", tmp_path / ".ci")
    (tmp_path / "tests/test_it.py").write_text(body)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, ".ci/suite.py", "--only", "tests", "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == closing
    assert ("failed: tests" in done.stdout) == bool(code)


def test_ci_run_is_sound_shell():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    assert script.read_text().rstrip().endswith("make test")
