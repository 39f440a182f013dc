"""coco128: find it, check it, train from a copy of our own; and a split of it that is really held out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

import yaml

from ..errors import DataNotFoundError, WorkbenchError
from ..settings import cache_dir, own_dir
from .cache import build_once
from .names import COCO_NAMES
from .split import stratified_split

URL = "https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip"
IMAGES, LABELS = Path("images/train2017"), Path("labels/train2017")
EXPECTED = (128, 126, 929)  # images, label files (two images show none of the 80 classes), boxes
HELD_OUT = 32  # validation images of the held-out split


def coco128(held_out: bool = False, download: bool = True) -> Path:
    """Return the data YAML of a verified private copy of coco128.

    The dataset is looked for in ``$WORKBENCH_DATA/coco128``, in ultralytics' datasets folder and in our cache, then
    the official archive (7 MB) is downloaded. Training reads the copy, so nothing is written beside the original.

    coco128 validates on its own training images *by design*: it shows that training runs, not that it works.
    ``held_out=True`` divides it into 96 training and 32 validation images instead, the same ones always, stratified
    by class as far as 128 images allow; every class of the validation part also occurs in the training part.

    Args:
        held_out: return the split whose validation images are not trained on.
        download: allow the download.

    Raises:
        DataNotFoundError: absent and not to be had; the message names the ways to get it.
        WorkbenchError: a folder was found and it is not the complete coco128.
    """
    source = _original()
    copy = _private_copy(source) if source else _cached() or _download(download)
    return (_held_out(copy) if held_out else copy) / "coco128.yaml"


def find_coco128() -> Path | None:
    """Return the folder of a coco128 on this machine, unchecked; None where there is none. Nothing is fetched."""
    return _original() or _cached()


def ultralytics_datasets_dir() -> Path | None:
    """Return the datasets folder in ultralytics' settings file, without importing ultralytics; None if never set."""
    home = Path.home()
    base = {"win32": home / "AppData/Roaming", "darwin": home / "Library/Application Support"}.get(sys.platform)
    base = base or Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    config = Path(os.environ.get("YOLO_CONFIG_DIR") or base).expanduser() / "Ultralytics" / "settings.json"
    try:
        return Path(json.loads(config.read_text(encoding="utf-8"))["datasets_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _original() -> Path | None:
    """Return the first coco128 that somebody else keeps: the one named by the environment, or ultralytics'."""
    places = (os.environ.get("WORKBENCH_DATA"), ultralytics_datasets_dir())
    folders = (Path(p).expanduser() / "coco128" for p in places if p)
    return next((folder for folder in folders if folder.is_dir()), None)


def _cached() -> Path | None:
    for place in (cache_dir, own_dir):  # the shared one first; one's own is not even looked for when it has the set
        found = sorted(p for p in place().glob("coco128-*") if p.is_dir() and not p.name.endswith("-held-out"))
        if found:
            return found[0]
    return None


def verify_coco128(root: Path) -> tuple[list[Path], list[Path]]:
    """Return the image and label files of the coco128 folder `root`, after counting them and their boxes.

    Raises:
        WorkbenchError: anything but 128 images, 126 label files and 929 boxes.
    """
    images, labels = sorted((root / IMAGES).glob("*.jpg")), sorted((root / LABELS).glob("*.txt"))
    boxes = sum(bool(line.strip()) for label in labels for line in label.read_text(encoding="utf-8").splitlines())
    found = (len(images), len(labels), boxes)
    if found != EXPECTED:
        given, expected = ("{} images, {} label files, {} boxes".format(*counts) for counts in (found, EXPECTED))
        raise WorkbenchError(
            f"{root} is not the complete coco128: {given}; expected {expected}; remove it to fetch it anew"
        )
    return images, labels


def _private_copy(source: Path) -> Path:
    images, labels = verify_coco128(source)
    digest = hashlib.sha256()
    for file in (*images, *labels):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())

    def build(root: Path) -> None:
        for folder, files in ((IMAGES, images), (LABELS, labels)):
            (root / folder).mkdir(parents=True)
            for file in files:
                shutil.copyfile(file, root / folder / file.name)  # content only: a read-only source stays one
        _write_yaml(root, IMAGES.as_posix(), IMAGES.as_posix())

    return build_once(f"coco128-{digest.hexdigest()[:12]}", build)


def _held_out(copy: Path) -> Path:
    images, _ = verify_coco128(copy)
    classes = [_classes(_label(image)) for image in images]
    val = set(stratified_split(classes, HELD_OUT))

    def build(root: Path) -> None:
        for index, image in enumerate(images):
            split = "val" if index in val else "train"
            for file, kind in ((image, "images"), (_label(image), "labels")):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                if file.is_file():
                    shutil.copyfile(file, root / kind / split / file.name)
        _write_yaml(root, "images/train", "images/val")

    return build_once(f"{copy.name}-held-out", build)


def _label(image: Path) -> Path:
    return image.parents[2] / LABELS / f"{image.stem}.txt"


def _classes(label: Path) -> set[int]:
    lines = label.read_text(encoding="utf-8").splitlines() if label.is_file() else []
    return {int(line.split()[0]) for line in lines if line.strip()}


def _write_yaml(root: Path, train: str, val: str) -> None:
    # no `path:` key: ultralytics then resolves against the YAML's own folder
    data = {"train": train, "val": val, "names": dict(enumerate(COCO_NAMES))}
    (root / "coco128.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def _download(allowed: bool) -> Path:
    ways = (
        "set WORKBENCH_DATA to a folder that holds coco128/, put it into ultralytics' datasets folder "
        f"({ultralytics_datasets_dir() or 'see `yolo settings`'}), or go online once for {URL}"
    )
    if not allowed:
        raise DataNotFoundError(f"coco128 is not on this machine: {ways}")
    with tempfile.TemporaryDirectory(prefix=".coco128-download-", dir=own_dir()) as temporary:
        archive = Path(temporary) / "coco128.zip"
        try:
            _fetch(URL, archive)
        except OSError as e:  # URLError, timeouts and refused connections are all OSErrors
            reason = getattr(e, "reason", None) or e
            raise DataNotFoundError(
                f"coco128 is not on this machine and cannot be downloaded ({reason}): {ways}"
            ) from e
        _extract(archive, Path(temporary))
        return _private_copy(Path(temporary) / "coco128")


def _fetch(url: str, target: Path) -> None:
    from tqdm.auto import tqdm

    with urllib.request.urlopen(url, timeout=30) as reply, target.open("wb") as file:
        total = int(reply.headers.get("Content-Length") or 0) or None
        with tqdm(total=total, unit="B", unit_scale=True, desc="coco128") as bar:
            while chunk := reply.read(1 << 18):
                file.write(chunk)
                bar.update(len(chunk))


def _extract(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                path = PurePosixPath(name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
                    raise WorkbenchError(f"the archive {URL} holds the unsafe path {name!r}; it was not unpacked")
            file.extractall(folder)
    except zipfile.BadZipFile as e:
        raise WorkbenchError(f"the download of {URL} is not a zip archive ({e}); try again") from e
