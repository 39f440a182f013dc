"""Built-in photos and image files as tensors."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image

from workbench.datasets import PHOTOS, load_photo, open_photo, photo
from workbench.errors import DataNotFoundError, WorkbenchError
from workbench.settings import data_dir


@pytest.mark.parametrize("name", PHOTOS)
def test_every_photo_opens_as_a_picture(name):
    image = open_photo(name)
    assert image.mode == "RGB"
    assert min(image.size) >= 300
    assert len(image.resize((16, 16)).getcolors(256)) > 50  # a photo, not a blank


def test_our_photos_are_small_and_credited():
    files = sorted((data_dir() / "photos").glob("*.jpg"))
    credits = (data_dir() / "photos" / "CREDITS.md").read_text(encoding="utf-8")
    assert len(files) == 4
    for file in files:
        assert file.stat().st_size <= 100_000
        row = next(line for line in credits.splitlines() if f"`{file.name}`" in line)
        assert re.search(r"CC0|public domain", row)


def test_pad_keeps_the_whole_picture_and_crop_fills_the_square():
    padded, cropped = load_photo("bus", 64), load_photo("bus", 64, fit="crop")  # bus is 810 × 1080
    assert padded.shape == cropped.shape == (1, 3, 64, 64)
    assert torch.equal(padded[0, :, 32, 0], torch.full((3,), 114 / 255))  # grey bar on the left
    assert cropped[0, :, :, 0].std() > 0.05  # picture up to the border
    assert 0 <= padded.min() < 0.2
    assert 0.8 < padded.max() <= 1


def test_channels_are_rgb_and_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90°
    image.save(tmp_path / "red.jpg", exif=exif, quality=95)
    assert open_photo(tmp_path / "red.jpg").size == (20, 40)
    x = load_photo(tmp_path / "red.jpg", 32, fit="crop")
    assert x[0, 0].mean() > 0.95
    assert x[0, 1:].mean() < 0.05


def bad_text(path):
    path.write_text("this is no image", encoding="utf-8")
    return "not an image"


def bad_truncated(path):
    whole = photo("cat").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return "truncated"


def bad_empty(path):
    path.touch()
    return "not an image"


@pytest.mark.parametrize("spoil", [bad_text, bad_truncated, bad_empty])
def test_a_file_that_is_no_complete_image_is_a_one_line_error(spoil, tmp_path):
    path = tmp_path / "photo.jpg"
    reason = spoil(path)
    with pytest.raises(WorkbenchError, match=reason) as error:
        load_photo(path, 64)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert "complete JPEG or PNG" in message


def test_unknown_names_and_missing_files_say_what_there_is(tmp_path):
    with pytest.raises(WorkbenchError, match="did you mean 'zidane'"):
        photo("zidan")
    with pytest.raises(DataNotFoundError, match="bus, zidane"):
        load_photo(tmp_path / "nothing.jpg")


@pytest.mark.parametrize(("imgsz", "fit"), [(0, "pad"), (64.0, "pad"), (64, "stretch")])
def test_wrong_arguments_are_refused(imgsz, fit):
    with pytest.raises(WorkbenchError, match=r"imgsz|fit"):
        load_photo("cat", imgsz, fit)


@pytest.mark.parametrize("source", [None, 5, torch.zeros(3, 8, 8)])
def test_what_is_no_image_is_said(source):
    with pytest.raises(WorkbenchError, match=rf"an image is a file, its bytes or .*; {type(source).__name__} is none"):
        load_photo(source)
