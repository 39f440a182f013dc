"""What a notebook says about itself: nbgrader's cells, and the manifest that a release carries.

A student's folder has no source; so the release says which cells it had, what each is worth, and how the given ones
read. `workbench class check` compares with that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .course import ClassroomError, megabytes

MAX_BYTES = 20 * 2**20  # of a notebook; the largest of ours solved and run is 0.3 MB
KEY = "workbench"  # in the notebook's metadata


@dataclass(frozen=True)
class Item:
    """One of nbgrader's cells.

    Attributes:
        id: its ``grade_id``.
        kind: "test" (graded automatically), "answer" (code to write), "text" (graded by a person) or "given".
        points: the most it can earn; 0 for an answer or a given cell.
        digest: of the text of a cell that students leave as it is; "" for others.
    """

    id: str
    kind: str
    points: float
    digest: str


def digest(source: str) -> str:
    r"""Return a short checksum of a cell's text; white space at its end does not count.

    >>> digest("a = 1\n") == digest("a = 1")
    True
    """
    return hashlib.sha256(source.rstrip().encode()).hexdigest()[:12]


def source_of(cell: Mapping[str, Any]) -> str:
    """Return a cell's text, which a file may keep as one string or as a list of lines."""
    text = cell.get("source", "")
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def meta_of(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return nbgrader's metadata of a cell; empty for a cell that is not nbgrader's, or for damaged metadata."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, Mapping) and isinstance(found.get("grade_id"), str) else {}


def cells_of(notebook: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (``grade_id``, cell) of nbgrader's cells, in order."""
    cells = notebook.get("cells")
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, Mapping) and meta_of(cell):
            yield str(meta_of(cell)["grade_id"]), cell


def items_of(notebook: Mapping[str, Any]) -> list[Item]:
    """Return nbgrader's cells of a notebook, in order."""
    items = []
    for name, cell in cells_of(notebook):
        meta = meta_of(cell)
        grade, solution = bool(meta.get("grade")), bool(meta.get("solution"))
        kind = ("text" if solution else "test") if grade else "answer" if solution else "given"
        points = float(meta.get("points") or 0) if grade else 0.0
        items.append(Item(name, kind, points, "" if solution else digest(source_of(cell))))
    return items


def manifest(notebook: Mapping[str, Any], assignment: str) -> dict[str, Any]:
    """Return what a release says about itself, for its notebook's metadata."""
    cells = [[i.id, i.kind, i.points, i.digest] for i in items_of(notebook)]
    return {"assignment": assignment, "cells": cells, "files": files_of(notebook)}


def files_of(notebook: Mapping[str, Any]) -> list[str]:
    """Return the names of what is to be handed in beside the notebook, as its metadata says."""
    metadata = notebook.get("metadata")
    data = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    found = data.get("files") if isinstance(data, Mapping) else None
    return [str(name) for name in found] if isinstance(found, list) else []


def read_manifest(notebook: Mapping[str, Any]) -> tuple[str, list[Item]] | None:
    """Return (assignment, its cells) as a release says them; None for a notebook that does not say."""
    metadata = notebook.get("metadata")
    data = metadata.get(KEY) if isinstance(metadata, Mapping) else None
    try:
        items = [Item(str(i), str(k), float(p), str(d)) for i, k, p, d in data["cells"]]  # type: ignore[index]
        return str(data["assignment"]), items  # type: ignore[index]
    except (TypeError, ValueError, KeyError):
        return None


def read_notebook(path: Path) -> Any:
    """Return a notebook, upgraded to format 4.

    Raises:
        ClassroomError: it is too large, or no notebook.
    """
    import nbformat

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ClassroomError(
                f"{path.name} has {megabytes(size)}; at most {megabytes(MAX_BYTES)}: clear its outputs"
            )
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    except FileNotFoundError:
        raise ClassroomError(f"{path} is not there") from None
    except UnicodeDecodeError:
        raise ClassroomError(f"{path.name} is no notebook: it is not UTF-8 text") from None
    except RecursionError:
        raise ClassroomError(f"{path.name} is no notebook: it is nested too deeply") from None
    except ClassroomError:
        raise
    except Exception as e:  # nbformat raises many kinds for what is no notebook
        raise ClassroomError(f"{path.name} is no notebook: {' '.join(str(e).split())[:100]}") from None
    if not isinstance(notebook.get("cells"), list):
        raise ClassroomError(f"{path.name} is no notebook: it has no cells")
    return notebook
