"""From a source notebook to what students get: nbgrader makes it, and a leak check of our own looks it through."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import MissingExtraError
from .course import ClassroomError, Course
from .init import IGNORED
from .leaks import leaks
from .notebook import KEY, manifest, read_notebook


def build(course: Course, assignment: str) -> Path:
    """Make ``release/ASSIGNMENT`` from its source and return it; a release with a leak never gets there.

    Raises:
        ClassroomError: no such assignment, nbgrader refuses the source, or something of the solution would be visible.
        MissingExtraError: nbgrader is not installed.
    """
    import nbformat

    course.check(assignment)
    source = course.source(assignment)
    room = Path(tempfile.mkdtemp(prefix=".building-", dir=course.root))
    try:
        _generate(course, assignment, room.name)
        made = room / assignment
        path = made / f"{assignment}.ipynb"
        notebook = read_notebook(path)
        if found := leaks(source, made, assignment):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise ClassroomError(f"the release of {assignment} would leak: {found[0]}{more}; nothing was released")
        notebook.metadata[KEY] = manifest(notebook, assignment)
        nbformat.write(notebook, path)
        _swap(made, course.release(assignment))
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return course.release(assignment)


def _generate(course: Course, assignment: str, release_directory: str) -> None:
    """Run nbgrader's generate_assignment in this process, quietly."""
    try:
        from nbgrader.converters import GenerateAssignment
        from nbgrader.coursedir import CourseDirectory
        from traitlets.config import Config
    except ImportError:
        raise MissingExtraError("nbgrader", "classroom") from None

    config = Config()
    config.CourseDirectory.root = str(course.root)
    config.CourseDirectory.assignment_id = assignment
    config.CourseDirectory.release_directory = release_directory
    config.CourseDirectory.ignore = list(IGNORED)
    said: list[str] = []
    with _heard(said), _our_commands_on_path():
        converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config, force=True)
        converter.log = logging.getLogger("workbench.nbgrader")
        try:
            converter.start()
        except (Exception, SystemExit) as e:  # nbgrader's own, SQLAlchemy's, nbformat's
            lines = [line for text in said for line in text.splitlines() if line.strip()] or [str(e)]
            raise ClassroomError(f"nbgrader refuses {course.source(assignment)}: {_reason(lines)}") from None


def _reason(lines: list[str]) -> str:
    """Return the one line of nbgrader's log that says why: the last of the first traceback, else the first."""
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback")]
    if not starts:
        return lines[0].strip()
    return next((line for line in lines[starts[0] + 1 :] if not line.startswith((" ", "\t"))), lines[-1]).strip()


@contextlib.contextmanager
def _heard(said: list[str]) -> Iterator[None]:
    """Collect nbgrader's errors instead of printing them."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    log, ear = logging.getLogger("workbench.nbgrader"), Ear(logging.ERROR)
    log.propagate, others = False, list(log.handlers)
    log.handlers = [ear]
    try:
        yield
    finally:
        log.handlers = others


@contextlib.contextmanager
def _our_commands_on_path() -> Iterator[None]:
    """Let nbgrader find its `alembic`, which stands beside this Python and not always on the path."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = os.pathsep.join(filter(None, [str(Path(sys.executable).parent), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def _swap(made: Path, target: Path) -> None:
    """Put a finished folder in the place of an older one."""
    old = made.with_name("old")
    if target.exists():
        target.rename(old)
    target.parent.mkdir(parents=True, exist_ok=True)
    made.rename(target)
