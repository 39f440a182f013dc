"""An image of 24 million pixels in the Detections panel: read once, made smaller once, and a miss in it opened."""

from __future__ import annotations

import io

import pytest
from PIL import Image

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.panels import Detections

BOX = b"0 0.5 0.5 0.2 0.3\n"


@pytest.fixture
def dataset(tmp_path):
    """One image of 6000 × 4000 with one object, for training and for validation."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((6000, 4000)).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    for split in ("train", "val"):
        for kind, suffix, data in (("images", "jpg", jpeg), ("labels", "txt", BOX)):
            file = tmp_path / kind / split / f"{split}.{suffix}"
            file.parent.mkdir(parents=True)
            file.write_bytes(data + (b"\0" if (kind, split) == ("images", "val") else b""))  # not the same image twice
    yaml = tmp_path / "data.yaml"
    yaml.write_text(f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames: {{0: thing}}\n")
    return yaml


def test_a_miss_in_a_large_image_opens_its_feature_maps(dataset):
    panel = Detections({"small": wb.YOLO("yolo11n-starnet_s050.yaml")}, dataset, confidence=0.9)
    picture = panel._picture
    assert picture.pixels.shape == (1365, 2048, 3)  # made smaller once, when it was read
    assert "6000 × 4000 pixels was reduced to 2048 × 1365" in panel.words.value
    assert picture.boxes[0] == pytest.approx([819.2, 477.75, 1228.8, 887.25])
    panel.controls["confidence"].value = 0.8
    assert panel._picture is picture  # not read again
    for nonsense in (None, 3, "small", ["small"], ["small", "x"], ["nobody", 0], {"open": 1}):
        panel._clicked(nonsense)
        assert panel.below.children == ()
    panel._clicked(["small", 0])
    assert panel.message.value == ""
    assert panel.maps.canvas.scene["mark"] == pytest.approx((0.4, 0.4, 0.6, 0.6), abs=1e-3)
    for text in ("- just\n- a list\n", "{a: [1,"):
        other, before = dataset.with_name("other.yaml"), panel.state
        other.write_text(text)
        with pytest.raises(WorkbenchError) as error:
            panel.set(images=other)
        assert "\n" not in str(error.value)
        assert panel.state == before
