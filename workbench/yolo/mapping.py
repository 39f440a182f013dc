"""Which layer of a transplant is which layer of its host: the map behind the printed table and behind loading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from ultralytics.nn import tasks as ultralytics_tasks

from ..errors import WorkbenchError
from .hosts import HOSTS, Host, read_host
from .rows import SLOTS, Row, is_backbone_row, numbered, reads, rows_of

KEPT = "backbone (kept)"


class MapRow(NamedTuple):
    """One layer of a detector."""

    layer: int
    came_from: int | list[int]  # as the YAML says it
    name: str
    part: str  # backbone, backbone (kept): what the host has behind its stages, neck, head
    host_layer: int | None  # its number in the stock host, where it has one


@dataclass(frozen=True)
class LayerMap:
    """All layers of a detector, beside their numbers in the stock host. Prints as a table."""

    host: str | None  # None: a model that is no transplant of a known host
    rows: tuple[MapRow, ...]

    @property
    def old_to_new(self) -> dict[int, int]:
        """Layer number in the stock host → layer number here, for the layers that exist in both."""
        return {row.host_layer: row.layer for row in self.rows if row.host_layer is not None}

    def __str__(self) -> str:
        title = f"{'layer':>5}  {'from':<14}{'module':<28}{'part':<18}"
        lines = [title + (f"layer of {self.host}" if self.host else "")]
        for row in self.rows:
            old = "" if row.host_layer is None else str(row.host_layer)
            lines.append(f"{row.layer:>5}  {row.came_from!s:<14}{row.name:<28}{row.part:<18}{old}".rstrip())
        return "\n".join(lines)

    __repr__ = __str__


def layer_map(model: Any) -> LayerMap:
    """Return the layers of a detector, beside their numbers in the stock host.

    Args:
        model: a `YOLO` or `RTDETR`, its network, a model YAML as a dict, or its name or path.

    Raises:
        WorkbenchError: none of these.

    >>> from workbench.yolo.hosts import detector_yaml
    >>> m = layer_map(detector_yaml("yolo11", "fasternet_t0"))
    >>> print(str(m.rows[3]), m.old_to_new[13])
    MapRow(layer=3, came_from=0, name='Index P4', part='backbone', host_layer=6) 9
    """
    cfg = config_of_model(model)
    after = _first_kept(cfg)
    host = _host_of(cfg, after)
    last = len(cfg["backbone"]) + len(cfg["head"]) - 1
    out: list[MapRow] = []
    for n, (i, row) in enumerate(numbered(rows_of(cfg))):
        if is_backbone_row(row):
            out.append(MapRow(i, row[0], row[2], "backbone", None))
            for k in range(1, SLOTS):
                out.append(MapRow(i + k, i, f"Index P{k + 1}", "backbone", _host_layer(host, i + k)))
            continue
        part = "head" if n == last else "neck"
        if n < len(cfg["backbone"]):
            part = "backbone" if n < after else KEPT
        out.append(MapRow(i, row[0], _label(row), part, _host_layer(host, i)))
    return LayerMap(host.name if host else None, tuple(out))


def config_of_model(model: Any) -> dict[str, Any]:
    """Return the YAML a detector was built from, its backbone as one row."""
    if isinstance(model, str | os.PathLike) and Path(model).suffix in (".yaml", ".yml"):
        model = ultralytics_tasks.yaml_model_load(model)
    for _ in range(3):  # YOLO → its network → its YAML
        if isinstance(model, dict) and {"backbone", "head"} <= set(model):
            return model
        inner = getattr(model, "yaml", None) if isinstance(model, nn.Module) else None
        model = inner or getattr(model, "model", None)
    raise WorkbenchError("no layers to show: expected a YOLO or RTDETR, its network, or a model YAML")


def kept_layers(source: dict[str, Any], target: dict[str, Any]) -> dict[int, int]:
    """Return layer of `source` → layer of `target` for the layers that mean the same in both: neck, head, SPPF, ….

    Both are model YAMLs; either may be a stock host or a transplant of it, at any scale and number of classes. Layers
    are matched from the end, and each pair must be the same module reading the layers that correspond.

    Raises:
        WorkbenchError: the two are no variants of one host, so that matching would be by position only.
    """
    ours, theirs = list(numbered(rows_of(target))), list(numbered(rows_of(source)))
    kept = min(len(ours) - _first_kept(target), len(theirs) - _first_kept(source))
    pairs = list(zip(theirs[-kept:], ours[-kept:], strict=True))
    old_to_new = {i: j for (i, _), (j, _) in pairs}
    level_of, new_level_of = _levels(source), _levels(target)
    for (i, old), (j, new) in pairs:
        moved = [old_to_new.get(r, level_of.get(r)) for r in reads(i, old)]
        if old[2] != new[2] or moved != [new_level_of.get(r, r) for r in reads(j, new)]:
            raise WorkbenchError(
                f"layer {i} ({old[2]}) of {_name(source)} has no counterpart in {_name(target)}, whose layer {j} is a "
                f"{new[2]}: weights cross only between versions of one host"
            )
    return old_to_new


def _first_kept(cfg: dict[str, Any]) -> int:
    """Return how many rows come before the layers a transplant keeps."""
    rows = rows_of(cfg)
    if backbones := [n for n, row in enumerate(rows) if is_backbone_row(row)]:
        return backbones[-1] + 1
    host = _host_of(cfg, None)
    return host.replaced if host else len(cfg["backbone"])


def _levels(cfg: dict[str, Any]) -> dict[int, str]:
    """Return layer number → P2 … P5 for the layers that stand for a backbone's maps."""
    if backbones := [i for i, row in numbered(rows_of(cfg)) if is_backbone_row(row)]:
        return {backbones[-1] + k: f"P{k + 1}" for k in range(1, SLOTS)}
    host = _host_of(cfg, None)
    return host.level_of if host else {}


def _host_of(cfg: dict[str, Any], after: int | None) -> Host | None:
    """Return the host whose kept rows (from `after` on; None: all rows) are these, or None.

    Only modules and references count: arguments differ between scales, classes and hands.
    """
    names = [row[2] for row in rows_of(cfg)]
    links = [reads(i, row) for i, row in numbered(rows_of(cfg))]
    for name in HOSTS if "host" not in cfg else (cfg["host"],):
        host = read_host(name)
        theirs = rows_of(host.stock)
        if after is None:
            if names == [row[2] for row in theirs]:
                return host
        elif names[after:] == [row[2] for row in theirs[host.replaced :]]:
            moved = [[host.new_index(j) for j in reads(i, row)] for i, row in enumerate(theirs)][host.replaced :]
            if links[after:] == moved:
                return host
    return None


def _host_layer(host: Host | None, layer: int) -> int | None:
    if host is None:
        return None
    return next((old for old in range(len(rows_of(host.stock))) if host.new_index(old) == layer), None)


def _label(row: Row) -> str:
    repeats = f" × {row[1]}" if row[1] != 1 else ""
    return f"{row[2]}{repeats}"


def _name(cfg: dict[str, Any]) -> str:
    return Path(str(cfg.get("yaml_file") or "this model")).stem
