"""Names of weights in other people's checkpoints ↔ our names. Pure functions on keys; no tensor is touched.

Our modules carry the official repositories' names, so an official checkpoint needs unwrapping only. timm renamed two
of the families; its names are translated here, both ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import WorkbenchError

# Where trainers put the weights, best first: an exponential moving average is what the papers evaluate.
ENTRIES = ("model_ema", "state_dict_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")  # of DataParallel, torch.compile, Lightning, detectors


class Family(NamedTuple):
    """What the keys of one family's official checkpoint mean."""

    head: tuple[str, ...]  # prefixes of the classifier
    stem: tuple[str, ...]  # prefixes of the convolutions that read the image
    classes: tuple[str, ...]  # weights with one row per class
    marks: tuple[str, ...]  # parts of keys that no other family has, in official names or timm's


FAMILY_KEYS: dict[str, Family] = {
    "fasternet": Family(
        ("avgpool_pre_head.", "head."), ("patch_embed.proj.",), ("head.weight",), (".spatial_mixing.",)
    ),
    "starnet": Family(("norm.", "head."), ("stem.0.conv.",), ("head.weight",), (".dwconv2.",)),
    "mobileone": Family(("linear.",), ("stage0.",), ("linear.weight",), (".rbr_conv.", ".reparam_conv.", ".conv_kxk.")),
    "vanillanet": Family(
        ("cls1.", "cls2.", "cls."), ("stem1.0.", "stem.0."), ("cls2.0.weight", "cls.2.weight"), (".act.",)
    ),
}
OTHER = Family(  # a backbone of the user's
    ("head.", "fc.", "classifier.", "linear."),
    (),
    ("head.weight", "fc.weight", "classifier.weight", "linear.weight"),
    (),
)
TIMM = ("fasternet", "starnet", "mobileone")  # the families timm has too
_OUT_NORM = re.compile(r"norm[0246]\.")  # FasterNet's per-level norms


def unwrap(checkpoint: Any, own: Iterable[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Return the flat state dict inside a checkpoint, and remarks on where it was found.

    Args:
        checkpoint: what the file held: a state dict, or dicts around one.
        own: the model's keys; a prefix the model itself uses is no wrapper.

    Raises:
        WorkbenchError: there are no tensors under string names.

    >>> unwrap({"state_dict": {"module.head.weight": torch.zeros(1)}, "epoch": 3})[0].keys()
    dict_keys(['head.weight'])
    """
    notes: list[str] = []
    for _ in range(4):  # nested deeper than any trainer does: give up
        found = [e for e in ENTRIES if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(e), Mapping)]
        if not found:
            break
        if len(found) > 1:
            notes.append(f"took {found[0]!r} of the entries {', '.join(map(repr, found))}")
        checkpoint = checkpoint[found[0]]
    if not isinstance(checkpoint, Mapping) or not any(isinstance(v, Tensor) for v in checkpoint.values()):
        held = f"entries {', '.join(map(str, list(checkpoint)[:6]))}" if isinstance(checkpoint, Mapping) else ""
        raise WorkbenchError(
            f"the checkpoint holds no named tensors ({held or type(checkpoint).__name__}); expected a state dict, "
            f"plain or under one of {', '.join(ENTRIES)}"
        )
    state = {str(k): v for k, v in checkpoint.items()}
    own = list(own)
    for prefix in PREFIXES * 2:  # DataParallel inside torch.compile, or the other way round
        if all(k.startswith(prefix) for k in state) and not any(k.startswith(prefix) for k in own):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
            notes.append(f"dropped the prefix {prefix!r}")
    return state, notes


def looks_like(keys: Iterable[str]) -> str | None:
    """Return the family an official or timm checkpoint belongs to, judged by its keys, or None.

    >>> looks_like(["stages.0.1.dwconv2.conv.weight"]), looks_like(["layer1.0.conv1.weight"])
    ('starnet', None)
    """
    text = "\n".join(keys)
    return next((name for name, f in FAMILY_KEYS.items() if any(mark in text for mark in f.marks)), None)


def layout_of(keys: Iterable[str], family: str | None) -> str:
    """Return ``"timm"`` when the keys are timm's names for a family that it renamed, else ``"official"``."""
    text = "\n" + "\n".join(keys)
    marks = {"fasternet": (".downsample.", "\nconv_head.", "\nclassifier."), "mobileone": ("\nstages.", "\nstem.")}
    return "timm" if any(mark in text for mark in marks.get(family or "", ())) else "official"


def to_ours(family: str | None, layout: str, own: Collection[str] = ()) -> Callable[[str], str]:
    """Return the function that turns a checkpoint's key into ours.

    Args:
        family: the model's, or another word, or None.
        layout: from `layout_of`.
        own: the model's keys; a network that we wrapped carries ``body.`` before its own names.

    >>> to_ours("fasternet", "timm")("stages.1.downsample.reduction.weight")
    'stages.1.reduction.weight'
    """
    if family in _FROM_TIMM and layout == "timm":
        return _renamer(_FROM_TIMM[family])
    if family not in FAMILY_KEYS and any(k.startswith("body.") for k in own):
        # timm's feature extractors flatten the first level of names: stages.0.x becomes stages_0.x
        return lambda k: next((c for c in (k, f"body.{k}", f"body.{k.replace('.', '_', 1)}") if c in own), k)
    return str


def to_timm(state: Mapping[str, Tensor], family: str) -> dict[str, Tensor]:
    """Return our state dict under timm's names, ready for ``timm.create_model(...).load_state_dict``.

    Args:
        state: of one of our FasterNet, StarNet or MobileOne networks, train form. MobileOne may be in deploy form,
            which equals timm's re-parameterised form.
        family: ``"fasternet"``, ``"starnet"`` or ``"mobileone"``.

    Raises:
        WorkbenchError: timm has no such family, no per-level norms, or no such form.

    >>> list(to_timm({"stages.2.blocks.0.mlp.1.running_mean": torch.zeros(1)}, "fasternet"))
    ['stages.1.blocks.0.mlp.1.running_mean']
    """
    if family not in TIMM:
        raise WorkbenchError(f"timm has no family {family!r}; expected {', '.join(TIMM)}")
    norms = [k for k in state if family == "fasternet" and is_out_norm(k)]
    if norms:
        raise WorkbenchError(f"timm's FasterNet has no per-level norms ({norms[0]}); build ours without out_norm")
    if family != "mobileone" and not has_bn(state, family):
        raise WorkbenchError(f"timm's {family} has no deploy form; convert the train form")
    rename = _renamer(_TO_TIMM[family]) if family in _TO_TIMM else str
    return {rename(k): v for k, v in state.items()}


def is_out_norm(key: str) -> bool:
    """Return whether a FasterNet key belongs to a per-level norm (``norm0``, ``norm2``, ``norm4``, ``norm6``)."""
    return _OUT_NORM.match(key) is not None


def has_bn(keys: Iterable[str], family: str | None = None) -> bool:
    """Return whether there is a BN in the body: the train form has some, the deploy form has none."""
    head = FAMILY_KEYS[family].head if family in FAMILY_KEYS else ()
    body = (k for k in keys if not k.startswith(head) and not is_out_norm(k))
    return any(k.endswith("running_mean") for k in body)


def fit_channels(weight: Tensor, n: int) -> tuple[Tensor, str]:
    """Return the filters of a first convolution for `n` image channels, and what was done to them.

    One channel: the filters are summed, which gives exactly what the image repeated into every channel gave. More:
    the filters are repeated in order and scaled by old/new, so that the response keeps its size.

    Args:
        weight: (C_out, C_in, k, k).
        n: image channels wanted.

    >>> w, what = fit_channels(torch.ones(8, 3, 4, 4), 4)
    >>> w.shape, w.sum(1)[0, 0, 0].item(), what
    (torch.Size([8, 4, 4, 4]), 3.0, 'filters of 3 image channels repeated to 4, scaled by 3/4')
    """
    old = weight.shape[1]
    if n == 1:
        return weight.float().sum(1, keepdim=True).to(weight.dtype), f"filters of {old} image channels summed to 1"
    repeated = weight[:, torch.arange(n) % old] * (old / n)  # (C_out, n, k, k)
    return repeated, f"filters of {old} image channels repeated to {n}, scaled by {old}/{n}"


_Rule = tuple[str, "str | Callable[[re.Match[str]], str]"]


def _renamer(rules: Iterable[_Rule]) -> Callable[[str], str]:
    compiled = [(re.compile(pattern), new) for pattern, new in rules]

    def rename(key: str) -> str:
        for pattern, new in compiled:
            key = pattern.sub(new, key, count=1)
        return key

    return rename


def _stage(index: Callable[[int], int], text: str) -> Callable[[re.Match[str]], str]:
    return lambda m: text.format(index(int(m[1])))


# Ours (official) and timm's names of the same weights. FasterNet: timm puts a level's merging into its stage and so
# counts 0 1 2 3 where we count 0 [1] 2 [3] 4 [5] 6. MobileOne: other words throughout. StarNet: the same names.
_FROM_TIMM: dict[str, tuple[_Rule, ...]] = {
    "fasternet": (
        (r"^stages\.(\d+)\.(?=blocks\.)", _stage(lambda i: 2 * i, "stages.{}.")),
        (r"^stages\.(\d+)\.downsample\.", _stage(lambda i: 2 * i - 1, "stages.{}.")),
        (r"^conv_head\.", "avgpool_pre_head.1."),
        (r"^classifier\.", "head."),
    ),
    "mobileone": (
        (r"^stem\.", "stage0."),
        (r"^stages\.(\d+)\.", _stage(lambda i: i + 1, "stage{}.")),
        (r"\.identity\.", ".rbr_skip."),
        (r"\.conv_kxk\.", ".rbr_conv."),
        (r"\.conv_scale\.", ".rbr_scale."),
        (r"\.attn\.fc1\.", ".se.reduce."),
        (r"\.attn\.fc2\.", ".se.expand."),
        (r"^head\.fc\.", "linear."),
    ),
}
_TO_TIMM: dict[str, tuple[_Rule, ...]] = {
    "fasternet": (
        (r"^stages\.(\d+)\.(?=blocks\.)", _stage(lambda i: i // 2, "stages.{}.")),
        (r"^stages\.(\d+)\.(?=reduction\.|norm\.)", _stage(lambda i: (i + 1) // 2, "stages.{}.downsample.")),
        (r"^avgpool_pre_head\.1\.", "conv_head."),
        (r"^head\.", "classifier."),
    ),
    "mobileone": (
        (r"^stage0\.", "stem."),
        (r"^stage([1-9])\.", _stage(lambda i: i - 1, "stages.{}.")),
        (r"\.rbr_skip\.", ".identity."),
        (r"\.rbr_conv\.", ".conv_kxk."),
        (r"\.rbr_scale\.", ".conv_scale."),
        (r"\.se\.reduce\.", ".attn.fc1."),
        (r"\.se\.expand\.", ".attn.fc2."),
        (r"^linear\.", "head.fc."),
    ),
}
