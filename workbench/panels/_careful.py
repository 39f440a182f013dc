"""What every hand on a panel goes through: errors become a line inside the panel, long work is done in steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ipywidgets as widgets

from ..errors import WorkbenchError, did_you_mean
from ._reason import reason
from ._scene import escape


def alert(line: str) -> str:
    """Return the HTML of a line that says what cannot be done; a screen reader reads it out."""
    return f'<div role="alert" style="color:#8a3b00"><b>Not possible:</b> {escape(line)}</div>'


def no_control(panel: str, name: str, known: Iterable[str]) -> WorkbenchError:
    """Return the error for a control that a panel does not have, with the nearest names."""
    hint = did_you_mean(name, known := list(known)) or f"; it has {', '.join(known)}"
    return WorkbenchError(f"{panel} has no control {name!r}{hint}")


def put(name: str, control: Any, value: Any) -> None:
    """Set one control, as a hand would.

    Raises:
        WorkbenchError: a value it cannot take; the control is then as before.
    """
    options = [o[1] if isinstance(o, tuple) else o for o in getattr(control, "options", ())]
    limits = f"{control.min:g} to {control.max:g}" if hasattr(control, "min") else ""
    offer = limits or ", ".join(map(str, options)) or type(control.value).__name__
    bad = WorkbenchError(f"{name}={value!r} is not a value of this control; expected {offer}")
    given, value = control.value, tuple(value) if isinstance(value, list) else value
    if value is given is None:
        return  # nothing to choose from, and nothing chosen
    if (value is None and None not in options) or isinstance(value, bool) != isinstance(given, bool):
        raise bad  # toggle buttons would take None for "none chosen", and a number True for 1
    try:
        control.value = value
    except Exception:  # ipywidgets' errors name traits, not controls
        raise bad from None
    if control.value != value:  # a bounded number moves to its nearest end without a word
        control.value = given
        raise bad


class ByHand:
    """A panel whose controls go back to the last state that could be shown when a hand asks for one that cannot.

    Attributes:
        controls: name → widget.
        message: the line for errors.
    """

    controls: dict[str, Any]
    message: widgets.HTML
    widget: Any
    _busy: bool

    def _snapshot(self) -> Any:
        """Return the controls' state, to be put back."""
        return {name: control.value for name, control in self.controls.items()}

    def _put_back(self, snapshot: Any) -> None:
        for name, value in snapshot.items():
            self.controls[name].value = value

    def _by_call(self, work: Callable[[], None]) -> None:
        """Do what a cell asks for; when it is refused everything is as before, and the cell is told.

        Raises:
            WorkbenchError: `work` failed, in whatever way.
        """
        before, self._busy = self._snapshot(), True
        try:
            work()
        except Exception as e:
            self._put_back(before)
            raise e if isinstance(e, WorkbenchError) else WorkbenchError(reason(e)) from e
        finally:
            self._busy = False
        self._good, self.message.value = self._snapshot(), ""

    def _by_hand(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Do what a hand asks for; never raise into the front end."""
        if self._busy:
            return
        self._busy = True
        try:
            work(*args, **kwargs)
            self._good = self._snapshot()
            self.message.value = ""
        except Exception as e:  # whatever it is, the panel answers inside itself and goes on
            self._put_back(self._good)
            self._complain(e)
        finally:
            self._busy = False

    def _complain(self, error: BaseException) -> None:
        self.message.value = alert(reason(error))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)


class Careful:
    """A panel that never raises into the front end and never keeps the kernel from listening.

    Attributes:
        message: the line for errors.
        progress: the line for how far work is.
    """

    widget: Any

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
            except Exception as e:  # whatever it is, the panel answers inside itself and goes on
                self._complain(e)
            finally:
                self._busy = before
            return None

    def _complain(self, error: BaseException) -> None:
        self.progress.value = ""
        self.message.value = alert(reason(error))

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

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)
