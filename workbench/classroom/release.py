"""The archive that students get: the built release and a page on how to work with it, the same bytes every time."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from ..files import replace_bytes
from .course import ClassroomError, Course
from .leaks import leaks

EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: an archive differs only when its content does
README = """# {title}

1. Unpack this folder inside your copy of the workbench, where `make lab` starts JupyterLab (or drag the notebook
   into JupyterLab's file browser). Without the workbench: its README has the two commands that install it.
2. Open `{name}.ipynb` and write where it says `# YOUR CODE HERE`. Save often.
3. In a terminal in this folder: `workbench class check`. It runs your notebook from top to bottom, as grading will,
   and says per task what the visible tests say.
4. Hand in the file `{name}.ipynb`, under this name{more}.
"""


def release(course: Course, assignment: str) -> Path:
    """Write ``release/ASSIGNMENT.zip`` from the built release, and return it.

    Raises:
        ClassroomError: it is not built, or was changed since and would leak now.
    """
    course.check(assignment)
    folder = course.release(assignment)
    if not (folder / f"{assignment}.ipynb").is_file():
        raise ClassroomError(f"{assignment} is not built yet; run: workbench class build {assignment}")
    if found := leaks(course.source(assignment), folder, assignment):
        raise ClassroomError(f"{folder} leaks: {found[0]}; build it again: workbench class build {assignment}")
    path = folder.with_name(f"{assignment}.zip")
    replace_bytes(path, _archive(folder, assignment))
    return path


def _archive(folder: Path, assignment: str) -> bytes:
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    files.setdefault("README.md", _readme(folder, assignment).encode())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{assignment}/{name}", EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def _readme(folder: Path, assignment: str) -> str:
    from .notebook import read_notebook, source_of

    cells = read_notebook(folder / f"{assignment}.ipynb")["cells"]
    first = source_of(cells[0]).strip().splitlines() if cells else []
    title = first[0].lstrip("# ") if first else assignment
    weights = any(f"{assignment}.safetensors" in source_of(c) for c in cells)
    return README.format(
        name=assignment, title=title, more=f", and `{assignment}.safetensors` beside it" if weights else ""
    )
