"""Photos that are always there, and any image file as a tensor."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from ..errors import DataNotFoundError, WorkbenchError, did_you_mean
from ..settings import data_dir

if TYPE_CHECKING:
    from torch import Tensor

OURS = ("astronaut", "cat", "coffee", "rocket")  # data/photos, credited in CREDITS.md there
ULTRALYTICS = ("bus", "zidane")  # in the installed package
PHOTOS = (*ULTRALYTICS, *OURS)
GREY = 114  # ultralytics' letterbox colour


def photo(name: str = "bus") -> Path:
    """Return the path of a built-in photo: bus, zidane, astronaut, cat, coffee or rocket.

    Raises:
        WorkbenchError: an unknown name.
        DataNotFoundError: the file is missing from this installation.

    >>> photo("cat").name
    'cat.jpg'
    """
    if name not in PHOTOS:
        raise WorkbenchError(f"no photo {name!r}; there are {', '.join(PHOTOS)}{did_you_mean(name, PHOTOS)}")
    if name in OURS:
        path = data_dir() / "photos" / f"{name}.jpg"
        fix = "the folder data/photos of the project is missing; clone it again"
    else:
        spec = importlib.util.find_spec("ultralytics")  # locates the package without importing it
        path = Path(spec.origin or "").parent / "assets" / f"{name}.jpg" if spec else Path("ultralytics/assets")
        fix = f"it comes with ultralytics; reinstall that, or use one of {', '.join(OURS)}"
    if not path.is_file():
        raise DataNotFoundError(f"photo {name!r} is not at {path}; {fix}")
    return path


def open_photo(source: str | Path | bytes) -> Image.Image:
    """Open a built-in photo, an image file or the bytes of one as RGB of 8 bits, upright (EXIF rotation applied).

    Raises:
        DataNotFoundError: no such file.
        WorkbenchError: the file is not a readable image, or `source` is neither a name nor a path nor bytes.

    >>> open_photo("coffee").size
    (600, 400)
    """
    if not isinstance(source, str | Path | bytes):
        raise WorkbenchError(
            f"an image is a file, its bytes or one of the photos {', '.join(PHOTOS)}; {type(source).__name__} is none"
        )
    file, what = source, "the data"
    if not isinstance(source, bytes):
        file = photo(str(source)) if str(source) in PHOTOS else Path(source).expanduser()
        what = str(file)
        if not file.is_file():
            raise DataNotFoundError(f"no image at {what}; give a file, or one of the photos {', '.join(PHOTOS)}")
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            return _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as e:
        # ultralytics makes Image.open import a HEIF decoder for a file it does not know: ImportError where absent
        reason = "not an image" if isinstance(e, Image.UnidentifiedImageError | ImportError) else str(e)
        raise WorkbenchError(f"cannot read {what} as an image ({reason}); give a complete JPEG or PNG file") from e


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 or 32 bits in 8; Pillow would cut it off at 255, which leaves it all but white."""
    import numpy as np

    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)  # (H, W)
    deep = values.max(initial=0) > 255
    return Image.fromarray((values.clip(0, 65535) >> 8 if deep else values.clip(0, 255)).astype(np.uint8))


def load_photo(source: str | Path | bytes, imgsz: int = 224, fit: str = "pad") -> Tensor:
    """Return a photo as a batch of one, (1, 3, imgsz, imgsz) float RGB in [0, 1].

    Args:
        source: a built-in photo's name, a file, or the bytes of one.
        imgsz: side of the square, pixels.
        fit: ``"pad"`` keeps the whole picture on grey bars, as detectors see it; ``"crop"`` fills the square and
            cuts the longer side, as classifiers see it.

    Raises:
        WorkbenchError: unreadable image, a side below 1 or an unknown `fit`.

    >>> load_photo("cat", 64).shape
    torch.Size([1, 3, 64, 64])
    """
    import numpy as np
    import torch

    if not isinstance(imgsz, int) or imgsz < 1:
        raise WorkbenchError(f"imgsz={imgsz!r} is not an image side; give a positive integer")
    if fit not in ("pad", "crop"):
        raise WorkbenchError(f"fit={fit!r} is unknown; give 'pad' or 'crop'")
    image, size = open_photo(source), (imgsz, imgsz)
    if fit == "pad":
        image = ImageOps.pad(image, size, Image.Resampling.BILINEAR, color=(GREY, GREY, GREY))
    else:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image))  # (H, W, 3)
    return pixels.permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
