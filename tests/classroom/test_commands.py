"""From a source notebook to a spreadsheet of marks, by the commands an instructor types; and what a student types."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path

import nbformat
import pytest

from workbench.classroom import ClassroomError, Course
from workbench.classroom.check import CHECKING, _find, check
from workbench.classroom.table import bare, safe
from workbench.classroom.walls import problem
from workbench.cli import main

pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")
ROOT = Path(__file__).resolve().parents[2]
FULL = 15.0  # of a1, by tests


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("term") / "kurs"
    before = os.getcwd()
    assert main(["class", "init", str(root)]) == 0
    os.chdir(root)
    try:
        assert main(["class", "build", "a1"]) == 0
        assert main(["class", "release", "a1"]) == 0
        yield Course(root)
    finally:
        os.chdir(before)


@pytest.fixture
def here(course, monkeypatch):
    monkeypatch.chdir(course.root)
    return course


def hand_in(course, path, solved):
    """A Moodle archive of two students: one with the sources' solutions, one with the empty release."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, (name, good) in enumerate(solved.items()):
            folder = course.source("a1") if good else course.release("a1")
            archive.write(folder / "a1.ipynb", f"{name}_{7000 + i}_assignsubmission_file_/a1.ipynb")
    return path


def test_a_course_folder_is_nbgraders(course):
    assert course.assignments() == ["a1", "a2", "a3", "a4", "a5"]
    assert (course.root / "nbgrader_config.py").is_file()
    assert (course.release("a1").parent / "a1.zip").is_file()


def test_the_release_has_nothing_of_the_solution(course):
    text = (course.release("a1") / "a1.ipynb").read_text()
    assert "BEGIN SOLUTION" not in text
    assert "HIDDEN TESTS" not in text
    with zipfile.ZipFile(course.release("a1").parent / "a1.zip") as archive:
        assert not [n for n in archive.namelist() if n.endswith((".py", ".db"))]
        assert "a1/a1.ipynb" in archive.namelist()


def test_a_planted_leak_is_found(here, capsys):
    release = here.release("a1") / "a1.ipynb"
    before = release.read_bytes()
    notebook = nbformat.read(release, as_version=4)
    source = nbformat.read(here.source("a1") / "a1.ipynb", as_version=4)
    solved = next(c for c in source.cells if "BEGIN SOLUTION" in c.source)
    next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("solution")).source = solved.source
    nbformat.write(notebook, release)
    try:
        assert main(["class", "release", "a1"]) == 2
        assert "leaks" in capsys.readouterr().err
    finally:
        release.write_bytes(before)


@pytest.mark.skipif(bool(problem()), reason=f"no sandbox here: {problem()}")
def test_from_an_archive_to_marks(here, tmp_path, capsys):
    archive = hand_in(here, tmp_path / "moodle.zip", {"Ada Lovelace": True, "=cmd|x": False})
    assert main(["class", "collect", "a1", str(archive)]) == 0
    assert "2 taken" in capsys.readouterr().out
    assert main(["class", "collect", "a1", str(archive)]) == 0
    assert "2 unchanged" in capsys.readouterr().out  # idempotent
    assert main(["class", "grade", "a1", "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert "a1: 2 graded" in said.out
    assert "left" in said.err
    first = {p: p.read_bytes() for p in here.root.glob("autograded/*/a1/marks.json")}
    assert main(["class", "grade", "a1"]) == 0
    assert "have not changed" in capsys.readouterr().err
    assert first == {p: p.read_bytes() for p in here.root.glob("autograded/*/a1/marks.json")}

    table, figure = tmp_path / "marks.csv", tmp_path / "marks.png"
    assert main(["class", "marks", "a1", "--csv", str(table), "--plot", str(figure), "--by-hand"]) == 0
    said = capsys.readouterr().out
    assert f"read the texts in {here.root / 'by_hand' / 'a1.html'}\nenter marks in" in said
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    assert sorted(float(r["by tests"]) for r in rows) == [0.0, FULL]
    assert {r["name"] for r in rows} >= {"Ada Lovelace"}
    assert not [v for r in rows for v in r.values() if v and v.startswith(("=", "+", "@"))]
    assert figure.read_bytes().startswith(b"\x89PNG")
    by_hand = here.root / "by_hand" / "a1.csv"
    ada = next(r["student"] for r in rows if r["name"] == "Ada Lovelace")
    by_hand.write_text(f"student,name,points,comment\n{ada},Ada,4,<b>clear</b> & short\n")
    assert main(["class", "feedback", "a1"]) == 0
    assert "a1: 2 pages" in capsys.readouterr().out
    page = (here.feedback(ada, "a1") / "a1.html").read_text()
    assert '<p class="total">19 of 20 points</p>' in page
    assert "1 · MACs of any convolution" in page
    assert "notebooks/01_cost_of_a_convolution.ipynb" in page
    assert "&lt;b&gt;clear&lt;/b&gt; &amp; short" in page
    assert not re.search("https?:|HIDDEN|BEGIN SOLUTION", page)
    empty = next((here.feedback(r["student"], "a1") / "a1.html").read_text() for r in rows if r["student"] != ada)
    assert empty.count("○ 0 of") == empty.count("left out") == 8
    assert '<p class="total">0 of 15 points; 5 more points not read yet</p>' in empty
    assert "=cmd|x" in empty


def test_a_student_checks_before_handing_in(course, tmp_path, monkeypatch, capsys):
    notebook = nbformat.read(course.release("a1") / "a1.ipynb", as_version=4)
    notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "pconv-test"]
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    before = (tmp_path / "mine.ipynb").read_bytes()
    monkeypatch.chdir(tmp_path)
    assert main(["class", "check"]) == 1
    said = capsys.readouterr().out
    assert "○ 1 · MACs of any convolution: left out" in said
    assert "✗ pconv: is missing: the cell was deleted" in said
    assert "NotImplementedError" not in said
    assert "hand it in as a1.ipynb" in said
    assert "0 of 8 visible tests pass" in said
    assert (tmp_path / "mine.ipynb").read_bytes() == before


def test_the_notebook_is_found_by_the_assignments_name(tmp_path, monkeypatch):
    (tmp_path / "a1").mkdir()
    for name in ("a1/a1.ipynb", "a1/scratch.ipynb"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert _find(Path("a1"), "").resolve() == tmp_path / "a1" / "a1.ipynb"  # from the folder above
    monkeypatch.chdir(tmp_path / "a1")
    assert _find(Path("a1"), "").resolve() == tmp_path / "a1" / "a1.ipynb"  # beside it
    with pytest.raises(ClassroomError, match="say which one"):
        _find(Path(), "")
    with pytest.raises(ClassroomError, match="a2 is not there"):
        _find(Path("a2"), "")


def test_a_check_inside_a_check_ends(tmp_path, monkeypatch):
    """A student may leave `!workbench class check a1` in a cell of the notebook that it runs."""
    monkeypatch.setenv(CHECKING, "1")
    with pytest.raises(ClassroomError, match="being checked itself"):
        check(tmp_path)


@pytest.mark.parametrize("name", ["a1", "a2", "a3", "a4", "a5"])
def test_the_last_cell_says_how_to_check(name):
    last = nbformat.read(ROOT / "assignments" / name / f"{name}.ipynb", as_version=4).cells[-1]
    assert f"`workbench class check {name}`" in last.source
    assert f"`{name}.ipynb`" in last.source


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["build", "a9"], "no assignment 'a9'"),
        (["grade", "a1", "--student", "nobody"], "nobody"),
        (["grade", "a1", "--jobs", "0"], "jobs"),
        (["grade", "a1", "--engine", "slurm"], "slurm"),
        (["collect", "a1", "no-such.zip"], "no-such.zip"),
        (["collect", "a1", "nbgrader_config.py", "--due", "tomorrow"], "is no time"),
        (["marks", "a9"], "no assignment 'a9'"),
    ],
)
def test_bad_input_is_one_line(here, arguments, part, capsys, bad_input):
    assert main(["class", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert part in err
    bad_input("grading", f"workbench class {' '.join(arguments)}", err.strip().removeprefix("workbench: "))


def test_outside_a_course(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["class", "grade", "a1"]) == 2
    assert "is no course folder; make one with: workbench class init DIR" in capsys.readouterr().err
    (tmp_path / "essay.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert main(["class", "check"]) == 2
    assert "does not come from a release" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", " =x", "\t=x", "\r=x", "'=x", "''+x", "＝1"])
def test_no_spreadsheet_runs_a_cell(text):
    assert safe(text).startswith("'")
    assert bare(safe(text)) == text


@pytest.mark.parametrize("text", ["", "a=1", "'t Hooft", "Ada", "1-2", "''"])
def test_an_ordinary_cell_stays(text):
    assert safe(text) == text == bare(text)
