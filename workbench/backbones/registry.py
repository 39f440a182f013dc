"""Names → networks. The table is static, so listing needs no torch; a family is imported when one of it is built."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

# family: (class, variants). The module is workbench.backbones.<family>; it offers <class>, <class>Config, VARIANTS.
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fasternet": ("FasterNet", tuple(f"fasternet_{v}" for v in ("t0", "t1", "t2", "s", "m", "l"))),
    "starnet": ("StarNet", tuple(f"starnet_{v}" for v in ("s1", "s2", "s3", "s4", "s050", "s100", "s150"))),
    "mobileone": ("MobileOne", tuple(f"mobileone_s{i}" for i in range(5))),
    "vanillanet": (
        "VanillaNet",
        tuple(f"vanillanet_{v}" for v in (*range(5, 14), "13_x1_5", "13_x1_5_ada_pool")),
    ),
}
_FAMILY_OF = {variant: family for family, (_, variants) in FAMILIES.items() for variant in variants}
_custom: dict[str, Callable[..., nn.Module]] = {}  # what `register` added


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the names of all variants, and of backbones you registered, that match a shell-style pattern.

    Raises:
        WorkbenchError: the pattern is not a string.

    >>> list_backbones("fasternet*")
    ['fasternet_t0', 'fasternet_t1', 'fasternet_t2', 'fasternet_s', 'fasternet_m', 'fasternet_l']
    """
    if not isinstance(pattern, str):
        raise WorkbenchError(f"a pattern is a string such as 'starnet*'; came {pattern!r:.60}")
    return [n for n in (*_FAMILY_OF, *_custom) if fnmatch.fnmatchcase(n, pattern)]


def family_of(name: str) -> str | None:
    """Return the family a variant or family name belongs to, or None.

    >>> family_of("starnet_s1")
    'starnet'
    """
    return name if name in FAMILIES else _FAMILY_OF.get(name)


def is_backbone(name: object) -> bool:
    """Return whether `create_backbone` knows `name`: a variant, a family, a registered name or ``timm:…``."""
    if not isinstance(name, str):  # a YAML may hold anything where a name belongs
        return False
    return name in _custom or family_of(name) is not None or name.startswith("timm:")


def classes_for(name: str, wanted: int = 1000) -> int:
    """Return `wanted`, or 0 for a backbone that cannot have a classifier: such a one is measured without.

    >>> classes_for("starnet_s1"), classes_for("timm:resnet18")
    (1000, 0)
    """
    if name not in _custom:
        return 0 if name.startswith("timm:") else wanted
    takes, anything = keywords_of(_custom[name])
    return wanted if anything or "num_classes" in takes else 0


def keywords_of(factory: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names of a factory's parameters, and whether it takes any other keyword too (``**kwargs``)."""
    takes = inspect.signature(factory).parameters
    return list(takes), any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())


def config_of(name: str, **changes: Any) -> Any:
    """Return the frozen configuration of a variant (or of a family's defaults) with `changes` applied.

    Raises:
        TypeError: a keyword is not part of the family's configuration; the message lists near names.
    """
    family = family_of(name)
    if family is None:
        raise unknown(name)
    module = importlib.import_module(f".{family}", __package__)
    cls = getattr(module, f"{FAMILIES[family][0]}Config")
    fields = sorted(f.name for f in dataclasses.fields(cls))
    for key in changes:
        if key not in fields:
            raise unknown_keyword(name, key, fields)
    return cls(**changes) if name == family else dataclasses.replace(module.VARIANTS[name], **changes)


def unknown_keyword(name: str, key: str, known: Sequence[str]) -> TypeError:
    """Return the error for a configuration keyword that `name` does not take, with the nearest ones."""
    hint = did_you_mean(key, known) or f"; expected one of {', '.join(known) or 'none'}"
    return TypeError(f"{name} has no configuration keyword {key!r}{hint}")


def unknown(name: str) -> WorkbenchError:
    """Return the error for a name that is no backbone, with the nearest names; for a family, with its variants."""
    if isinstance(name, str) and name in FAMILIES:
        return WorkbenchError(f"{name!r} is a family; name one of its variants: {', '.join(FAMILIES[name][1])}")
    known = [*FAMILIES, *_FAMILY_OF, *_custom]
    hint = did_you_mean(name, known) or "; `workbench list` prints the names"
    return WorkbenchError(f"unknown backbone {name!r}{hint}")


def create_backbone(
    name: str,
    *,
    num_classes: int = 0,
    in_chans: int = 3,
    deploy: bool = False,
    weights: str | Mapping[str, Any] | None = None,
    out_norm: bool | tuple[str, ...] = False,
    **config: Any,
) -> nn.Module:
    """Build a backbone by name.

    Args:
        name: a variant (``"starnet_s1"``), a family (``"starnet"``) with the official configuration keywords, a name
            you registered, or ``"timm:MODEL"``.
        num_classes: classes of the classifier; 0 builds the bare backbone.
        in_chans: image channels.
        deploy: build the deploy form (branches merged, BN folded) directly.
        weights: ``"imagenet"``, a path, a state dict, or None for random initialisation. See `load_weights`.
        out_norm: FasterNet's per-level norms; True, or the names of the levels that get one.
        **config: changes to the variant's configuration.

    Returns:
        A module with ``feature_info``, ``forward_features(x) → [P2, P3, P4, P5]`` and ``forward(x)``.

    Raises:
        WorkbenchError: the name is unknown; the message lists near names.
        TypeError: a keyword is not part of the family's configuration.

    >>> create_backbone("fasternet_t0").feature_info[1].channels
    80
    """
    for key, value, least in (("num_classes", num_classes, 0), ("in_chans", in_chans, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise WorkbenchError(f"{key}={value!r} given; expected an integer of at least {least}")
    family = family_of(name) if isinstance(name, str) else None
    shape: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_chans}
    if out_norm and family == "fasternet":
        shape["out_norm"] = out_norm
    elif out_norm and isinstance(name, str) and is_backbone(name):
        raise TypeError(f"out_norm is FasterNet's; {name} has no per-level norms, leave it out")
    if family is not None:
        cls = getattr(importlib.import_module(f".{family}", __package__), FAMILIES[family][0])
        model = cls(config_of(name, **config), **shape)
    elif isinstance(name, str) and (name in _custom or name.startswith("timm:")):
        from .custom import build_custom

        model = build_custom(name, _custom.get(name), shape, config)
    else:
        raise unknown(name)
    if weights is not None:
        from .weights import load_then_deploy, load_weights

        (load_then_deploy if deploy else load_weights)(model, weights)
    elif deploy:
        from .reparam import to_deploy_

        to_deploy_(model)
    return model
