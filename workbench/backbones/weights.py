"""Load weights and say what became of every key: official checkpoints, timm's, a path, a state dict, ``"imagenet"``.

Everything is checked before the first tensor is written, so a refused checkpoint leaves the model as it was.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError, did_you_mean
from . import layouts
from .checkpoints import PUBLISHED, Published, fetch, hub_path, read_checkpoint
from .layouts import to_timm
from .matching import diagnose, plan_load
from .registry import FAMILIES
from .variants import variant_of

__all__ = ["PUBLISHED", "LoadReport", "load_then_deploy", "load_weights", "to_timm"]

Source = str | os.PathLike[str] | Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class LoadReport:
    """What became of every key. Each key of the checkpoint is in `loaded` or `skipped`, each of the model in `loaded`
    or `missing`. Printing it shows counts and reasons.
    """

    source: str  # where the weights came from
    layout: str  # "official" or "timm"
    loaded: dict[str, str] = field(default_factory=dict)  # our key → the checkpoint's key
    skipped: dict[str, str] = field(default_factory=dict)  # the checkpoint's key → why it was not used
    missing: dict[str, str] = field(default_factory=dict)  # our key → why the checkpoint has nothing for it
    adapted: dict[str, str] = field(default_factory=dict)  # our key → what was done to the weights on the way
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded from {self.source} ({self.layout} layout)"]
        for title, table in (("adapted", self.adapted), ("skipped", self.skipped), ("missing", self.missing)):
            for reason, count in Counter(table.values()).items():
                first = next(key for key, why in table.items() if why == reason)
                more = f" and {count - 1} more" if count > 1 else ""
                lines.append(f"  {title}: {first}{more}: {reason}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def load_weights(model: nn.Module, source: Source, *, strict: bool = True) -> LoadReport:
    """Load weights into `model`, in place, and report on every key.

    Understood: the official layouts of the four families (also inside ``state_dict``, ``model`` or ``model_ema``),
    timm's FasterNet, StarNet and MobileOne, and our own state dicts. A classifier's head is skipped when the backbone
    has none or counts other classes; the first convolution is adapted to other image channels.

    Args:
        model: from `create_backbone`, in the same form (train or deploy) as the checkpoint.
        source: a path, a state dict, or ``"imagenet"`` for the authors' published checkpoint.
        strict: raise when a key does not fit; otherwise load what fits and report the rest.

    Raises:
        WorkbenchError: the checkpoint cannot be read or does not fit; the model is unchanged.

    >>> from workbench.backbones import create_backbone
    >>> classifier = create_backbone("fasternet_t0", num_classes=10)
    >>> load_weights(create_backbone("fasternet_t0"), classifier.state_dict())
    128 tensors loaded from a state dict (official layout)
      skipped: avgpool_pre_head.1.weight and 2 more: belongs to the classifier, which this backbone does not have
    """
    family = family_of_module(model)
    deploy = family in FAMILIES and not layouts.has_bn(model.state_dict(), family)
    return _load(model, _open(model, source, deploy), strict)


def load_then_deploy(model: nn.Module, source: Source, *, strict: bool = True) -> LoadReport:
    """Load into a train-form `model` and leave it in deploy form, whichever form the checkpoint is in.

    A checkpoint of the train form is loaded and then merged; one of the deploy form is loaded after merging.

    Raises:
        WorkbenchError: as `load_weights`; and for a VanillaNet saved before its activation ramp had ended.

    >>> from workbench.backbones import create_backbone
    >>> trained, thin = create_backbone("starnet_s050"), create_backbone("starnet_s050")
    >>> len(load_then_deploy(thin, trained.state_dict()).loaded), len(thin.state_dict())
    (155, 70)
    """
    from .reparam import to_deploy_

    opened = _open(model, source, deploy=True)
    ramp = opened.state.get("act_learn")
    if isinstance(ramp, Tensor) and ramp.numel() == 1 and ramp.item() != 1.0:
        raise WorkbenchError(
            f"{opened.origin} has an activation ramp of {ramp.item():g}, and merging is exact only at 1; load it into "
            "the train form (deploy=False) and train on until the ramp has ended"
        )
    if opened.has_bn:
        report = _load(model, opened, strict)
        to_deploy_(model)
        return report
    return _load(to_deploy_(model), opened, strict)


def family_of_module(model: nn.Module) -> str | None:
    """Return the family a module is of, ``"timm"`` for timm's, or None for any other module."""
    names = {cls.__name__ for cls in type(model).__mro__ if cls.__module__.startswith(f"{__package__}.")}
    if "TimmBackbone" in names:
        return "timm"
    return next((family for family, (cls, _) in FAMILIES.items() if cls in names), None)


class _Opened(NamedTuple):
    """A checkpoint, read and unwrapped."""

    state: dict[str, Any]
    origin: str
    notes: list[str]
    family: str | None  # the model's
    layout: str

    @property
    def has_bn(self) -> bool:
        return layouts.has_bn(map(layouts.to_ours(self.family, self.layout), self.state), self.family)


def _open(model: nn.Module, source: Source, deploy: bool) -> _Opened:
    """Read and unwrap a source; `deploy` is the form in which ``"imagenet"`` is wanted."""
    notes: list[str] = []
    if isinstance(source, Mapping):
        checkpoint, origin = source, "a state dict"
    elif isinstance(source, nn.Module) or not isinstance(source, str | os.PathLike):
        raise WorkbenchError(
            f"weights are given as {type(source).__name__}; expected a path, a state dict (module.state_dict()) or "
            "'imagenet'"
        )
    elif source == "imagenet":
        published = _published(model, deploy)
        path = fetch(published.url, published.sha256, _other_form(published))
        checkpoint, origin = read_checkpoint(path), str(path)
        notes.append(f"published by the authors: {published.top1:g} % top-1, licence: {published.licence}")
    else:
        if not Path(source).expanduser().exists() and (hint := did_you_mean(str(source), ["imagenet"])):
            raise WorkbenchError(f"weights={str(source)!r} is no file{hint}")
        checkpoint, origin = read_checkpoint(source), str(source)
    try:
        state, remarks = layouts.unwrap(checkpoint, model.state_dict())
    except WorkbenchError as e:
        raise WorkbenchError(f"{origin}: {e}") from e
    family = family_of_module(model)
    return _Opened(state, origin, notes + remarks, family, layouts.layout_of(state, family))


def _load(model: nn.Module, opened: _Opened, strict: bool) -> LoadReport:
    """Plan, refuse or write, report."""
    target = model.state_dict()  # shares memory with the model
    if any(value.is_meta for value in target.values()):
        raise WorkbenchError("the model is on the meta device and has no memory to load into; build it on cpu or cuda")
    rename = layouts.to_ours(opened.family, opened.layout, target)
    plan = plan_load(opened.state, target, opened.family, rename)
    cause = diagnose({rename(k): v for k, v in opened.state.items()}, target, opened.family) if plan.problems else ""
    weights = [key for key in plan.loaded if not key.endswith("num_batches_tracked")]
    if (strict and plan.problems) or not weights:
        some = "; ".join(f"{key}: {why}" for key, why in list(plan.problems.items())[:3])
        more = f" and {len(plan.problems) - 3} more" if len(plan.problems) > 3 else ""
        raise WorkbenchError(
            f"{opened.origin} does not fit this {type(model).__name__}: {cause + ': ' if cause else ''}{some}{more}. "
            f"Nothing was loaded{'; strict=False loads what fits' if weights else ''}"
        )
    with torch.no_grad():
        for key, value in plan.tensors.items():
            target[key].copy_(value)
    notes = (*opened.notes, cause) if cause else tuple(opened.notes)
    return LoadReport(opened.origin, opened.layout, plan.loaded, plan.skipped, plan.missing, plan.adapted, notes)


def _published(model: nn.Module, deploy: bool) -> Published:
    """Return the published checkpoint of a network, in the form wanted where there are two."""
    family = family_of_module(model)
    if family not in FAMILIES:
        other = "create_backbone('timm:…', pretrained=True)" if family == "timm" else "a path"
        raise WorkbenchError(
            f"'imagenet' means what the authors of our four families publish; for a {type(model).__name__} use {other}"
        )
    variant = variant_of(model, family)
    if variant not in PUBLISHED:
        known = ", ".join(name for name in FAMILIES[family][1] if name in PUBLISHED)
        what = f"{variant} is published without weights" if variant else f"this {family} is none of the official sizes"
        raise WorkbenchError(f"no 'imagenet' weights: {what}; there are some for {known}")
    forms = {published.form: published for published in PUBLISHED[variant]}
    if not deploy:
        return forms["train"]
    merged = forms.get("deploy", forms["train"])
    return forms["train"] if not hub_path(merged.file).is_file() and hub_path(forms["train"].file).is_file() else merged


def _other_form(published: Published) -> str:
    """Return the way out for who has the merged file and asked for the unmerged one."""
    merged = published.file.replace("_unfused", "")
    if published.form == "train" and merged != published.file and hub_path(merged).is_file():
        return f"; {merged}, which is there, is the deploy form: create the backbone with deploy=True"
    return ""
