"""`make bench`: every benchmark in turn, each in a process of its own. Ctrl-C ends all of it with one line.

ARGS chooses: parts by name (default all), `--run N` and `--out FOLDER` for the rows. Leave the machine alone meanwhile.
A part that cannot run here (a package is missing) says so in one line, and the others go on.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = {  # name → module, and the datasets it would like, the best first
    "plug": ("workbench.yolo.bench", ()),
    "ruler": ("workbench.measure.bench", ()),
    "grading": ("workbench.classroom.bench", ()),
    "training": ("workbench.train.bench", ("coco128", "shapes")),
    "sweep": ("workbench.sweep.bench", ("shapes",)),
}
GRACE_S = 20  # for a part to clean up after itself


def dataset(names: tuple[str, ...]) -> list[str]:
    """Return ``--data YAML`` of the first dataset that can be had."""
    for name in names:
        found = run([sys.executable, "-m", "workbench", "data", name], stdout=subprocess.PIPE)
        if found[0] == 0:
            return ["--data", found[1].strip()]
    return []


def run(command: list[str], stdout: int | None = None) -> tuple[int, str]:
    """Run a command away from the terminal's Ctrl-C; when one comes, ask it to stop, and see to it that it does."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, text=True, start_new_session=True)
    try:
        said, _ = process.communicate()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        raise
    return process.returncode, said or ""


def part(module: str) -> int:
    """Run one benchmark in this process. Ctrl-C ends it without a word: whoever started it speaks."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # imports take seconds, and have nothing to clean up
    sys.path.insert(0, str(ROOT))
    from workbench.errors import WorkbenchError

    main = importlib.import_module(module).main
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except WorkbenchError as e:
        print(f"left out: {e}", file=sys.stderr)
        return 2
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--run", type=int, default=1, help="number under which the rows are kept")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder; data/results is committed")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    worst, keep = 0, ["--run", str(options.run), "--out", str(options.out)]
    for name in [p for p in PARTS if p in (options.parts or PARTS)]:
        module, wanted = PARTS[name]
        print(f"\n── {name} " + "─" * (100 - len(name)), flush=True)
        start = time.perf_counter()
        try:
            arguments = [] if name == "plug" else [*keep, *dataset(wanted)]
            code, _ = run([sys.executable, __file__, "--part", module, *arguments])
        except KeyboardInterrupt:
            print(f"\ninterrupted in {name}; finished rows are in {options.out}; make bench ARGS={name} repeats it")
            return 128 + signal.SIGINT
        print(f"{time.perf_counter() - start:.0f} s, {'done' if code == 0 else f'ended with {code}'}", flush=True)
        worst = worst or code
    return worst


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        module = sys.argv[2]
        sys.argv[1:3] = []
        sys.exit(part(module))
    sys.exit(main())
