"""A process for one submission, behind bubblewrap's walls: no network, no files but Python's own, limits on everything.

What is seen inside: the interpreter, the installed packages, this package and its data, read-only; a home, a working
folder and ``/tmp`` in memory, of limited size. Not the course, not the home of the instructor, no other process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .course import ClassroomError
from .plain import HEAD, MAX_JSON, pack, unpack
from .walls import Limits, environment, walls

GRACE_S = 3.0  # after its own alarm, before it is killed


class DiedError(Exception):
    """The process inside is gone; the message says why. `hung`: it was killed because it did not answer."""

    def __init__(self, reason: str, hung: bool = False) -> None:
        super().__init__(reason)
        self.hung = hung


class Sandbox:
    """One process inside. Give it requests with `ask`; `close` ends it and everything it started.

    Args:
        limits: what it may use.
        files: regular files to show, read-only, in the working folder.
        hide: a folder that must not be seen even where something around it is.
        trusted: no walls, only limits; for code the instructor vouches for.
        module: what runs inside and answers the requests.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        files: Sequence[Path] = (),
        hide: Path | None = None,
        trusted: bool = False,
        module: str = "workbench.classroom.inside",
    ) -> None:
        if os.name == "nt":
            raise ClassroomError("a submission needs a process that Windows cannot start; grade on Linux or in WSL")
        self.limits, self.trusted, self._end = limits, trusted, time.monotonic() + limits.wall_s
        self._room: Any = None
        ours, theirs = socket.socketpair()
        inside = [sys.executable, "-P", "-m", module, str(theirs.fileno()), limits.to_json()]
        keep = [theirs.fileno()]
        if trusted:
            command, env, folder = inside, environment(limits, None), self._own_folder(files)
        else:
            wall, fds = walls(files, hide, limits)
            command, env, folder = [*wall, "--", *inside], {"PATH": os.defpath}, "/"
            keep += fds
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=keep, env=env, cwd=folder, start_new_session=True,
            )  # fmt: skip
        finally:
            theirs.close()
            for fd in keep[1:]:
                os.close(fd)
        self._wire = ours
        try:
            self._read(limits.start_s)
        except DiedError as e:
            self.close()
            raise DiedError(f"the sandbox did not start: {e}", hung=e.hung) from None

    def _own_folder(self, files: Sequence[Path]) -> str:
        import tempfile

        self._room = tempfile.TemporaryDirectory(prefix="trusted-")
        for file in files:
            shutil.copyfile(file, Path(self._room.name) / file.name)
        return str(self._room.name)

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and return the reply.

        Raises:
            DiedError: there is none within `seconds`, within the submission's time, or that can be read.
        """
        try:
            self._wire.settimeout(max(0.1, min(seconds + GRACE_S, self._end - time.monotonic())))
            self._wire.sendall(pack(request))
        except OSError as e:
            raise self._gone(isinstance(e, TimeoutError)) from None
        return self._read(seconds + GRACE_S)

    def _read(self, seconds: float) -> dict[str, Any]:
        end = min(time.monotonic() + seconds, self._end)
        try:
            head = self._exactly(HEAD.size, end)
            n, m = HEAD.unpack(head)
            if n > MAX_JSON or m > self.limits.reply_bytes:
                raise DiedError(f"it returned {(n + m) / 2**20:,.0f} MB, more than a result may have")
            reply = unpack(head + self._exactly(n + m, end))
        except TimeoutError:
            raise self._gone(True) from None
        except OSError:
            raise self._gone(False) from None
        except ClassroomError as e:
            raise DiedError(str(e)) from None
        if not isinstance(reply, dict):
            raise DiedError("the results are not ours")
        return reply

    def _exactly(self, n: int, end: float) -> bytes:
        parts = bytearray()
        while len(parts) < n:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._wire.settimeout(left)
            part = self._wire.recv(min(n - len(parts), 1 << 20))
            if not part:
                raise ConnectionError
            parts += part
        return bytes(parts)

    def _gone(self, late: bool) -> DiedError:
        if late:
            total = time.monotonic() >= self._end
            return DiedError(
                "it used up the time of the whole submission" if total else "it did not stop in time", True
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        code = self._process.poll()
        code = None if code is None else code - 128 if code > 128 else -code if code < 0 else code + 1000
        if code in (signal.SIGXCPU, signal.SIGKILL):
            return DiedError(f"it used more than {self.limits.cpu_s} s of the processor, or was killed")
        said = self._said()
        return DiedError(f"it ended the process{': ' + said if said else ''}")

    def _said(self) -> str:
        stream = self._process.stderr
        if stream is None or stream.closed:
            return ""
        os.set_blocking(stream.fileno(), False)
        lines = [line for line in (stream.read(8192) or b"").decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def close(self) -> None:
        """Kill it and everything in it."""
        self._wire.close()
        with contextlib.suppress(ProcessLookupError):
            if self.trusted:
                self._ask_to_end()
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # what is inside dies with its parent
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        if self._room is not None:
            self._room.cleanup()

    def _ask_to_end(self, seconds: float = 1.0) -> None:
        """Give what measures the tests the time to write; what does not listen ends at once.

        It stays to be waited for, so that its number is nobody else's when its group is killed.
        """
        self._process.terminate()
        end = time.monotonic() + seconds
        while self._process.returncode is None and time.monotonic() < end:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(0.005)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
