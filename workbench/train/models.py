"""From host, scale, backbone or a file to a detector that can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import WorkbenchError, one_line
from ..yolo import RTDETR, YOLO
from ..yolo.hosts import host_scales, yaml_name
from ..yolo.layer import backbone_layers
from ..yolo.weights import load_backbone


def model_name(host: str, scale: str, backbone: str | None) -> str:
    """Return the model YAML's name of a host, or of a host with one of our backbones.

    Raises:
        WorkbenchError: unknown host or scale.

    >>> model_name("yolo11", "n", None), model_name("yolov8", "s", "starnet_s1")
    ('yolo11n.yaml', 'yolov8s-starnet_s1.yaml')
    """
    scales = host_scales(host)
    if scale not in scales and len(scales) > 1:
        raise WorkbenchError(f"scale {scale!r} given for {host}; expected one of {', '.join(scales)}")
    if backbone is not None:
        return yaml_name(host, backbone, scale)
    return yaml_name(host, "", scale).replace("-.yaml", ".yaml")


def open_detector(name: str | Path) -> Any:
    """Build a detector from a model YAML's name, or open a checkpoint.

    Raises:
        WorkbenchError: the checkpoint cannot be read, or there is no such model.
    """
    path = Path(name)
    kind = RTDETR if path.stem.startswith("rtdetr") else YOLO
    if path.suffix == ".pt" and not path.is_file():
        raise WorkbenchError(f"no checkpoint at {path}; give the path of a .pt file, or a model YAML's name")
    try:
        return kind(str(name))
    except WorkbenchError:
        raise
    except FileNotFoundError as e:
        raise WorkbenchError(f"no model {str(name)!r}; give e.g. 'yolo11n.yaml' or 'yolo11n-fasternet_t0.yaml'") from e
    except Exception as e:  # zip, pickle and torch each have their own ways to say it
        if path.suffix != ".pt":
            raise
        raise WorkbenchError(
            f"{path} is not a readable checkpoint ({one_line(e)}); it may be cut short: copy it again"
        ) from e


def described(detector: Any) -> dict[str, Any]:
    """Return ``host``, ``scale`` and ``backbone`` of a detector, read off its network.

    >>> described(open_detector("yolo11s-starnet_s050.yaml")), described(open_detector("yolov8n.yaml"))["host"]
    ({'host': 'yolo11', 'scale': 's', 'backbone': 'starnet_s050'}, 'yolo')
    """
    made = detector.model.yaml
    names = [layer.spec["name"] for layer in backbone_layers(detector.model)]
    host = made.get("host", "rtdetr" if isinstance(detector, RTDETR) else "yolo")  # a stock YAML names none
    scale = made.get("scale") or next(iter(made.get("scales") or ()), "")  # as ultralytics chooses, where none is named
    return {"host": host, "scale": scale, "backbone": names[0] if names else None}


def start_from(detector: Any, weights: str | Path) -> dict[str, Any]:
    """Make a detector start from weights, and return the training arguments that this takes.

    Args:
        detector: just built from its YAML.
        weights: ``"imagenet"`` or a backbone's file (.pth, .pth.tar, .safetensors) for the backbone alone; a
            detector's checkpoint (.pt) for every layer that means the same in both.

    Raises:
        WorkbenchError: the file is absent, cannot be read, or does not fit.
    """
    path = Path(weights)
    if str(weights) == "imagenet" or path.suffix != ".pt":
        print(load_backbone(detector, weights))
        return {}
    open_detector(path)  # a file that cannot be read is found out here
    return {"pretrained": str(path)}  # read again when the network has its final number of classes
