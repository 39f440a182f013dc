"""Your own backbone: `register` it once, and it is created, measured and put into detectors by name, like ours."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError, did_you_mean
from . import registry
from .contract import check_contract, check_names, derive_levels, import_problem, levels_of, run
from .layers import Level
from .notebook import save_class

__all__ = [
    "FourMaps",
    "build_custom",
    "check_contract",
    "import_path",
    "register",
    "restore",
    "save_class",
    "unregister",
]

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])
_NAME = re.compile(r"[A-Za-z_]\w*")  # a word, so that it can stand in a YAML and in a file name


class FourMaps(nn.Module):
    """Give a network that returns four maps the rest of the contract: ``feature_info`` and ``forward_features``.

    Args:
        body: returns [P2, P3, P4, P5] from ``forward_features`` or, without that, from ``forward``.
        info: the four levels.
    """

    def __init__(self, body: nn.Module, info: list[Level]) -> None:
        super().__init__()
        self.body = body
        self.feature_info = info

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Return ``[P2, P3, P4, P5]`` of an image batch (B, in_chans, H, W), strides 4, 8, 16, 32."""
        return list(getattr(self.body, _call(self.body))(x))

    def forward(self, x: Tensor) -> Any:
        """Return what the network returns: its maps, or logits when it has a classifier."""
        return self.body(x)


def register(cls_or_factory: Factory, name: str | None = None) -> Factory:
    """Make a backbone of your own available by name, after checking that a detector can use it.

    Args:
        cls_or_factory: a module class, or a function that returns one, at the top level of a module. It is called
            with the configuration, and with ``num_classes`` and ``in_chans`` if it takes them. Its four maps come
            from ``forward_features``, or from ``forward``; ``feature_info`` is derived where it is missing.
        name: the name to create it by; None: its own.

    Returns:
        What was given, so `register` also works as a decorator in a module.

    Raises:
        WorkbenchError: the name is taken or no word, the class cannot be imported elsewhere, or the backbone breaks
            the contract of `check_contract`; nothing is registered.

    >>> from workbench.backbones import fasternet, create_backbone
    >>> _ = register(fasternet.FasterNet, "MyFasterNet")
    >>> create_backbone("MyFasterNet", cfg=fasternet.FasterNetConfig(embed_dim=16)).feature_info[0].channels
    16
    >>> unregister("MyFasterNet")
    """
    if not callable(cls_or_factory) or isinstance(cls_or_factory, nn.Module):
        raise WorkbenchError(f"register takes a class or a function, not {type(cls_or_factory).__name__}")
    name = name or getattr(cls_or_factory, "__name__", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise WorkbenchError(f"{name!r} cannot be a backbone's name; give name=, of letters, digits and _")
    if registry.family_of(name) is not None:
        raise WorkbenchError(f"{name!r} is the name of one of our backbones; give another one as name=")
    known = registry._custom.get(name)
    if known is not None and _path(known) != _path(cls_or_factory):
        raise WorkbenchError(f"{name!r} is registered already, as {_path(known)}; give another one as name=")
    if not _being_imported(cls_or_factory):  # a decorator runs before its module has the class; then it waits
        if (problem := import_problem(cls_or_factory)) is not None:
            raise WorkbenchError(problem)
        if _callable_without_arguments(cls_or_factory):
            with torch.random.fork_rng(devices=[]):
                build_custom(name, cls_or_factory, {"num_classes": 0, "in_chans": 3}, {})
    registry._custom[name] = cls_or_factory
    return cls_or_factory


def unregister(name: str) -> None:
    """Forget a backbone that `register` added."""
    if registry._custom.pop(name, None) is None:
        raise WorkbenchError(f"no backbone {name!r} is registered{did_you_mean(name, registry._custom)}")


def import_path(name: str) -> str | None:
    """Return where a registered backbone is imported from, ``"module:qualname"``, or None for a name of ours."""
    return _path(registry._custom[name]) if name in registry._custom else None


def restore(name: str, path: str) -> None:
    """Register a backbone again in a new process, from its name and `import_path`. A known name is left alone.

    Opening a checkpoint does this by itself; the contract is checked when the backbone is next built.

    Raises:
        WorkbenchError: the module or the class is not there any more.
    """
    if registry.is_backbone(name):
        return
    module, _, qualname = path.partition(":")
    try:
        found = attrgetter(qualname)(importlib.import_module(module))
    except (ImportError, AttributeError) as e:
        raise WorkbenchError(
            f"the backbone {name!r} comes from {path}, which cannot be imported here ({e}); put that file on sys.path"
        ) from e
    registry._custom.setdefault(name, found)  # the import may have registered it


class Origin(str):
    """The import path a registered backbone carries, ``"module:qualname"``.

    Unpickling it registers the backbone again. So a detector's checkpoint, whose YAML knows the backbone by name only,
    can be rebuilt and trained on in a new process.
    """

    name: str

    def __new__(cls, path: str, name: str) -> Origin:
        origin = super().__new__(cls, path)
        origin.name = name
        return origin

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (str(self), self.name)


def _opened(path: str, name: str) -> Origin:
    with contextlib.suppress(WorkbenchError):  # a factory that is gone matters to who builds anew, not to who opens
        restore(name, path)
    return Origin(path, name)


def build_custom(
    name: str, factory: Callable[..., nn.Module] | None, shape: Mapping[str, Any], config: Mapping[str, Any]
) -> nn.Module:
    """Build a registered backbone, or a ``timm:…`` one, and check it. `create_backbone` calls this.

    Args:
        name: what the user asked for.
        factory: what was registered under it; None for timm's.
        shape: ``num_classes`` and ``in_chans``; passed on to who takes them.
        config: further keywords.

    Raises:
        TypeError: the factory takes no such keyword; the message lists near names.
        WorkbenchError: the contract is broken, or a shape was asked for that the factory cannot give.
    """
    if factory is None:
        if shape["num_classes"]:
            raise WorkbenchError(f"{name} comes without a classifier here; leave num_classes=0")
        from .timm import TimmBackbone

        theirs = TimmBackbone(name.removeprefix("timm:"), in_chans=shape["in_chans"], **config)
        check_contract(theirs, in_chans=shape["in_chans"])
        return theirs
    built = factory(**_arguments(name, factory, shape, config))
    if not isinstance(built, nn.Module):
        raise WorkbenchError(f"{name} returned {type(built).__name__}; a backbone must be a torch.nn.Module")
    check_names(built)
    model: Any = complete(built, shape["in_chans"])
    check_contract(model, in_chans=shape["in_chans"])
    model.import_path = Origin(_path(factory), name)
    return model


def complete(model: nn.Module, in_chans: int = 3, imgsz: int = 64) -> nn.Module:
    """Return `model`, inside `FourMaps` when it lacks ``feature_info`` or ``forward_features``."""
    info = levels_of(model)
    if info is None:
        return FourMaps(model, derive_levels(model, run(model, (imgsz, imgsz), in_chans, _call(model)), imgsz))
    as_ours = model.feature_info == info  # rows may be dicts, in our words or timm's
    return model if as_ours and _call(model) == "forward_features" else FourMaps(model, info)


def _call(model: nn.Module) -> str:
    return "forward_features" if callable(getattr(model, "forward_features", None)) else "forward"


def _arguments(
    name: str, factory: Callable[..., Any], shape: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keywords to call a factory with; refuse what it does not take."""
    takes, anything = registry.keywords_of(factory)
    for key in config:
        if key not in takes and not anything:
            raise registry.unknown_keyword(name, key, takes)
    arguments = dict(config)
    for key, default in (("num_classes", 0), ("in_chans", 3)):
        if key in takes or (anything and shape[key] != default):
            arguments[key] = shape[key]
        elif shape[key] != default:
            raise WorkbenchError(
                f"{name} takes no {key}, so {key}={shape[key]} cannot be built; add the argument to it"
            )
    return arguments


def _callable_without_arguments(factory: Callable[..., Any]) -> bool:
    try:
        takes = inspect.signature(factory).parameters
        inspect.signature(factory).bind(**{k: 0 for k in ("num_classes", "in_chans") if k in takes})
    except (TypeError, ValueError):
        return False
    return True


def _being_imported(obj: Any) -> bool:
    spec = getattr(sys.modules.get(getattr(obj, "__module__", "")), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _path(obj: Any) -> str:
    return f"{getattr(obj, '__module__', '?')}:{getattr(obj, '__qualname__', repr(obj))}"
