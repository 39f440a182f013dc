"""`make bench` runs its parts one after the other, and one Ctrl-C ends all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).resolve().parent.parent / ".ci" / "bench.py"
LIMIT_S = 60
PROGRAM = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("bench", {str(DRIVER)!r})
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
bench.PARTS = {{name: (f"part_{{name}}", ()) for name in sys.argv[1].split(",")}}
sys.argv[1:] = ["--out", "rows", "--run", "7"]
sys.exit(bench.main())
"""
FAKES = {
    "quick": "import sys\ndef main():\n    print('quick got', *sys.argv[1:])",
    "slow": "import time\nfrom pathlib import Path\n"
    "def main():\n    print('slow has begun', flush=True)\n"
    "    try:\n        time.sleep(600)\n    finally:\n        (Path(__file__).parent / 'cleaned').touch()",
    "importing": "import time\nprint('slow has begun', flush=True)\ntime.sleep(600)",
    "impossible": "from workbench.errors import WorkbenchError\n"
    "def main():\n    raise WorkbenchError('nothing to time')",
}


def driver(folder: Path, parts: str) -> subprocess.Popen[str]:
    """Start `.ci/bench.py` with stand-ins for its parts, in a terminal session of its own."""
    for name, code in FAKES.items():
        (folder / f"part_{name}.py").write_text(code)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, parts], cwd=folder, text=True,
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}, stdout=(folder / "said").open("w"),
        stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a job in the background
    )  # fmt: skip


def test_parts_run_in_turn_and_one_that_cannot_is_left_out(tmp_path):
    process = driver(tmp_path, "impossible,quick")
    assert process.wait(LIMIT_S) == 2
    said = (tmp_path / "said").read_text()
    assert "left out: nothing to time" in said
    assert "quick got --run 7 --out rows" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("part", ["slow", "importing"])
def test_one_ctrl_c_ends_it_all_in_one_line(tmp_path, part):
    """During a measurement and while a part is still being imported; nothing is left running, and nothing starts."""
    process = driver(tmp_path, f"{part},quick")
    try:
        end = time.monotonic() + LIMIT_S
        while "slow has begun" not in (tmp_path / "said").read_text():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    finally:
        if process.poll() is None:
            process.kill()
    said = (tmp_path / "said").read_text()
    after = said[said.index("slow has begun") :].split("\n", 1)[1].strip()
    assert after == f"interrupted in {part}; finished rows are in rows; make bench ARGS={part} repeats it"
    assert (tmp_path / "cleaned").exists() == (part == "slow"), "what has begun cleans up after itself"


def test_an_unknown_part_is_told_the_known_ones():
    done = subprocess.run([sys.executable, DRIVER, "rular"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "unknown part rular; expected some of plug, ruler, grading, training, sweep" in done.stderr
