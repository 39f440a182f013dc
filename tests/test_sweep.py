"""Many runs: a grid is checked before anything is trained, and ends complete whatever is killed meanwhile."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import workbench as wb
from workbench.errors import DataNotFoundError, WorkbenchError
from workbench.sweep import collect, read_grid
from workbench.train import Run

TINY = {"epochs": 1, "imgsz": 32, "batch": 4}


@pytest.fixture(scope="module")
def data() -> str:
    return str(wb.datasets.shapes(n_train=8, n_val=4, imgsz=64))


def grid(data: str, **changes) -> dict:
    return {"backbones": ["stock", "starnet_s050"], "seeds": [0], "data": [data], "preset": "fast",
            "settings": TINY, **changes}  # fmt: skip


def test_the_product_of_the_axes_each_under_a_name_of_its_own(data):
    jobs = read_grid(grid(data, hosts=["yolo11", "yolov8"], seeds=[0, 1])).jobs()
    assert len(jobs) == len({job.label for job in jobs}) == 8
    assert [job.arguments["seed"] for job in jobs] == [0] * 4 + [1] * 4  # each configuration once before any twice
    assert jobs[1].label == "yolo11n-starnet_s050-shapes-seed0"
    assert jobs[1].arguments["epochs"] == 1


WRONG = [
    ({"backbone": ["x"]}, "a grid has no 'backbone'; did you mean 'backbones'"),
    ({"backbones": ["starnet_s11"]}, "did you mean 'starnet_s1'"),
    ({"backbones": [5]}, "unknown backbone 5"),
    ({"preset": ["class"]}, r"no preset \['class'\]"),
    ({"hosts": ["yolo99"]}, "unknown host 'yolo99'"),
    ({"scales": ["q"]}, "scale 'q'"),
    ({"seeds": ["a"]}, "expected integers"),
    ({"seeds": []}, "the grid's seeds are empty"),
    ({"data": None}, "the grid's data are empty"),
    ({"preset": "clas"}, "did you mean 'class'"),
    ({"settings": [1]}, "expected a mapping"),
    ({"backbones": ["stock", None]}, "two runs of the grid would be yolo11n-shapes-seed0"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_wrong_grid_trains_nothing(data, change, says, tmp_path, bad_input):
    with pytest.raises(WorkbenchError, match=says) as caught:
        wb.sweep({**grid(data), **change}, tmp_path / "out", say=None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    bad_input("sweep", f"a grid with {next(iter(change))}: {next(iter(change.values()))!r}", caught.value)


def test_a_grid_file_that_is_none(tmp_path, bad_input):
    (tmp_path / "torn.yaml").write_text("backbones: [stock", encoding="utf-8")
    (tmp_path / "words.yaml").write_text("just words", encoding="utf-8")
    for name, says in (("torn", "not readable YAML"), ("words", "holds no mapping"), ("absent", "no grid at")):
        with pytest.raises(WorkbenchError, match=says) as caught:
            read_grid(tmp_path / f"{name}.yaml")
        bad_input("sweep", f"a grid file: {name}", caught.value)


def test_one_run_that_fails_does_not_stop_the_others(data, tmp_path):
    said: list[str] = []
    broken = tmp_path / "broken.yaml"
    broken.write_text("train: nowhere\nval: nowhere\nnames: {0: thing}\n", encoding="utf-8")
    with pytest.raises(WorkbenchError, match=r"1 of 2 runs failed; yolo11n-broken-seed0: .*nowhere"):
        wb.sweep({**grid(data, backbones=["stock"]), "data": [str(broken), data]}, tmp_path / "out", say=said.append)
    assert [row["status"] for row in collect(tmp_path / "out").rows] == ["finished"]
    assert any("failed" in line for line in said)


DRIVER = """
    import sys
    import workbench as wb
    if __name__ == "__main__":
        grid = {"backbones": ["stock", "starnet_s050"], "hosts": ["yolo11", "yolov8"], "seeds": [0, 1],
                "data": [sys.argv[1]], "preset": "fast", "settings": %r}
        print(wb.sweep(grid, sys.argv[2], jobs=2))
"""


def workers() -> list[int]:
    """Return the processes of sweeps that are alive."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout.splitlines()
    return [
        int(line.split()[0]) for line in listed if "workbench.sweep.worker" in line and str(os.getpid()) not in line
    ]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds and kills processes through /proc, as Linux has it")
@pytest.mark.long
def test_a_killed_worker_and_a_killed_driver_lose_nothing(data, tmp_path):
    """Eight runs; a worker is killed, then the driver; started again, each run stands once in the table, finished."""
    script = tmp_path / "driver.py"
    script.write_text(textwrap.dedent(DRIVER % TINY), encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, str(script), data, str(out)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    mine = _wait(lambda: [p for p in workers() if _runs_in(p, out)])
    os.kill(mine[0], signal.SIGKILL)
    _wait(lambda: sum('"finished"' in p.read_text() for p in out.glob("*/run.json")) >= 2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    _wait(lambda: not [p for p in workers() if _runs_in(p, out)])  # its workers die with it
    finished = {row["label"]: Run(out / row["label"]).record["finished"] for row in collect(out).finished()}
    assert 1 <= len(finished) < 8
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-2000:]
    assert f"{len(finished)} of 8 runs are finished already" in again.stdout
    assert "8 of 8 runs finished" in again.stdout
    with (out / "table.csv").open(encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == len({row["label"] for row in rows}) == 8
    assert {row["status"] for row in rows} == {"finished"}
    for label, when in finished.items():
        assert Run(out / label).record["finished"] == when, "a finished run was trained again"
    for label in (row["label"] for row in rows):
        assert [r["epoch"] for r in Run(out / label).curves] == [1]


def _wait(condition, limit_s: float = 120):
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


def _runs_in(pid: int, folder: Path) -> bool:
    try:
        return str(folder) in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.long
def test_on_ray_it_is_the_same_grid(data, tmp_path):
    pytest.importorskip("ray", reason="Ray comes with the extra cluster")
    table = wb.sweep(grid(data), tmp_path / "out", engine="ray", jobs=2, say=None)
    assert len(table.finished()) == 2
    assert wb.sweep(grid(data), tmp_path / "out", say=None).rows == table.rows


def test_the_table_says_what_is_noise_and_what_is_memory(data, tmp_path):
    table = wb.sweep(grid(data, seeds=[0, 1], backbones=["stock"]), tmp_path / "out", jobs=2, say=None)
    assert "two standard errors, 2 seeds" in str(table)
    assert "2 of 2 runs finished" in str(table)
    one = collect(tmp_path / "out", ["yolo11n-shapes-seed0", "yolo11n-shapes-seed9"])
    assert "one seed: its spread is unknown" in str(one)
    assert "yolo11n-shapes-seed9: waiting" in str(one)
    with pytest.raises(DataNotFoundError, match="holds no runs"):
        collect(tmp_path)


def test_a_worker_that_talks_does_not_fill_the_pipe_that_is_read_at_its_end(tmp_path):
    chatty = f"""
        import sys
        from workbench.errors import WorkbenchError
        from workbench.sweep import worker
        def finish(*_):
            print("a warning of some library " * 10_000)  # more than a pipe holds
            raise WorkbenchError("what went wrong")
        worker.finish, sys.argv = finish, ["worker", {str(tmp_path)!r}, "1"]
        sys.exit(worker.main())
    """
    command = [sys.executable, "-c", textwrap.dedent(chatty)]
    ran = subprocess.run(command, input='{"arguments": {}}', capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, "what went wrong\n")
    assert ran.stderr.count("a warning of some library") == 10_000


@pytest.mark.parametrize("arguments", [{"engine": "cloud"}, {"jobs": 0}])
def test_what_it_cannot_run_on(data, arguments, tmp_path):
    with pytest.raises(WorkbenchError, match="expected local or ray"):
        wb.sweep(grid(data), tmp_path / "out", **arguments)
