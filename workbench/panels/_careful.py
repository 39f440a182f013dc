"""What every hand on a panel goes through: errors become a line inside the panel, long work is done in steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import ipywidgets as widgets

from ..errors import WorkbenchError
from ._scene import escape


class Careful:
    """A panel that never raises into the front end and never keeps the kernel from listening.

    Attributes:
        message: the line for errors.
        progress: the line for how far work is.
    """

    def __init__(self) -> None:
        self._lock, self._busy, self._turn = threading.RLock(), True, 0
        self.message, self.progress = widgets.HTML(), widgets.HTML()

    def _attempt(self, function: Any, *args: Any) -> Any:
        """Return ``function(*args)``, or None after saying inside the panel why it could not be done."""
        with self._lock:
            before, self._busy = self._busy, True
            try:
                return function(*args)
            except StopIteration:
                return None
            except MemoryError:
                self._complain("not enough memory for this choice")
            except (WorkbenchError, OSError, RuntimeError) as e:
                self._complain(str(e))
            finally:
                self._busy = before
            return None

    def _complain(self, reason: str) -> None:
        self.progress.value = ""
        line = (reason.splitlines() or ["no reason given"])[0]
        self.message.value = f'<div role="alert" style="color:#8a3b00"><b>Not possible:</b> {escape(line)}</div>'

    def _in_steps(self, work: Iterator[bool]) -> None:
        """Do work that yields between its steps; in a kernel, messages of the front end are heard in between.

        Work that is begun later takes over: what is left of the earlier one is not done.
        """
        self._turn += 1
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel around us: all at once
            while self._attempt(next, work):
                pass
            return
        self._later(loop, work, self._turn)

    def _later(self, loop: asyncio.AbstractEventLoop, work: Iterator[bool], turn: int) -> None:
        if turn == self._turn and self._attempt(next, work):
            loop.call_later(0.002, self._later, loop, work, turn)
