"""shapes(), coco128() and the checks of user data."""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib
import io
import itertools
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from workbench import datasets
from workbench.datasets.cache import build_once
from workbench.datasets.draw import MIN_VISIBLE, NAMES, draw_scene, shape_mask
from workbench.datasets.split import stratified_split
from workbench.errors import DataNotFoundError, WorkbenchError
from workbench.yolo.data import check_imgsz, verify_dataset

coco = importlib.import_module("workbench.datasets.coco128")  # the package exports a function of the same name
REAL_DATA = os.environ.get("WORKBENCH_DATA", "")


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    """Every test has a cache, settings and data folder of its own."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WORKBENCH_DATA", raising=False)
    return tmp_path / "cache"


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return total.hexdigest()


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_shapes_are_bit_identical_for_a_seed_and_differ_for_another(private_cache):
    first = datasets.shapes(n_train=6, n_val=3, imgsz=96, seed=1)
    before = digest(first.parent)
    shutil.rmtree(private_cache)
    assert digest(datasets.shapes(n_train=6, n_val=3, imgsz=96, seed=1).parent) == before
    assert digest(datasets.shapes(n_train=6, n_val=3, imgsz=96, seed=2).parent) != before


def test_a_larger_shapes_set_begins_with_the_smaller_one():
    small, large = (datasets.shapes(n_train=n, n_val=1, imgsz=64).parent / "images/train" for n in (2, 4))
    for file in small.iterdir():
        assert (large / file.name).read_bytes() == file.read_bytes()


def test_train_and_val_of_shapes_share_no_image():
    root = datasets.shapes(n_train=20, n_val=20, imgsz=64).parent / "images"
    train, val = ({hashlib.sha256(p.read_bytes()).digest() for p in (root / s).iterdir()} for s in ("train", "val"))
    assert len(train) == len(val) == 20
    assert not train & val


def test_shapes_pass_our_own_verification_and_show_every_class():
    report = verify_dataset(datasets.shapes(n_train=60, n_val=20, imgsz=96))
    assert report.names == NAMES
    assert report.held_out
    assert len(report.train.images) == 60
    assert report.train.classes == tuple(range(8))
    assert 60 * 2 * 0.7 < report.train.boxes <= 60 * 6


def test_shapes_in_a_moved_folder_still_resolve(tmp_path):
    data = datasets.shapes(n_train=2, n_val=1, imgsz=64)
    shutil.move(data.parent, tmp_path / "elsewhere")
    assert verify_dataset(tmp_path / "elsewhere" / "shapes.yaml").train.images[0].is_relative_to(tmp_path / "elsewhere")


@pytest.mark.parametrize("seed", range(12))
def test_boxes_are_tight_inside_and_of_visible_shapes(seed):
    """Draw the scene twice, once with every shape's class hidden in its own colour, and measure what is in view."""
    scene = draw_scene(np.random.default_rng(seed), 128, 6)
    assert scene.image.shape == (128, 128, 3)
    assert len(scene.boxes) == len(scene.labels) <= 6
    x1, y1, x2, y2 = scene.boxes.T
    assert (scene.boxes >= 0).all()
    assert (scene.boxes <= 128).all()
    assert (x2 - x1 >= 3).all()
    assert (y2 - y1 >= 3).all()


def test_a_lone_shape_has_exactly_the_box_of_its_mask(monkeypatch):
    """With flat paint on a flat background, the pixels that differ are the shape, and the box must hug them."""
    from workbench.datasets import draw

    monkeypatch.setattr(draw, "background", lambda rng, size: (np.zeros((size, size, 3)), np.zeros((2, 3))))
    monkeypatch.setattr(draw, "fill", lambda rng, side, avoid: np.ones((side, side, 3)))
    for seed in range(30):
        scene = draw.draw_scene(np.random.default_rng(seed), 128, 1)
        if not len(scene.boxes):
            continue
        solid = scene.image.mean(2) > 0.5 * 255 * 0.72  # half covered, at the bevel's darkest
        rows, cols = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
        assert np.abs(scene.boxes[0] - (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)).max() <= 1


def test_a_shape_that_is_mostly_hidden_loses_its_label(monkeypatch):
    from workbench.datasets import draw

    monkeypatch.setattr(draw, "RADIUS", (0.45, 0.47))  # so large that two of them always overlap
    counts = [len(draw.draw_scene(np.random.default_rng(s), 96, 6).labels) for s in range(10)]
    assert max(counts) < 6
    assert min(counts) >= 1
    assert 0 < MIN_VISIBLE < 1


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_has_a_form_of_its_own(name):
    mask = shape_mask(name, 40)
    others = [shape_mask(other, 40) for other in NAMES if other != name]
    assert 0.05 < mask.mean() < 0.85
    for other in others:
        overlap = np.minimum(mask, other).sum() / np.maximum(mask, other).sum()
        assert overlap < 0.85


def test_crops_are_balanced_deterministic_and_separable_only_by_form():
    x, y, names = datasets.shape_crops(64, imgsz=48, seed=3)
    assert x.shape == (64, 3, 48, 48)
    assert x.dtype == torch.float32
    assert x.min() >= 0
    assert x.max() <= 1
    assert names == NAMES
    assert torch.bincount(y).tolist() == [8] * 8
    assert torch.equal(x, datasets.shape_crops(64, imgsz=48, seed=3)[0])
    assert torch.equal(x[:8], datasets.shape_crops(8, imgsz=48, seed=3)[0])
    assert not torch.equal(x, datasets.shape_crops(64, imgsz=48, seed=4)[0])


@pytest.mark.parametrize("bad", [{"n_train": 0}, {"n_val": -1}, {"imgsz": 32}, {"seed": -1}, {"n_train": 2.0}])
def test_shapes_refuses_what_describes_no_set(bad):
    with pytest.raises(WorkbenchError, match=f"{next(iter(bad))}="):
        datasets.shapes(**bad)


# --- the cache ------------------------------------------------------------------------------------------------------


def test_an_interrupted_build_leaves_nothing(private_cache):
    def build(root: Path) -> None:
        (root / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once("set", build)
    assert list(private_cache.iterdir()) == []


def test_concurrent_builders_get_one_complete_folder(private_cache):
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        paths = set(pool.map(_shapes_job, range(4)))
    assert len(paths) == 1
    assert [p.name for p in private_cache.iterdir()] == [Path(paths.pop()).parent.name]


def _shapes_job(_: int) -> str:
    return str(datasets.shapes(n_train=8, n_val=2, imgsz=64))


def test_a_cache_that_cannot_be_written_is_a_one_line_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file" / "below"))  # not even root can write below a file
    with pytest.raises(WorkbenchError, match="WORKBENCH_CACHE") as error:
        datasets.shapes(n_train=1, n_val=1, imgsz=64)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_a_one_line_error():
    def build(root: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkbenchError, match=r"No space left on device.*free space"):
        build_once("set", build)


# --- coco128 --------------------------------------------------------------------------------------------------------


def fake_coco128(root: Path) -> Path:
    """Write 128 tiny images, 126 label files and 929 boxes in coco128's layout."""
    rng = np.random.default_rng(0)
    images, labels = root / coco.IMAGES, root / coco.LABELS
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    counts = [8 if i < 47 else 7 for i in range(126)]  # 929 boxes
    assert sum(counts) == 929
    for i in range(128):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(images / f"{i:012d}.jpg")
        if i < 126:
            lines = [f"{rng.integers(40)} 0.5 0.5 0.25 0.25" for _ in range(counts[i])]
            (labels / f"{i:012d}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_coco128_is_copied_and_the_source_stays_untouched(tmp_path, monkeypatch):
    source = fake_coco128(tmp_path / "data" / "coco128")
    before = digest(source)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    data = datasets.coco128()
    assert tmp_path / "cache" in data.parents
    report = verify_dataset(data)
    assert (len(report.train.images), report.train.boxes, report.train.backgrounds) == (128, 929, 2)
    assert not report.held_out
    assert "memory, not generalisation" in str(report)
    assert len(report.names) == 80
    assert digest(source) == before


def test_coco128_is_found_in_the_folder_of_ultralytics_settings(tmp_path):
    fake_coco128(tmp_path / "theirs" / "coco128")
    settings = tmp_path / "config" / "Ultralytics" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"datasets_dir": str(tmp_path / "theirs")}))
    assert datasets.coco128(download=False).is_file()
    shutil.rmtree(tmp_path / "theirs")
    assert datasets.coco128(download=False).is_file()  # our verified copy outlives the source


def test_an_incomplete_coco128_is_named_with_its_counts(tmp_path, monkeypatch):
    source = fake_coco128(tmp_path / "data" / "coco128")
    next((source / coco.LABELS).iterdir()).unlink()
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    with pytest.raises(WorkbenchError, match="128 images, 125 label files"):
        datasets.coco128()


def test_offline_and_absent_names_all_three_ways(monkeypatch):
    monkeypatch.setattr(coco, "URL", "http://127.0.0.1:9/coco128.zip")  # a port nothing listens on
    with pytest.raises(DataNotFoundError) as error:
        datasets.coco128()
    message = str(error.value)
    assert "\n" not in message
    for way in ("WORKBENCH_DATA", "ultralytics' datasets folder", "http://127.0.0.1:9/coco128.zip"):
        assert way in message
    with pytest.raises(DataNotFoundError, match="WORKBENCH_DATA"):
        datasets.coco128(download=False)


def test_the_archive_is_downloaded_unpacked_and_verified(tmp_path, monkeypatch, private_cache):
    fake_coco128(tmp_path / "made" / "coco128")
    archive = shutil.make_archive(str(tmp_path / "coco128"), "zip", tmp_path / "made", "coco128")
    monkeypatch.setattr(coco, "URL", Path(archive).as_uri())
    data = datasets.coco128()
    assert len(verify_dataset(data).train.images) == 128
    assert [p.name for p in private_cache.iterdir()] == [data.parent.name]  # no archive, no temporary folder


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "coco128/../../evil.txt", "C:/evil.txt", "..\\evil"])
def test_an_archive_with_unsafe_paths_is_not_unpacked(name, tmp_path, monkeypatch, private_cache):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, "x")
    monkeypatch.setattr(coco, "URL", (tmp_path / "bad.zip").as_uri())
    with pytest.raises(WorkbenchError, match="unsafe path"):
        datasets.coco128()
    assert list(private_cache.iterdir()) == []
    assert not list(tmp_path.rglob("evil*"))


def test_a_page_instead_of_an_archive_is_refused(tmp_path, monkeypatch):
    (tmp_path / "login.html").write_text("<html>please log in</html>")
    monkeypatch.setattr(coco, "URL", (tmp_path / "login.html").as_uri())
    with pytest.raises(WorkbenchError, match="not a zip archive"):
        datasets.coco128()


def test_held_out_split_is_a_partition_and_trains_on_every_validated_class(tmp_path, monkeypatch):
    fake_coco128(tmp_path / "data" / "coco128")
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path / "data"))
    report = verify_dataset(datasets.coco128(held_out=True), max_missing=0.2)
    train, val = ({p.name for p in split.images} for split in (report.train, report.val))
    assert report.held_out
    assert (len(train), len(val), len(train | val)) == (96, 32, 128)
    assert set(report.val.classes) <= set(report.train.classes)
    assert report.train.boxes + report.val.boxes == 929
    before = digest(datasets.coco128(held_out=True).parent)
    shutil.rmtree(tmp_path / "cache")
    assert digest(datasets.coco128(held_out=True).parent) == before


@pytest.mark.skipif(
    not REAL_DATA or not (Path(REAL_DATA) / "coco128").is_dir(), reason="WORKBENCH_DATA holds no coco128"
)
def test_the_real_coco128(monkeypatch):
    monkeypatch.setenv("WORKBENCH_DATA", REAL_DATA)
    report = verify_dataset(datasets.coco128())
    assert (len(report.train.images), report.train.boxes, report.train.backgrounds) == (128, 929, 2)
    assert len(report.train.classes) == 71
    held_out = verify_dataset(datasets.coco128(held_out=True))
    assert set(held_out.val.classes) <= set(held_out.train.classes)
    assert 0.2 < held_out.val.boxes / 929 < 0.3  # a quarter of the images, about a quarter of the boxes
    common = _shares(held_out, at_least=12)
    assert common
    assert all(0.08 <= share <= 0.45 for share in common.values()), common


def _shares(report, at_least):
    """Return class → share of its images that are in val, for classes seen in at least so many images."""
    from workbench.yolo.data import label_path

    seen: dict[str, dict[int, int]] = {"train": {}, "val": {}}
    for split in (report.train, report.val):
        for image in split.images:
            label = label_path(image)
            shown = {int(line.split()[0]) for line in label.read_text().splitlines()} if label.is_file() else set()
            for c in shown:
                seen[split.name][c] = seen[split.name].get(c, 0) + 1
    totals = {c: seen["train"].get(c, 0) + seen["val"].get(c, 0) for c in seen["train"]}
    return {c: seen["val"].get(c, 0) / n for c, n in totals.items() if n >= at_least}


def test_stratified_split_gives_each_class_its_share():
    rng = np.random.default_rng(0)
    classes = [set(rng.choice(5, size=int(rng.integers(1, 4)), replace=False).tolist()) for _ in range(80)]
    val = stratified_split(classes, 20)
    assert len(val) == len(set(val)) == 20
    for c in range(5):
        total, held = (sum(c in classes[i] for i in part) for part in (range(80), val))
        assert 0.15 <= held / total <= 0.35


# --- checks of user data --------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    """A valid dataset of two classes, to be spoilt by a test."""
    root = tmp_path / "mine"
    for split, index in itertools.product(("train", "val"), range(4)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (40 * index, 99, 120)).save(root / f"images/{split}/{index}.jpg")
        (root / f"labels/{split}/{index}.txt").write_text(f"{index % 2} 0.5 0.5 0.25 0.5\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root / "data.yaml"


def edit(data: Path, **changes):
    config = yaml.safe_load(data.read_text()) | changes
    data.write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}))


def test_a_valid_dataset_is_described(dataset):
    report = verify_dataset(dataset)
    assert str(report.train) == "train: 4 images (0 without a box), 4 boxes of 2 classes"
    assert report.held_out


def test_lists_of_images_and_polygons_are_understood(dataset):
    root = dataset.parent
    (root / "val.txt").write_text("./images/val/0.jpg\nimages/val/1.jpg\n")
    (root / "labels/val/0.txt").write_text("1 0.1 0.1 0.9 0.1 0.5 0.9\n")
    edit(dataset, val="val.txt", path=str(root))
    assert len(verify_dataset(dataset).val.images) == 2


def no_labels_folder(data):
    shutil.rmtree(data.parent / "labels/train")
    return "4 of 4 train images have no label file.*empty file"


def some_labels_missing(data):
    (data.parent / "labels/val/2.txt").unlink()
    return "1 of 4 val images have no label file"


def only_empty_labels(data):
    for label in (data.parent / "labels/train").iterdir():
        label.write_text("")
    return "not one box"


def class_out_of_range(data):
    (data.parent / "labels/train/1.txt").write_text("0 .5 .5 .1 .1\n2 .5 .5 .1 .1\n")
    return "1.txt, line 2: class id 2 is not in 0 to 1"


def negative_class(data):
    (data.parent / "labels/train/1.txt").write_text("-1 .5 .5 .1 .1\n")
    return "class id -1"


def fractional_class(data):
    (data.parent / "labels/train/1.txt").write_text("0.5 .5 .5 .1 .1\n")
    return "class id 0.5"


def pixels_for_fractions(data):
    (data.parent / "labels/train/1.txt").write_text("0 320 240 64 64\n")
    return "divide pixels"


def four_numbers(data):
    (data.parent / "labels/train/1.txt").write_text("0 .5 .5 .1\n")
    return "is not `class x y width height`"


def words(data):
    (data.parent / "labels/train/1.txt").write_text("cat .5 .5 .1 .1\n")
    return "is not `class x y width height`"


def not_finite(data):
    (data.parent / "labels/train/1.txt").write_text("0 nan .5 .1 .1\n")
    return "is not `class x y width height`"


def text_as_image(data):
    (data.parent / "images/val/3.jpg").write_text("no image")
    return "3.jpg is corrupt .not an image"


def truncated_image(data):
    file = data.parent / "images/train/0.jpg"
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(buffer, "JPEG", quality=95)
    file.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    return "0.jpg is corrupt .*truncated"


def missing_val(data):
    edit(data, val=None)
    return "no `val` split"


def val_elsewhere(data):
    edit(data, val="images/nowhere")
    return "val split .*nowhere does not exist"


def empty_split(data):
    shutil.rmtree(data.parent / "images/val")
    (data.parent / "images/val").mkdir()
    return "holds no image"


def no_names(data):
    edit(data, names=None)
    return "no class `names`"


def gaps_in_names(data):
    edit(data, names={0: "cat", 2: "dog"})
    return "without gaps"


def words_among_the_ids(data):
    edit(data, names={0: "cat", "dog": 1})
    return "without gaps"


def no_folder(data):
    edit(data, path=["here"])
    return "`path` is .*give a folder"


def not_yaml(data):
    data.write_text("train: [unclosed\n")
    return "not readable YAML"


def yaml_of_nothing(data):
    data.write_text("just words\n")
    return "holds no mapping"


def absent_yaml(data):
    data.unlink()
    return "no dataset YAML"


def listed_image_missing(data):
    (data.parent / "val.txt").write_text("images/val/99.jpg\nimages/val/1.jpg\n")
    (data.parent / "labels/val/99.txt").write_text("0 .5 .5 .1 .1\n")
    edit(data, val="val.txt")
    return "99.jpg does not exist"


SPOILERS = [
    *(no_labels_folder, some_labels_missing, only_empty_labels, class_out_of_range, negative_class, fractional_class),
    *(pixels_for_fractions, four_numbers, words, not_finite, text_as_image, truncated_image, missing_val),
    *(
        val_elsewhere,
        empty_split,
        no_names,
        gaps_in_names,
        words_among_the_ids,
        no_folder,
        not_yaml,
        yaml_of_nothing,
        absent_yaml,
    ),
    listed_image_missing,
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda f: f.__name__)
def test_a_spoilt_dataset_is_a_one_line_error_naming_the_fix(spoil, dataset, bad_input):
    expected = spoil(dataset)
    before = digest(dataset.parent)
    with pytest.raises(WorkbenchError, match=expected) as error:
        datasets.verify_dataset(dataset)
    assert "\n" not in str(error.value)
    assert str(dataset.parent) in str(error.value)
    bad_input("dataset", spoil.__name__.replace("_", " "), error.value)
    assert digest(dataset.parent) == before  # checking repairs nothing and writes nothing


@pytest.mark.parametrize(("imgsz", "near"), [(100, 96), (0, 32), (-64, 32), (33.0, 32), ("640", 640), (True, 32)])
def test_imgsz_must_be_a_multiple_of_32(imgsz, near, bad_input):
    with pytest.raises(WorkbenchError, match=f"multiple of 32.*use {near}") as error:
        check_imgsz(imgsz)
    bad_input("training", f"imgsz={imgsz!r}", error.value)
    assert check_imgsz(96) == 96
