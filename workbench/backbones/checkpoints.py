"""Checkpoint files: the published ones, where they lie, and reading any of them without running what is inside."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import socket
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from ..errors import DataNotFoundError, WorkbenchError, one_line

PATIENCE_S = 20.0  # how long an unreachable server may stay silent before the download is given up


class Published(NamedTuple):
    """One checkpoint that the authors of a paper publish."""

    url: str
    form: str  # "train" or "deploy"
    top1: float  # ImageNet-1K validation accuracy in percent, as published
    licence: str  # of the repository that publishes it
    sha256: str | None = None  # None: the publisher gives none

    @property
    def file(self) -> str:
        """The name it has in torch.hub's folder."""
        return Path(urlparse(self.url).path).name


def _fasternet(tail: str, top1: float) -> tuple[Published]:
    url = f"https://github.com/JierunChen/FasterNet/releases/download/v1.0/fasternet_{tail}.pth"
    return (Published(url, "train", top1, "none stated by the authors; timm's copy says Apache-2.0"),)


def _starnet(variant: str, top1: float) -> tuple[Published]:
    url = f"https://github.com/ma-xu/Rewrite-the-Stars/releases/download/checkpoints_v1/{variant}.pth.tar"
    return (Published(url, "train", top1, "Apache-2.0"),)


def _mobileone(variant: str, top1: float) -> tuple[Published, Published]:
    url = f"https://docs-assets.developer.apple.com/ml-research/datasets/mobileone/{variant}"
    licence = "Apple's own (LICENSE in apple/ml-mobileone)"
    return (
        Published(f"{url}_unfused.pth.tar", "train", top1, licence),
        Published(f"{url}.pth.tar", "deploy", top1, licence),
    )


def _vanillanet(variant: str, top1: float) -> tuple[Published]:
    url = f"https://github.com/huawei-noah/VanillaNet/releases/download/ckpt/{variant}.pth"
    return (Published(url, "train", top1, "MIT"),)


# From the repositories' READMEs (StarNet: the URLs in its starnet.py, top-1 in the paper). The three very
# small StarNets are published without weights.
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "fasternet_t0": _fasternet("t0-epoch.281-val_acc1.71.9180", 71.9),
    "fasternet_t1": _fasternet("t1-epoch.291-val_acc1.76.2180", 76.2),
    "fasternet_t2": _fasternet("t2-epoch.289-val_acc1.78.8860", 78.9),
    "fasternet_s": _fasternet("s-epoch.299-val_acc1.81.2840", 81.3),
    "fasternet_m": _fasternet("m-epoch.291-val_acc1.82.9620", 83.0),
    "fasternet_l": _fasternet("l-epoch.299-val_acc1.83.5060", 83.5),
    "starnet_s1": _starnet("starnet_s1", 73.5),
    "starnet_s2": _starnet("starnet_s2", 74.8),
    "starnet_s3": _starnet("starnet_s3", 77.3),
    "starnet_s4": _starnet("starnet_s4", 78.4),
    "mobileone_s0": _mobileone("mobileone_s0", 71.4),
    "mobileone_s1": _mobileone("mobileone_s1", 75.9),
    "mobileone_s2": _mobileone("mobileone_s2", 77.4),
    "mobileone_s3": _mobileone("mobileone_s3", 78.1),
    "mobileone_s4": _mobileone("mobileone_s4", 79.4),
    "vanillanet_5": _vanillanet("vanillanet_5", 72.49),
    "vanillanet_6": _vanillanet("vanillanet_6", 76.36),
    "vanillanet_7": _vanillanet("vanillanet_7", 77.98),
    "vanillanet_8": _vanillanet("vanillanet_8", 79.13),
    "vanillanet_9": _vanillanet("vanillanet_9", 79.87),
    "vanillanet_10": _vanillanet("vanillanet_10", 80.57),
    "vanillanet_11": _vanillanet("vanillanet_11", 81.08),
    "vanillanet_12": _vanillanet("vanillanet_12", 81.55),
    "vanillanet_13": _vanillanet("vanillanet_13", 82.05),
    "vanillanet_13_x1_5": _vanillanet("vanillanet_13_x1_5", 82.53),
    "vanillanet_13_x1_5_ada_pool": _vanillanet("vanillanet_13_x1_5_ada_pool", 83.11),
}


def hub_path(file: str) -> Path:
    """Return where torch.hub keeps, or would keep, a downloaded file (``TORCH_HOME`` moves it)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / file


def fetch(url: str, sha256: str | None = None, otherwise: str = "") -> Path:
    """Return the local path of a published file, downloading it through torch.hub, with progress, when absent.

    Args:
        url: where the file is published.
        sha256: what the publisher says its checksum is.
        otherwise: one more way out, for the error message.

    Raises:
        DataNotFoundError: absent, and the download failed; the message names the file and where to put it.
        WorkbenchError: the file's checksum is not the published one.
    """
    path = hub_path(Path(urlparse(url).path).name)
    if not path.is_file():
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(PATIENCE_S)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256, progress=True)
        except (URLError, OSError, RuntimeError) as e:
            raise DataNotFoundError(
                f"{path.name} is not in {path.parent} and could not be downloaded ({one_line(e, 120)}); fetch {url} on "
                f"a machine with a network and put it there (TORCH_HOME names another folder){otherwise}"
            ) from e
        finally:
            socket.setdefaulttimeout(before)
    elif sha256 and (found := hashlib.sha256(path.read_bytes()).hexdigest()) != sha256:
        raise WorkbenchError(f"{path} has sha256 {found[:12]}…, published is {sha256[:12]}…; delete it and load again")
    return path


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Return what a ``.pth``, ``.pt``, ``.tar`` or ``.safetensors`` file holds, on the CPU.

    Only tensors and plain containers are read (``weights_only=True``); a file that would run code is refused, and
    nothing of it is executed.

    Raises:
        DataNotFoundError: there is no such file.
        WorkbenchError: the file is truncated, no checkpoint, or holds more than weights.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataNotFoundError(f"checkpoint {path} {what}; give the path of a file, a state dict, or 'imagenet'")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        _refuse_inflation(path)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on foreign pickle protocols, right before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)  # Namespace: trainers save their arguments
    except WorkbenchError:
        raise
    except Exception as e:  # whatever a malformed file provokes, the reader gets one line
        raise WorkbenchError(_why_unreadable(path, e)) from e


def _refuse_inflation(path: Path) -> None:
    """Refuse a zip that unpacks to more than it is: torch.save never compresses, a decompression bomb does."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
        if unpacked > path.stat().st_size:
            raise WorkbenchError(
                f"{path} is a zip that unpacks to {unpacked} bytes from {path.stat().st_size}; torch.save does not "
                "compress, so this is no checkpoint and was not read"
            )


def _why_unreadable(path: Path, error: Exception) -> str:
    text = str(error)
    if "TorchScript" in text:
        return f"{path} is a TorchScript archive, not a state dict; save model.state_dict() of the scripted model"
    if foreign := re.search(r"GLOBAL (?:GLOBAL )?([\w.]+)", text):
        hint = "open it with workbench.YOLO" if foreign[1].startswith("ultralytics") else "save model.state_dict()"
        return (
            f"{path} holds more than weights (it refers to {foreign[1]}); refused unread, nothing was executed: only "
            f"tensors and plain containers are loaded, so {hint}"
        )
    # torch's own text goes on to advise weights_only=False, which is what a hostile file waits for
    cause = re.sub(r"(?s).*WeightsUnpickler error:|Check the documentation.*", "", text).strip() or type(error).__name__
    why = one_line(cause, 120)
    return f"{path} cannot be read as a checkpoint: it is truncated, or was not written by torch.save ({why})"
