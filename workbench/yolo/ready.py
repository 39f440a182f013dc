"""Model YAML files as text, and the ready ones under ``cfg/``: four families in three hosts.

They hold nothing that `detector_yaml` does not give; they are there to be read, copied and changed.
Regenerate: ``python -m workbench.yolo.ready``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import yaml

from ..files import replace_text
from .hosts import detector_yaml, read_host
from .mapping import layer_map
from .names import CFG
from .rows import SLOTS, is_backbone_row, numbered, rows_of

READY = tuple(
    (host, backbone, scale)
    for host, scale in (("yolo11", "n"), ("yolov8", "n"), ("rtdetr-l", "l"))
    for backbone in ("fasternet_t0", "starnet_s1", "mobileone_s0", "vanillanet_5")
)


def yaml_text(cfg: dict[str, Any]) -> str:
    """Return a model YAML as a file's text: one layer per line, its number here and in the stock host beside it."""
    lines = [
        f"# {Path(cfg['yaml_file']).stem}: [from, repeats, module, arguments] # layer here, layer in the stock host"
    ]
    for key, value in cfg.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {k}: {_flow(v)}" for k, v in value.items())]
        elif key not in ("backbone", "head", "yaml_file"):
            lines.append(f"{key}: {_flow(value)}")
    host_layer = {row.layer: row.host_layer for row in layer_map(cfg).rows}
    layers = numbered(rows_of(cfg))
    for section in ("backbone", "head"):
        lines.append(f"{section}:")
        for i, row in itertools.islice(layers, len(cfg[section])):
            note = f"{i}, {host_layer[i]}" if host_layer[i] not in (None, i) else f"{i}"
            if is_backbone_row(row):
                note = f"{i}, and P2, P3, P4, P5 are {', '.join(str(i + k) for k in range(1, SLOTS))}"
            lines.append(f"  - {_flow(row)} # {note}")
    return "\n".join(lines) + "\n"


def ready_files() -> dict[str, str]:
    """Return file name → text of every ready YAML."""
    files = {}
    for host, backbone, scale in READY:
        cfg = detector_yaml(host, backbone, scale)
        files[cfg["yaml_file"]] = yaml_text(cfg)
    return files | {"yolov8-mobileoneunit.yaml": yaml_text(unit_yaml())}


def unit_yaml() -> dict[str, Any]:
    """Return YOLOv8 with each downsampling convolution of stages P3 to P5 as a `MobileOneUnit`: an ordinary layer row.

    Other scales by name: ``yolov8s-mobileoneunit.yaml``.
    """
    host = read_host("yolov8")
    rows = [list(row) for row in host.cfg["backbone"]]
    for row in rows[2:]:  # after the two convolutions that lead to P2
        row[2] = "MobileOneUnit" if row[2] == "Conv" else row[2]
    return {**host.cfg, "yaml_file": "yolov8-mobileoneunit.yaml", "backbone": rows}


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def write_ready(folder: Path = CFG) -> None:
    """Write the ready files into a folder."""
    for name, text in ready_files().items():
        replace_text(folder / name, text)


if __name__ == "__main__":
    write_ready()
