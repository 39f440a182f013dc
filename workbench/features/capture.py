"""Read the outputs of any modules inside a network, by name, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..backbones.contract import evaluating
from ..errors import WorkbenchError, did_you_mean


def resolve(model: nn.Module, name: str) -> str:
    """Return the module name of a level ("P3") or of a module, checked.

    Raises:
        WorkbenchError: the network has no such level or module; the message lists near names.
    """
    named = {lv.name: lv.module for lv in getattr(model, "feature_info", ())}
    if name in named:
        return named[name]
    modules = dict(model.named_modules(remove_duplicate=False))
    if name and name in modules:
        return name
    hint = did_you_mean(name, [*named, *modules]) or f"; levels: {', '.join(named) or 'none'}; layers() lists the rest"
    raise WorkbenchError(f"{type(model).__name__} has no module {name!r}{hint}")


def detached(value: Any) -> Any:
    """Return a copy that later in-place operators (ReLU, slicing PConv) cannot change."""
    return tree_map(lambda t: t.detach().clone() if isinstance(t, Tensor) else t, value)


def capture(
    model: nn.Module, x: Any, names: Iterable[str] | str | None = None, *, grad: bool = False
) -> dict[str, Any]:
    """Run the network once in eval mode and return what the named modules put out.

    Args:
        model: any module; a detector's inner backbone is reached by its dotted name, such as ``"model.0"``.
        x: input, a tensor or a tuple of positional arguments.
        names: module names, or names of a backbone's levels ("P2" to "P5"); default all its levels.
        grad: keep the graph (outputs are then not copies), for gradients with respect to captured maps.

    Returns:
        Name as given → output, (B, C, H, W) for a stage; of a module that runs more than once, the last one.

    Raises:
        WorkbenchError: a name is unknown, or a named module did not run.

    >>> from workbench.backbones import create_backbone
    >>> maps = capture(create_backbone("fasternet_t0"), torch.zeros(1, 3, 64, 64), ["P3", "stages.2.blocks.0"])
    >>> [tuple(m.shape) for m in maps.values()]
    [(1, 80, 8, 8), (1, 80, 8, 8)]
    """
    if names is None:
        names = [lv.name for lv in getattr(model, "feature_info", ())]
        if not names:
            raise WorkbenchError(f"{type(model).__name__} names no levels; give module names, layers() lists them")
    wanted = [names] if isinstance(names, str) else list(names)
    modules = dict(model.named_modules(remove_duplicate=False))
    found: dict[str, Any] = {}
    handles = []
    for name in wanted:

        def keep(_m: nn.Module, _a: Any, out: Any, name: str = name) -> None:
            found[name] = out if grad else detached(out)

        handles.append(modules[resolve(model, name)].register_forward_hook(keep))
    try:
        with evaluating(model), torch.set_grad_enabled(grad):
            model(*x) if isinstance(x, tuple) else model(x)
    finally:
        for h in handles:
            h.remove()
    silent = [n for n in wanted if n not in found]
    if silent:
        raise WorkbenchError(f"module {silent[0]!r} did not run in this forward pass; name one that does")
    return {n: found[n] for n in wanted}


def layers(model: nn.Module, x: Any) -> dict[str, tuple[int, ...]]:
    """Return name → shape of every module that puts out one map (B, C, H, W), in the order they run.

    >>> from workbench.backbones import create_backbone
    >>> layers(create_backbone("starnet_s1"), torch.zeros(1, 3, 64, 64))["stem"]
    (1, 32, 32, 32)
    """
    names = {m: n for n, m in model.named_modules() if n}
    shapes: dict[str, tuple[int, ...]] = {}
    handles = []
    for module, name in names.items():

        def note(_m: nn.Module, _a: Any, out: Any, name: str = name) -> None:
            if isinstance(out, Tensor) and out.ndim == 4:
                shapes.setdefault(name, tuple(out.shape))

        handles.append(module.register_forward_hook(note))
    try:
        with evaluating(model), torch.no_grad():
            model(*x) if isinstance(x, tuple) else model(x)
    finally:
        for h in handles:
            h.remove()
    return shapes
