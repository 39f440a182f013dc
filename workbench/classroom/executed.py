"""The notebook as it was graded: every cell made anew, so that nothing of a stranger's file but plain text stays."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from .notebook import meta_of
from .sheet import Master, Step, clean

MAX_TEXT = 64 * 1024
MAX_IMAGE = 4 * 2**20
PNG = b"\x89PNG"


def executed(master: Master, steps: Sequence[Step], outputs: Mapping[int, Mapping[str, Any]]) -> str:
    """Return the text of the notebook: the student's answers, the source's other cells, what came out of them.

    Args:
        master: the source.
        steps: the cells, in order.
        outputs: place of a cell → what its run returned.
    """
    v4, nbformat = _nbformat()
    cells = []
    for i, step in enumerate(steps):
        kind = step.cell.get("cell_type")
        made = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}.get(str(kind), v4.new_raw_cell)(step.source)
        made["id"] = step.id if step.id else f"added-{i + 1}"
        if step.id:
            made.metadata["nbgrader"] = dict(meta_of(master.cells[step.id]))
        if kind == "code":
            made["outputs"] = _kept(step.cell) if step.kind == "run" else _made(outputs.get(i, {}))
        cells.append(made)
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return str(nbformat.writes(v4.new_notebook(cells=cells, metadata=spec)))


def _nbformat() -> tuple[Any, Any]:
    """Return ``nbformat.v4`` and ``nbformat``; their functions carry no types."""
    import nbformat
    import nbformat.v4

    return nbformat.v4, nbformat


def _made(reply: Mapping[str, Any]) -> list[Any]:
    v4, _ = _nbformat()
    found: list[Any] = []
    given = reply.get("outputs")
    for one in given if isinstance(given, list) else []:
        if not isinstance(one, dict):
            continue
        if one.get("kind") in ("stdout", "stderr"):
            found.append(v4.new_output("stream", name=one["kind"], text=_text(one.get("text"))))
        elif data := _data(one.get("data")):
            found.append(v4.new_output("display_data", data=data))
    error = reply.get("error")
    if isinstance(error, str):
        name, _, value = _text(error).partition(": ")
        found.append(v4.new_output("error", ename=name, evalue=value, traceback=[_text(error)]))
    return found


def _kept(cell: Mapping[str, Any]) -> list[Any]:
    """Return what a cell that is not run again showed on the student's machine: text and images."""
    v4, _ = _nbformat()
    found: list[Any] = []
    outputs = cell.get("outputs")
    for one in (outputs if isinstance(outputs, list) else [])[:50]:
        if not isinstance(one, Mapping):
            continue
        if one.get("output_type") == "stream":
            found.append(v4.new_output("stream", name="stdout", text=_text(one.get("text"))))
        elif data := _data(one.get("data")):
            found.append(v4.new_output("display_data", data=data))
    return found


def _text(value: Any) -> str:
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    return clean(text[:MAX_TEXT])


def _data(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    found = {"text/plain": _text(value["text/plain"])} if "text/plain" in value else {}
    image = value.get("image/png")
    if isinstance(image, str) and len(image) <= MAX_IMAGE:
        try:
            if base64.b64decode(image, validate=False).startswith(PNG):
                found["image/png"] = "".join(image.split())
        except (binascii.Error, ValueError):
            pass
    return found
