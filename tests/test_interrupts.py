"""Ctrl-C, really sent: every long command ends with one line, and leaves a state that the next one goes on from."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import workbench as wb
from workbench.sweep import collect
from workbench.sweep.worker import finish
from workbench.train import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a console, not to a process")

TINY = {"imgsz": 32, "batch": 4}
NOTHING = "workbench: interrupted; nothing is left half done, give it again\n"
LIMIT_S = 120


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("interrupts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CACHE", str(root / "cache"))
        patch.setenv("YOLO_CONFIG_DIR", str(root / "config"))
        yield wb.datasets.shapes(n_train=8, n_val=4, imgsz=64)


def interrupt(arguments: list[str], when: Callable[[str], object], folder: Path, **env: str) -> tuple[int, str, str]:
    """Start ``workbench …`` as in a terminal, send it Ctrl-C once `when` holds of what it said so far.

    Returns:
        The exit code, standard output, and what stood in the terminal beside it.
    """
    out, (master, slave) = folder / "stdout.txt", os.openpty()
    os.set_blocking(master, False)
    with out.open("w") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *arguments], stdout=stdout, stderr=slave, cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | env, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a job in the background
        )  # fmt: skip
    os.close(slave)
    err = ""
    try:
        end = time.monotonic() + LIMIT_S
        while not when(out.read_text() + err):
            assert process.poll() is None, f"it ended before it was interrupted: {out.read_text()}{err}"
            assert time.monotonic() < end, f"it never came to where it is interrupted: {out.read_text()}{err}"
            time.sleep(0.02)
            err += _read(master)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        err += _read(master)
        os.close(master)
    return process.returncode, out.read_text(), err.replace("\r\n", "\n")


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 1 << 16).decode()
    except OSError:  # nothing there, or nobody at the other end
        return ""


def one_line(said: str) -> str:
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if "interrupted" in line]
    assert len(lines) == 1, said
    return lines[0]


def test_preparing_a_dataset_leaves_nothing_half_done(tmp_path):
    cache = tmp_path / "cache"
    code, out, err = interrupt(
        ["data", "shapes", "--root", str(cache)], lambda _: len(list(cache.rglob("*.png"))) > 2, tmp_path
    )
    assert (code, out, err.lstrip("\n")) == (130, "", NOTHING)
    assert list(cache.iterdir()) == []  # no half of a set that a later call would take for a whole one


def test_a_measurement_keeps_the_rounds_it_has(tmp_path):
    code, out, err = interrupt(
        ["measure", "fasternet_t0", "starnet_s1", "--batch", "4"], lambda said: "rounds 2/" in said, tmp_path,
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert code == 0
    assert "Traceback" not in err
    assert out.splitlines()[-1] == "cancelled; finished rounds are kept"
    assert re.search(r"^fasternet_t0 +\d", out, re.MULTILINE)
    assert not list(tmp_path.glob("workbench-measure-*"))


def test_a_training_says_how_to_go_on_and_does(data, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", "--data", str(data), "--preset", "fast", "--epochs", "50", "--out", str(out)]
    weights = out / "weights" / "last.pt"
    code, said, err = interrupt([*arguments, "imgsz=32", "batch=4"], lambda _: weights.is_file(), tmp_path)
    assert code == 130
    assert err.strip() == ""
    line = one_line(said)
    assert line == f"interrupted; go on with wb.train(resume={str(out)!r}) or `workbench train --resume {out}`"
    run = Run(out)
    done = len(run.curves)
    assert (run.status, run.record["error"]) == ("interrupted", "KeyboardInterrupt")
    assert 1 <= done < 50

    def stop(row):
        raise KeyboardInterrupt

    epochs = []
    with pytest.raises(KeyboardInterrupt):  # the next epoch is enough
        wb.train(resume=out, threads=1, quiet=True, on_epoch=lambda row: (epochs.append(row["epoch"]), stop(row)))
    assert epochs[0] in (done, done + 1)  # the epoch it was in, or the next


def test_a_training_in_its_first_epoch_says_that_it_starts_again(data, tmp_path, capsys, monkeypatch):
    from workbench.train.watch import Watcher

    def stop(self, trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Watcher, "on_train_batch_start", stop)
    settings = {"preset": "fast", "epochs": 1, "threads": 1, "quiet": True, **TINY}
    with pytest.raises(KeyboardInterrupt) as caught:
        wb.train(data=data, out=tmp_path / "run", **settings)
    how = f"no epoch was finished, so start it again, with exist_ok=True or another folder than {tmp_path / 'run'}"
    assert caught.value.__notes__ == [how]
    assert f"interrupted; {how}\n" in capsys.readouterr().out
    monkeypatch.undo()
    assert wb.train(data=data, out=tmp_path / "run", exist_ok=True, **settings).status == "finished"


def test_a_sweep_says_what_is_finished_and_the_next_goes_on(data, tmp_path):
    grid, out = tmp_path / "grid.yaml", tmp_path / "out"
    content = {"seeds": [0, 1], "data": [str(data)], "preset": "fast", "settings": {**TINY, "epochs": 2}}
    grid.write_text(yaml.safe_dump(content))
    first, second = (f"yolo11n-shapes-seed{seed}" for seed in (0, 1))
    code, said, err = interrupt(
        ["sweep", str(grid), "--out", str(out), "--threads", "1"], lambda said: f"{first}: finished" in said, tmp_path
    )
    assert code == 130
    assert err.strip() == ""
    assert one_line(said) == "interrupted; 1 of 2 runs are finished; the same call goes on"
    table = (out / "table.csv").read_text()
    assert [row["label"] for row in collect(out, [first, second]).finished()] == [first]
    assert f"{first},yolo11n,shapes" in table
    arguments = {"data": str(data), "preset": "fast", "seed": 1, **TINY, "epochs": 2}
    assert finish(out / second, arguments).status == "finished"  # as the next sweep would
