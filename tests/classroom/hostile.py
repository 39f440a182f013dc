"""Submissions that try something: what a student hands in, what it earns, and what is said about it."""

# ruff: noqa: E501, SIM223

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

ASSIGNMENTS = Path(__file__).resolve().parents[2] / "assignments"
SOLUTION = re.compile(r"( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.S)
NAME = "a1"
POINTS = {
    "conv-macs-test": 2, "numbers-moved-test": 1, "intensity-test": 1, "pconv-cost-test": 2,
    "pconv-test": 2, "block-test": 3, "roofline-test": 2, "widest-test": 2,
}  # fmt: skip
NONE = dict.fromkeys(POINTS, 0)


@dataclass(frozen=True)
class Case:
    """What is handed in; what its questions earn where that is not full marks; what record or notebook say."""

    make: Callable[[Path, dict[str, str]], None]
    earns: dict[str, float] = field(default_factory=dict)
    said: str = ""
    shown: str = ""
    hidden: tuple[str, ...] = ()


def book(name: str = NAME) -> Any:
    """Return a fully solved notebook."""
    return nbformat.read(ASSIGNMENTS / name / f"{name}.ipynb", as_version=4)


def as_released(name: str) -> Any:
    """An assignment as a student has it: nothing of the hidden tests."""
    found = book(name)
    for cell in found.cells:
        cell.source = re.sub("### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.S)
    return found


def write(folder: Path, notebook: Any, name: str = f"{NAME}.ipynb") -> None:
    (folder / name).write_text(nbformat.writes(nbformat.from_dict(notebook)), encoding="utf-8")


def unsolved(folder: Path, _: dict[str, str]) -> None:
    found = book()
    for cell in found.cells:
        cell.source = SOLUTION.sub(r"\1raise NotImplementedError()", cell.source)
    write(folder, found)


def extra(source: str, at: int = 3) -> Callable[[Path, dict[str, str]], None]:
    """Everything solved, and one more cell; ``{course}`` and other places are filled in."""

    def make(folder: Path, places: dict[str, str]) -> None:
        found = book()
        text = source
        for key, value in places.items():
            text = text.replace("{" + key + "}", value)
        found.cells.insert(at, v4.new_code_cell(text))
        write(folder, found)

    return make


def answer(cell_id: str, source: str) -> Callable[[Path, dict[str, str]], None]:
    """Everything solved but one cell."""

    def make(folder: Path, _: dict[str, str]) -> None:
        found = book()
        next(c for c in found.cells if c.id == cell_id).source = source
        write(folder, found)

    return make


def changed(change: Callable[[Any], Any]) -> Callable[[Path, dict[str, str]], None]:
    def make(folder: Path, _: dict[str, str]) -> None:
        found = book()
        write(folder, change(found) or found)

    return make


def raw(data: bytes, name: str = f"{NAME}.ipynb") -> Callable[[Path, dict[str, str]], None]:
    return lambda folder, _: (folder / name).write_bytes(data) and None


def _tests_away(found: Any) -> None:
    found.cells = [c for c in found.cells if not c.metadata.get("nbgrader", {}).get("grade") or c.cell_type != "code"]


def _easy_tests(found: Any) -> None:
    for cell in found.cells:
        if cell.id.endswith("-test"):
            cell.source = "assert True"
        if cell.id == "roofline-answer":
            cell.source = "def roofline_ms(*a):\n    return 1.0"


def _other_metadata(found: Any) -> None:
    for cell in found.cells:
        if cell.id.endswith("-test"):
            cell.metadata["nbgrader"] |= {"points": 1000, "locked": False, "solution": True}
        if cell.id == "pconv-answer":
            cell.metadata["nbgrader"] = ["what", {"is": "this"}]
        if cell.id == "block-answer":
            cell.metadata["nbgrader"]["grade_id"] = "conv-macs-test"
        if cell.id == "roofline-answer":
            del cell.metadata["nbgrader"]


def _twice(found: Any) -> None:
    found.cells += copy.deepcopy(found.cells[2:9])
    for i, cell in enumerate(found.cells):
        cell["id"] = f"cell-{i}"


def _large(folder: Path, _: dict[str, str]) -> None:
    found = book()
    found.cells[2]["outputs"] = [v4.new_output("stream", name="stdout", text="x" * (50 * 2**20))]
    write(folder, found)


def _deep(folder: Path, _: dict[str, str]) -> None:
    text = nbformat.writes(book())
    text = text.replace('"metadata": {', '"metadata": {"deep": ' + "[" * 50_000 + "]" * 50_000 + ", ", 1)
    (folder / f"{NAME}.ipynb").write_text(text)


def _link(folder: Path, places: dict[str, str]) -> None:
    (folder / f"{NAME}.ipynb").symlink_to(Path(places["course"]) / "source" / NAME / f"{NAME}.ipynb")


def _fifo(folder: Path, _: dict[str, str]) -> None:
    os.mkfifo(folder / f"{NAME}.ipynb")


def _with_a_file(folder: Path, places: dict[str, str]) -> None:
    (folder / "measured.csv").write_text("1,2\n")
    extra(COMMAND_LINE)(folder, places)


COMMAND_LINE = """
import glob
print(open("measured.csv").read())
for path in sorted(glob.glob("/proc/[0-9]*/cmdline")):
    print(path, open(path).read().replace(chr(0), " "))
print(open("/proc/self/mountinfo").read())
try:
    open("measured.csv", "w")
    print("WRITTEN")
except OSError:
    pass
"""
ALWAYS_EQUAL = """
class Yes(float):
    __eq__ = __ge__ = __le__ = __gt__ = __lt__ = lambda self, other: True
    __hash__ = None
    __sub__ = __rsub__ = __abs__ = lambda self, *other: self
    __instancecheck__ = lambda *a: True
def roofline_ms(*a):
    return Yes()
"""
STRIP_ASSERTS = """
import ast
class Strip(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(Strip())
"""
PATCH_TORCH = """
for name in ("allclose", "equal", "isclose", "isfinite"):
    setattr(torch, name, lambda *a, **k: True)
torch.Tensor.__eq__ = lambda *a: True
math.isclose = lambda *a, **k: True
import builtins
builtins.abs = lambda x: 0
"""
SWALLOW = """
import signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
WRITE = """
import os
wrote = []
for place in {places}:
    for path in (os.path.join(place, "{marker}"), os.path.join(place, "gradebook.db"), os.path.join(place, "marks.json")):
        try:
            os.makedirs(place, exist_ok=True)
            with open(path, "w") as f:
                f.write("{marker}")
            wrote.append(path)
        except OSError:
            pass
"""
FIND_SOURCE = """
import os
found = []
for top in ("/", os.path.expanduser("~"), "{course}", os.path.dirname("{course}")):
    for folder, folders, files in os.walk(top):
        if folder.startswith(("/proc", "/usr", "/sys")) or "site-packages" in folder or "workbench/" in folder:
            folders[:] = []
            continue
        for name in files:
            if name in ("answers.py", "wrong.py", "gradebook.db", "marks.json") or name.endswith(".ipynb"):
                found.append(os.path.join(folder, name))
print("FOUND", len(found), found[:3])
try:
    import answers
except ImportError:
    print("NO ANSWERS")
"""
LOOK_AROUND = """
import glob, os
said = [open(p, "rb").read() for p in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline")
        if os.access(p, os.R_OK)]
print("PROCESSES", len(glob.glob("/proc/[0-9]*")) < 5)
print(said, dict(os.environ), os.listdir("/root") if os.path.isdir("/root") else "")
for path in ("{secret}", "/etc/shadow", os.path.expanduser("~root/.ssh/id_rsa"), "/proc/1/root{secret}"):
    try:
        print(open(path).read())
    except OSError as e:
        print("NO", type(e).__name__)
"""
NETWORK = """
import socket, urllib.request
for target in (("127.0.0.1", {port}), ("1.1.1.1", 53), ("localhost", 22)):
    try:
        socket.create_connection(target, timeout=1)
        print("CONNECTED", target)
    except OSError as e:
        print("NO NETWORK", type(e).__name__)
try:
    socket.socket(40, socket.SOCK_STREAM)
    print("CONNECTED vsock")
except OSError:
    pass
"""
PROCESSES = """
import os, subprocess, multiprocessing, threading
for start in (lambda: subprocess.Popen(["sleep", "{nap}"]), os.fork, lambda: os.posix_spawn("/bin/sleep", ["sleep", "{nap}"], {}),
              lambda: os.system("sleep {nap} &") and 1 / 0, lambda: multiprocessing.Process(target=print).start()):
    try:
        start()
        print("STARTED")
    except (OSError, ZeroDivisionError) as e:
        print("NO PROCESS", type(e).__name__)
"""
FORK_BOMB = """
import os
n = 0
while True:
    try:
        if os.fork() == 0:
            n = 0
    except OSError:
        n += 1
        if n > 1000:
            break
"""
KILL = """
import os, signal
for pid in (os.getppid(), 1, -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
THREADS = """
import threading, time
many = []
try:
    while len(many) < 20_000:
        t = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
        t.start()
        many.append(t)
except (RuntimeError, MemoryError):
    print("NO MORE THREADS")
"""
DISK = """
try:
    for i in range(100_000):
        with open(f"/tmp/{i}", "wb") as f:
            f.write(b"0" * 2**20)
except OSError as e:
    print("FULL", e)
import shutil
"""
SOCKET = """
import os, socket, stat
for fd in range(3, 64):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, b"\\xff" * 64)
    except OSError:
        pass
"""
FORGE = """
import sys
inside = sys.modules["__main__"]
for module in list(sys.modules.values()):
    if getattr(module, "Player", None) and "classroom" in str(getattr(module, "__file__", "")):
        inside = module
import gc
for thing in gc.get_objects():
    if type(thing).__name__ == "Player":
        type(thing).call = lambda self, name, arguments: {"result": {"fraction": 1.0, "points": 1000}}
"""
PICKLE = """
import os
class Gadget:
    def __reduce__(self):
        return os.system, ("touch {marker}",)
    def __deepcopy__(self, memo):
        return self
    def __class_getitem__(cls, item):
        return cls
def roofline_ms(*a):
    return Gadget()
"""
NESTED = """
def widest_block(*a):
    x = []
    for _ in range(100_000):
        x = [x]
    return x
"""
LINE = "print('x' * 100_000_000)"
LINES = "for i in range(10_000_000):\n    print('all work and no play')"
FLOOD = "import os\nfor i in range(1000):\n    os.write(1, b'x' * 100_000)\n    os.write(2, b'x' * 100_000)"
LIMITS = """
import resource
for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_FSIZE"):
    try:
        resource.setrlimit(getattr(resource, name), (-1, -1))
        print("RAISED", name)
    except (OSError, ValueError):
        print("NOT RAISED")
"""
MOUNT = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("UNSHARE", libc.unshare(0x10000000), "MOUNT", libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
      "PTRACE", libc.ptrace(16, 1, 0, 0), "CHROOT", libc.chroot(b"/tmp"))
"""

CASES = {
    "blank": Case(unsolved, NONE, "left out"),
    "syntax error": Case(answer("roofline-answer", "def roofline_ms(:\n"), {"roofline-test": 0}, "there is no roofline_ms"),
    "sys.exit": Case(extra("import sys\nsys.exit(0)")),
    "endless loop in a cell": Case(extra("while True:\n    pass"), shown="stopped after"),
    "endless loop in a function": Case(
        answer("roofline-answer", "def roofline_ms(*a):\n    while True:\n        pass"), {"roofline-test": 0}, "stopped after"),
    "loop that swallows interrupts": Case(extra(SWALLOW), said="was left out"),
    "os._exit in a cell": Case(extra("import os\nos._exit(0)"), said="number 4 was left out: it ended the process"),
    "os._exit in a function": Case(
        answer("roofline-answer", "import os\ndef roofline_ms(*a):\n    os._exit(3)"),
        {"roofline-test": 0, "widest-test": 2}, "ended the process"),
    "segmentation fault": Case(extra("import ctypes\nctypes.string_at(0)"), said="was left out"),
    "100 MB in lines": Case(extra(LINES.replace("10_000_000", "1_000_000")), shown="more bytes were left out"),
    "100 MB in one line": Case(extra(LINE), shown="more bytes were left out"),
    "flood past Python": Case(extra(FLOOD)),
    "edited tests": Case(changed(_easy_tests), {"roofline-test": 0}, "roofline_ms("),
    "deleted tests": Case(changed(_tests_away)),
    "edited metadata": Case(changed(_other_metadata), {"block-test": 0}),  # its answer now says it is a test
    "copied cells": Case(changed(_twice)),
    "writes everywhere": Case(extra(WRITE)),
    "looks for the source": Case(extra(FIND_SOURCE), shown="NO ANSWERS", hidden=("FOUND [1-9]",)),
    "reads proc, environment, home": Case(
        extra(LOOK_AROUND), shown="PROCESSES True", hidden=("SECRET-[A-Z]", "root:", "PRIVATE KEY", "PROCESSES False")),
    "reads the command line around it": Case(
        _with_a_file, shown="bwrap", hidden=("submitted", "autograded", "--bind", "--ro-bind", "WRITTEN")),
    "network": Case(extra(NETWORK), shown="NO NETWORK", hidden=("CONNECTED",)),
    "background processes": Case(extra(PROCESSES), shown="NO PROCESS", hidden=("STARTED",)),
    "fork bomb": Case(extra(FORK_BOMB)),
    "thread bomb": Case(extra(THREADS), {"block-test": None}, shown="NO MORE THREADS"),  # no thread is left for it, or one
    "memory bomb": Case(extra("x = []\nwhile True:\n    x.append(bytearray(2**26))"), shown="MemoryError"),
    "memory bomb in a function": Case(
        answer("pconv-answer", "def pconv(x, weight):\n    return bytearray(2**40)"), {"pconv-test": 0}, "MemoryError"),
    "disk filler": Case(extra(DISK), shown="No space left on device"),
    "kills whom it can": Case(extra(KILL)),
    "becomes another program": Case(extra('import os\nos.execv("/bin/sleep", ["sleep", "{nap}"])'), said="was left out"),
    "raises its limits": Case(extra(LIMITS), shown="NOT RAISED", hidden=("^RAISED",)),
    "namespaces and mounts": Case(extra(MOUNT), shown="UNSHARE -1 MOUNT -1 PTRACE -1 CHROOT -1"),
    "strips asserts": Case(
        lambda f, p: (extra(STRIP_ASSERTS)(f, p), _wrong_too(f)) and None, {"roofline-test": 0}, "expected"),
    "patched torch": Case(
        lambda f, p: (extra(PATCH_TORCH)(f, p), _wrong_too(f)) and None, {"roofline-test": 0}, "expected"),
    "equal to everything": Case(answer("roofline-answer", ALWAYS_EQUAL), {"roofline-test": 0}, "expected a number, came Yes"),
    "a pickle that runs": Case(answer("roofline-answer", PICKLE), {"roofline-test": 0}, "expected a number, came Gadget"),
    "monstrous number": Case(
        answer("conv-macs-answer", "def conv_macs(*a):\n    return 10 ** 4200"), {"conv-macs-test": 0, "widest-test": None}, ""),  # which calls it
    "not a number": Case(
        answer("roofline-answer", 'def roofline_ms(*a):\n    return float("nan")'), {"roofline-test": 0}, ""),
    "monstrous tensor": Case(
        answer("pconv-answer", "def pconv(x, weight):\n    return torch.zeros(1).expand(10**6, 1000)"),
        {"pconv-test": 0}, ""),
    "nested without end": Case(answer("widest-answer", NESTED), {"widest-test": 0}, ""),
    "writes into the socket": Case(extra(SOCKET), said="was left out"),
    "forges results": Case(extra(FORGE), NONE, "expected"),
    "renamed": Case(lambda folder, _: write(folder, book(), "Untitled1 (final) 2.ipynb")),
    "two notebooks": Case(
        lambda folder, _: (write(folder, book(), "x.ipynb"), write(folder, book(), "y.ipynb")) and None, NONE, "several"),
    "no notebook": Case(raw(b"hello", "essay.txt"), NONE, "no notebook was handed in, expected a1.ipynb"),
    "invalid JSON": Case(raw(b'{"cells": [ {"cell_type": '), NONE, "is no notebook"),
    "JSON of something else": Case(raw(json.dumps({"cells": [1, None, {"cell_type": []}]}).encode()), NONE, "notebook"),
    "empty file": Case(raw(b""), NONE, "is empty"),
    "not UTF-8": Case(raw(b'{"cells": "\xff\xfe\xfa"}'), NONE, "not UTF-8"),
    "50 MB": Case(_large, NONE, "50.1 MB; at most 20 MB"),
    "nested deeply": Case(_deep, NONE, "is no notebook"),
    "wrong assignment": Case(lambda folder, _: write(folder, as_released("a2")), NONE, "there is no conv_macs"),
    "link to the source": Case(_link, NONE, "is no regular file"),
    "a pipe": Case(_fifo, NONE, "is no regular file"),
}  # fmt: skip


def _wrong_too(folder: Path) -> bool:
    """Make one answer of a written notebook wrong."""
    path = folder / f"{NAME}.ipynb"
    found = nbformat.read(path, as_version=4)
    next(c for c in found.cells if c.id == "roofline-answer").source = "def roofline_ms(*a):\n    return 1.0"
    write(folder, found)
    return True
