"""Apply the surgery to a fork's ``nn/tasks.py``, take it out again, or print it as a unified diff."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ...errors import WorkbenchError
from ...files import replace_text
from .edits import EDITS, KNOWN_VERSIONS, Edit

IN_REPOSITORY = "ultralytics/nn/tasks.py"


def installed_package() -> Path:
    """Return the folder of the ultralytics that this Python imports."""
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise WorkbenchError("ultralytics is not installed; pip install 'ultralytics>=8.4.190,<8.5'")
    return Path(spec.origin).resolve().parent


def version_of(package: Path) -> str | None:
    """Return the version written in a package folder's ``__init__.py``, without importing it; None when none is."""
    init = package / "__init__.py"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if found := re.search(r"""^__version__\s*=\s*["']([^"']+)["']""", init.read_text("utf-8"), re.MULTILINE):
            return found.group(1)
    return None


def require_known(version: str | None, where: object) -> None:
    """Refuse a version that the edits were not written against.

    Raises:
        WorkbenchError: the version is not one of ``KNOWN_VERSIONS``, or cannot be told.
    """
    if version not in KNOWN_VERSIONS:
        found = f"is ultralytics {version}" if version else "does not say which ultralytics it is"
        raise WorkbenchError(f"{where} {found}; the surgery knows {', '.join(KNOWN_VERSIONS)}, so nothing was written")


def _places(text: str, lines: str) -> list[int]:
    """Return where `lines` stand in `text` as whole lines, with either kind of line end."""
    return [m.start() for m in re.finditer("^" + re.escape(_ended(lines, text)), text, re.MULTILINE)]


def _ended(lines: str, text: str) -> str:
    """Return `lines` with the line ends of `text`, so that a checkout with CRLF keeps them."""
    return lines.replace("\n", "\r\n") if "\r\n" in text else lines


def _swap(text: str, old: str, new: str) -> str:
    (at,) = _places(text, old)
    return text[:at] + _ended(new, text) + text[at + len(_ended(old, text)) :]


def state(text: str, edits: Sequence[Edit] = EDITS) -> list[bool | None]:
    """Return, for each edit, whether it is in `text`: True, False, or None where neither form is found exactly once.

    An anchor may be part of its own replacement; there it does not count.
    """
    found: list[bool | None] = []
    for edit in edits:
        made = _places(text, edit.new)
        spans = [range(at, at + len(_ended(edit.new, text))) for at in made]
        waiting = [at for at in _places(text, edit.anchor) if not any(at in span for span in spans)]
        found.append({(1, 0): True, (0, 1): False}.get((len(made), len(waiting))))
    return found


def with_edits(text: str, edits: Sequence[Edit] = EDITS) -> str:
    """Return `text` with the edits made.

    Raises:
        WorkbenchError: an edit's lines are there in neither form, or more than once; the message names the edit.
    """
    for edit, made in zip(edits, state(text, edits), strict=True):
        if made is None:
            raise WorkbenchError(f"edit '{edit.step}' in {edit.where}: its place was not found exactly once; undo your "
                                 "own changes there (git diff shows them) and try again")  # fmt: skip
        if not made:
            text = _swap(text, edit.anchor, edit.new)
    return text


def without_edits(text: str, edits: Sequence[Edit] = EDITS) -> str:
    """Return `text` with those edits taken out that are in it. The exact inverse of `with_edits`."""
    for edit, made in reversed(list(zip(edits, state(text, edits), strict=True))):
        if made:
            text = _swap(text, edit.new, edit.anchor)
    return text


def surgery_diff(version: str | None = None) -> str:
    """Return the finished surgery as a unified diff that ``git apply`` and ``patch -p1`` accept in a fork's root.

    Args:
        version: of ultralytics; None is the installed one, whose ``tasks.py`` the line numbers are taken from.

    Raises:
        WorkbenchError: the surgery does not know the version, or it is not the installed one.

    >>> surgery_diff().splitlines()[0]
    '--- a/ultralytics/nn/tasks.py'
    """
    package = installed_package()
    here = version_of(package)
    require_known(version or here, f"version {version!r}" if version else "the installed package")
    if version not in (None, here):
        raise WorkbenchError(f"the diff for {version} needs its source; ultralytics {here} is installed, "
                             f"pip install ultralytics=={version}")  # fmt: skip
    before = without_edits(_read(package / "nn" / "tasks.py")).replace("\r\n", "\n")
    old, new = before.splitlines(keepends=True), with_edits(before).splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, f"a/{IN_REPOSITORY}", f"b/{IN_REPOSITORY}"))


def locate(path: str | os.PathLike[str]) -> Path:
    """Return the ``tasks.py`` of a fork, given its root, its package folder, ``nn``, or the file itself.

    Raises:
        WorkbenchError: there is none, or it belongs to the ultralytics this Python imports.
    """
    given = Path(path).expanduser()
    places = [given] if given.is_file() else [given / IN_REPOSITORY, given / "nn/tasks.py", given / "tasks.py"]
    tasks = next((p.resolve() for p in places if p.is_file()), None)
    if tasks is None or tasks.suffix != ".py":
        raise WorkbenchError(f"{given} holds no nn/tasks.py; give the root of your ultralytics fork, or that file")
    if installed_package() in tasks.parents:
        raise WorkbenchError(f"{tasks} belongs to the ultralytics this Python imports, and an edit there would change "
                             "every project in this environment; give a clone or a copy of it")  # fmt: skip
    return tasks


def _version_of_file(tasks: Path) -> str | None:
    """Return the version of the package around the file; a lone copy is known by equalling the installed file."""
    found = version_of(tasks.parent.parent)
    package = installed_package()
    if found is None and without_edits(_read(tasks)) == without_edits(_read(package / "nn" / "tasks.py")):
        return version_of(package)
    return found


def apply(path: str | os.PathLike[str]) -> str:
    """Make the edits in a fork's ``tasks.py``: all of them or none, and say so in one line.

    A file that holds only some of them (an application by hand that stopped half-way) is rolled back to its untouched
    form, and refused.

    Raises:
        WorkbenchError: unknown version, the imported package itself, an anchor that is not there, or half-applied.
    """
    tasks = locate(path)
    before = _read(tasks)
    require_known(_version_of_file(tasks), tasks)
    made = state(before)
    if all(made):
        return f"{tasks}: all {len(EDITS)} edits are in already"
    after = with_edits(before)  # raises before anything is written
    if any(made):
        replace_text(tasks, without_edits(before))
        raise WorkbenchError(f"{tasks} held {made.count(True)} of {len(EDITS)} edits and was rolled back to its "
                             "untouched form; apply again to make them all")  # fmt: skip
    if without_edits(after) != before:
        raise WorkbenchError(f"{tasks}: the edits could not be taken out again exactly; nothing was written")
    compile(after, str(tasks), "exec", dont_inherit=True)
    replace_text(tasks, after)
    return f"{tasks}: {len(EDITS)} edits made; take them out again with workbench surgery --revert {path}"


def revert(path: str | os.PathLike[str]) -> str:
    """Take the edits out of a fork's ``tasks.py`` again, which restores identical bytes; say so in one line.

    Raises:
        WorkbenchError: unknown version that does not hold every edit intact, the imported package, or an edited edit.
    """
    tasks = locate(path)
    before = _read(tasks)
    made = state(before)
    if not all(made):
        require_known(_version_of_file(tasks), tasks)
    if None in made:
        edit = EDITS[made.index(None)]
        raise WorkbenchError(f"{tasks}: edit '{edit.step}' in {edit.where} was changed after it was made, so nothing "
                             "was written; git checkout restores the file")  # fmt: skip
    if not any(made):
        return f"{tasks}: no edit of the surgery is in it"
    replace_text(tasks, without_edits(before))
    return f"{tasks}: {made.count(True)} edits taken out, the file is as it was"


def _read(file: Path) -> str:
    """Read text without translating line ends."""
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise WorkbenchError(f"cannot read {file} ({e}); give a readable UTF-8 file") from e
