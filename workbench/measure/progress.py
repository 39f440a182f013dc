"""A progress line with the time left: updated in place in a notebook and in a terminal, silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .rounds import Progress


def text(p: Progress) -> str:
    """Return the line.

    >>> text(Progress(5, 25, 8.2, "rounds"))
    'rounds 5/25 [████················] 8 s left'
    """
    full = round(20 * p.done / max(p.total, 1))
    return f"{p.phase} {p.done}/{p.total} [{'█' * full}{'·' * (20 - full)}] {p.seconds_left:.0f} s left"


def reporter() -> tuple[Callable[[Progress], None], Callable[[], None]]:
    """Return ``show(progress)`` and ``finish()`` for where we run."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
        return _notebook()
    if sys.stderr.isatty():
        return _terminal()
    return (lambda p: None), (lambda: None)


def _notebook() -> tuple[Callable[[Progress], None], Callable[[], None]]:
    from IPython.display import HTML, display

    handle: list[Any] = []

    def put(content: str) -> None:
        if handle:
            handle[0].update(HTML(content))
        else:
            handle.append(display(HTML(content), display_id=True))

    return (lambda p: put(f"<code>{text(p)}</code>")), (lambda: put("") if handle else None)


def _terminal() -> tuple[Callable[[Progress], None], Callable[[], None]]:
    def show(p: Progress) -> None:
        sys.stderr.write(f"\r{text(p)}\x1b[K")
        sys.stderr.flush()

    def finish() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return show, finish
