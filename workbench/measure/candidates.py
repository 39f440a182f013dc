"""What can be timed, and how it becomes a function that runs k times: names, recipes, modules, callables."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..backbones.registry import classes_for
from ..errors import WorkbenchError, first_line

FORMS = ("deploy", "train")
LAYOUTS = ("nchw", "channels_last")


@dataclass(frozen=True)
class Factory:
    """A recipe that another process can follow: an importable function, its arguments, and what runs the result."""

    target: str  # "package.module:function", returns a module or a callable on tensors
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    runtime: str = "eager"
    shape: tuple[int, ...] | None = None  # input shape, where it differs from the measurement's

    def build(self) -> Any:
        """Import the function and call it.

        Raises:
            WorkbenchError: there is no such function.
        """
        module, _, name = self.target.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as e:
            raise WorkbenchError(f"cannot import {self.target!r} ({e}); expected 'package.module:function'") from e
        return function(*self.args, **self.kwargs)


def factory(
    target: str, *args: Any, runtime: str = "eager", shape: tuple[int, ...] | None = None, **kwargs: Any
) -> Factory:
    """Return a recipe for a candidate that the clean child process builds itself.

    Args:
        target: ``"package.module:function"``, or a variant's name.
        *args: for the function.
        runtime: see `workbench.measure.runtimes`.
        shape: input shape (B, C, H, W) of this candidate alone.
        **kwargs: for the function (for a variant: for `create_backbone`).

    >>> factory("torch.nn:Conv2d", 8, 8, 3).build()
    Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    if ":" not in target:
        return Factory("workbench.backbones:create_backbone", (target, *args), kwargs, runtime, shape)
    return Factory(target, args, kwargs, runtime, shape)


@dataclass(frozen=True)
class Setting:
    """How candidates are run."""

    batch: int = 1
    imgsz: tuple[int, int] = (224, 224)
    in_chans: int = 3
    threads: int = 1
    device: str = "cpu"
    layout: str = "nchw"
    form: str = "deploy"  # of variants given by name
    seed: int = 0
    cold_cache: bool = False  # CUDA: overwrite L2 before every run
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        for key, known in (("form", FORMS), ("layout", LAYOUTS)):
            if getattr(self, key) not in known:
                raise WorkbenchError(f"{key}={getattr(self, key)!r} is unknown; expected one of {', '.join(known)}")
        if self.device != "cpu" and not self.device.startswith("cuda"):
            raise WorkbenchError(f"device={self.device!r} given; expected 'cpu' or 'cuda'")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise WorkbenchError(f"device={self.device!r} given, but torch sees no GPU; use device='cpu'")


@dataclass
class Runner:
    """A candidate ready to be timed: ``run(k)`` runs it k times."""

    name: str
    run: Callable[[int], Any]
    output: Any  # of one run, for checks
    shape: tuple[int, ...]
    source: Any = None  # the module or callable PyTorch can count, with its input
    x: Any = None


def prepare(name: str, candidate: Any, setting: Setting, x: Any = None) -> Runner:
    """Build a candidate, run it once, check that its output is finite, and return its runner.

    Args:
        name: its label.
        candidate: a variant's name, a `Factory`, a module (a private copy is timed), a callable on tensors, or a pair
            (any of these, input).
        setting: batch, size, threads, device, layout, form.
        x: the input; default random numbers of the setting's shape.

    Raises:
        WorkbenchError: it cannot be built or run, or its output is not finite; nothing is timed then.
    """
    if isinstance(candidate, tuple):
        candidate, x = candidate
    built, runtime, shape = _build(name, candidate, setting)
    if x is None or shape is not None:
        generator = torch.Generator().manual_seed(setting.seed)
        x = torch.rand(shape or (setting.batch, setting.in_chans, *setting.imgsz), generator=generator)  # (B, C, H, W)
    source, placed = _place(built, x, setting)
    function, given = source, placed
    if runtime != "eager":
        from .runtimes import compiled

        function, given = compiled(source, placed, runtime, setting.threads)
    try:
        output = _once(function, given)
    except Exception as e:
        raise WorkbenchError(f"{name} cannot run: {first_line(e)}") from e
    bad = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all()]
    if bad:
        raise WorkbenchError(f"{name} returns NaN or infinity; fix the model, its time would mean nothing")
    first = next((t for t in tree_leaves(placed) if isinstance(t, Tensor)), None)
    run = _cuda_run(function, given, setting) if setting.device != "cpu" else _cpu_run(function, given)
    return Runner(name, run, output, tuple(first.shape) if first is not None else (), source, placed)


def _build(name: str, candidate: Any, setting: Setting) -> tuple[Any, str, tuple[int, ...] | None]:
    """Return what a candidate stands for, the runtime it asks for, and its own input shape where it has one."""
    if isinstance(candidate, str):
        candidate = factory(candidate, num_classes=classes_for(candidate), deploy=setting.form == "deploy")
    runtime, shape = "eager", None
    if isinstance(candidate, Factory):
        runtime, shape, candidate = candidate.runtime, candidate.shape, candidate.build()
    if not callable(candidate):
        raise WorkbenchError(
            f"{name}: cannot time a {type(candidate).__name__}; give a name, Factory, module, callable"
        )
    return candidate, runtime, shape


def _place(candidate: Any, x: Any, setting: Setting) -> tuple[Any, Any]:
    """Move a private copy of the candidate, and its input, to the device and layout."""
    channels_last = setting.layout == "channels_last"
    if isinstance(candidate, nn.Module):
        candidate = copy.deepcopy(candidate).eval().to(setting.device)
        if channels_last:
            candidate = candidate.to(memory_format=torch.channels_last)

    def move(t: Any) -> Any:
        if not isinstance(t, Tensor):
            return t
        t = t.to(setting.device)
        return t.contiguous(memory_format=torch.channels_last) if channels_last and t.ndim == 4 else t

    return candidate, tree_map(move, x)


def _once(function: Any, x: Any) -> Any:
    with torch.inference_mode():
        return function(*x) if isinstance(x, tuple) else function(x)


def _cpu_run(function: Any, x: Any) -> Callable[[int], None]:
    args = x if isinstance(x, tuple) else (x,)

    def run(k: int) -> None:
        with torch.inference_mode():
            for _ in range(k):
                function(*args)

    return run


def _cuda_run(function: Any, x: Any, setting: Setting) -> Callable[[int], float]:
    """Return a runner that times itself with CUDA events: the k runs together, or each alone after an L2 flush."""
    args = x if isinstance(x, tuple) else (x,)
    call: Callable[[], Any] = lambda: function(*args)  # noqa: E731
    if setting.cuda_graph:
        call = _capture(call)
    flush = torch.empty(128 * 2**20, dtype=torch.uint8, device=setting.device) if setting.cold_cache else None

    def run(k: int) -> float:
        with torch.inference_mode():
            torch.cuda.synchronize(setting.device)
            groups = 1 if flush is None else k
            pairs = []
            for _ in range(groups):
                if flush is not None:
                    flush.zero_()
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                for _ in range(k // groups):
                    call()
                end.record()
                pairs.append((start, end))
            torch.cuda.synchronize(setting.device)
            return sum(a.elapsed_time(b) for a, b in pairs) / 1e3

    return run


def _capture(call: Callable[[], Any]) -> Callable[[], Any]:
    """Record the candidate's kernels once as a CUDA graph, so that launching them costs nothing."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        call()
    return graph.replay
