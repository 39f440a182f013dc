"""What is mutated, which tests have to notice, and which mutants change nothing that could be noticed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Files (a function as ``file::Class.method``) and the arguments of pytest that select their tests."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = (
    Group(
        "folding and merging",
        (
            "workbench/backbones/layers.py",
            "workbench/backbones/reparam.py",
            "workbench/backbones/ramp.py",
            "workbench/backbones/mobileone.py::MobileOneBlock",
            "workbench/backbones/vanillanet.py::SeriesActivation",
            "workbench/backbones/vanillanet.py::Block",
            "workbench/backbones/vanillanet.py::VanillaNet.reparameterize",
        ),
        (
            "tests/test_reparam.py",
            "tests/test_official_fixtures.py",
            "workbench/backbones/layers.py",
            "workbench/backbones/reparam.py",
            "workbench/backbones/ramp.py",
            "tests/test_backbones.py",
        ),
    ),
    Group(
        "counting",
        (
            "workbench/measure/_trace.py",
            "workbench/measure/count.py",
            "workbench/measure/cost.py",
            "workbench/measure/formulas.py",
        ),
        ("workbench/measure/formulas.py", "workbench/measure/count.py", "tests/test_count.py"),
    ),
    Group(
        "the plug",
        (
            "workbench/yolo/tasks.py",
            "workbench/yolo/layer.py",
            "workbench/yolo/wrappers.py",
            "workbench/yolo/rows.py",
            "workbench/yolo/weights.py",
            "workbench/yolo/transfer.py",
            "workbench/yolo/mapping.py",
            "workbench/yolo/names.py",
            "workbench/yolo/hosts.py",
            "workbench/yolo/ramp.py",
        ),
        (
            "workbench/yolo",
            "tests/test_yolo_hosts.py",
            "tests/test_article_mistakes_socket.py",
            "tests/test_yolo_weights.py",
            "tests/test_yolo_life.py",
            "tests/test_yolo_plug.py",
        ),
    ),
)

# (file, before, after) → why nobody can tell it from the original
EQUIVALENT: dict[tuple[str, str, str], str] = {}
