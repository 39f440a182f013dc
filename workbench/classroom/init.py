"""A new course folder: nbgrader's layout, the five assignments, and a configuration its own commands read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..files import replace_text
from ..settings import data_dir
from .course import ClassroomError, Course

PRIVATE = ("answers.py", "wrong.py")  # stand beside a source notebook; no student may have them
FOLDERS = ("source", "release", "submitted", "autograded", "feedback")
IGNORED = (".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", "*.safetensors", *PRIVATE)
CONFIG = '''"""Made by `workbench class init`. nbgrader's own commands read it when they are run in this folder."""

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = {name!r}
c.CourseDirectory.ignore = {ignored!r}  # never copied to students
c.Execute.timeout = 600  # seconds a cell; the default of 30 is too short for a training
'''


def init_course(folder: str | Path) -> tuple[Course, list[str]]:
    """Make a course folder, or give an existing one the assignments it lacks; nothing that is there is changed.

    Returns:
        The course, and the assignments that were copied into it.

    Raises:
        ClassroomError: the folder holds something else, or the assignments are not installed.
    """
    root = Path(folder).absolute()
    if root.exists() and not root.is_dir():
        raise ClassroomError(f"{root} is a file; give a folder that is new, empty, or a course already")
    known = (root / "nbgrader_config.py").is_file()
    if not known and root.is_dir() and any(root.iterdir()):
        raise ClassroomError(f"{root} is not empty and no course; give a new folder: workbench class init DIR")
    masters = _masters()
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    copied = [master.name for master in masters if _copy(master, root / "source" / master.name)]
    if not known:  # last: it is what makes the folder a course
        course_id = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip("-.") or "course"
        replace_text(root / "nbgrader_config.py", CONFIG.format(name=course_id, ignored=list(IGNORED)))
    return Course(root), copied


def _masters() -> list[Path]:
    """Return the folders of the assignments that came with this installation."""
    home = data_dir().parent / "assignments"
    found = sorted(p.parent for p in home.glob("*/*.ipynb") if p.stem == p.parent.name)
    if not found:
        raise ClassroomError(
            f"{home} holds no assignments; they come with a clone of the repository: pip install -e '.[classroom]'"
        )
    return found


def _copy(master: Path, target: Path) -> bool:
    if target.exists():
        return False
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(master, beside, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.pyc"))
    beside.rename(target)
    return True
