"""Everything CI runs, section by section: one failing section does not hide the next. Ends with a table of times."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = ("ruff check", "ruff format", "nbstripout", "mypy")
SECTIONS = (*CHECKS, "tests", "lessons")
PAGE = ROOT / "docs" / "robustness.md"
SLOWEST = 15  # files named in the table


def notebooks() -> list[str]:
    """Return every tracked notebook; outside git (an unpacked archive) every notebook of the course's folders."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.ipynb"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return sorted(name for name in listed.stdout.split("\0") if name)
    return sorted(str(p.relative_to(ROOT)) for d in ("notebooks", "assignments") for p in (ROOT / d).rglob("*.ipynb"))


def commands(full: bool, workers: int, reports: Path) -> dict[str, list[str]]:
    """Return section → the arguments after ``python -m``."""
    parallel = ["-n", str(workers), "--dist", "loadscope"] if workers > 1 else []  # a file or notebook per process
    pytest = ["pytest", "-q", "-p", "no:cacheprovider", *parallel]
    found = notebooks()
    table = {
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "nbstripout": ["nbstripout", "--verify", "--keep-id", *found],
        "mypy": ["mypy"],
        "tests": [*pytest, *(["-m", ""] if full else []), f"--junitxml={reports / 'tests.xml'}", "tests", "workbench"],
        "lessons": [*pytest, "--nbval-lax", "--nbval-current-env", f"--junitxml={reports / 'lessons.xml'}", *found],
    }
    return table if found else {k: v for k, v in table.items() if k not in ("nbstripout", "lessons")}


def environment(workers: int) -> dict[str, str]:
    """Return the environment of every section: no display, no network at import, cores shared between workers."""
    defaults = {
        "MPLBACKEND": "Agg",
        "YOLO_OFFLINE": "true",
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers)),
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **os.environ}


def counts(report: Path) -> tuple[Counter[str], Counter[str]]:
    """Return (outcome → tests, file → seconds) of a pytest run's report."""
    outcomes: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[outcome] += 1
        seconds[case.get("classname") or case.get("name") or "?"] += float(case.get("time") or 0)
    return outcomes, seconds


def robustness(report: Path) -> tuple[str, str, float]:
    """Compare the page of bad input with what the tests just saw; return a row of the table of times."""
    command = [sys.executable, "docs/robustness.py", "--check", str(report)]
    start = time.perf_counter()
    code = subprocess.run(command, cwd=ROOT).returncode
    return "robustness", "ok" if code == 0 else f"FAILED ({code})", time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also the tests marked long")
    parser.add_argument("--only", action="append", metavar="SECTION", help=f"check, {', '.join(SECTIONS)}; repeatable")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1), help="processes for pytest")
    args = parser.parse_args()
    wanted = [s for name in args.only or SECTIONS for s in (CHECKS if name == "check" else (name,))]
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}; expected check, {', '.join(SECTIONS)}")

    rows: list[tuple[str, str, float]] = []
    total: Counter[str] = Counter(passed=0, failed=0)
    files: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for section, command in commands(args.full, args.workers, Path(folder)).items():
            if section not in wanted:
                continue
            print(f"\n── {section} " + "─" * (100 - len(section)), flush=True)
            start = time.perf_counter()
            code = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment(args.workers)).returncode
            rows.append((section, "ok" if code == 0 else f"FAILED ({code})", time.perf_counter() - start))
            report = Path(folder) / f"{section}.xml"
            if section == "tests" and code == 0 and PAGE.is_file():
                rows.append(robustness(report))
            outcomes, seconds = counts(report) if report.exists() else (Counter(), Counter())
            if code and not outcomes["failed"]:
                outcomes["failed"] += 1  # a linter, or a run that broke before its first test
            elif not code and not report.exists():
                outcomes["passed"] += 1
            total += outcomes
            files += seconds

    print(f"\n── times {'─' * 95}")
    for section, verdict, elapsed in rows:
        print(f"{elapsed:8.1f} s  {section:12s} {verdict}")
    for name, elapsed in files.most_common(SLOWEST):
        print(f"{elapsed:8.1f} s    {name}")
    failed = [section for section, verdict, _ in rows if verdict != "ok"]
    print(f"{sum(t for *_, t in rows):8.1f} s  in all{'; failed: ' + ', '.join(failed) if failed else ''}\n")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
