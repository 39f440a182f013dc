"""`make coverage`: which lines of workbench/ the tests reach, children and parallel workers measured too.

Not what runs behind the sandbox's walls, which nothing may be written through, or ends by a kill that nobody hears:
`tests/classroom/test_inside.py` runs the same code without walls.

Runs every test and doctest once (what needs a browser or minutes only where `make test` runs it), prints the packages,
and records data/results/coverage.json. A figure below the target ends with 1. A line that is reached is not yet tested;
`make mutation` asks the other question.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "data" / "results" / "coverage.json"
TARGET = 0.90


def package_of(file: str) -> str:
    """Return the package of a file of the library; a module beside the packages counts to workbench itself.

    >>> package_of("workbench/yolo/surgery/files.py"), package_of("workbench/errors.py")
    ('workbench/yolo', 'workbench')
    """
    return "/".join(Path(file).parts[:2]) if len(Path(file).parts) > 2 else "workbench"


def table(report: dict[str, object]) -> dict[str, dict[str, float]]:
    """Return package → statements, those reached, and their share, from coverage's own JSON; "all" at the end."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, found in report["files"].items():  # type: ignore[attr-defined]
        name = Path(file).as_posix()
        for key in (package_of(name[name.rindex("workbench/") :]), "all"):
            counts[key][0] += found["summary"]["num_statements"]
            counts[key][1] += found["summary"]["covered_lines"]
    order = sorted(counts, key=lambda k: (k == "all", k))
    return {k: {"statements": n, "reached": r, "share": round(r / n, 4)} for k in order for n, r in [counts[k]] if n}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="processes for pytest")
    parser.add_argument("--from", dest="source", metavar="JSON", help="record a report of coverage that is there")
    parser.add_argument("--commit", default="", help="with --from: the tree it was measured on; default this one")
    parser.add_argument("tests", nargs="*", default=["tests", "workbench"])
    args = parser.parse_args()
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(args.source or Path(folder) / "coverage.json")
        if not args.source:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(args.workers)]
            command += ["--dist", "loadscope", "--cov", "--cov-report=", f"--cov-report=json:{report}", *args.tests]
            defaults = {"MPLBACKEND": "Agg", "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "1"}
            files = {"COVERAGE_FILE": str(Path(folder) / ".coverage")}
            code = subprocess.run(command, cwd=ROOT, env=defaults | os.environ | files).returncode
        packages = table(json.loads(report.read_text(encoding="utf-8")))
    for name, row in packages.items():
        print(f"{row['share']:7.1%}  {row['reached']:6,} of {row['statements']:6,} statements  {name}")
    record(packages, args.tests, args.commit)
    return code or (0 if packages["all"]["share"] >= TARGET else 1)


def record(packages: dict[str, dict[str, float]], tests: list[str], commit: str) -> None:
    """Write the figures with where they were found."""
    sys.path.insert(0, str(ROOT))
    from workbench.files import replace_text
    from workbench.train.environment import environment

    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    found = {
        "command": "make coverage", "tests": tests, "target": TARGET, "commit": commit or head.strip(),
        "packages": packages, "environment": environment(),
    }  # fmt: skip
    replace_text(RECORD, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
