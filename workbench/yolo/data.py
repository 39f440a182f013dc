"""Look at a dataset before training does: every error here is one that would otherwise come an epoch later."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from ultralytics.utils import DATASETS_DIR

from ..errors import DataNotFoundError, WorkbenchError, one_line
from ..files import replace_text

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
STRIDE = 32  # of P5, the coarsest level: a detector's input side is a multiple of it


@dataclass(frozen=True)
class Split:
    """What one split of a dataset holds."""

    name: str
    images: tuple[Path, ...]
    boxes: int
    backgrounds: int  # images without a box: no label file, or an empty one
    classes: tuple[int, ...]  # that occur

    def __str__(self) -> str:
        seen = f"{self.boxes} boxes of {len(self.classes)} classes"
        return f"{self.name}: {len(self.images)} images ({self.backgrounds} without a box), {seen}"


@dataclass(frozen=True)
class DatasetReport:
    """A dataset that passed: its YAML, class names and splits; prints as a few lines."""

    path: Path
    names: tuple[str, ...]
    train: Split
    val: Split

    @property
    def held_out(self) -> bool:
        """Whether no validation image is also a training image."""
        return not {p.resolve() for p in self.train.images} & {p.resolve() for p in self.val.images}

    def __str__(self) -> str:
        notice = "" if self.held_out else "\nval shares images with train: its mAP measures memory, not generalisation"
        return f"{self.path}: {len(self.names)} classes\n{self.train}\n{self.val}{notice}"


def check_imgsz(imgsz: int) -> int:
    """Return `imgsz` when a detector can take it, a positive multiple of 32.

    >>> check_imgsz(320)
    320
    """
    if not isinstance(imgsz, int) or isinstance(imgsz, bool) or imgsz < STRIDE or imgsz % STRIDE:
        near = max(STRIDE, round(imgsz / STRIDE) * STRIDE) if isinstance(imgsz, (int, float)) else 640
        raise WorkbenchError(f"imgsz={imgsz!r} is not a positive multiple of {STRIDE}, the stride of P5; use {near}")
    return imgsz


def verify_dataset(data: str | Path, max_missing: float = 0.1) -> DatasetReport:
    """Check a detection dataset in YOLO format and return what it holds.

    Checked: the YAML, both splits, that images decode, label files and their place, five numbers a line, class ids
    in range, coordinates in [0, 1].

    Args:
        data: dataset YAML with ``train``, ``val`` and ``names``.
        max_missing: largest share of a split's images that may lack a label file. A missing file means "no object
            here" to YOLO; many missing files usually mean a wrong folder.

    Raises:
        DataNotFoundError: the YAML, a split or an image is not there.
        WorkbenchError: anything else, naming the file, the line and the fix.
    """
    path = Path(data).expanduser()
    config = _read_yaml(path)
    names = config.get("names")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            ids = sorted(names, key=str)  # words among the numbers have no other order
            raise WorkbenchError(f"{path}: the ids in `names` are {ids}; number the classes 0, 1, 2, … without gaps")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise WorkbenchError(f"{path} has no class `names`; add e.g. names: {{0: cat, 1: dog}}")
    root = _root(path, config)
    splits = [_verify_split(path, root, key, config.get(key), len(names), max_missing) for key in ("train", "val")]
    return DatasetReport(path.absolute(), tuple(str(n) for n in names), *splits)


def _root(path: Path, config: dict[str, Any]) -> Path:
    """Return the folder that splits are relative to; a relative `path` may lie in ultralytics' datasets folder."""
    folder = config.get("path") or ""
    if not isinstance(folder, str):
        raise WorkbenchError(f"{path}: `path` is {folder!r}; give a folder, or leave it out: then it is the YAML's own")
    given = Path(folder).expanduser()
    beside = path.absolute().parent / given  # joining an absolute path gives that path
    return beside if beside.exists() else DATASETS_DIR / given


def anchored(data: str | Path, folder: Path) -> Path:
    """Return a dataset YAML that ultralytics reads as `verify_dataset` did, wherever Python was started.

    A relative ``path:`` is relative to the YAML here, and to the current folder there. Where it is relative, a copy
    with the absolute one is written into `folder`; any other file is returned as it is.
    """
    path = Path(data).expanduser().absolute()
    config = _read_yaml(path)
    if not config.get("path") or Path(config["path"]).is_absolute():
        return path
    copy = folder / "data.yaml"
    text = yaml.safe_dump(config | {"path": str(_root(path, config).resolve())}, sort_keys=False, allow_unicode=True)
    replace_text(copy, text)
    return copy


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataNotFoundError(f"no dataset YAML at {path}; give a file, 'shapes' or 'coco128'")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise WorkbenchError(f"{path} is not readable YAML ({one_line(e)}); correct it") from e
    if not isinstance(config, dict):
        raise WorkbenchError(f"{path} holds no mapping; a dataset YAML has the keys train, val and names")
    return config


def _verify_split(path: Path, root: Path, key: str, entry: Any, classes: int, max_missing: float) -> Split:
    if not entry:
        raise WorkbenchError(f"{path} has no `{key}` split; add a folder of images, e.g. {key}: images/{key}")
    images = tuple(
        image for item in (entry if isinstance(entry, list) else [entry]) for image in _images(path, root, key, item)
    )
    labels = [label_path(image) for image in images]
    missing = [label for label in labels if not label.is_file()]
    if len(missing) > max_missing * len(images):
        raise WorkbenchError(
            f"{path}: {len(missing)} of {len(images)} {key} images have no label file, e.g. {missing[0]}; add them "
            "(an empty file says that there is no object)"
        )
    with ThreadPoolExecutor() as pool:
        list(pool.map(_verify_image, images))
        ids = list(pool.map(lambda label: _label_ids(label, classes), labels))
    boxes = sum(map(len, ids))
    if not boxes:
        raise WorkbenchError(f"{path}: the {key} split has {len(images)} images and not one box; fill the label files")
    return Split(key, images, boxes, sum(not i for i in ids), tuple(sorted(set().union(*ids))))


def _images(path: Path, root: Path, key: str, item: Any) -> list[Path]:
    source = root / str(item)
    if source.is_file():  # a list of images, one path a line, relative ones to the list's own folder
        lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        images = [source.parent / line for line in lines]
    elif source.is_dir():
        images = sorted(p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    else:
        raise DataNotFoundError(
            f"{path}: the {key} split {source} does not exist; correct `{key}` or `path` in the YAML"
        )
    if not images:
        raise DataNotFoundError(f"{path}: the {key} split {source} holds no image; put JPEG or PNG files there")
    return images


def label_path(image: Path) -> Path:
    """Return where YOLO looks for an image's labels: the last folder named ``images`` becomes ``labels``.

    >>> label_path(Path("set/images/train/1.jpg")).as_posix()
    'set/labels/train/1.txt'
    """
    parts = list(image.parts)
    last = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is not None:
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _verify_image(path: Path) -> None:
    if not path.is_file():
        raise DataNotFoundError(f"the image {path} does not exist; correct the list that names it")
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))  # JPEG: decode at an eighth of the size, all bytes are still read
            image.load()
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as e:
        # ultralytics makes Image.open import a HEIF decoder for a file it does not know: ImportError where it is absent
        reason = "not an image" if isinstance(e, Image.UnidentifiedImageError | ImportError) else str(e)
        raise WorkbenchError(f"{path} is corrupt ({reason}); replace or remove it") from e


def _label_ids(path: Path, classes: int) -> list[int]:
    if not path.is_file():
        return []
    ids = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        # five numbers are a box; 1 + 2·k with k >= 3 are a polygon, of which YOLO takes the box
        if (len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0)) or not all(map(math.isfinite, values)):
            raise WorkbenchError(f"{path}, line {number}: {line.strip()[:60]!r} is not `class x y width height`")
        if values[0] != int(values[0]) or not 0 <= values[0] < classes:
            raise WorkbenchError(
                f"{path}, line {number}: class id {values[0]:g} is not in 0 to {classes - 1}; fix it or extend names"
            )
        if not all(0 <= v <= 1.01 for v in values[1:]):
            raise WorkbenchError(f"{path}, line {number}: coordinates outside 0 to 1; divide pixels by the image size")
        ids.append(int(values[0]))
    return ids
