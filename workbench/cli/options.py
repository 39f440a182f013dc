"""What several verbs share: options that mean the same everywhere, and a model from what the user typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import WorkbenchError, one_line

if TYPE_CHECKING:
    from torch import nn

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ImgSz = Annotated[str, typer.Option("--imgsz", help="Image side in pixels, or HEIGHTxWIDTH.")]
Form = Annotated[str, typer.Option("--form", help="train (branches, BN) or deploy (merged, folded).")]
FORMS = ("train", "deploy")
PICTURES = (".png", ".svg", ".pdf")


def image_size(text: str) -> int | tuple[int, int]:
    """Return an image side, or (height, width), from ``"224"`` or ``"384x640"``.

    >>> image_size("224"), image_size("384x640")
    (224, (384, 640))
    """
    try:
        sides = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise WorkbenchError(f"--imgsz {text!r} is no size; give a side such as 224, or HEIGHTxWIDTH such as 384x640")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def check_picture(path: Path | None) -> None:
    """Refuse, before anything is computed, a picture that could not be written afterwards."""
    if path is not None and (path.suffix not in PICTURES or not path.parent.is_dir()):
        raise WorkbenchError(f"--plot {path}: expected a file ending in {', '.join(PICTURES)} in a folder that exists")


def check_form(form: str) -> None:
    """Refuse a form that is neither train nor deploy."""
    if form not in FORMS:
        raise WorkbenchError(f"--form {form!r} is unknown; expected {' or '.join(FORMS)}")


def model_of(name: str, form: str = "train") -> nn.Module:
    """Build what `name` names: a backbone, with 1000 classes where it can, or a detector (``….yaml``, ``….pt``).

    Raises:
        WorkbenchError: neither, an unknown form, or a checkpoint that cannot be read.
    """
    check_form(form)
    if Path(name).suffix not in (".yaml", ".yml", ".pt"):
        from ..backbones.registry import classes_for, create_backbone

        return create_backbone(name, num_classes=classes_for(name), deploy=form == "deploy").eval()
    model = detector(name).model.eval()
    return model.fuse(verbose=False) if form == "deploy" else model


def detector(name: str) -> Any:
    """Open a detector by name or path, with the plug installed.

    Raises:
        WorkbenchError: no such model, or a file that is none.
    """
    from ..train.models import open_detector

    try:
        return open_detector(name)
    except WorkbenchError:
        raise
    except (KeyError, TypeError, ValueError) as e:  # what ultralytics raises for a YAML that describes no model
        raise WorkbenchError(f"{name} is no readable model YAML ({one_line(e)})") from e
