"""Make docs/robustness.md from the tests that try bad input; ``--check REPORT`` compares it with a test run.

A test that gives the workbench something wrong notes what it gave and what came back (fixture `bad_input`). pytest
keeps such notes in its XML report; this reads them. So the page cannot promise a message that no test has seen.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "robustness.md"
HEAD = """# What bad input gets

Every row is a case that a test tries: what was given, and the one line that comes back. Nothing half-written is left \
behind, and nothing that was there is lost. On the command line the line goes to stderr, and the exit code is 2. \
`python docs/robustness.py` makes this page from the tests' own notes.
"""
Row = tuple[str, str, str]  # area, given, answer


def rows(report: Path) -> list[Row]:
    """Return the notes in a report of pytest, without repeats, sorted by area."""
    notes = [p.get("value") or "" for p in ElementTree.parse(report).iter("property") if p.get("name") == "bad input"]
    found = {(area, _tidy(given), _tidy(answer)) for area, given, answer in map(json.loads, notes)}
    return sorted(found)


def _tidy(text: str) -> str:
    """Return a text without folders of the machine it ran on, on one line."""
    return re.sub(r"(?<![:/\w.])(?:/[\w.+-]+)+/(?=[\w.+-])", "…/", " ".join(text.split()))


def render(found: Iterable[Row]) -> str:
    """Return the page."""
    found = list(found)
    out = [HEAD]
    for area in sorted({row[0] for row in found}):
        out += [f"## {area.capitalize()}", "", "| given | answer |", "| --- | --- |"]
        out += [f"| {_cell(given)} | {_cell(answer)} |" for a, given, answer in found if a == area]
        out.append("")
    return "\n".join([*out, f"{len(found)} cases.", ""])


def _cell(text: str) -> str:
    quoted = text.replace("|", "\\|")
    return f"`` {quoted} ``" if "`" in quoted else f"`{quoted}`"


def strays(found: Iterable[Row], page: str) -> list[str]:
    """Return the notes whose row is not on the page; numbers that differ between machines do not matter."""
    known = {_shape(line) for line in page.splitlines()}
    return [f"{g} → {a}" for _, g, a in found if _shape(f"| {_cell(g)} | {_cell(a)} |") not in known]


def _shape(line: str) -> str:
    """Return a row without its numbers, and its beginning only: a long message is cut where its paths leave room."""
    return re.sub(r"\d+", "#", line)[:140]


def collect() -> list[Row]:
    """Run the tests that take notes, and return them."""
    files = sorted(str(p) for p in (ROOT / "tests").rglob("test_*.py") if "bad_input" in p.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SystemExit("a test failed; the page was not written")
        return rows(report)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=Path, metavar="REPORT", help="compare the page with a report of pytest")
    options = parser.parse_args()
    if options.check is None:
        PAGE.write_text(render(collect()), encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)} written")
        return 0
    if missing := strays(rows(options.check), PAGE.read_text(encoding="utf-8")):
        print("\n".join(["docs/robustness.md is out of date (python docs/robustness.py makes it anew):", *missing]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
