"""A backbone named in a model YAML, as rows that ultralytics already understands.

One row ``[-1, 1, fasternet_t0, []]`` becomes five: the backbone, which returns four maps, and an ``Index`` for each of
P2, P3, P4 and P5. So one backbone takes five layer numbers, 0 to 4 when it comes first, which is the numbering the
articles write their heads against. No other row changes, and a YAML without a backbone passes through untouched.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import torch
from ultralytics.nn import tasks as ultralytics_tasks
from ultralytics.utils import LOGGER

from ..backbones.contract import STRIDES
from ..backbones.registry import create_backbone, family_of, is_backbone, list_backbones
from ..errors import WorkbenchError, did_you_mean

SLOTS = 5  # layer numbers one backbone row takes: itself, P2, P3, P4, P5
RESERVED = ("num_classes", "in_chans", "deploy", "weights")  # the detector decides these, not the row

Row = list[Any]  # [from, repeats, module, args]


def rows_of(cfg: dict[str, Any]) -> list[Row]:
    """Return all rows of a model YAML, backbone section first."""
    return [*cfg["backbone"], *cfg["head"]]


def is_backbone_row(row: Row) -> bool:
    """Return whether a YAML row names a backbone; a name that is an ultralytics layer stays theirs."""
    return isinstance(row[2], str) and is_backbone(row[2]) and not hasattr(ultralytics_tasks, row[2])


def numbered(rows: list[Row]) -> Iterator[tuple[int, Row]]:
    """Yield (layer number, row); a backbone row takes five numbers and is given its first."""
    i = 0
    for row in rows:
        yield i, row
        i += SLOTS if is_backbone_row(row) else 1


def reads(i: int, row: Row) -> list[int]:
    """Return the layer numbers a row at layer `i` takes its input from.

    >>> reads(12, [[-1, 6], 1, "Concat", [1]])
    [11, 6]
    """
    came_from = row[0] if isinstance(row[0], list) else [row[0]]
    return [f if f >= 0 else i + f for f in came_from]


def config_of_row(name: str, args: list[Any]) -> dict[str, Any]:
    """Return the configuration keywords a backbone row asks for.

    A row's args are ``[]``, one dict of configuration keywords, or, for StarNet, the article's ``[depth, width]``.

    Raises:
        WorkbenchError: anything else, or a keyword that the detector decides.
    """
    if not args:
        return {}
    if len(args) == 1 and isinstance(args[0], dict):
        for key in RESERVED:
            if key in args[0]:
                raise WorkbenchError(f"the row of {name} sets {key!r}, which the detector decides; leave it out")
        return dict(args[0])
    if family_of(name) == "starnet" and len(args) == 2 and all(isinstance(a, int | float) for a in args):
        return _article_starnet(*args)
    expected = "[], one dict of its configuration keywords"
    if family_of(name) == "starnet":
        expected += ", or the article's [depth, width]"
    raise WorkbenchError(f"the row of {name} has the arguments {args}; expected {expected}")


def _article_starnet(depth: float, width: float) -> dict[str, Any]:
    """Return what the StarNet article's ``[depth, width]`` builds: widths in multiples of 8; its depth is read only.

    The article's 1,826,058 parameters come out only so: its code takes the depth and never uses it.
    """
    if depth != 1:
        _say_once(
            f"[{depth:g}, {width:g}]: the depth {depth:g} changes nothing, as in the article; a row with "
            f"[{{depth: {depth:g}, width: {width:g}, round_to: 8}}] uses it"
        )
    return {"width": width, "round_to": 8}


@functools.cache
def _say_once(text: str) -> None:
    LOGGER.info(text)


def expand(cfg: dict[str, Any]) -> dict[str, Any]:
    """Return `cfg` with each backbone row replaced by the five rows ultralytics builds; the same object if none.

    Args:
        cfg: a model YAML as a dict, with ``backbone`` and ``head`` rows.

    Raises:
        WorkbenchError: a row names neither a layer nor a backbone, or a backbone row cannot be built.
    """
    rows = rows_of(cfg)
    for i, row in numbered(rows):
        _check_name(i, row[2])
    if not any(is_backbone_row(row) for row in rows):
        return cfg
    wanted = {j for i, row in numbered(rows) for j in reads(i, row)}
    sections: dict[str, list[Row]] = {"backbone": [], "head": []}
    for n, (i, row) in enumerate(numbered(rows)):
        section = sections["backbone" if n < len(cfg["backbone"]) else "head"]
        section.extend(_five_rows(i, row, wanted) if is_backbone_row(row) else [row])
    return {**cfg, **sections}


def _five_rows(i: int, row: Row, wanted: set[int]) -> list[Row]:
    came_from, repeats, name, args = row
    if came_from not in (-1, [-1]) or repeats != 1:
        raise WorkbenchError(
            f"the row of {name} reads {came_from}, {repeats} times; a backbone reads the layer before it, once: -1, 1"
        )
    spec = {"name": name, **config_of_row(name, args)}
    if family_of(name) == "fasternet" and "out_norm" not in spec:  # a norm nobody reads would never get a gradient
        spec["out_norm"] = [f"P{k + 1}" for k in range(1, SLOTS) if i + k in wanted]
    channels = channels_of(spec)
    # "c2" is parse_model's own name for the channels of the layer before; strings in args are looked up there
    head = [-1, 1, "BackboneLayer", ["c2", spec]]
    return [head, *([i, 1, "Index", [c, k]] for k, c in enumerate(channels))]


def build(spec: dict[str, Any], in_chans: int) -> Any:
    """Build the backbone a row's `spec` names: ``{"name": …, **configuration}``.

    Raises:
        WorkbenchError: its maps are not at strides 4, 8, 16 and 32, so no detection head can read them.
    """
    config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k != "name"}
    net: Any = create_backbone(spec["name"], in_chans=in_chans, **config)
    try:
        strides = tuple(lv.stride for lv in net.feature_info)
    except ValueError as e:  # the network's own words for having no levels
        raise WorkbenchError(f"{spec['name']}: {e}") from e
    if strides != STRIDES:
        raise WorkbenchError(
            f"{spec['name']} gives maps at strides {strides}; a detector reads {STRIDES}: choose another variant"
        )
    return net


def channels_of(spec: dict[str, Any]) -> tuple[int, ...]:
    """Return the channels of P2 to P5 of the backbone a row names, without drawing its weights.

    >>> channels_of({"name": "fasternet_t0"})
    (40, 80, 160, 320)
    """
    if family_of(spec["name"]) is not None:
        return _channels_of_family(json.dumps(spec, sort_keys=True))
    with torch.random.fork_rng(devices=[]):  # your own backbone may be redefined, and may not build without memory
        return tuple(lv.channels for lv in build(spec, 3).feature_info)


@functools.lru_cache(maxsize=256)
def _channels_of_family(spec: str) -> tuple[int, ...]:
    with torch.device("meta"):
        return tuple(lv.channels for lv in build(json.loads(spec), 3).feature_info)


def _check_name(i: int, name: Any) -> None:
    if not isinstance(name, str) or name.startswith(("nn.", "torchvision.ops.")) or hasattr(ultralytics_tasks, name):
        return
    if not is_backbone(name):
        layers = [k for k, v in vars(ultralytics_tasks).items() if isinstance(v, type)]
        hint = did_you_mean(name, [*list_backbones(), *layers]) or "; `workbench list` prints the backbones"
        raise WorkbenchError(f"row {i} names {name!r}, which is neither a layer of ultralytics nor a backbone{hint}")
