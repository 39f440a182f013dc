"""The walls of the house: an import only points down, never sideways, and each heavy package has one room.

Imports are read from the source, so that a lazy one inside a function counts like any other.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.backbones.registry import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "workbench"
FLOORS = {
    "errors": 0, "settings": 0, "files": 0, "machine": 0,
    "backbones": 1, "_torchvision": 1,
    "features": 2, "measure": 2,
    "yolo": 3,
    "plots": 4, "lesson": 4, "datasets": 4, "train": 4, "sweep": 4,
    "panels": 5, "classroom": 5, "health": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip
SIDEWAYS = {("sweep", "train"), ("backbones", "_torchvision")}  # timm needs a torchvision that imports
ONLY_IN = {
    "ultralytics": {"yolo"},
    "ipywidgets": {"panels"},
    "anywidget": {"panels"},
    "nbgrader": {"classroom"},
    "ray": {"sweep", "classroom"},
    "typer": {"cli"},
}
CORE = {"torch", "safetensors"}  # what the torch-only core may import besides the standard library
CORE_EXCEPTIONS = {"_torchvision.py": {"torchvision"}, "backbones/custom.py": {"timm"}, "backbones/timm.py": {"timm"}}
MAX_LINES = 300

FILES = sorted(p for p in PACKAGE.rglob("*.py"))
IDS = [str(p.relative_to(PACKAGE)) for p in FILES]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parse_imports(source: str, package: list[str]) -> Iterator[str]:
    """Yield the absolute dotted name of everything a source imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache
def imports(path: Path) -> frozenset[str]:
    package = ["workbench", *path.relative_to(PACKAGE).parent.parts]
    return frozenset(parse_imports(path.read_text(encoding="utf-8"), package))


def rooms_imported(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("workbench.")}


def third_party(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"workbench"}


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield public classes and functions, and the public methods of public classes that override nothing."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef) and not node.bases:
                methods = (m for m in node.body if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))
                yield from ((f"{node.name}.{m.name}", m) for m in methods)


def test_every_room_has_a_floor():
    assert {room_of(p) for p in FILES} - {"__init__"} <= set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return  # the table of public names, resolved when first used
    for other in rooms_imported(path) - {room, "__version__"}:
        down = FLOORS[other] < FLOORS[room] or FLOORS[other] == 0 or (room, other) in SIDEWAYS
        assert down, f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_what_is_called_private_stays_in_its_room(path):
    parts = (name.split(".")[1:] for name in imports(path) if name.startswith("workbench."))
    others = {".".join(rest) for room, *rest in parts if room != room_of(path)}
    assert not {name for name in others if re.search(r"(?:^|\.)_(?!_)", name)}


@pytest.mark.parametrize("package", ONLY_IN)
def test_each_heavy_package_has_its_room(package):
    used_in = {room_of(p) for p in FILES if package in third_party(p)}
    assert used_in <= ONLY_IN[package]


@pytest.mark.parametrize("path", [p for p in FILES if FLOORS.get(room_of(p)) == 1], ids=lambda p: p.name)
def test_the_core_needs_only_torch(path):
    allowed = CORE | CORE_EXCEPTIONS.get(path.relative_to(PACKAGE).as_posix(), set())
    assert third_party(path) <= allowed


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_layers_at_most(family):
    path = PACKAGE / "backbones" / f"{family}.py"
    assert third_party(path) <= {"torch"}
    ours = {name for name in imports(path) if name.startswith("workbench.")}
    assert all(name.startswith("workbench.backbones.layers.") for name in ours), ours


def test_only_the_registry_knows_all_families():
    for path in PACKAGE.rglob("*.py"):
        named = {n.split(".")[2] for n in imports(path) if n.startswith("workbench.backbones.")} & set(FAMILIES)
        assert path.stem == "registry" or len(named - {path.stem}) < len(FAMILIES), f"{path} imports every family"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_public_names_have_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [name for name, node in definitions(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert not silent
    assert not path.read_text(encoding="utf-8").strip() or ast.get_docstring(tree), "the module says not what it is for"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_no_tracked_file_names_a_machine():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    home = re.compile(rb"/(?:root|work|home/\w+|Users/\w+|opt/(?:pypi|wheels))/")
    beside = re.compile(rb"\.\./shared")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or path == Path(__file__) or b"\0" in (content := path.read_bytes())[:4096]:
            continue
        assert not home.search(content), f"{name}: {home.search(content)}"
        assert name == ".ci/run" or not beside.search(content), f"{name} expects a folder beside the checkout"


def test_the_parser_sees_lazy_relative_and_aliased_imports():
    source = "def f():\n    from ..yolo import YOLO\n    import ultralytics.nn as n\n    from . import reparam\n"
    assert set(parse_imports(source, ["workbench", "backbones"])) == {
        "workbench.yolo.YOLO", "ultralytics.nn", "workbench.backbones.reparam",
    }  # fmt: skip
