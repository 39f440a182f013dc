"""`make test-latest`: does the workbench work with today's releases? A separate environment, the plug's own tests.

Of the packages the project requires only torch, torchvision and the linters keep their pins; pip takes the newest of
everything else, ultralytics beyond the range in pyproject.toml too. If ultralytics has changed what the plug relies on,
the first import says so in one sentence (`workbench/yolo/fits.py`), and that sentence is what this ends with.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("torch", "torchvision", "ruff", "mypy", "triton")
NEEDED = "dev,reference"  # tests of the socket and the hosts need pytest and timm
TESTS = (
    "tests/test_latest.py", "tests/test_yolo_plug.py", "tests/test_yolo_hosts.py", "tests/test_yolo_weights.py",
    "tests/test_yolo_life.py", "tests/test_article_mistakes_socket.py",
)  # fmt: skip
PINNED_ON_PURPOSE = "not tested_versions"  # the one test that is about the pin itself
SHOW = "from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in NAMES), sep=', ')"
NAMES = ("torch", "torchvision", "ultralytics", "numpy", "timm", "anywidget")


def constraints() -> list[str]:
    """Return the pins that stay."""
    pins = re.findall(r"^[\w.-]+==\S+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return [pin for pin in pins if pin.partition("==")[0] in KEPT]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", default=".venv-latest", help="the environment; built when it is not there")
    parser.add_argument("--constraints", action="store_true", help="print the pins that stay, and do nothing")
    parser.add_argument("tests", nargs="*", default=TESTS)
    args = parser.parse_args()
    if args.constraints:
        print(*constraints(), sep="\n")
        return 0
    folder = ROOT / args.venv
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"Building {folder.name}", flush=True)
        venv.create(folder, with_pip=True)
    install(python)
    subprocess.run([python, "-c", f"NAMES = {NAMES}; {SHOW}"], cwd=ROOT, check=True)
    if subprocess.run([python, "-c", "import workbench.yolo"], cwd=ROOT, capture_output=True).returncode:
        return subprocess.run([python, "-m", "workbench", "layers", "yolo11n-fasternet_t0.yaml"], cwd=ROOT).returncode
    environment = {"MPLBACKEND": "Agg", "YOLO_OFFLINE": "true", **os.environ}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", PINNED_ON_PURPOSE, *args.tests]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def install(python: Path) -> None:
    """Install the newest of everything but what is kept, and then an ultralytics from beyond the declared range."""
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / "constraints.txt"
        pins.write_text("\n".join(constraints()) + "\n", encoding="utf-8")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--upgrade", "-c", pins]
        subprocess.run([*pip, "--upgrade-strategy", "eager", "-e", f".[{NEEDED}]"], cwd=ROOT, check=True)
        subprocess.run(
            [*pip, "ultralytics"], cwd=ROOT, check=True
        )  # pip says that our range is left, and that is meant


if __name__ == "__main__":
    sys.exit(main())
