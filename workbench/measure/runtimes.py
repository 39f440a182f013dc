"""One network, several runtimes: eager, channels_last, torch.compile, ONNX Runtime, OpenVINO.

A runtime whose output differs from eager PyTorch is refused before anything is timed: a wrong network is not fast.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..backbones.registry import classes_for
from ..errors import MissingExtraError, WorkbenchError, did_you_mean, first_line
from .candidates import Factory, factory
from .latency import latency
from .timing import Latency

RUNTIMES = ("eager", "channels_last", "compile", "onnxruntime", "openvino")
PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
EXTRA = "runtimes"
TOLERANCE = 1e-3  # largest difference allowed, of the largest value of eager's output

Prepared = tuple[Callable[..., Any], Any]  # what to call, and the input in the layout it wants


def why_not(runtime: str) -> WorkbenchError | None:
    """Return the error that names what `runtime` misses on this machine, or None when it can run.

    >>> why_not("eager") is None
    True
    """
    if runtime not in RUNTIMES:
        hint = did_you_mean(runtime, RUNTIMES) or f"; expected one of {', '.join(RUNTIMES)}"
        return WorkbenchError(f"unknown runtime {runtime!r}{hint}")
    for package in PACKAGES.get(runtime, ()):
        if importlib.util.find_spec(package) is None:
            return MissingExtraError(package, EXTRA)
    if runtime == "compile" and not any(shutil.which(c) for c in ("g++", "clang++", "cl")):
        return WorkbenchError(
            "torch.compile needs a C++ compiler (g++, clang++ or cl) on PATH; install one or leave it out"
        )
    return None


def available() -> list[str]:
    """Return the runtimes that can run here, eager first."""
    return [r for r in RUNTIMES if why_not(r) is None]


def compiled(model: Any, x: Any, runtime: str, threads: int = 1) -> Prepared:
    """Prepare `model` for a runtime and check one output against eager.

    Args:
        model: a module in eval mode on its device.
        x: its input, one tensor.
        runtime: one of `RUNTIMES`.
        threads: intra-op threads of the runtime.

    Returns:
        What to call, and the input in the layout it wants.

    Raises:
        WorkbenchError: the runtime is missing, cannot take the model, or computes something else.
    """
    problem = why_not(runtime)
    if problem is not None:
        raise problem
    if runtime == "eager":
        return model, x
    if not isinstance(model, nn.Module) or not isinstance(x, Tensor):
        raise WorkbenchError(f"runtime {runtime!r} needs a module and one input tensor, not a {type(model).__name__}")
    with torch.inference_mode():
        expected = model(x)
    try:
        prepared = _BUILDERS[runtime](model, x, threads)
        with torch.inference_mode():
            got = prepared[0](prepared[1])
    except Exception as e:
        raise WorkbenchError(f"{runtime} cannot run {type(model).__name__}: {first_line(e)}") from e
    check_equal(got, expected, f"{runtime} on {type(model).__name__}")
    return prepared


def check_equal(got: Any, expected: Any, what: str, tolerance: float = TOLERANCE) -> float:
    """Compare outputs, tensor by tensor, and return the largest difference relative to the largest value.

    Raises:
        WorkbenchError: they differ in number, shape or value; the message says by how much.
    """
    ours, theirs = ([torch.as_tensor(t).float() for t in tree_leaves(out) if t is not None] for out in (got, expected))
    if [t.shape for t in ours] != [t.shape for t in theirs]:
        raise WorkbenchError(f"{what}: outputs have other shapes than eager's; not timed")
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        off = float((a - b).abs().max()) / max(float(b.abs().max()), 1e-12)
        worst = max(worst, off if off == off else float("inf"))  # NaN compares as smaller than everything
    if not worst <= tolerance:
        raise WorkbenchError(f"{what}: output differs from eager by {worst:.2g} of its largest value; not timed")
    return worst


def runtimes(
    model: Any, which: Iterable[str] | None = None, x: Tensor | None = None, *, name: str | None = None, **options: Any
) -> Latency:
    """Time one network in several runtimes, interleaved; eager is the baseline.

    Args:
        model: a variant's name (deploy form), a `factory`, or a module.
        which: runtimes; default those that can run here.
        x: input; default random, see `latency`.
        name: label of the network.
        **options: of `latency`.

    Raises:
        WorkbenchError: a runtime is unknown, missing (the message names the extra), or fails its output check.
    """
    chosen = list(available() if which is None else which)
    for runtime in chosen:
        problem = why_not(runtime)
        if problem is not None:
            raise problem
    if isinstance(model, str):
        deploy = options.get("form", "deploy") == "deploy"
        label, model = model, factory(model, num_classes=classes_for(model), deploy=deploy)
    elif isinstance(model, nn.Module):
        label, model = type(model).__name__, Factory("workbench.measure.runtimes:itself", (model,))
    else:
        label = model.target.rpartition(":")[2]
    label = name or label
    candidates = {f"{label} · {r}": replace(model, runtime=r) for r in dict.fromkeys(chosen)}
    return latency(candidates, x, **options)


def itself(model: nn.Module) -> nn.Module:
    """Return `model`; the recipe of a module that is already built."""
    return model


def _channels_last(model: nn.Module, x: Tensor, threads: int) -> Prepared:
    return model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)  # type: ignore


def _compile(model: nn.Module, x: Tensor, threads: int) -> Prepared:
    return torch.compile(model), x


def export_onnx(model: nn.Module, x: Tensor, path: Path) -> Path:
    """Export by tracing (1 s), or by PyTorch's newer exporter (15 s) where tracing fails; prints nothing."""
    problem: Exception
    for dynamo in (False, True):
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                torch.onnx.export(model, (x,), str(path), dynamo=dynamo)
            return path
        except Exception as e:
            problem = e
    raise WorkbenchError(f"cannot export {type(model).__name__} to ONNX: {first_line(problem)}") from problem


def _onnxruntime(model: nn.Module, x: Tensor, threads: int) -> Prepared:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(model, x, Path(folder) / "model.onnx")
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    key = session.get_inputs()[0].name
    return (lambda array: _as_output(session.run(None, {key: array}))), x.detach().cpu().numpy()


def _openvino(model: nn.Module, x: Tensor, threads: int) -> Prepared:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    with tempfile.TemporaryDirectory() as folder:
        file = export_onnx(model, x, Path(folder) / "model.onnx")
        network = core.compile_model(core.read_model(str(file)), "CPU", settings)
    request = network.create_infer_request()

    def run(array: Any) -> Any:
        request.infer([array], share_inputs=True)
        return _as_output([request.get_output_tensor(i).data for i in range(len(network.outputs))])

    return run, x.detach().cpu().numpy()


def _as_output(arrays: list[Any]) -> Any:
    """Return one array for one output, as eager does."""
    return arrays[0] if len(arrays) == 1 else arrays


_BUILDERS: dict[str, Callable[[nn.Module, Tensor, int], Prepared]] = {
    "channels_last": _channels_last,
    "compile": _compile,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}
