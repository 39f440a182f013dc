"""A detector as files that leave the process: weights as safetensors, the whole network as one ONNX file."""

from __future__ import annotations

import copy
import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel, yaml_model_load

from ..backbones.ramp import ramp_value, ready_to_merge
from ..errors import DataNotFoundError, MissingExtraError, WorkbenchError
from ..files import replace_bytes
from ..measure.runtimes import export_onnx


def save_weights(detector: Any, path: str | Path) -> Path:
    """Write a detector's weights as safetensors; convolutions in half precision, norms in single.

    Args:
        detector: a ``YOLO``, or its module.
        path: the file, ``.safetensors``.

    Raises:
        WorkbenchError: it is no detector, or a weight is not finite.
    """
    from safetensors.torch import save

    network = _network(detector)
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        value = value.detach().cpu().contiguous()
        state[name] = value.half() if value.ndim > 1 and value.is_floating_point() else value.clone()
        if not torch.isfinite(state[name]).all():
            raise WorkbenchError(f"the weight {name} is not finite; train again before handing in")
    replace_bytes(path, save(state, {"classes": str(_classes(network))}))
    return Path(path)


def with_weights(detector: Any, path: str | Path) -> Any:
    """Return the network of a detector with as many classes as a file of `save_weights` has, and its weights, in eval.

    Args:
        detector: a ``YOLO`` (or its module) that says how the network is built; it is not changed.
        path: the file.

    Raises:
        DataNotFoundError: there is no such file.
        WorkbenchError: it is no such file, or one of another network.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if not file.is_file():
        raise DataNotFoundError(f"{file.name} is not there; train, and save with save_weights(detector, {file.name!r})")
    try:
        with safe_open(str(file), "pt") as found:
            classes = int((found.metadata() or {})["classes"])
            state = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError, KeyError, ValueError):
        raise WorkbenchError(f"{file.name} is not a file of save_weights; save the trained detector again") from None
    network = _network(detector)
    built = _rebuilt(network, classes)
    own = built.state_dict()
    for name in [*own, *state]:
        if name not in own or name not in state or own[name].shape != state[name].shape:
            ours, theirs = (tuple(s[name].shape) if name in s else "nothing" for s in (own, state))
            raise WorkbenchError(
                f"{file.name} belongs to another network: {name} is {ours} now and {theirs} in the file; train again"
            )
    built.load_state_dict(state)  # copies into float32
    return built.eval()


def onnx_bytes(detector: Any, imgsz: int) -> bytes:
    """Return a detector as one ONNX file: image (1, 3, S, S) → boxes and confidences (1, 4 + classes, places).

    The copy that is exported is fused: branches merged, norms folded. Nothing is suppressed in the file.

    Args:
        detector: a ``YOLO``, or its module; it is not changed.
        imgsz: image side S, a multiple of 32.

    Raises:
        MissingExtraError: onnx is not installed.
        WorkbenchError: it cannot be exported, or its activation ramp has not ended.
    """
    network = _network(detector)
    if not ready_to_merge(network):
        raise WorkbenchError(f"the activation ramp is {ramp_value(network):g}; train until it is 1 before exporting")
    network = copy.deepcopy(network).float().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = network.fuse(verbose=False)
    head = network.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", False
    return module_bytes(network, (1, 3, imgsz, imgsz))


def module_bytes(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Return a module in eval mode as one ONNX file, for inputs of one fixed shape.

    Raises:
        MissingExtraError: onnx is not installed.
        WorkbenchError: it cannot be exported.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingExtraError("onnx", "runtimes")
    module = module.eval().requires_grad_(False)
    x = torch.zeros(shape)
    with torch.no_grad():
        module(x)  # a head computes its anchors on the first image
    with tempfile.TemporaryDirectory() as folder:
        return export_onnx(module, x, Path(folder) / "network.onnx").read_bytes()


def stock_bytes(model: str, classes: int, imgsz: int) -> bytes:
    """Return an untrained stock detector as an ONNX file: the same operators at the same speed as a trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return onnx_bytes(DetectionModel({**yaml_model_load(f"{model}.yaml"), "nc": classes}, verbose=False), imgsz)


def _network(detector: Any) -> Any:
    network = detector if isinstance(detector, DetectionModel) else getattr(detector, "model", None)
    if not isinstance(network, DetectionModel):
        raise WorkbenchError(f"a {type(detector).__name__} is no detector; give what wb.YOLO(...) returns")
    return network


def _classes(network: Any) -> int:
    return int(network.model[-1].nc)


def _rebuilt(network: Any, classes: int) -> Any:
    """Return a network of the same YAML with that many classes."""
    with torch.random.fork_rng(devices=[]):
        return DetectionModel({**copy.deepcopy(network.yaml), "nc": classes}, verbose=False)
