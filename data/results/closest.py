"""Choose the configuration of each family whose YOLO11n costs most nearly what the stock one does.

``python data/results/closest.py`` prints the choice and writes the YAML of what is no published variant.

The recorded comparison trains one detector per family. Comparing the smallest published size of each would compare
sizes, not ideas: so each family enters with the configuration whose detector is closest to the stock YOLO11n in MACs,
by ratio, in the form that is used after training (branches merged, BN folded).

Every published VanillaNet is far from it (the smallest costs 20 times as much), so that family enters with
VanillaNet-5's layers and strides at the width, a multiple of 8, that comes closest.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

import workbench as wb
from workbench.backbones import FAMILIES
from workbench.backbones.reparam import to_deploy_
from workbench.backbones.vanillanet import VARIANTS as VANILLANETS
from workbench.measure import count
from workbench.yolo.tasks import ultralytics_tasks

HOST, SCALE, IMGSZ = "yolo11", "n", 320
MODELS = Path(__file__).parent / "models"
FAR = 3.0  # a backbone that alone costs this many times the stock detector is no candidate


class Choice(NamedTuple):
    """One family's entry."""

    family: str
    name: str  # of the backbone: a variant, or family-wWIDTH
    config: dict[str, Any]  # keywords that make it, empty for a variant
    macs: int  # of the whole detector in deploy form, one image of IMGSZ × IMGSZ
    ratio: float  # to the stock detector

    @property
    def model(self) -> str:
        """What ``wb.train(model=…)`` takes: a name, or the path of the YAML in ``models/``."""
        stem = f"{HOST}{SCALE}-{self.name}.yaml"
        return str(MODELS / stem) if self.config else stem


def cost(config: dict[str, Any] | str) -> int:
    """Return the MACs of a detector in deploy form, exactly."""
    net = ultralytics_tasks.DetectionModel(copy.deepcopy(config), verbose=False).eval()
    for layer in net.modules():
        if isinstance(layer, wb.yolo.BackboneLayer):
            to_deploy_(layer)
    return count(net, imgsz=IMGSZ).macs


def choices() -> list[Choice]:
    """Return one entry per family, the closest to the stock detector."""
    stock = cost(f"{HOST}{SCALE}.yaml")
    found = []
    for family, (_, variants) in FAMILIES.items():
        names = [n for n in variants if not n.endswith("ada_pool") and _alone(n) < FAR * stock]
        entries = [_entry(family, name, {}, stock) for name in names]
        if not entries and family == "vanillanet":
            entries = [_narrow(width, stock) for width in range(16, 129, 8)]
        found.append(min(entries, key=_distance))
    return found


def _alone(name: str) -> int:
    """Return the MACs of a published backbone by itself; from shapes, so a large one takes no memory."""
    with torch.device("meta"):
        return count(to_deploy_(wb.create_backbone(name).eval()), imgsz=IMGSZ).macs


def _entry(family: str, name: str, config: dict[str, Any], stock: int) -> Choice:
    macs = cost(wb.detector_yaml(HOST, family if config else name, SCALE, **config))
    return Choice(family, name, config, macs, macs / stock)


def _narrow(width: int, stock: int) -> Choice:
    five = VANILLANETS["vanillanet_5"]
    dims = tuple(width * d // five.dims[0] for d in five.dims)
    return _entry("vanillanet", f"vanillanet-w{width}", {"dims": dims, "strides": five.strides}, stock)


def _distance(choice: Choice) -> float:
    return abs(math.log(choice.ratio))


def write_models(entries: list[Choice]) -> None:
    """Write the YAML of every entry that is no published variant, so that anybody can train it."""
    MODELS.mkdir(exist_ok=True)
    for entry in entries:
        if entry.config:
            plain = {key: list(value) for key, value in entry.config.items()}
            made = wb.detector_yaml(HOST, entry.family, SCALE, **plain)
            made.pop("yaml_file")
            Path(entry.model).write_text(yaml.safe_dump(made, sort_keys=False, default_flow_style=None))


if __name__ == "__main__":
    rows = choices()
    write_models(rows)
    for row in rows:
        print(
            f"{row.family:10s} {row.name:16s} {row.macs / 1e6:8.1f} million MACs, {row.ratio:.3f} × the stock YOLO11n"
        )
