"""What bubblewrap is asked for: what is seen inside the sandbox, and how much of everything there is."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .course import ClassroomError
from .seccomp import program

HOME = "/home/student"
PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        cell_s, call_s, start_s, wall_s: of a cell, a call of a function, the start, and all of it.
        cpu_s, memory_bytes, file_bytes, disk_bytes, processes, files: of its process.
        output_bytes, reply_bytes: of a cell's text, and of one answer.
        threads: of torch and BLAS.
    """

    cell_s: float = 30.0
    call_s: float = 20.0
    start_s: float = 120.0
    wall_s: float = 400.0
    cpu_s: int = 300
    memory_bytes: int = 4 * 2**30
    file_bytes: int = 64 * 2**20
    disk_bytes: int = 128 * 2**20
    processes: int = 200
    files: int = 256
    output_bytes: int = 64 * 1024
    reply_bytes: int = 64 * 2**20
    threads: int = 1

    def to_json(self) -> str:
        """Return what the inside needs of it."""
        rlimits = {
            "RLIMIT_AS": self.memory_bytes, "RLIMIT_CPU": self.cpu_s, "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.files, "RLIMIT_CORE": 0,
        }  # fmt: skip
        if _counts_processes_per_sandbox():
            rlimits["RLIMIT_NPROC"] = self.processes
        inner = {"cell_s": self.cell_s, "call_s": self.call_s, "output_bytes": self.output_bytes}
        return json.dumps(inner | {"rlimits": rlimits})


def _counts_processes_per_sandbox() -> bool:
    """Linux 5.14 counts a user's processes per user namespace; before, the instructor's own would count."""
    found = platform.release().split(".")
    return sys.platform == "linux" and tuple(int("".join(filter(str.isdigit, n)) or 0) for n in found[:2]) >= (5, 14)


@functools.cache
def problem() -> str:
    """Return why there can be no sandbox on this machine; "" where there can."""
    tool = shutil.which("bwrap")
    if tool is None:
        return "bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)"
    command = [tool, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"bubblewrap does not run here ({type(e).__name__})"
    return "" if found.returncode == 0 else f"bubblewrap does not work here ({found.stderr.strip()[:120]})"


def require(trusted: bool) -> None:
    """Refuse where there is no sandbox.

    Raises:
        ClassroomError: there is none, and the code is not trusted.
    """
    if not trusted and (why := problem()):
        raise ClassroomError(
            f"{why}; submissions run only in a sandbox, unless you trust them in so many words: --trusted"
        )


def walls(files: Sequence[Path], hide: Path | None, limits: Limits) -> tuple[list[str], list[int]]:
    """Return the command in front of Python, and the file descriptors it reads.

    Its arguments stand in one of these: a command line can be read inside, and would name the course.
    """
    fds = [_pipe(b"student:x:1000:1000:student:/home/student:/bin/sh\n"), _pipe(b"student:x:1000:\n")]
    command = [
        "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox",
    ]  # fmt: skip
    for name, value in environment(limits, HOME).items():
        command += ["--setenv", name, value]
    command += ["--ro-bind-data", str(fds[0]), "/etc/passwd", "--ro-bind-data", str(fds[1]), "/etc/group"]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(4 * 2**20), "--tmpfs", "/dev/shm"]
    for folder in ("/tmp", HOME):
        command += ["--size", str(limits.disk_bytes // 2), "--tmpfs", folder]
    command += _system(hide)  # after these: the workbench itself may have been installed in one of them
    command += ["--dir", f"{HOME}/desk"]
    for file in files:
        fds.append(os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)))
        command += ["--ro-bind-data", str(fds[-1]), f"{HOME}/desk/{file.name}"]  # a copy: a mount would say from where
    command += ["--chdir", f"{HOME}/desk", "--remount-ro", "/dev", "--remount-ro", "/"]
    filter_ = program()
    if filter_ is not None:
        fds.append(_pipe(filter_))
        command += ["--seccomp", str(fds[-1])]
    fds.append(_pipe(b"".join(os.fsencode(a) + b"\0" for a in command)))
    return [shutil.which("bwrap") or "bwrap", "--args", str(fds[-1])], fds


def _system(hide: Path | None) -> list[str]:
    """Return the binds, outer folders first; what must not be seen is covered where a bind would show it."""
    shown = {Path(p) for p in ("/usr", "/sys/devices/system/cpu", "/etc/ld.so.cache", "/etc/localtime", "/etc/fonts")}
    shown |= {Path("/etc/alternatives")} | {Path(sys.prefix), Path(sys.base_prefix), PACKAGE, PACKAGE.parent / "data"}
    shown |= {Path(sys.executable).resolve().parents[1]}
    shown = {p for p in shown if p.exists() and len(p.parts) > 1}
    covered = {p for p in (hide, PACKAGE.parent / "assignments") if p and any(p.is_relative_to(s) for s in shown)}
    steps: list[str] = []
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        link = Path("/", name)
        if link.is_symlink():
            steps += ["--symlink", os.readlink(link), str(link)]
        elif link.is_dir():
            steps += ["--ro-bind", str(link), str(link)]
    for path in sorted(shown | covered, key=lambda p: (len(p.parts), str(p))):
        steps += ["--tmpfs", str(path)] if path in covered else ["--ro-bind", str(path), str(path)]
    return steps


def environment(limits: Limits, home: str | None) -> dict[str, str]:
    """Return the variables inside; of the instructor's own none is passed on."""
    threads = str(limits.threads)
    env = {"PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {f"{n}_NUM_THREADS": threads for n in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    env |= {"YOLO_OFFLINE": "true", "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    env |= {"PYTHONPATH": str(PACKAGE.parent), "WORKBENCH_BUDGET": "fast"}
    if home:
        return env | {"HOME": home, "USER": "student", "LOGNAME": "student", "TMPDIR": "/tmp"}
    return dict(os.environ) | env


def _pipe(data: bytes) -> int:
    """Return the end to read of a pipe that holds `data`, which is less than a pipe holds."""
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read
