"""The instructor's guide is followed literally, and its numbers are the recorded ones."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from workbench.classroom import costs
from workbench.classroom.bench import MOST_OF_PLAIN, ONE, PLAIN, ratio
from workbench.classroom.walls import problem

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "instructor.md"
SOLUTION = re.compile(r"( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.S)
FULL = 15.0
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def moodle(path: Path) -> None:
    """An archive of two: one solved all, one forgot a task."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, unsolved) in enumerate((("Ada Lovelace", ""), ("Blaise Pascal", "roofline-answer"))):
            notebook = nbformat.read(ROOT / "assignments" / "a1" / "a1.ipynb", as_version=4)
            for cell in notebook.cells:
                if cell.id == unsolved:
                    cell.source = SOLUTION.sub(r"\1raise NotImplementedError()", cell.source)
            archive.writestr(f"{name}_{7000 + number}_assignsubmission_file_/a1.ipynb", nbformat.writes(notebook))


def enter_by_hand(table: Path) -> None:
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    lines = [f"{r['student']},{r['name']},4,well argued" for r in rows]
    table.write_text("\n".join(["student,name,points,comment", *lines]) + "\n", encoding="utf-8")


@pytest.mark.skipif(bool(problem()), reason=f"no sandbox here: {problem()}")
def test_a_term(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = subprocess.Popen(
        ["sh", "-e"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env={**os.environ, "PATH": search},
    )  # fmt: skip
    term, printed = tmp_path / "term", ""
    for block in BLOCKS:
        if "moodle.zip" in block:
            moodle(term / "moodle.zip")
        if "feedback" in block:
            enter_by_hand(term / "by_hand" / "a1.csv")
        shell.stdin.write(f"{block}\necho THE END OF IT\n")
        shell.stdin.flush()
        for line in shell.stdout:
            if line == "THE END OF IT\n":
                break
            printed += line
        else:  # the shell is gone
            pytest.fail(f"{block}\n{printed[-2000:]}")
    shell.stdin.close()
    assert shell.wait(60) == 0, printed[-2000:]

    assert "a1: 2 taken, 0 replaced" in printed
    assert printed.count("a1: 1 graded") == 2, "one submission again, and one question of it"
    rows = {r["name"]: r for r in csv.DictReader((term / "a1.csv").read_text(encoding="utf-8-sig").splitlines())}
    assert {n: float(r["total"]) for n, r in rows.items()} == {"Ada Lovelace": FULL + 4, "Blaise Pascal": FULL - 2 + 4}
    assert rows["Blaise Pascal"]["roofline-test"] == "0"
    assert (term / "a1.png").read_bytes().startswith(b"\x89PNG")
    texts = (term / "by_hand" / "a1.html").read_text(encoding="utf-8")
    assert f"read the texts in {term / 'by_hand' / 'a1.html'}" in printed
    assert texts.index("Ada Lovelace") < texts.index("Blaise Pascal") < texts.index("An example of an answer")
    pages = list(term.glob("feedback/*/a1/a1.html"))
    assert len(pages) == 2
    assert all("well argued" in p.read_text(encoding="utf-8") for p in pages)
    last = json.loads(printed[printed.rindex('{\n "student"') :])
    assert last["questions"]["roofline-test"]["of"] == 2
    assert last["provenance"]["sandbox"] is True


def test_every_command_exists():
    """Also those that the test above does not follow."""
    from workbench.cli.classroom import app

    known = {c.name or c.callback.__name__ for c in app.registered_commands}
    named = set(re.findall(r"workbench class ([a-z]+)", GUIDE.read_text(encoding="utf-8")))
    assert named == known, "the guide knows every command, and no other"


def test_the_pages_numbers_are_the_recorded_ones():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "assets/readme.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for page in made.PAGES:
        text = page.read_text(encoding="utf-8")
        assert made.fill_in(text) == text, "run: python assets/readme.py --table"


def test_grading_is_as_fast_as_promised():
    """As recorded, not on this machine."""
    ways, env = costs.recorded(costs.WAYS)
    assert env["sandbox"] == "bubblewrap"
    against = ratio(ways, ONE, PLAIN)
    assert against.n >= 5
    assert against.ratio <= MOST_OF_PLAIN


def test_the_memory_limit_holds_what_was_seen():
    limit = re.search(r'mem_limit = "(\d+)G"', GUIDE.read_text(encoding="utf-8"))
    assert costs.largest_mib() / 1024 < int(limit[1])
