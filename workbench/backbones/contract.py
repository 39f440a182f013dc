"""What a backbone must offer before a detector is built on it, checked, with a message that names the level."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError, one_line
from .layers import Level

STRIDES = (4, 8, 16, 32)
RESERVED = ("i", "f", "type", "np")  # ultralytics writes these attributes on every layer of a model


def check_contract(model: nn.Module, imgsz: int = 64, in_chans: int = 3) -> list[Level]:
    """Check that `model` can be a detector's backbone and return its four levels.

    Four maps at strides 4, 8, 16, 32, in a list or tuple, on square and other images, with the channels that
    ``feature_info`` says; equal answers to equal images in eval mode; classes that another process can import; no
    child called ``i``, ``f``, ``type`` or ``np``. The model's mode, statistics and the random state are left as found.

    Args:
        model: a module with ``feature_info`` and ``forward_features``.
        imgsz: side of the test image, pixels.
        in_chans: its channels.

    Raises:
        WorkbenchError: the first breach, the level it is at, and the fix.

    >>> from workbench.backbones import create_backbone
    >>> check_contract(create_backbone("fasternet_t0"))[3]
    Level(name='P5', channels=320, stride=32, module='stages.6')
    """
    if not isinstance(model, nn.Module):
        raise WorkbenchError(f"a backbone must be a torch.nn.Module; got {type(model).__name__}")
    check_names(model)
    for cls in {type(m) for m in model.modules()}:
        if (problem := import_problem(cls)) is not None:
            raise WorkbenchError(problem)
    who = name_of(model)
    info = levels_of(model)
    if info is None or not callable(getattr(model, "forward_features", None)):
        lacks = "forward_features" if info is not None else "feature_info"
        raise WorkbenchError(f"{who} has no {lacks}; register() derives it when its forward returns the four maps")
    for size in ((imgsz, imgsz), (imgsz, imgsz + 32)):
        maps = run(model, size, in_chans)
        for level, found in zip(info, maps, strict=True):
            check_map(who, level, found, size)
    return info


def levels_of(model: nn.Module) -> list[Level] | None:
    """Return a module's ``feature_info`` as four levels, or None when it has none.

    Rows may be `Level`, or dicts in our words (channels, stride) or timm's (num_chs, reduction).

    Raises:
        WorkbenchError: there are not four rows, or one lacks its channels or stride.
    """
    rows = getattr(model, "feature_info", None)
    if rows is None:
        return None
    if not isinstance(rows, list | tuple) or len(rows) != 4:
        count = len(rows) if isinstance(rows, list | tuple) else type(rows).__name__
        raise WorkbenchError(f"{name_of(model)}.feature_info has {count} rows; expected a list of four, P2 to P5")
    return [_level(name_of(model), i, row) for i, row in enumerate(rows)]


def derive_levels(model: nn.Module, maps: list[Tensor], imgsz: int) -> list[Level]:
    """Return the levels of four maps that a square image of side `imgsz` gave."""
    for i, found in enumerate(maps):
        check_map(name_of(model), Level(f"P{i + 2}", found.shape[1], STRIDES[i], ""), found, (imgsz, imgsz))
    return [Level(f"P{i + 2}", found.shape[1], STRIDES[i], "") for i, found in enumerate(maps)]


def run(model: nn.Module, size: tuple[int, int], in_chans: int, call: str = "forward_features") -> list[Tensor]:
    """Return the four maps of a random image, in eval mode, twice the same; everything else stays as it was.

    Raises:
        WorkbenchError: the call fails, returns something else than four maps, or is not deterministic.
    """
    who, shape = name_of(model), (1, in_chans, *size)
    weight = next(model.parameters(), torch.zeros(()))
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)  # (1, C, H, W)
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            first, again = getattr(model, call)(x), getattr(model, call)(x)
        except Exception as e:
            why = one_line(f"{type(e).__name__}: {e}", 200)
            raise WorkbenchError(
                f"{who}.{call} fails on an image of shape {shape} ({why}); a backbone must take any height and width "
                "and read its channels from in_chans"
            ) from e
    maps = _four_maps(f"{who}.{call}", first)
    for i, (a, b) in enumerate(zip(maps, _four_maps(f"{who}.{call}", again), strict=True)):
        if a.is_meta:
            continue
        if not torch.isfinite(a).all():
            raise WorkbenchError(f"{who}: P{i + 2} has values that are not finite; check its initialisation and norms")
        if not torch.allclose(a, b, rtol=1e-4, atol=1e-6):
            raise WorkbenchError(
                f"{who}: P{i + 2} differs between two calls with one image in eval mode; forward has something random "
                "(F.dropout without training=self.training?) or a counter in it"
            )
    return maps


def check_map(who: str, level: Level, found: Tensor, size: tuple[int, int]) -> None:
    """Raise unless a map has the channels and, up to rounding, the size that its level promises."""
    i = int(level.name.removeprefix("P")) - 2
    if level.stride != STRIDES[i]:
        raise WorkbenchError(
            f"{who}: {level.name} says stride {level.stride}; a detector's {level.name} is {STRIDES[i]}"
        )
    sides = [(side // level.stride, -(-side // level.stride)) for side in size]
    if any(side not in pair for side, pair in zip(found.shape[2:], sides, strict=True)):
        raise WorkbenchError(
            f"{who}: {level.name} must be at stride {level.stride}, {sides[0][0]}×{sides[1][0]} for an image of "
            f"{size[0]}×{size[1]}; got {found.shape[2]}×{found.shape[3]}: check the strides of the layers up to it"
        )
    if found.shape[1] != level.channels:
        raise WorkbenchError(
            f"{who}: {level.name} has {found.shape[1]} channels, feature_info says {level.channels}; correct "
            f"feature_info[{i}]"
        )


def check_names(model: nn.Module) -> None:
    """Raise if the model uses a name that ultralytics writes on every layer."""
    taken = {**model._modules, **model._parameters, **model._buffers, **vars(model)}
    for name in RESERVED:
        if name in taken:
            raise WorkbenchError(
                f"{name_of(model)} has an attribute {name!r}; ultralytics writes {', '.join(RESERVED)} on every layer: "
                f"rename self.{name}"
            )


def import_problem(obj: Any) -> str | None:
    """Return why another process could not import a class or function by its path, or None if it could.

    A checkpoint stores classes by their import path, so what cannot be imported cannot be opened again.
    """
    name, module = getattr(obj, "__qualname__", None), getattr(obj, "__module__", None)
    if name is None or module is None or "<lambda>" in name:
        return f"{obj!r} has no import path; write it as a class or a def at the top level of a module"
    if "<locals>" in name:
        return (
            f"{name} is defined inside a function, where no checkpoint finds it again; move it to a module's top level"
        )
    if module == "__main__":
        return (
            f"{name} is defined in a notebook, not in a file, and a checkpoint with it opens nowhere else; write one: "
            f"from workbench.backbones.custom import save_class; {name} = save_class({name}, '{name.lower()}.py')"
        )
    try:
        found = attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError) as e:
        return f"{module}.{name} cannot be imported ({e}); put it into a module that is on sys.path"
    if found is not obj:
        return f"{module}.{name} has been redefined since this one was made; import it again and build anew"
    return None


def name_of(model: nn.Module) -> str:
    """Return the name a user knows the model by: that of the class, or of the class inside our wrapper."""
    return type(getattr(model, "body", model)).__name__


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network into eval mode for a while; every module gets its own mode back."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


def _level(who: str, i: int, row: Any) -> Level:
    def read(*names: str) -> Any:
        for name in names:
            value = row.get(name) if isinstance(row, Mapping) else getattr(row, name, None)
            if isinstance(value, int):
                return value
        raise WorkbenchError(
            f"{who}.feature_info[{i}] (P{i + 2}) has no {names[0]}; expected workbench.backbones.layers.Level("
            f"'P{i + 2}', channels, {STRIDES[i]}, module)"
        )

    module = row.get("module", "") if isinstance(row, Mapping) else getattr(row, "module", "")
    return Level(f"P{i + 2}", read("channels", "num_chs"), read("stride", "reduction"), str(module))


def _four_maps(call: str, output: Any) -> list[Tensor]:
    if not isinstance(output, list | tuple):
        hint = ""
        if isinstance(output, Mapping):
            hint = "; a dict keyed by map size loses levels on small images"
        elif isinstance(output, Tensor):
            hint = "; a network with a classifier returns its maps from forward_features"
        raise WorkbenchError(f"{call} returns {type(output).__name__}; expected the list [P2, P3, P4, P5]{hint}")
    if len(output) != 4:
        raise WorkbenchError(
            f"{call} returns {len(output)} maps; expected four: P2, P3, P4, P5 at strides 4, 8, 16, 32"
        )
    for i, found in enumerate(output):
        if not isinstance(found, Tensor) or found.ndim != 4:
            what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise WorkbenchError(f"{call}: P{i + 2} is {what}; expected a map of shape (B, C, H, W)")
    return list(output)
