"""The leak check: nothing of a solution, a hidden test or an output is in what students get."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .init import IGNORED
from .notebook import cells_of, meta_of, read_notebook, source_of

SOLUTION = re.compile(r"^[ \t]*### BEGIN SOLUTION[ \t]*\n(.*?)^[ \t]*### END SOLUTION[ \t]*$", re.S | re.M)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS[ \t]*\n(.*?)^[ \t]*### END HIDDEN TESTS[ \t]*$", re.S | re.M)
MARKER = re.compile(r"#+\s*(BEGIN|END)\s+(SOLUTION|HIDDEN|MARK)", re.I)
TELLING = 24  # characters without white space that make a line a secret: shorter ones occur by chance


def leaks(source: Path, release: Path, assignment: str) -> list[str]:
    """Return what a release shows and must not, a sentence for each that names the cell or file.

    Args:
        source: folder of the source notebook.
        release: folder that students would get.
        assignment: its name.
    """
    master = read_notebook(source / f"{assignment}.ipynb")
    given = read_notebook(release / f"{assignment}.ipynb")
    return [*_files(source, release, assignment), *_cells(master, given)]


def _files(source: Path, release: Path, assignment: str) -> Iterator[str]:
    for path in sorted(p for p in release.rglob("*") if not p.is_dir()):
        name = path.relative_to(release).as_posix()
        if any(fnmatch(part, pattern) for part in Path(name).parts for pattern in IGNORED):
            yield f"the file {name} is for teachers only"
        elif path.is_symlink():
            yield f"the file {name} is a link"
        elif name != f"{assignment}.ipynb" and not (source / name).is_file():
            yield f"the file {name} is not one of the source's"


def _cells(master: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    if "widgets" in given["metadata"]:
        yield "the notebook's metadata holds the state of widgets, which is output"
    secrets = dict(_secrets(master))
    for number, cell in enumerate(given["cells"], 1):
        name = f"cell {meta_of(cell).get('grade_id') or cell.get('id') or number!r}"
        text = source_of(cell)
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"{name} has an output"
        if cell.get("attachments"):
            yield f"{name} has an attachment"
        if marker := MARKER.search(text):
            yield f"{name} still has the marker {marker[0]!r}, so that what follows it was not taken out"
        for line in text.splitlines():
            if (key := _squeeze(line)) in secrets:
                what, where = secrets[key]
                yield f"{name} shows {what} of {where}: {line.strip()[:70]}"
                break
    yield from _by_hand(master, given)


def _secrets(master: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield (line without white space, (what, cell)) of every telling line that only a teacher may read."""
    open_lines = {_squeeze(line) for cell in master["cells"] for line in _visible(cell).splitlines()}
    for name, cell in cells_of(master):
        text = source_of(cell)
        for what, pattern in (("the solution", SOLUTION), ("a hidden test", HIDDEN)):
            for region in pattern.findall(text):
                for line in map(_squeeze, region.splitlines()):
                    if len(line) >= TELLING and line not in open_lines:
                        yield line, (what, name)


def _visible(cell: Mapping[str, Any]) -> str:
    """Return what a student may read of a source cell: what stands outside its marked regions."""
    text, meta = source_of(cell), meta_of(cell)
    if meta.get("solution"):
        return SOLUTION.sub("", text) if SOLUTION.search(text) else ""  # without a region all of it is the solution
    return HIDDEN.sub("", text)


def _by_hand(master: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the solution cells (code or text) that still read as the teacher wrote them."""
    released = dict(cells_of(given))
    for name, cell in cells_of(master):
        came = released.get(name)
        if came is None:
            yield f"cell {name} is missing"
        elif meta_of(cell).get("solution") and _squeeze(source_of(cell)) == _squeeze(source_of(came)):
            yield f"cell {name} still holds the teacher's answer"


def _squeeze(text: str) -> str:
    return "".join(text.split())
