"""The errors a user meets: one line that says what was given, what was expected and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class WorkbenchError(ValueError):
    """Bad input. The message is one line; the command line prints it on stderr and exits with 2."""


class MissingExtraError(WorkbenchError, ImportError):
    """An optional package is absent. The message names the extra that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; it comes with the extra '{extra}': pip install 'backbone-workbench[{extra}]'"
        )


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


def did_you_mean(name: str, known: Iterable[str], n: int = 3) -> str:
    """Return ``"; did you mean a, b?"`` for the names nearest to `name`, or ``""`` when none is near.

    >>> did_you_mean("starnet_s11", ["starnet_s1", "vanillanet_5"])
    "; did you mean 'starnet_s1'?"
    """
    near = difflib.get_close_matches(str(name), list(known), n=n, cutoff=0.6)
    return f"; did you mean {', '.join(repr(x) for x in near)}?" if near else ""
