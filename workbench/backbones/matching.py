"""Decide what becomes of every key before anything is written: pure, from two state dicts to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .layouts import FAMILY_KEYS, OTHER, fit_channels, has_bn, is_out_norm, looks_like


@dataclass
class Plan:
    """What to write, and the reason for everything that is not written."""

    tensors: dict[str, Tensor] = field(default_factory=dict)  # our key → what to copy into it
    loaded: dict[str, str] = field(default_factory=dict)  # our key → the checkpoint's key
    skipped: dict[str, str] = field(default_factory=dict)  # the checkpoint's key → reason
    missing: dict[str, str] = field(default_factory=dict)  # our key → reason
    adapted: dict[str, str] = field(default_factory=dict)  # our key → what was done
    problems: dict[str, str] = field(default_factory=dict)  # key → what strict loading does not accept


def plan_load(
    state: Mapping[str, Any], target: Mapping[str, Tensor], family: str | None, rename: Callable[[str], str]
) -> Plan:
    """Return what becomes of every key of a checkpoint and of a model.

    Args:
        state: the checkpoint, flat.
        target: the model's state dict.
        family: the model's family, ``"timm"``, or None.
        rename: the checkpoint's keys → ours.

    >>> plan = plan_load({"a": torch.ones(2), "b": torch.ones(1)}, {"a": torch.zeros(2)}, None, str)
    >>> plan.loaded, plan.problems
    ({'a': 'a'}, {'b': 'the model has no such weight'})
    """
    plan = Plan()
    ours = {source: rename(source) for source in state}
    classes = _classes(state, target, family, ours)
    for source, value in state.items():
        _place(plan, source, ours[source], value, target, family, classes)
    for key in target:
        if key not in plan.loaded:
            _explain_missing(plan, key, target[key], set(ours.values()), family, classes)
    return plan


def diagnose(state: Mapping[str, Any], target: Mapping[str, Tensor], family: str | None) -> str:
    """Return the most likely cause of a mismatch and its fix, or an empty string. Keys are in our names."""
    other = looks_like(state)
    if family not in FAMILY_KEYS:
        return ""
    if other is not None and other != family:
        return f"the checkpoint looks like a {other}, the model is a {family}"
    there, here = has_bn(state, family), has_bn(target, family)
    if here and not there:
        return (
            "the checkpoint is in deploy form (branches merged, BN folded) and the model in train form: create the "
            "model with deploy=True"
        )
    if there and not here:
        return (
            "the checkpoint is in train form and the model in deploy form: load it into the train form, then "
            "workbench.deploy(model)"
        )
    from .variants import variant_with_shapes

    variant = variant_with_shapes({k: v for k, v in state.items() if isinstance(v, Tensor)}, family)
    return f"the checkpoint's shapes are those of {variant}" if variant else ""


def _place(
    plan: Plan, source: str, key: str, value: Any, target: Mapping[str, Tensor], family: str | None,
    classes: tuple[int, int] | None,
) -> None:  # fmt: skip
    """Put one key of the checkpoint among the loaded, the skipped or the problems."""
    keys = FAMILY_KEYS.get(family or "", OTHER)
    if not isinstance(value, Tensor):
        plan.skipped[source] = f"not a tensor but {type(value).__name__}"
    elif key not in target:
        headless = key.startswith(keys.head) and not any(k.startswith(keys.head) for k in target)
        if headless:
            plan.skipped[source] = "belongs to the classifier, which this backbone does not have"
        elif family == "fasternet" and is_out_norm(key):
            plan.skipped[source] = "a per-level norm, which this backbone was built without (out_norm)"
        elif family == "timm":
            plan.skipped[source] = "lies behind the last map, where this backbone has nothing"
        else:
            plan.skipped[source] = plan.problems[source] = "the model has no such weight"
    elif key in plan.loaded:
        plan.skipped[source] = plan.problems[source] = f"the checkpoint's {plan.loaded[key]} is {key} already"
    elif (why := _unusable(value, target[key])) is not None:
        plan.skipped[source] = plan.problems[source] = why
    elif value.shape == target[key].shape:
        plan.loaded[key], plan.tensors[key] = source, value
    elif classes and key.startswith(keys.head) and _only_classes_differ(value.shape, target[key].shape, classes):
        plan.skipped[source] = f"its classifier has {classes[0]} classes, this model {classes[1]}"
    elif _reads_image(key, value, target, family):
        plan.tensors[key], plan.adapted[key] = fit_channels(value, target[key].shape[1])
        plan.loaded[key] = source
    else:
        plan.skipped[source] = plan.problems[source] = (
            f"shape {tuple(value.shape)} in the checkpoint, {tuple(target[key].shape)} in the model"
        )


def _explain_missing(
    plan: Plan, key: str, value: Tensor, offered: set[str], family: str | None, classes: tuple[int, int] | None
) -> None:
    """Say why the checkpoint has nothing for one key of the model."""
    head = FAMILY_KEYS.get(family or "", OTHER).head
    norm = key.split(".")[0] + "."
    if key.endswith("act_learn") and key not in offered:
        plan.tensors[key] = torch.ones_like(value)
        plan.missing[key] = "absent, which means the activation ramp has ended: set to 1"
    elif key.startswith(head) and not any(k.startswith(head) for k in offered):
        plan.missing[key] = "the checkpoint has no classifier; keeps its initial values"
    elif key.startswith(head) and classes and key in offered:
        plan.missing[key] = f"the checkpoint's classifier has {classes[0]} classes; keeps its initial values"
    elif family == "fasternet" and is_out_norm(key) and not any(k.startswith(norm) for k in offered):
        plan.missing[key] = "the checkpoint has no such per-level norm; keeps its initial values"
    elif key.endswith("num_batches_tracked") and key not in offered:
        plan.missing[key] = "absent; a counter that inference never reads, keeps its value"
    elif key in offered:
        plan.missing[key] = "what the checkpoint has under this name does not fit"
    else:
        plan.missing[key] = plan.problems[key] = "the checkpoint has no such weight"


def _unusable(value: Tensor, here: Tensor) -> str | None:
    if value.is_meta:
        return "a meta tensor, which has a shape and no values"
    if value.is_floating_point() != here.is_floating_point() or value.is_quantized or value.is_complex():
        return f"of type {value.dtype}, expected {here.dtype}"
    return None


def _classes(
    state: Mapping[str, Any], target: Mapping[str, Tensor], family: str | None, ours: Mapping[str, str]
) -> tuple[int, int] | None:
    """Return the class counts of checkpoint and model where they differ, from the last weight of the classifier."""
    last = FAMILY_KEYS.get(family or "", OTHER).classes
    for source, value in state.items():
        key = ours[source]
        if key in last and key in target and isinstance(value, Tensor) and value.ndim:
            there, here = value.shape[0], target[key].shape[0]
            return (there, here) if there != here else None
    return None


def _only_classes_differ(there: torch.Size, here: torch.Size, classes: tuple[int, int]) -> bool:
    return len(there) == len(here) and all(a == b or (a, b) == classes for a, b in zip(there, here, strict=True))


def _reads_image(key: str, value: Tensor, target: Mapping[str, Tensor], family: str | None) -> bool:
    """Return whether this is a first convolution whose shapes differ in the image channels alone."""
    here = target[key].shape
    stem = FAMILY_KEYS.get(family or "", OTHER).stem or (next(iter(target)),)  # elsewhere: the very first weight
    same = value.ndim == len(here) == 4 and value.shape[0] == here[0] and value.shape[2:] == here[2:]
    return same and key.startswith(stem)
