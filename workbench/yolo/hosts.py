"""Transplants: replace the backbone stages of an ultralytics model YAML by one of ours, and keep everything else.

Nothing about a host is written down here but its name. What to replace is found in the host's own YAML: the backbone
rows are run on shapes only, which gives the stride of each; the rows up to the last stage block are replaced; what
follows them at stride 32 (SPPF, C2PSA, …), the neck and the head are kept, with their layer numbers moved.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import YAML
from ultralytics.utils.checks import check_yaml

from ..backbones.contract import STRIDES
from ..backbones.registry import is_backbone, unknown
from ..errors import WorkbenchError, did_you_mean
from .rows import SLOTS, Row, build, config_of_row, reads, rows_of

# every host is tested; "-seg", "-pose" and "-obb" are the other tasks' heads
_FAMILIES = ("yolo11", "yolov8", "yolo12", "yolo26")
HOSTS = (*_FAMILIES, *(f"{h}-{task}" for h in _FAMILIES for task in ("seg", "pose", "obb")), "rtdetr-l", "rtdetr-x")


@dataclass(frozen=True)
class Host:
    """What the neck of a host needs to know about its backbone, read off its YAML."""

    name: str
    stock: dict[str, Any] = field(repr=False)  # its YAML; `cfg` gives copies, because parsing one writes into it
    replaced: int  # rows 0 … replaced − 1 are the stages that make way
    level_of: dict[int, str]  # a row the kept layers may read → P2 … P5

    @property
    def cfg(self) -> dict[str, Any]:
        """Return its YAML, yours to change."""
        return copy.deepcopy(self.stock)

    @property
    def scales(self) -> tuple[str, ...]:
        """The scales the YAML defines."""
        return tuple(self.stock["scales"])

    def new_index(self, old: int) -> int | None:
        """Return where layer `old` of the host is in the transplant; None for one that made way unread."""
        if old >= self.replaced:
            return old - self.replaced + SLOTS
        return int(self.level_of[old][1]) - 1 if old in self.level_of else None


@functools.cache
def read_host(name: str) -> Host:
    """Read a host's YAML and find what its neck reads.

    Raises:
        WorkbenchError: the name is no host.

    >>> read_host("yolo11").level_of[6], read_host("yolo11").new_index(13), read_host("rtdetr-l").new_index(7)
    ('P4', 9, 3)
    """
    cfg = _read_yaml(name)
    strides = _strides(cfg)
    replaced = _stage_rows(cfg["backbone"], strides)
    ends = {s: max(i for i in range(replaced) if strides[i] == s) for s in STRIDES}
    level_of = {i: f"P{k + 2}" for k, (s, i) in enumerate(ends.items())}
    for i, row in enumerate(rows_of(cfg)):
        for j in reads(i, row):
            if i >= replaced > j and j not in level_of:
                raise WorkbenchError(
                    f"layer {i} of {name} reads layer {j}, which ends no stage; no backbone can serve it"
                )
    return Host(name, cfg, replaced, level_of)


def host_scales(name: str) -> tuple[str, ...]:
    """Return the scales a host comes in, read off its YAML alone: nothing is built, unlike in `read_host`.

    Raises:
        WorkbenchError: the name is no host.

    >>> host_scales("yolo11"), host_scales("rtdetr-l")
    (('n', 's', 'm', 'l', 'x'), ('l',))
    """
    return tuple(_read_yaml(name)["scales"])


def _read_yaml(name: str) -> dict[str, Any]:
    if name not in HOSTS:
        hint = did_you_mean(name, HOSTS) or f"; expected one of {', '.join(HOSTS)}"
        raise WorkbenchError(f"unknown host {name!r}{hint}")
    cfg: dict[str, Any] = YAML.load(check_yaml(f"{name}.yaml"))
    return cfg


def detector_yaml(host: str, backbone: str, scale: str = "n", **backbone_args: Any) -> dict[str, Any]:
    """Return the model YAML, as a dict, of a host whose backbone is one of ours.

    Args:
        host: ``"yolo11"``, ``"yolov8-seg"``, ``"rtdetr-l"`` …; `HOSTS` lists them.
        backbone: a variant, a name you registered, or ``"timm:MODEL"``.
        scale: the size of neck and head, n, s, m, l or x. RT-DETR has its one size in its name. The backbone does not
            scale with it: its size is its variant.
        **backbone_args: changes to the variant's configuration.

    Raises:
        WorkbenchError: unknown host, scale or backbone, with the near names.
        TypeError: a keyword is not part of the backbone's configuration.

    >>> d = detector_yaml("yolo11", "fasternet_t0", "s")
    >>> d["scale"], d["backbone"][0], d["head"][1]
    ('s', [-1, 1, 'fasternet_t0', []], [[-1, 3], 1, 'Concat', [1]])
    """
    h = read_host(host)
    scale = _check_scale(h, scale)
    if not isinstance(backbone, str) or not is_backbone(backbone):
        raise unknown(backbone)
    args = [dict(backbone_args)] if backbone_args else []
    with torch.device("meta"):
        build({"name": backbone, **config_of_row(backbone, args)}, 3)
    cfg = h.cfg
    kept = [_moved(h, i, row) for i, row in enumerate(rows_of(cfg)) if i >= h.replaced]
    tail = len(cfg.pop("backbone")) - h.replaced
    del cfg["head"]
    cfg |= {"host": h.name, "scale": scale, "yaml_file": yaml_name(h.name, backbone, scale)}
    cfg["backbone"] = [[-1, 1, backbone, args], *kept[:tail]]
    cfg["head"] = kept[tail:]
    return cfg


def yaml_name(host: str, backbone: str, scale: str) -> str:
    """Return the file name a transplant goes by.

    >>> yaml_name("yolov8-seg", "starnet_s1", "n"), yaml_name("rtdetr-l", "vanillanet_5", "l")
    ('yolov8n-seg-starnet_s1.yaml', 'rtdetr-l-vanillanet_5.yaml')
    """
    family, _, task = host.partition("-")
    stem = host if family == "rtdetr" else f"{family}{scale}" + (f"-{task}" if task else "")
    return f"{stem}-{backbone}.yaml"


def _check_scale(h: Host, scale: str) -> str:
    if len(h.scales) == 1 and scale in ("n", *h.scales):  # n is the argument's default, not a wish
        return h.scales[0]
    if scale not in h.scales:
        raise WorkbenchError(f"scale {scale!r} given for {h.name}; expected one of {', '.join(h.scales)}")
    return scale


def _moved(h: Host, i: int, row: Row) -> Row:
    """Return a kept row with the layer numbers it reads moved; relative ones stay as they are."""
    came_from, *rest = row
    several = isinstance(came_from, list)
    moved = [
        f if f < 0 and j >= h.replaced - 1 else h.new_index(j)  # −1 right after the last stage is P5 in both
        for f, j in zip(came_from if several else [came_from], reads(i, row), strict=True)
    ]
    return [moved if several else moved[0], *rest]


def _strides(cfg: dict[str, Any]) -> list[int]:
    """Return the stride of each backbone row's output, by running the rows on shapes only."""
    side = 640
    scale = next(iter(cfg["scales"]))
    with torch.device("meta"):
        rows = copy.deepcopy({**cfg, "head": [], "scale": scale})
        layers, _ = ultralytics_tasks.parse_model(rows, ch=3, verbose=False)
        x, strides = torch.zeros(1, 3, side, side), []
        for layer in layers.eval():
            x = layer(x)  # (1, C, H, W): backbone rows of every host read the row before
            strides.append(side // x.shape[-1])
    return strides


def _stage_rows(backbone: list[Row], strides: list[int]) -> int:
    """Return how many leading rows are stages: downsampling rows, and blocks of a kind that earlier stages use.

    A row at the last stride whose kind no earlier stage has (SPPF, C2PSA) is the host's own addition and is kept.
    """
    last = next(i for i, s in enumerate(strides) if s == STRIDES[-1])  # the row that goes down to stride 32
    kinds = {row[2] for row in backbone[:last]}
    end = last + 1
    while end < len(backbone) and backbone[end][2] in kinds:
        end += 1
    return end
