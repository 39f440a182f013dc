"""What a student runs before handing in: is the notebook whole, does it run, what do the visible tests say?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from .course import ClassroomError
from .notebook import MAX_BYTES, Item, cells_of, digest, files_of, read_manifest, read_notebook, source_of
from .outline import outline
from .unwritten import FAILED, LEFT_OUT, MISSING, PASSED, WAITS, verdicts

CELL_S = 600  # as long as grading lets a cell run
CHECKING = "WORKBENCH_CHECKING"  # set in the kernel that a check starts: a cell may hold `!workbench class check a1`
SIGN = {PASSED: "✓", FAILED: "✗", MISSING: "✗", LEFT_OUT: "○", WAITS: "○"}


@dataclass(frozen=True)
class Check:
    """What was found; prints as the student reads it.

    Attributes:
        assignment: the name.
        tests: visible test → (one of "passes", "fails", "left out", "waits for", "is missing"; the last line of what it
            said, or the function it waits for).
        notes: what to mend before handing in.
        titles: visible test → what the notebook's heading calls it.
    """

    assignment: str
    tests: dict[str, tuple[str, str]]
    notes: list[str]
    titles: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every visible test passes and there is nothing to mend."""
        return not self.notes and all(verdict == PASSED for verdict, _ in self.tests.values())

    def __str__(self) -> str:
        lines = []
        for name, (verdict, said) in self.tests.items():
            rest = f" {said}" if verdict == WAITS else f": {said}" if said else ""
            lines.append(f"{SIGN[verdict]} {self.titles.get(name, name)}: {verdict}{rest}")
        lines += [f"! {note}" for note in self.notes]
        if any(verdict == WAITS for verdict, _ in self.tests.values()):
            lines.append("what you wrote for a task that waits is graded with a right answer in the other's place")
        good = sum(v == PASSED for v, _ in self.tests.values())
        lines.append(
            f"{self.assignment}: {good} of {len(self.tests)} visible tests pass; hidden tests decide the marks"
        )
        return "\n".join(lines)


def check(path: str | Path = ".", assignment: str = "") -> Check:
    """Run a notebook from top to bottom in a fresh kernel, as grading will, and say what its visible tests say.

    The notebook itself is not changed. It is the student's own code on the student's own machine: no sandbox.

    Args:
        path: the notebook, with or without its ending, or the folder it lies in.
        assignment: its name; needed only where the folder holds several notebooks.

    Raises:
        ClassroomError: no notebook there, not one of a release, or a check of it is running and has come to this call.
    """
    if os.environ.get(CHECKING):
        raise ClassroomError("this cell is being checked itself; nothing to do")
    file = _find(Path(path), assignment)
    notebook = read_notebook(file)
    said = read_manifest(notebook)
    if said is None:
        raise ClassroomError(
            f"{file.name} does not come from a release: it lacks the list of its cells; start from a1.zip"
        )
    name, items = said
    notes = _whole(notebook, items)
    if file.name != f"{name}.ipynb":
        notes.append(f"the file is called {file.name}; hand it in as {name}.ipynb")
    if file.stat().st_size > MAX_BYTES / 2:
        notes.append(f"the file has {file.stat().st_size / 2**20:.0f} MB; clear its outputs")
    notes += _beside(file.parent, files_of(notebook))
    found = _run(notebook, file.parent)
    tests = {i.id: found.get(i.id, (MISSING, "the cell was deleted")) for i in items if i.kind == "test"}
    titles = outline(notebook)
    return Check(name, tests, notes, {test: titles.title(test) for test in tests})


def _beside(folder: Path, names: list[str]) -> list[str]:
    """Return what is missing of the files that are handed in beside the notebook, or too large."""
    notes = []
    for name in (Path(n).name for n in names):
        path = folder / name
        if not path.is_file():
            notes.append(f"{name} is not there; hand it in beside the notebook, which says how it is written")
        elif path.stat().st_size > MAX_BYTES:
            notes.append(f"{name} has {path.stat().st_size / 2**20:.0f} MB; at most {MAX_BYTES >> 20} MB are taken")
    return notes


def _find(path: Path, assignment: str) -> Path:
    if path.is_file():
        return path
    if (named_so := Path(f"{path}.ipynb")).is_file():  # the assignment's name, as all commands take it
        return named_so
    if not path.is_dir():
        raise ClassroomError(f"{path} is not there; run this in the folder of your notebook, or give its path")
    files = sorted(p for p in path.glob("*.ipynb") if p.is_file())
    assignment = assignment or (path.name if any(p.stem == path.name for p in files) else "")
    named = [p for p in files if p.stem == assignment] or ([] if assignment else files)
    if len(named) != 1:
        there = ", ".join(p.name for p in files) or "no notebook"
        raise ClassroomError(f"{path.resolve()} holds {there}; say which one: workbench class check NOTEBOOK")
    return named[0]


def _whole(notebook: Mapping[str, Any], items: list[Item]) -> list[str]:
    """Return what of the release is no longer there, or no longer the same."""
    mine = dict(cells_of(notebook))
    notes = [f"the cell {i.id} was deleted; copy it back from the release" for i in items if i.id not in mine]
    changed = [i.id for i in items if i.digest and i.id in mine and digest(source_of(mine[i.id])) != i.digest]
    return notes + [f"the cell {name} was changed; grading uses the original" for name in changed]


def _run(notebook: Any, folder: Path) -> dict[str, tuple[str, str]]:
    """Run the notebook in place; return what each test of it says."""
    try:
        from nbclient import NotebookClient
    except ImportError:
        raise MissingExtraError("nbclient", "classroom") from None
    client = NotebookClient(notebook, timeout=CELL_S, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    env = {**os.environ, CHECKING: "1"}
    client.execute(stderr=subprocess.DEVNULL, env=env)  # the kernel's own remarks; a cell's go into the notebook
    return verdicts(notebook)
