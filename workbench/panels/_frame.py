"""What holds a panel: its parts, a line that says when the kernel has gone, and what a reader without a kernel gets."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets
from matplotlib.figure import Figure

GONE = "The kernel was restarted or has gone: this is the last picture. Run this cell again to go on."


class Notice(anywidget.AnyWidget):
    """A line that is empty while there is a kernel; see ``notice.js``."""

    _esm = Path(__file__).with_name("notice.js")
    _css = Path(__file__).with_name("notice.css")
    text = traitlets.Unicode(GONE).tag(sync=True)


class Frame(widgets.VBox):  # type: ignore[misc]
    """A panel's outermost box.

    Args:
        children: the panel's parts, from top to bottom.
        static: returns MIME type → data of the picture that stands for the panel where there is no kernel: in a
            notebook on GitHub, in a page made by nbconvert.
        layout: of the box.
    """

    def __init__(self, children: Iterable[Any], static: Callable[[], Mapping[str, Any]], **layout: Any) -> None:
        super().__init__([Notice(), *children], layout=widgets.Layout(**layout))
        self._static = static
        self.add_class("workbench-panel")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return {**super()._repr_mimebundle_(**kwargs), **self._static()}


def as_png(picture: bytes) -> dict[str, str]:
    """Return a PNG as the part of a MIME bundle that it is."""
    return {"image/png": base64.b64encode(picture).decode()}


def png_of(figure: Figure, dpi: int = 110) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
