"""The errors a user meets: one line that says what was given, what was expected and the fix."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


class WorkbenchError(ValueError):
    """Bad input. The message is one line; the command line prints it on stderr and exits with 2."""


class MissingExtraError(WorkbenchError, ImportError):
    """An optional package is absent. The message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; it comes with the extra '{extra}': {how_to_install(extra)}")


def how_to_install(extras: str) -> str:
    """Return the command that installs extras ("runtimes", "dev,app") into this environment, from whatever folder.

    >>> how_to_install("runtimes").endswith("[runtimes]'")
    True
    """
    pip, root = f"{shlex.quote(sys.executable)} -m pip install", Path(__file__).resolve().parent.parent
    if not (root / "constraints.txt").is_file():  # installed as a package, not from a clone
        return f"{pip} 'backbone-workbench[{extras}]'"
    return f"{pip} -c {shlex.quote(str(root / 'constraints.txt'))} -e '{root}[{extras}]'"


class DataNotFoundError(WorkbenchError, FileNotFoundError):
    """A dataset or file that was asked for is not there. The message names the ways to get it."""


def tell_interrupted(interrupt: KeyboardInterrupt, how: str, say: Callable[[str], object] | None = print) -> None:
    """Say in one line how to go on after Ctrl-C, and note it in the exception, for whoever catches it.

    >>> tell_interrupted(KeyboardInterrupt(), "give the command again")
    interrupted; give the command again
    """
    interrupt.add_note(how)
    if say is not None:
        say(f"interrupted; {how}")


def first_line(error: BaseException) -> str:
    r"""Return the first line of an exception's message that says something; the exception's type when none does.

    For libraries whose messages go on for a page.

    >>> first_line(RuntimeError("\n  out of memory\nat 0x7f")), first_line(AssertionError())
    ('out of memory', 'AssertionError')
    """
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def one_line(error: BaseException | str, most: int = 300) -> str:
    r"""Return a whole message on one line of at most `most` characters; the exception's type when it is empty.

    >>> one_line(ValueError("first\n  second")), one_line("a long story", 6), one_line(KeyboardInterrupt())
    ('first second', 'a lon…', 'KeyboardInterrupt')
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else text[: most - 1] + "…"


def did_you_mean(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the names nearest to `name`, or ``""`` when none is near.

    >>> did_you_mean("starnet_s11", ["starnet_s1", "vanillanet_5"])
    "; did you mean 'starnet_s1'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=0.6)
    return f"; did you mean {', '.join(repr(x) for x in near)}?" if near else ""
