"""What runs inside the sandbox: cells and functions of one student, one request after another.

``python -m workbench.classroom.inside FD LIMITS``: requests come and replies go over one socket, as frames of plain
data. Nothing that decides marks is here: no source, no answers, no expected values.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .plain import HEAD, pack, unpack

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
KEPT = ("text/plain", "image/png")
WORKBENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSTALLED = tuple(path + os.sep for path in (sys.prefix, sys.base_prefix, WORKBENCH))  # may lie under /tmp or a home


class TooLong(BaseException):
    """A cell or function is over its time. No `Exception`, so that ``except Exception`` does not swallow it."""


class Capped(io.StringIO):
    """A stream that keeps so many bytes, and notes that there were more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen = most, 0

    def write(self, text: str) -> int:
        room = self.most - self.seen
        data = str(text).encode("utf-8", "replace")
        if room > 0:
            super().write(data[:room].decode("utf-8", "ignore"))
        self.seen += len(data)
        return len(text)

    def text(self) -> str:
        """Return what was kept."""
        more = f"\n… {self.seen - self.most:,} more bytes were left out\n" if self.seen > self.most else ""
        return ANSI.sub("", self.getvalue()) + more


def main() -> None:
    """Serve requests until there are no more."""
    serve(Player)


def serve(make: Callable[[dict[str, Any]], Any]) -> None:
    """Confine this process to its limits, make what answers, and pass requests and replies on."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    limits = json.loads(sys.argv[2])
    _confine(limits)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):  # what C code prints, and what a cell would read, is nobody's
        os.dup2(nothing, fd)
    sys.path.insert(0, "")
    player = make(limits)
    _send(wire, {"ready": True, "python": sys.version.split()[0]})
    while (request := _receive(wire)) is not None:
        _send(wire, player.answer(request))


def _confine(limits: dict[str, Any]) -> None:
    try:
        import resource
    except ImportError:  # no Unix: only code that is trusted gets here
        return
    for name, value in limits["rlimits"].items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(ValueError, OSError):  # macOS takes no limit of address space
                resource.setrlimit(kind, (value, value))


def _send(wire: socket.socket, value: Any) -> None:
    wire.sendall(pack(value))


def _receive(wire: socket.socket) -> Any:
    head = _exactly(wire, HEAD.size)
    if head is None:
        return None
    body = _exactly(wire, sum(HEAD.unpack(head)))
    return None if body is None else unpack(head + body)


def _exactly(wire: socket.socket, n: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < n:
        part = wire.recv(min(n - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


class Player:
    """An IPython shell without a kernel: no ports, no second process."""

    def __init__(self, limits: dict[str, Any]) -> None:
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        player = self

        class Value(DisplayHook):
            """The last value of a cell, taken down beside what was displayed."""

            def write_output_prompt(self) -> None:
                pass

            def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
                player.shell.display_pub.outputs.append({"data": format_dict})

            def finish_displayhook(self) -> None:
                self._is_active = False

        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "NoColor"
        config.InteractiveShell.xmode = "Context"
        InteractiveShell.displayhook_class.default_value = Value
        self.shell: Any = InteractiveShell.instance(config=config)
        self.shell.display_pub = self.shown = CapturingDisplayPublisher()
        self.limits, self.loaded, self.paths, self.folder = limits, set(sys.modules), list(sys.path), os.getcwd()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says; never raise."""
        try:
            if request["do"] == "cell":
                return self.cell(request["source"])
            if request["do"] == "call":
                return self.call(request["name"], request["arguments"])
            if request["do"] == "fresh":
                self.fresh()
            return {}
        except BaseException as e:  # a student's own __repr__ or __str__, a late alarm
            return {"error": f"{type(e).__name__}"}

    def fresh(self) -> None:
        """Forget all names, and the modules that cells wrote and imported; look for others where it began."""
        own = ("/tmp", "/home", self.folder + os.sep)
        for name, module in list(sys.modules.items()):
            file = str(getattr(module, "__file__", None) or "")
            if name not in self.loaded and file.startswith(own) and not file.startswith(INSTALLED):
                del sys.modules[name]
        custom = sys.modules.get("workbench.backbones.registry")
        if custom is not None:
            vars(custom).get("_custom", {}).clear()
        sys.path[:] = self.paths
        os.chdir(self.folder)
        self.shell.reset(new_session=True)

    def cell(self, source: str) -> dict[str, Any]:
        """Run one cell; return its outputs, and the error it ended with."""
        most = self.limits["output_bytes"]
        out, err = Capped(most), Capped(most)
        self.shown.outputs.clear()
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err
        error: BaseException | None = None
        try:
            with _alarm(self.limits["cell_s"]):
                result = self.shell.run_cell(source, store_history=False)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as e:
            error = e
        finally:
            sys.stdout, sys.stderr = before
        outputs: list[dict[str, Any]] = []
        for name, stream in (("stdout", out), ("stderr", err)):
            if stream.seen:
                outputs.append({"kind": name, "text": stream.text()})
        outputs += self._displayed(most)
        return {"outputs": outputs, "error": _line(error, self.limits["cell_s"]) if error is not None else None}

    def _displayed(self, most: int) -> list[dict[str, Any]]:
        found = []
        for one in list(self.shown.outputs)[:50]:
            data = {}
            for kind in KEPT:
                value = one.get("data", {}).get(kind)
                if isinstance(value, bytes):
                    import base64

                    value = base64.b64encode(value).decode()
                if isinstance(value, str) and len(value) <= 10 * most:
                    data[kind] = value if kind != "text/plain" else ANSI.sub("", value[:most])
            if data:
                found.append({"kind": "display", "data": data})
        return found

    def call(self, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        """Return what the student's function returns for these arguments, or how it failed."""
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = Capped(0)
        try:
            with _alarm(self.limits["call_s"]):
                return {"result": self.shell.user_ns[name](*copy.deepcopy(arguments))}
        except KeyError as e:
            if e.args == (name,) and name not in self.shell.user_ns:
                return {"error": f"NameError: there is no {name} after your cells have run"}
            return {"error": _line(e, self.limits["call_s"])}
        except BaseException as e:  # SystemExit and the alarm too
            return {"error": _line(e, self.limits["call_s"])}
        finally:
            sys.stdout, sys.stderr = before


def _line(error: BaseException, seconds: float) -> str:
    if isinstance(error, TooLong):
        return f"TimeoutError: stopped after {seconds:g} s"
    if isinstance(error, MemoryError):
        return "MemoryError: more memory than a submission may have"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300].rstrip(": ")


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLong

    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    main()
