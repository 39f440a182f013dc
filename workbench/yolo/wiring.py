"""What a transplant looks like: which layer of the host became which, with channels, strides, cost and the YAML."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from ultralytics.nn import tasks as ultralytics_tasks

from ..backbones.ramp import set_activation_ramp
from ..backbones.registry import family_of
from ..measure import count
from .hosts import detector_yaml, read_host
from .mapping import layer_map
from .ready import yaml_text
from .rows import SLOTS, expand, reads, rows_of

IMGSZ = 640  # ultralytics' own size for GFLOPs
PROBE = 128  # small, and still enough anchors for RT-DETR's 300 queries
MODELS = {"": "DetectionModel", "seg": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel"}


class Layer(NamedTuple):
    """One layer of a transplant."""

    new: int  # its number
    old: str  # its number in the stock host; for the backbone, the range of the stages that make way
    type: str
    reads: tuple[int, ...]  # the layers whose output it takes; −1 is the image
    channels: int | None  # of its output; None for the head and for layer 0, which gives no single map
    stride: int | None  # image pixels per map pixel
    params: int


@dataclass(frozen=True)
class Wiring:
    """A host with another backbone. Prints as the layer map; `yaml` is a file that `wb.YOLO` opens."""

    host: str
    scale: str
    backbone: str
    layers: tuple[Layer, ...]
    params: int
    gflops: float  # 2 × MACs of one 640 × 640 image
    deploy_params: int  # after fuse(): BN folded, branches merged
    deploy_gflops: float
    stock_params: int  # of the host as it comes
    stock_gflops: float
    yaml: str

    @property
    def levels(self) -> dict[str, Layer]:
        """The backbone's four maps, P2 to P5."""
        return {layer.type: layer for layer in self.layers[1:SLOTS]}

    @property
    def read_by(self) -> dict[str, tuple[int, ...]]:
        """For each of P2 to P5, the layers that read it."""
        return {p: tuple(x.new for x in self.layers if m.new in x.reads) for p, m in self.levels.items()}

    def __str__(self) -> str:
        lines = [f"{'old':>5} → {'new':>3}  {'type':<18}{'reads':<14}{'channels':>9}{'stride':>8}{'parameters':>13}"]
        for x in self.layers:
            shape = ("—" if v is None else str(v) for v in (x.channels, x.stride))
            reads = ", ".join("image" if n < 0 else str(n) for n in x.reads)
            row = (x.old or "—", x.new, x.type, reads, *shape, x.params)
            lines.append("{:>5} → {:>3}  {:<18}{:<14}{:>9}{:>8}{:>13,}".format(*row))
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """The cost in one line, beside the stock host's."""
        return (f"{self.params:,} parameters and {self.gflops:.1f} GFLOPs at {IMGSZ} px (2 × MACs); fused "
                f"{self.deploy_params:,} and {self.deploy_gflops:.1f}; stock {self.host} at this scale "
                f"{self.stock_params:,} and {self.stock_gflops:.1f}")  # fmt: skip


def wiring(host: str, backbone: str, scale: str = "n", **backbone_args: Any) -> Wiring:
    """Transplant `backbone` into `host` and return what became of every layer.

    Args:
        host: ``"yolo11"``, ``"yolov8-seg"``, ``"rtdetr-l"`` …
        backbone: a backbone's name.
        scale: the size of neck and head.
        **backbone_args: changes to the backbone's configuration.

    Raises:
        WorkbenchError: unknown host, scale or backbone, or one that gives no maps at strides 4, 8, 16, 32.

    >>> wiring("yolo11", "fasternet_t0").levels["P3"]
    Layer(new=2, old='4', type='P3', reads=(0,), channels=80, stride=8, params=0)
    """
    build = _wiring if family_of(backbone) else _wiring.__wrapped__  # a backbone of yours may have changed since
    return build(host, backbone, scale, json.dumps(backbone_args, sort_keys=True))


@functools.lru_cache(maxsize=64)
def _wiring(host: str, backbone: str, scale: str, args: str) -> Wiring:
    cfg = detector_yaml(host, backbone, scale, **json.loads(args))
    scale = cfg["scale"]
    model = build_detector(host, cfg)
    rows = tuple(_layers(cfg, model))
    as_built = _cost(model)
    set_activation_ramp(model, 1.0)  # the fused form is that of a trained network
    model.fuse(verbose=False)  # type: ignore[operator]
    return Wiring(host, scale, backbone, rows, *as_built, *_cost(model), *_stock(host, scale), yaml_text(cfg))


def build_detector(host: str, cfg: dict[str, Any]) -> nn.Module:
    """Build the host's kind of model, without disturbing anybody's random numbers."""
    family, _, task = host.partition("-")
    kind = "RTDETRDetectionModel" if family == "rtdetr" else MODELS[task]
    with torch.random.fork_rng(devices=[]):
        return getattr(ultralytics_tasks, kind)(copy.deepcopy(cfg), verbose=False).eval()


def _cost(model: nn.Module) -> tuple[int, float]:
    """Return parameters and GFLOPs."""
    return sum(p.numel() for p in model.parameters()), count(model, imgsz=IMGSZ).flops / 1e9


@functools.lru_cache(maxsize=64)
def _stock(host: str, scale: str) -> tuple[int, float]:
    """Return parameters and GFLOPs of the host as it comes."""
    return _cost(build_detector(host, {**copy.deepcopy(read_host(host).cfg), "scale": scale}))


def _layers(cfg: dict[str, Any], model: nn.Module) -> Iterator[Layer]:
    """Yield the layers, with the shapes a small image has on its way through."""
    shapes: dict[int, torch.Size] = {}
    modules = list(model.model)  # type: ignore[arg-type]

    def keep(number: int, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            shapes[number] = output.shape

    handles = [m.register_forward_hook(lambda _m, _x, y, i=i: keep(i, y)) for i, m in enumerate(modules[:-1])]
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, PROBE, PROBE))
    finally:
        for handle in handles:
            handle.remove()
    old = {new: str(stock) for stock, new in layer_map(cfg).old_to_new.items()}
    old[0] = f"0–{read_host(cfg['host']).replaced - 1}"
    for i, (row, m) in enumerate(zip(rows_of(expand(copy.deepcopy(cfg))), modules, strict=True)):
        level = f"P{i + 1}" if 1 <= i < SLOTS else ""
        shape = shapes.get(i)
        channels, stride = (None, None) if shape is None else (shape[1], PROBE // shape[-1])
        kind = level or (cfg["backbone"][0][2] if i == 0 else type(m).__name__)
        params = sum(p.numel() for p in m.parameters())
        yield Layer(i, old[i], kind, tuple(reads(i, row)), channels, stride, params)
