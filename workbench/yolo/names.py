"""Model names: ``yolo11n-fasternet_t0.yaml`` need not be a file, and a scale is never guessed from a stray letter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ultralytics.utils import LOGGER, YAML

from ..backbones.registry import is_backbone, list_backbones, unknown
from ..errors import WorkbenchError, did_you_mean
from .hosts import HOSTS, detector_yaml, read_host
from .rows import is_backbone_row, rows_of

CFG = Path(__file__).parent / "cfg"  # ready YAML files
_NAME = re.compile(r"(?P<family>yolov?\d+)(?P<scale>[a-z]?)(?P<task>-(?:seg|pose|obb))?-(?P<backbone>.+)")
_RTDETR = re.compile(r"(?P<host>rtdetr-[a-z])-(?P<backbone>.+)")
_SCALE = re.compile(r"yolov?\d+([nslmx])(?=[-_.]|$)")  # the letter, and then the name ends or a new word begins
_UNSCALED = re.compile(r"(?<=\d)[nslmx](?=-)")  # the letter that names the scale, as in yolov8s-mobileoneunit


def load_named_yaml(path: Any, theirs: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Load a model YAML: ultralytics' own way, or generated when the name is that of a transplant.

    Args:
        path: what the user gave: a name or a path ending in .yaml.
        theirs: ultralytics' ``yaml_model_load``.

    Raises:
        WorkbenchError: the name is a transplant's but for its host, scale or backbone; the message lists near names.
        FileNotFoundError: neither a file nor a transplant; ultralytics' own message.
    """
    path = Path(path)
    if not path.is_file() and (named := parse_name(path.stem)) is not None:
        ready = CFG / path.name
        cfg = detector_yaml(*named)
        return cfg | {"yaml_file": str(ready if ready.is_file() else path)}
    try:
        cfg = theirs(path)
    except FileNotFoundError:
        if (ready := CFG / _UNSCALED.sub("", path.name, count=1)).is_file():
            cfg = YAML.load(ready)
            return cfg | {"scale": _explicit_scale(path, cfg), "yaml_file": str(ready)}
        if (error := _near_miss(path.stem)) is not None:
            raise error from None
        raise
    if any(is_backbone_row(row) for row in rows_of(cfg)):
        cfg["scale"] = _explicit_scale(path, cfg)
    return cfg


def parse_name(stem: str) -> tuple[str, str, str] | None:
    """Return (host, backbone, scale) if a file name without ``.yaml`` is a transplant's, else None.

    >>> parse_name("yolov8n-seg-starnet_s1"), parse_name("rtdetr-l-vanillanet_5"), parse_name("yolo11n-seg")
    (('yolov8-seg', 'starnet_s1', 'n'), ('rtdetr-l', 'vanillanet_5', 'l'), None)
    """
    if (m := _RTDETR.fullmatch(stem)) and m["host"] in HOSTS and is_backbone(m["backbone"]):
        return m["host"], m["backbone"], m["host"][-1]
    if (m := _NAME.fullmatch(stem)) and is_backbone(m["backbone"]):
        name = m["family"] + (m["task"] or "")
        if name in HOSTS and m["scale"] in read_host(name).scales:
            return name, m["backbone"], m["scale"]
    return None


def is_transplanted_rtdetr(cfg: dict[str, Any]) -> bool:
    """Return whether a model YAML is an RT-DETR with one of our backbones."""
    rows = rows_of(cfg) if {"backbone", "head"} <= set(cfg) else []
    return bool(rows) and rows[-1][2] == "RTDETRDecoder" and any(is_backbone_row(row) for row in rows)


def _near_miss(stem: str) -> WorkbenchError | None:
    """Return the error for a name that has a transplant's form but is none; None if it has not even the form."""
    if m := _RTDETR.fullmatch(stem):
        name, scale = m["host"], m["host"][-1]
    elif m := _NAME.fullmatch(stem):
        name, scale = m["family"] + (m["task"] or ""), m["scale"]
    else:
        return None
    backbone = m["backbone"]
    if not is_backbone(backbone):
        near = did_you_mean(backbone, list_backbones())
        return unknown(backbone) if near and name in HOSTS else None
    if name not in HOSTS:
        return WorkbenchError(f"unknown host {name!r} in {stem!r}{did_you_mean(name, HOSTS) or '; ' + _known_hosts()}")
    scales = ", ".join(read_host(name).scales)
    given = f"the scale {scale!r}" if scale else "no scale"
    example = stem.replace(m["family"] + scale, m["family"] + "n", 1)
    return WorkbenchError(f"{stem!r} gives {given}; expected one of {scales}, as in {example!r}")


def _known_hosts() -> str:
    return f"expected one of {', '.join(HOSTS)}"


def _explicit_scale(path: Path, cfg: dict[str, Any]) -> str:
    """Return the scale of a YAML file that holds a backbone: the file name's, else its ``scale:``, else the first.

    Ultralytics overwrites a ``scale:`` key by a guess that takes the m of ``yolo11mobileone`` for a scale.
    """
    scales = cfg.get("scales") or {}
    if m := _SCALE.match(path.stem):
        return m[1]
    written = YAML.load(path).get("scale") if path.is_file() else None
    if written is not None and written not in scales:
        raise WorkbenchError(f"{path.name} has scale: {written!r}; expected one of {', '.join(scales)}")
    if written is None and len(scales) > 1:
        LOGGER.warning(f"{path.name} names no scale; built as {next(iter(scales))}, the first of {', '.join(scales)}")
    return written or next(iter(scales), "")
