"""Weights from one detector into another, layer by meaning: ultralytics matches by position and calls it a success."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from ultralytics.utils import LOGGER

from .layer import BackboneLayer, backbone_layers
from .mapping import config_of_model, kept_layers, layer_map


@dataclass(frozen=True)
class Part:
    """One part of a detector: how many of its tensors were filled, and why the others were not."""

    name: str
    loaded: int
    total: int
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name:<16} {self.loaded:>4} of {self.total:<4} tensors" + (f"  ({self.why})" if self.why else "")


@dataclass(frozen=True)
class TransferReport:
    """What crossed from one detector into another. Prints as one line per part."""

    source: str
    target: str
    parts: tuple[Part, ...]

    @property
    def loaded(self) -> int:
        """Tensors filled, in all parts."""
        return sum(part.loaded for part in self.parts)

    def __str__(self) -> str:
        return "\n".join([f"from {self.source} into {self.target}, layer by meaning:", *(f"  {p}" for p in self.parts)])

    __repr__ = __str__


def transfer(
    target: nn.Module, weights: Any, theirs: Callable[..., None], verbose: bool = True
) -> TransferReport | None:
    """Load `weights` into `target` by meaning; the plug's version of ultralytics' ``BaseModel.load``.

    Layers that are the same in both (neck, head, SPPF, …) receive their weights whatever their numbers; a backbone
    receives those of the same backbone. Two models of one architecture, and stock models, are left to ultralytics.

    Args:
        target: the detector's network.
        weights: a checkpoint (dict) or network, as ``BaseModel.load`` takes it.
        theirs: ``BaseModel.load``.
        verbose: print the report.

    Returns:
        The report; None when ultralytics' own way was right.

    Raises:
        WorkbenchError: the two are no versions of one host; nothing was loaded.
    """
    source = (weights.get("ema") or weights["model"]) if isinstance(weights, dict) else weights
    ours = [n for n in (source, target) if isinstance(n, nn.Module) and backbone_layers(n)]
    if not ours:
        theirs(target, weights, verbose)
        return None
    untouched = {m.spec["name"]: m for m in backbone_layers(source) if not m.touched}
    if _layers(source) == _layers(target):
        theirs(target, weights, verbose)
        report = None
    else:
        moved = key_map(source, target)
        state = {moved[k]: v for k, v in source.float().state_dict().items() if k in moved}
        theirs(target, _Renamed(source, state), False)
        report = _report(source, target, state)
    for layer in backbone_layers(target):  # weights that were only drawn, elsewhere, are still to be trained: the ramp
        drawn = untouched.get(layer.spec["name"])
        if drawn is not None and layer.equals(drawn):
            layer.forget_touch()
    if report is not None and verbose:
        LOGGER.info(report)
    return report


def key_map(source: nn.Module, target: nn.Module) -> dict[str, str]:
    """Return state-dict key of `source` → key of `target` for every tensor whose layer means the same in both.

    Raises:
        WorkbenchError: the two are no versions of one host.
    """
    layers = kept_layers(config_of_model(source), config_of_model(target))
    ours = {m.spec["name"]: i for i, m in enumerate(target.model) if isinstance(m, BackboneLayer)}  # type: ignore[arg-type]
    for i, m in enumerate(source.model):  # type: ignore[arg-type]
        if isinstance(m, BackboneLayer) and m.spec["name"] in ours:
            layers[i] = ours[m.spec["name"]]
    keys = {}
    for key in source.state_dict():
        head, number, rest = key.split(".", 2)
        if head == "model" and int(number) in layers:
            keys[key] = f"model.{layers[int(number)]}.{rest}"
    return keys


class _Renamed:
    """A detector as ``BaseModel.load`` looks at one, its weights under the names of another."""

    def __init__(self, source: Any, state: dict[str, Tensor]) -> None:
        self.model, self.is_fused, self._state = source.model, source.is_fused, state
        self.names, self.pt_path = getattr(source, "names", {}), getattr(source, "pt_path", None)

    def float(self) -> _Renamed:
        return self

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._state)


def _layers(network: Any) -> list[Any]:
    """Return what makes two networks the same architecture for loading: the rows' modules, in order."""
    rows = config_of_model(network)
    return [row[2] for row in (*rows["backbone"], *rows["head"])]


def _report(source: Any, target: Any, state: dict[str, Tensor]) -> TransferReport:
    parts: list[Part] = []
    rows = layer_map(target).rows
    filled = target.state_dict()
    for name in dict.fromkeys(row.part for row in rows):
        prefixes = tuple(f"model.{row.layer}." for row in rows if row.part == name)
        keys = [k for k in filled if k.startswith(prefixes)]
        fits = [k for k in keys if k in state and state[k].shape == filled[k].shape]
        others = [k for k in keys if k in state and state[k].shape != filled[k].shape]
        why = ""
        if others:
            there, here = (tuple(x[others[0]].shape) for x in (state, filled))
            why = f"{len(others)} of another shape, as {others[0]}: {there} there, {here} here"
        elif len(fits) < len(keys):
            why = "the source has another backbone" if name == "backbone" else "not in the source"
        parts.append(Part(name, len(fits), len(keys), why))
    return TransferReport(_name(source), _name(target), tuple(parts))


def _name(network: Any) -> str:
    return Path(str(config_of_model(network).get("yaml_file") or type(network).__name__)).stem
