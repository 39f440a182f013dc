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
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "workbench/measure/count.py",
        "def build(name: str, deploy: bool=False, pixels: int=224 * 224) -> nn.Module:",
        "def build(name: str, deploy: bool=False, pixels: int=224 * 225) -> nn.Module:",
    ): "it is only compared with 400,000, from which on weights are not drawn; both are far below",
    (
        "workbench/measure/_trace.py",
        "where.append(next((n for n in mine if len(mine) > 1 and n.startswith(f'{where[-1]}.')), mine[0]))",
        "where.append(next((n for n in mine if len(mine) >= 1 and n.startswith(f'{where[-1]}.')), mine[0]))",
    ): "a module with one name gets that name either way; the comparison saves the search",
    (
        "workbench/measure/_trace.py",
        "self.formulas = FlopCounterMode(display=False, custom_mapping=EXTRA_FORMULAS).flop_registry",
        "self.formulas = FlopCounterMode(display=True, custom_mapping=EXTRA_FORMULAS).flop_registry",
    ): "display acts when the counter's context ends; it is never entered, only its table of formulas is read",
    (
        "workbench/backbones/ramp.py",
        "return value is None or abs(value - 1.0) < 1e-06",
        "return value is None or abs(value - 1.0) <= 1e-06",
    ): "the ramp is a float32, and none lies exactly 1e-06 from 1",
}
