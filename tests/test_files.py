"""Every file the workbench writes appears whole or not at all: after an error, Ctrl-C, a kill, and among classmates."""

from __future__ import annotations

import ast
import dataclasses
import json
import linecache
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import workbench as wb
from workbench import measure
from workbench.backbones.notebook import save_class
from workbench.errors import WorkbenchError
from workbench.files import replace_bytes, replace_text, replacing, scratch, scratch_until_exit
from workbench.lesson import results
from workbench.measure.bench import save
from workbench.sweep.table import COLUMNS, Table
from workbench.train.run import write_curves
from workbench.train.watch import CheckpointPath
from workbench.yolo import surgery
from workbench.yolo.ready import write_ready

PACKAGE = Path(wb.__file__).parent


# --- the helper -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("plotting failed"), OSError(28, "No space left")])
@pytest.mark.parametrize("old", ["old", None])
def test_an_error_half_way_leaves_the_old_file_or_none(tmp_path, error, old):
    path = tmp_path / "table.csv"
    if old is not None:
        path.write_text(old)

    def write():
        with replacing(path) as part:
            part.write_text("half of the n")
            raise error

    expected = WorkbenchError if isinstance(error, OSError) else error if isinstance(error, type) else type(error)
    with pytest.raises(expected):
        write()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == ([("table.csv", old)] if old is not None else [])


def test_the_reader_never_sees_a_file_that_is_being_written(tmp_path):
    path = tmp_path / "a.json"
    replace_text(path, "1")
    with replacing(path) as part:
        part.write_text("2")
        assert path.read_text() == "1"
        assert (part.parent, part.suffix) == (path.parent, ".json")
    assert path.read_text() == "2"


def test_permissions_and_links_stay(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    replace_text(link, "new")
    assert (link.is_symlink(), real.read_text(), stat.S_IMODE(real.stat().st_mode)) == (True, "new", 0o640)
    replace_text(tmp_path / "fresh.txt", "x")
    assert stat.S_IMODE((tmp_path / "fresh.txt").stat().st_mode) == 0o644  # the whole class reads it


def test_line_ends_are_the_same_on_every_system(tmp_path):
    replace_text(tmp_path / "a", "é\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(
        WorkbenchError, match=r"cannot write .*none/a\.txt \(No such file.*nothing was changed"
    ) as error:
        replace_text(tmp_path / "none" / "a.txt", "x")
    assert "\n" not in str(error.value)


KILLED = """
import sys, os, signal
from pathlib import Path
from workbench.files import replacing
with replacing(sys.argv[1]) as part:
    with part.open("wb") as f:
        f.write(b"half")
        f.flush()
        os.fsync(f.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_half_way_leaves_the_old_file_and_the_next_write_works(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert path.read_bytes() == b"old"
    replace_bytes(path, b"new")
    assert path.read_bytes() == b"new"


# --- every writer goes through it -----------------------------------------------------------------------------------

# what may write by itself, because nobody reads it before it is whole or because it only grows
ALONE = {
    "files.py": "the helper itself",
    "datasets/shapes.py": "inside a folder that build_once renames when it is complete",
    "datasets/coco128.py": "the same, and a download inside a temporary folder",
    "datasets/cache.py": "build_once",
    "measure/child.py": "a private temporary folder of parent and child",
    "panels/_maps.py": "an upload in a private temporary folder",
    "panels/training.py": "the log of a child, which grows",
    "sweep/driver.py": "the log of a worker, which grows",
    "train/watch.py": "CheckpointPath, which overrides write_bytes with the helper",
    "lesson/results.py": "an empty lock file",
    "classroom/course.py": "the same",
    "classroom/collect.py": "inside a staging folder of one call",
    "classroom/handin.py": "inside a folder that is renamed when it is complete",
    "classroom/pool.py": "a private temporary folder of one task",
    "classroom/sandbox.py": "the same, of one submission",
}
WRITERS = {"write_text", "write_bytes", "savefig", "write_parquet", "to_csv", "copyfile", "copy", "copy2", "save_file"}


def writes(path: Path) -> list[str]:
    """Return the calls in a source that write a file under its final name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        given = ast.unparse(node.args[0]) if node.args else ""
        mode = [a.value for a in [*node.args, *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)]
        if name == "open" and any(
            isinstance(m, str) and set(m) & set("wax") and set(m) <= set("rwaxbt+") for m in mode
        ):
            target = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else given
        elif name in WRITERS and not (name in ("copy", "copy2") and not given.endswith("path")):
            target = given if name in ("savefig", "write_parquet", "save_file") else ast.unparse(node.func)
        else:
            continue
        if target.split(".")[0] not in ("part", "buffer", "self") and "to_csv" not in target:
            found.append(f"line {node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_no_other_place_writes_a_file_under_its_final_name():
    stray = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in ALONE and (found := writes(path)):
            stray[name] = found
    assert not stray, "use workbench.files.replace_text, replace_bytes or replacing"
    assert all((PACKAGE / name).is_file() for name in ALONE), "a row for a file that is gone"


def test_the_search_finds_what_it_looks_for(tmp_path):
    source = tmp_path / "a.py"
    source.write_text(
        "def f(path, part, buffer, figure):\n    path.write_text('x')\n    open(path, 'w')\n    path.open('ab')\n"
        "    figure.savefig(path)\n    figure.savefig(part)\n    part.open('w')\n    path.open(newline='')\n"
        "    open(path, mode='wb')\n    path.open(encoding='utf-8')\n"
    )
    assert [int(w.split(":")[0][5:]) for w in writes(source)] == [2, 3, 4, 5, 9]


def result() -> measure.Latency:
    """Two candidates as a measurement would return them."""
    sample = measure.stats.Sample(0, 1e-3, 1e-3, 1, 0.0)
    return measure.Latency({"a": [sample], "b": [dataclasses.replace(sample, wall_s=2e-3)]}, {"threads": 1}, "a")


def fork(folder: Path) -> Path:
    root = folder / "fork"
    if not root.exists():
        (root / "ultralytics" / "nn").mkdir(parents=True)
        (root / "ultralytics/__init__.py").write_text(f'__version__ = "{surgery.KNOWN_VERSIONS[0]}"\n')
        source = surgery.files.installed_package() / "nn/tasks.py"
        (root / "ultralytics/nn/tasks.py").write_bytes(source.read_bytes())
    return root


def record(_: Path) -> None:
    results.record({"backbone": "starnet_s1", "params": 1, "lesson": "01"})


def notebook_class(folder: Path) -> None:
    """A class as a notebook's cell leaves it: its source is known, and no module holds it."""
    source = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x\n"
    cell, main_ = f"<cell {folder}>", sys.modules["__main__"]
    linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
    exec(compile(source, cell, "exec"), main_.__dict__)
    save_class(main_.Net, folder / "net_atomic.py")


WRITERS_OF_OURS = {
    "latency as CSV and JSON": lambda t: result().save(t / "r.csv"),
    "latency as Parquet": lambda t: result().save(t / "r.parquet"),
    "rows of a bench": lambda t: save(t / "bench", [{"run": 1, "x": 1.0}], 1, {}, "make bench"),
    "curves of a run": lambda t: write_curves([{"epoch": 1, "map50": 0.5}], t / "curves.csv"),
    "table of a sweep": lambda t: Table([dict.fromkeys(COLUMNS, "x") | {"status": "waiting"}]).save(t),
    "ready YAML": write_ready,
    "surgery on a fork": lambda t: surgery.apply(fork(t)),
    "copy of tasks.py": lambda t: surgery.copy_tasks(t, "tasks_atomic"),
    "class of a notebook": notebook_class,
    "comparison table": record,
    "checkpoint": lambda t: CheckpointPath(t / "best.pt").write_bytes(b"weights"),
}


@pytest.mark.parametrize("write", WRITERS_OF_OURS.values(), ids=WRITERS_OF_OURS)
def test_each_writer_leaves_nothing_when_the_disk_is_full(tmp_path, monkeypatch, write):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys.modules["__main__"], "Net", None, raising=False)
    fork(tmp_path)
    results.path()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(WorkbenchError, match="No space left on device") as error:
            write(tmp_path)
    assert "\n" not in str(error.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"} == before
    write(tmp_path)
    assert len([p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]) > len(before) or (
        {p: p.read_bytes() for p in before} != before
    )


# --- a whole class on one home --------------------------------------------------------------------------------------

CLASSMATE = """
import json, sys, time
from pathlib import Path
from workbench import datasets
from workbench.lesson import results
from workbench.files import replace_text
me, go = sys.argv[1], Path(sys.argv[2])
while not go.exists():
    time.sleep(0.002)
yaml = datasets.shapes(n_train=6, n_val=2, imgsz=64)
whole = [len(list((yaml.parent / part).iterdir())) for part in ("images/train", "images/val", "labels/train")]
copies = datasets.coco128(download=False) if sys.argv[3] else None
for turn in range(5):
    results.record({"backbone": f"student-{me}", "params": turn, "lesson": "01"})
    replace_text(go.parent / "shared.txt", me * 50_000)
    seen = (go.parent / "shared.txt").read_text()
    assert len(seen) == 50_000 and len(set(seen)) == 1, "a mixture of two files"
print(json.dumps({"yaml": str(yaml), "whole": whole, "coco": str(copies)}))
"""


def test_four_classmates_share_one_home(tmp_path):
    """Four processes build the same set, copy the same photos, write the same table: nothing is lost, torn or left."""
    cache, go, data = tmp_path / "home", tmp_path / "go", os.environ.get("WORKBENCH_DATA", "")
    data = data if data and (Path(data) / "coco128").is_dir() else ""
    env = os.environ | {"WORKBENCH_CACHE": str(cache)}
    command = [sys.executable, "-c", CLASSMATE]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    mates = [subprocess.Popen([*command, me, str(go), data], **pipes) for me in "abcd"]
    go.touch()
    ended = [(*mate.communicate(timeout=120), mate.returncode) for mate in mates]
    assert [code for *_, code in ended] == [0] * 4, ended
    said = [json.loads(out) for out, *_ in ended]
    assert all(s == said[0] for s in said)
    assert said[0]["whole"] == [6, 2, 6]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE", str(cache))
        assert [(r["backbone"], r["params"]) for r in results.table()] == [(f"student-{me}", 4) for me in "abcd"]
    expected = {"comparison.csv", "comparison.lock", Path(said[0]["yaml"]).parent.name}
    expected |= {Path(said[0]["coco"]).parent.name} if data else set()
    assert {p.name for p in cache.iterdir()} == expected


# --- scratch folders ------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from workbench.files import scratch_until_exit
folder = scratch_until_exit("held")
(folder / "deep").mkdir()
(folder / "deep" / "model.pt").write_bytes(b"x")
print(folder, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
if sys.argv[1] == "fork":
    import os
    if os.fork() == 0:
        sys.exit(0)  # with the exit handlers that it has inherited
    os.wait()
    print(folder.is_dir(), flush=True)
"""
unix = pytest.mark.skipif(os.name == "nt", reason="no flock on Windows: folders go with their process only")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A temporary folder of the system that nobody else uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holder(how: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, how], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["end", pytest.param("fork", marks=unix)])
def test_a_scratch_folder_goes_with_its_process(room, how):
    with holder(how) as process:
        folder, *rest = process.stdout.read().splitlines()
    assert folder.startswith(f"{room}/workbench-held-")
    assert rest == (["True"] if how == "fork" else []), "a forked child that ends takes nothing with it"
    assert process.returncode == 0
    assert not list(room.iterdir())


@unix
def test_what_a_killed_process_leaves_goes_at_the_next_start(room):
    others = room / "workbench-held-of-somebody", room / "held.scratch", room / "workbench-link.scratch"
    others[0].mkdir()
    others[1].mkdir()
    (room / "kept").mkdir()
    others[2].symlink_to(room / "kept")
    with holder("wait") as process:
        folder = Path(process.stdout.readline().strip())
        try:
            with scratch("other") as mine:
                assert folder.is_dir(), "its process lives"
                assert mine.is_dir()
            assert not mine.exists()
        finally:
            process.kill()
    assert (folder / "deep" / "model.pt").is_file(), "nobody could remove it"
    with scratch("other"):
        assert not folder.parent.exists()
    assert all(p.exists() for p in others), "not a folder of this kind: not ours to remove"


@unix
def test_another_users_folder_stays(room, monkeypatch):
    left = room / "workbench-held-x.scratch"
    left.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: left.stat().st_uid + 1)
    with scratch("other"):
        assert left.is_dir()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    with scratch("other"):
        assert not left.exists()


def test_an_error_takes_the_folder_with_it(room):
    def fail():
        with scratch("other") as folder:
            (folder / "a").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(room.iterdir())


@unix
def test_a_swept_folder_is_made_again(room, monkeypatch):
    """Between its making and its locking another process may take it for a dead one's."""
    made = tempfile.mkdtemp
    swept = []

    def make(**names):
        folder = made(**names)
        if not swept:
            swept.append(folder)
            os.rmdir(folder)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    with scratch("other") as folder:
        assert folder.is_dir()
        assert str(folder) != swept[0]


@unix
def test_where_there_are_no_locks_nothing_is_swept(room, monkeypatch):
    import fcntl

    left = room / "workbench-held-x.scratch"
    left.mkdir()

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch("other") as folder:
        assert folder.is_dir()
    assert left.is_dir()
    assert not folder.exists()


def test_until_exit_gives_a_folder_of_ones_own(room):
    folders = {scratch_until_exit("mine") for _ in range(3)}
    assert len(folders) == 3
    (parent,) = {p.parent for p in folders}
    assert parent.parent == room
    assert all(p.is_dir() and p.name.startswith("mine-") for p in folders)
    shutil.rmtree(parent)
    assert scratch_until_exit("mine").is_dir(), "whoever empties the temporary folder breaks nothing"
