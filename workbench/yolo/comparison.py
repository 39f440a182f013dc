"""Compare backbones under the same conditions, alone or inside a host: exact costs, and times from one run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from ..backbones.checkpoints import PUBLISHED
from ..backbones.contract import levels_of
from ..backbones.ramp import set_activation_ramp
from ..backbones.registry import FAMILIES, classes_for, create_backbone, family_of, is_backbone, unknown
from ..errors import WorkbenchError
from ..measure import Factory, Latency, count, factory, latency, peak_memory
from ..measure.backbones import costs
from ..measure.candidates import FORMS
from .hosts import detector_yaml, read_host
from .wiring import build_detector

STOCK = "stock"  # inside a host: the host as it comes


@dataclass(frozen=True)
class Conditions:
    """What is the same for every network of a comparison.

    Attributes:
        form: "deploy" (branches merged, BN folded) or "train".
        imgsz: image side in pixels; inside a host a multiple of 32.
        batch: images per run; costs are of one run.
        threads: intra-op threads.
        device: "cpu" or "cuda".
        layout: "nchw" or "channels_last".
        runtime: "eager", "onnxruntime" …
        host: None for the backbone alone, with its 1000-class head; or a detector, "yolo11", "rtdetr-l" …
        scale: of the host.

    Raises:
        WorkbenchError: a value that no comparison can have.
    """

    form: str = "deploy"
    imgsz: int = 224
    batch: int = 1
    threads: int = 1
    device: str = "cpu"
    layout: str = "nchw"
    runtime: str = "eager"
    host: str | None = None
    scale: str = "n"

    def __post_init__(self) -> None:
        for name, value in (("imgsz", self.imgsz), ("batch", self.batch), ("threads", self.threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise WorkbenchError(f"{name}={value!r} given; expected a positive integer")
        if self.form not in FORMS:
            raise WorkbenchError(f"form={self.form!r} is unknown; expected one of {', '.join(FORMS)}")
        if self.host is not None:
            scales = read_host(self.host).scales
            if len(scales) > 1 and self.scale not in scales:
                raise WorkbenchError(f"scale {self.scale!r} given for {self.host}; expected one of {', '.join(scales)}")
            if self.imgsz % 32:
                raise WorkbenchError(f"imgsz={self.imgsz} given inside {self.host}; expected a multiple of 32")

    @property
    def place(self) -> str:
        """Where the backbones stand, in words.

        >>> Conditions().place, Conditions(imgsz=640, host="yolo11-seg").place
        ('alone', 'in yolo11n-seg')
        """
        if self.host is None:
            return "alone"
        family, dash, task = self.host.partition("-")
        return f"in {self.host}" if len(read_host(self.host).scales) < 2 else f"in {family}{self.scale}{dash}{task}"


@dataclass(frozen=True)
class Comparison:
    """Networks under the same conditions.

    Attributes:
        conditions: see there.
        rows: one dictionary per network, in the order asked: ``name``, ``family``, costs as `BackboneLab` has them,
            ``intensity`` (FLOP per byte), ``channels`` of P2 … P5 (None for `STOCK` and for a pure classifier),
            ``top1`` (published, percent, or None), and, when timed, ``latency_ms`` with ``low_ms`` and ``high_ms``
            (quartiles), ``gmacs_per_s``, ``n``; else None.
        timing: the interleaved run the times are from, or None.
    """

    conditions: Conditions
    rows: list[dict[str, Any]]
    timing: Latency | None = field(default=None, repr=False)

    def row(self, name: str) -> dict[str, Any]:
        """Return one row.

        Raises:
            WorkbenchError: no network of that name is in the comparison.
        """
        for row in self.rows:
            if row["name"] == name:
                return row
        raise WorkbenchError(f"{name!r} is not in the comparison; it has {', '.join(r['name'] for r in self.rows)}")


def compare(
    names: Iterable[str], conditions: Conditions | None = None, *, time: bool = True, **options: Any
) -> Comparison:
    """Count and, if wanted, time backbones under the same conditions.

    Args:
        names: variants, names you registered, ``"timm:MODEL"``; inside a host also `STOCK`.
        conditions: default alone, deploy form, 224 pixels, batch 1, one thread.
        time: also measure latencies, all in one interleaved run.
        **options: of `measure.latency`: rounds, budget_s, progress, stop …

    Raises:
        WorkbenchError: an unknown name, or a network that cannot be built or run under these conditions.

    >>> compare(["starnet_s050", "fasternet_t0"], time=False).row("fasternet_t0")["macs"]
    335422720
    """
    conditions = conditions or Conditions()
    chosen = check_names(names, conditions)
    timing = time_together(chosen, conditions, **options) if time else None
    return Comparison(conditions, [row(name, conditions, timing) for name in chosen], timing)


def check_names(names: Iterable[str], conditions: Conditions) -> list[str]:
    """Return the names, each once, if every one can stand in such a comparison.

    Raises:
        WorkbenchError: one cannot.
    """
    chosen = list(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in chosen:
        if name == STOCK:
            if conditions.host is None:
                raise WorkbenchError(f"{STOCK!r} is a host as it comes, and there is no host; choose one, or drop it")
        elif not isinstance(name, str) or not is_backbone(name) or name in FAMILIES:
            raise unknown(name)
    if not chosen:
        raise WorkbenchError("no network chosen; expected at least one")
    return chosen


def row(name: str, conditions: Conditions, timing: Latency | None = None) -> dict[str, Any]:
    """Return everything known of one network; the times are None where it was not timed."""
    c = conditions
    cached = name == STOCK or family_of(name) is not None  # one of yours may have changed since
    known = (_costs if cached else _costs.__wrapped__)(name, c.form, c.imgsz, c.batch, c.host, c.scale)
    found = {"name": name, **known, "intensity": 2 * known["macs"] / known["bytes_moved"]}
    found["channels"] = None if name == STOCK else (_channels if cached else _channels.__wrapped__)(name)
    found["top1"] = PUBLISHED[name][0].top1 if name in PUBLISHED else None
    found |= dict.fromkeys(("latency_ms", "low_ms", "high_ms", "gmacs_per_s", "n"))
    if timing is not None and name in timing.names and (s := timing.summary(name)).n:
        found |= {"latency_ms": 1e3 * s.median_s, "low_ms": 1e3 * s.q1_s, "high_ms": 1e3 * s.q3_s, "n": s.n}
        found["gmacs_per_s"] = known["macs"] / s.median_s / 1e9
    return found


@functools.lru_cache(maxsize=256)
def _channels(name: str) -> tuple[int, ...] | None:
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = create_backbone(name)
        try:
            return tuple(level.channels for level in levels_of(net) or ()) or None
        except ValueError:  # VanillaNet with adaptive pooling has no levels and says so
            return None


@functools.lru_cache(maxsize=1024)
def _costs(name: str, form: str, imgsz: int, batch: int, host: str | None, scale: str) -> dict[str, Any]:
    if host is None:
        return {k: v for k, v in costs(name, form, imgsz, batch).items() if k not in ("backbone", "form")}
    net = build(name, host, scale, form)
    if batch > 1:  # a detector is run for real
        _must_fit(batch * _costs(name, form, imgsz, 1, host, scale)["peak_bytes"], f"{name} in {host}", batch, imgsz)
    x = torch.zeros(batch, 3, imgsz, imgsz)  # (B, 3, H, W)
    c = count(net, x)
    return {"family": family_of(name) or "other", "params": c.params, "macs": c.macs, "activations": c.activations,
            "elements": c.elements, "bytes_moved": c.bytes_moved, "peak_bytes": peak_memory(net, x).peak}  # fmt: skip


def _must_fit(need: float, who: str, batch: int, imgsz: int) -> None:
    free = psutil.virtual_memory().available
    if need > 0.8 * free:
        gib = f"about {need / 2**30:.1f} GiB, of which {free / 2**30:.1f} GiB are free"
        raise WorkbenchError(f"{who} needs {gib}, for batch={batch} at imgsz={imgsz}; choose a smaller batch or image")


def time_together(names: Sequence[str], conditions: Conditions, **options: Any) -> Latency:
    """Time all in one interleaved run, in a clean process unless one of them was registered in this session.

    Raises:
        WorkbenchError: one cannot be built or run.
    """
    c = conditions
    if c.device == "cpu":
        known = [row(name, c) for name in names]
        need = max(r["peak_bytes"] for r in known) + sum(4 * r["params"] for r in known)
        _must_fit(need, f"timing {len(known)} networks", c.batch, c.imgsz)
    recipes = {name: recipe(name, c) for name in names}
    mine = any(name != STOCK and family_of(name) is None and not name.startswith("timm:") for name in names)
    setting: dict[str, Any] = {
        "imgsz": c.imgsz, "batch": c.batch, "threads": c.threads, "device": c.device, "layout": c.layout,
        "form": c.form, "count": False, "process": "here" if mine else "auto",
    }  # fmt: skip
    return latency(recipes, **{**setting, **options})


def recipe(name: str, conditions: Conditions) -> Factory:
    """Return how another process builds one network of the comparison."""
    c = conditions
    if c.host is None:
        return factory(name, num_classes=classes_for(name), deploy=c.form == "deploy", runtime=c.runtime)
    return factory(f"{__name__}:build", name, c.host, c.scale, c.form, runtime=c.runtime)


def build(name: str, host: str, scale: str = "n", form: str = "deploy") -> nn.Module:
    """Return an untrained detector in eval mode, (B, 3, H, W) → its decoded predictions, before NMS.

    Args:
        name: a backbone, or `STOCK`.
        host: the detector.
        scale: its scale.
        form: "deploy" fuses it, as ultralytics does before prediction, and as after training (VanillaNet's ramp at 1).
    """
    cfg = {**read_host(host).cfg, "scale": scale} if name == STOCK else detector_yaml(host, name, scale)
    model = build_detector(host, cfg)
    if form == "deploy":
        set_activation_ramp(model, 1.0)
        model.fuse(verbose=False)  # type: ignore[operator]
    return Predictions(model).eval()


class Predictions(nn.Module):
    """A detector without the maps it returns beside its predictions, so that every runtime can take it."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → predictions, (B, numbers, places) or (B, queries, numbers)."""
        out = self.detector(x)
        return out[0] if isinstance(out, tuple | list) else out
