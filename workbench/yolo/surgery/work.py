"""A copy of the installed ``tasks.py`` in a work folder, imported under another name, to try the surgery on."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from ...errors import WorkbenchError, did_you_mean
from ...files import replace_text
from .edits import EDITS, STEPS, Edit
from .files import _read, installed_package, require_known, version_of, with_edits, without_edits


def edits_of(*steps: str) -> tuple[Edit, ...]:
    """Return the edits of the named steps, in order of the file's story; all edits when none is named.

    Raises:
        WorkbenchError: a step that does not exist.

    >>> [e.where for e in edits_of("forward", "rtdetr")]
    ['BaseModel._predict_once', 'RTDETRDetectionModel.predict']
    """
    for step in steps:
        if step not in STEPS:
            hint = did_you_mean(step, STEPS) or f"; expected one of {', '.join(STEPS)}"
            raise WorkbenchError(f"the surgery has no step {step!r}{hint}")
    return tuple(e for e in EDITS if e.step in (steps or STEPS))


def copy_tasks(work_dir: str | os.PathLike[str], name: str = "tasks_surgery", steps: Iterable[str] = ()) -> ModuleType:
    """Copy the installed ``tasks.py`` to ``work_dir/name.py``, make the edits of `steps`, and import it as `name`.

    The installed package is read, never written. The copy shares ultralytics' layers with it, and nothing else: its
    `parse_model` and its model classes are its own.

    Args:
        work_dir: created when it does not exist; an earlier copy of that name in it is replaced.
        name: the new module's name, which must not be that of another module.
        steps: of the finished surgery (``STEPS``) to make at once; none by default.

    Raises:
        WorkbenchError: the installed ultralytics is unknown to the surgery, or the name is taken.
    """
    package = installed_package()
    require_known(version_of(package), "the installed package")
    folder = Path(work_dir).expanduser().absolute()
    file = folder / f"{name}.py"
    if not name.isidentifier():
        raise WorkbenchError(f"name={name!r} is no module name; use letters, digits and underscores")
    taken = sys.modules.get(name) or (name not in sys.modules and importlib.util.find_spec(name))
    origin = getattr(taken, "__file__", None) or getattr(taken, "origin", None)
    if taken and Path(origin or "").name != file.name:
        raise WorkbenchError(f"name={name!r} is the name of another module ({origin}); choose another")
    folder.mkdir(parents=True, exist_ok=True)
    steps = tuple(steps)
    untouched = without_edits(_read(package / "nn" / "tasks.py"))
    replace_text(file, with_edits(untouched, edits_of(*steps)) if steps else untouched)
    return _load(file, name)


def edit(tasks: ModuleType, anchor: str, new: str) -> ModuleType:
    """Replace `anchor`, which must occur exactly once in the copy's source, by `new`; return the module, loaded again.

    Raises:
        WorkbenchError: the module is no copy, or the anchor is not there exactly once; nothing is written.
        SyntaxError: the edited file is no Python; nothing is written.
    """
    file = Path(tasks.__file__ or "")
    if installed_package() in file.resolve().parents:
        raise WorkbenchError(f"{file} is the installed package, not a copy; make one with copy_tasks(work_dir)")
    text = _read(file)
    times = text.count(anchor)
    if times != 1 or not anchor:
        raise WorkbenchError(f"the anchor occurs {times} times in {file.name}; give a piece that occurs exactly once")
    text = text.replace(anchor, new)
    compile(text, str(file), "exec", dont_inherit=True)
    replace_text(file, text)
    return _load(file, tasks.__name__)


def listing(tasks: ModuleType, piece: str, before: int = 0, after: int = 0) -> str:
    """Return the lines of the copy's source that hold `piece`, with line numbers and some lines around them.

    Raises:
        WorkbenchError: the piece is not there.
    """
    text = _read(Path(tasks.__file__ or ""))
    start = text.find(piece)
    if start < 0 or not piece:
        raise WorkbenchError(f"{tasks.__name__} does not hold {piece.strip()[:60]!r}; copy it from the file")
    first = text.count("\n", 0, start) + 1
    last = first + piece.rstrip("\n").count("\n")
    lines = text.splitlines()
    return "\n".join(f"{n:5} {lines[n - 1]}" for n in range(max(1, first - before), min(last + after, len(lines)) + 1))


def class_sources(tasks: ModuleType) -> dict[str, str]:
    """Return the source text of every class of the copy, by name."""
    text = _read(Path(tasks.__file__ or ""))
    lines = text.splitlines(keepends=True)
    found = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: "".join(lines[node.lineno - 1 : node.end_lineno]) for node in found}


def _load(file: Path, name: str) -> ModuleType:
    """Import the file under `name`, from its present bytes: compiled files are cached by the second, so not used."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(_read(file), str(file), "exec", dont_inherit=True), module.__dict__)
    sys.modules[name] = module  # only now, so that a copy that fails to run leaves the earlier one in place
    return module
