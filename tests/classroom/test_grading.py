"""Grading as an instructor relies on it: again, in part, interrupted, several at once; nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import small

from workbench.classroom import ClassroomError, Course, Record, grade_assignment, pool
from workbench.classroom import walls as walls_module
from workbench.classroom.marks import by_hand_path, read_marks, write_by_hand
from workbench.classroom.walls import Limits, problem
from workbench.cli import main
from workbench.errors import WorkbenchError

pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")
sandboxed = pytest.mark.skipif(bool(problem()), reason=f"no sandbox: {problem()}")
QUICK = Limits(cell_s=20.0, call_s=20.0, wall_s=60.0, cpu_s=30, memory_bytes=2 * 2**30)
SQUARE, NOTHING = "def double(x):\n    return x * x", "def total(xs):\n    raise NotImplementedError"
SAY = "def double(x):\n    return {!r}"
BOOKS = {
    "ada": small.notebook(),
    "bob": small.notebook(double=SQUARE),  # total is right with double put right
    "cem": small.notebook(total=NOTHING),
}
EARNED = {"ada": (2, 3), "bob": (1, 3), "cem": (2, 0)}
# what the comparison, which runs in the grading process, does when a submission returns these words
WATCHED = """
import os, signal, time
from pathlib import Path
ROOM = Path({room!r})
def watched(compare):
    def look(results, inputs):
        if results[0] == "kill once" and not (ROOM / "killed").exists():
            (ROOM / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if results[0] == "kill" and not (ROOM / "healed").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        while results[0] == "wait" and not (ROOM / "go on").exists():
            (ROOM / "waiting").touch()
            time.sleep(0.02)
        return compare(results, inputs)
    return look
"""


def made(root: Path, books: dict[str, object]) -> Course:
    """A course whose comparisons watch for the words, with these hand-ins."""
    course = small.course(root, before=WATCHED.format(room=str(root.parent)), wrap="watched")
    for student, book in books.items():
        small.hand_in(course, student, book)
    return course


def grade(course: Course, **options) -> dict[str, Record]:
    return {r.student: r for r in grade_assignment(course, "a1", **{"limits": QUICK, **options})}


def points(record: Record) -> tuple[float, ...]:
    return tuple(m.points for m in record.questions.values())


def files(course: Course, *students: str) -> dict[str, tuple[int, bytes]]:
    """Everything that grading wrote about these students, with the time it was written."""
    found = [p for s in students for p in course.autograded(s, "a1").rglob("*") if p.is_file()]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(found)}


def gradebook(course: Course) -> dict[str, tuple[float, float]]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        rows = [(s.student.id, (s.score, s.max_score)) for s in book.assignment_submissions("a1")]
    assert len(dict(rows)) == len(rows), "a student twice"
    return dict(rows)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Three submissions, graded by two processes."""
    course = small.course(tmp_path_factory.mktemp("term") / "course")
    for student, book in BOOKS.items():
        small.hand_in(course, student, book)
    said: list[str] = []
    records = grade(course, jobs=2, seed=1, on_progress=said.append)
    assert {s: points(r) for s, r in records.items()} == EARNED
    assert len(said) == 3
    assert "3 of 3, about 0 s left" in said[-1]
    return course


# --- again and in part ----------------------------------------------------------------------------------------------


@sandboxed
def test_what_each_earns_and_why(graded):
    bob = Record.load(graded.autograded("bob", "a1"))
    assert bob.questions["double-test"].message == "that is the square — double(1): expected 2, came 1"
    assert bob.questions["total-test"].message == "right, with the earlier answers put right"
    assert {s: [m.put_right for m in Record.load(graded.autograded(s, "a1")).questions.values()] for s in BOOKS} == {
        "ada": [False, False], "bob": [False, True], "cem": [False, False],
    }  # fmt: skip
    assert Record.load(graded.autograded("cem", "a1")).questions["total-test"].message == "left out"
    assert gradebook(graded) == {s: (sum(p), 10.0) for s, p in EARNED.items()}


@sandboxed
def test_what_is_not_written_is_said_so(tmp_path):
    """The function itself is left out; one that only calls it is judged with it, right or wrong."""
    course = small.course(tmp_path / "course")
    unwritten = "def double(x):\n    raise NotImplementedError()"
    small.hand_in(course, "right", small.notebook(double=unwritten))
    wrong = "def total(xs):\n    return sum(double(x) for x in xs) + 1"
    small.hand_in(course, "wrong", small.notebook(double=unwritten, total=wrong))
    small.hand_in(course, "typo", small.notebook(double="x = 1\ndef double(x:\n    return 2 * x"))
    found = {s: [(m.points, m.message, m.put_right) for m in r.questions.values()] for s, r in grade(course).items()}
    assert found["right"] == [(0, "left out", False), (3, "right, with the earlier answers put right", True)]
    ends = "there is no double, because its cell ends with SyntaxError: "
    assert found["typo"][0][1].startswith(ends)
    assert found["typo"][0][1].endswith("(line 2)")
    assert found["typo"][1][0] == 3, "judged with a double that is there"
    double, (points_, message, put_right) = found["wrong"]
    assert double == (0, "left out", False)
    assert (points_, put_right) == (0, True)
    assert message.startswith("wrong, with the earlier answers put right; total(")


@sandboxed
def test_grading_twice_changes_nothing(graded):
    before, said = files(graded, *BOOKS), []
    records = grade(graded, on_progress=said.append)
    assert files(graded, *BOOKS) == before
    assert {s: points(r) for s, r in records.items()} == EARNED
    assert said == ["3 of 3 are graded already and have not changed"]


@sandboxed
def test_only_what_was_handed_in_again_is_graded_again(graded):
    try:
        small.hand_in(graded, "cem", BOOKS["ada"])
        before = files(graded, "ada", "bob")
        records = grade(graded, seed=5)
        assert files(graded, "ada", "bob") == before
        assert points(records["cem"]) == (2, 3)
        assert {s: r.provenance["seed"] for s, r in records.items()} == {"ada": 1, "bob": 1, "cem": 5}
        assert gradebook(graded)["cem"] == (5, 10)
    finally:
        small.hand_in(graded, "cem", BOOKS["cem"])
        grade(graded, seed=1)


@sandboxed
def test_one_student_is_graded_anew(graded):
    before = files(graded, "bob", "cem")
    records = grade(graded, students=["ada"], seed=7)
    assert list(records) == ["ada"]
    assert records["ada"].provenance["seed"] == 7
    assert points(records["ada"]) == EARNED["ada"]
    assert files(graded, "bob", "cem") == before
    assert gradebook(graded) == {s: (sum(p), 10.0) for s, p in EARNED.items()}


@sandboxed
def test_one_question_is_graded_anew(graded):
    old = Record.load(graded.autograded("bob", "a1"))
    records = grade(graded, students=["bob"], question="total-test", seed=8)
    assert records["bob"].provenance["seed"] == 8
    assert records["bob"].questions == old.questions, "the same marks, also with the earlier answer put right"
    assert records["bob"].checksum == old.checksum


@sandboxed
def test_marks_by_hand_survive(graded):
    """In our table, and in the gradebook, where a person is asked to look at a changed submission again."""
    from nbgrader.api import Gradebook

    write_by_hand(graded, read_marks(graded, "a1"))
    text = by_hand_path(graded, "a1").read_text(encoding="utf-8-sig")
    by_hand_path(graded, "a1").write_text(text.replace("ada,ada,,", "ada,ada,4.5,=clear"), encoding="utf-8")
    with Gradebook(f"sqlite:///{graded.gradebook}") as book:
        grade_ = book.find_grade("text-answer", "a1", "a1", "ada")
        grade_.manual_score, grade_.needs_manual_grade = 4.0, False
        book.db.commit()
    grade(graded)
    assert gradebook(graded)["ada"] == (9.0, 10.0)
    grade(graded, students=["ada"])
    with Gradebook(f"sqlite:///{graded.gradebook}") as book:
        grade_ = book.find_grade("text-answer", "a1", "a1", "ada")
        assert (grade_.manual_score, grade_.needs_manual_grade, grade_.auto_score) == (4.0, True, None)
    for _ in range(2):
        write_by_hand(graded, read_marks(graded, "a1"))
    (line,) = [x for x in read_marks(graded, "a1").lines if x.student == "ada"]
    assert (line.by_hand, line.comment, line.total) == (4.5, "=clear", 9.5)


@sandboxed
def test_a_lost_gradebook_is_made_again(graded):
    before, marks = files(graded, *BOOKS), {s: v[1] for s, v in gradebook(graded).items()}
    graded.gradebook.unlink()
    grade(graded)
    assert files(graded, *BOOKS) == before
    assert {s: v[1] for s, v in gradebook(graded).items()} == marks


@sandboxed
def test_edited_metadata_and_records_change_no_marks(graded):
    """Points, kinds and names are the source's; what a student wrote into them is nothing. A damaged record neither."""
    (graded.autograded("ada", "a1") / "marks.json").write_text('{"student": "ada"')
    book = small.notebook(double=SQUARE)
    for cell in book.cells:
        data = cell.metadata.get("nbgrader", {})
        data |= {"points": 1000, "locked": False, "solution": True, "grade": True, "schema_version": 99}
    book.metadata["workbench"] = {"assignment": "a1", "cells": [["double-test", "test", 1e9, ""]]}
    small.hand_in(graded, "eve", book)
    try:
        records = grade(graded)
        record = records["eve"]
        assert points(records["ada"]) == EARNED["ada"]
        assert points(record) == EARNED["bob"]
        assert [m.of for m in record.questions.values()] == [2, 3]
        assert gradebook(graded)["eve"] == (4, 10)
    finally:
        (graded.submitted("eve", "a1") / "a1.ipynb").unlink()
        graded.submitted("eve", "a1").rmdir()


# --- interrupted ----------------------------------------------------------------------------------------------------


@sandboxed
def test_killed_workers_lose_nothing(tmp_path):
    """A submission that kills every worker stops nobody else, says so, counts as not done, and is graded next time."""
    books = {"kim": small.notebook(SAY.format("kill once")), "lee": small.notebook(SAY.format("kill"))}
    course = made(tmp_path / "course", {"ada": BOOKS["ada"], **books, "zoe": BOOKS["bob"]})
    said: list[str] = []
    records = grade(course, on_progress=said.append)
    assert (tmp_path / "killed").exists()
    assert {s: points(r) for s, r in records.items()} == {"ada": (2, 3), "kim": (0, 3), "lee": (0, 0), "zoe": (1, 3)}
    assert [line.split(":")[0] for line in said] == ["ada", "kim", "lee", "zoe"]
    assert records["lee"].status == "failed"
    assert records["lee"].reason == "could not be graded: the grading process was killed 3 times; grade again"
    assert len(gradebook(course)) == 4
    before = files(course, "ada", "kim", "zoe")
    (tmp_path / "healed").touch()
    records = grade(course)
    assert (records["lee"].status, points(records["lee"])) == ("graded", (0, 3))
    assert files(course, "ada", "kim", "zoe") == before
    (tmp_path / "healed").unlink()
    done, said = files(course, "lee"), []
    assert grade(course, students=["lee"], on_progress=said.append)["lee"] == records["lee"]
    assert "could not be graded again" in said[0]
    assert files(course, "lee") == done, "marks that are there do not go because grading again fails"


@sandboxed
def test_a_grading_process_that_does_not_come_back_is_given_up(tmp_path, monkeypatch):
    course = made(tmp_path / "course", {"kim": small.notebook(SAY.format("wait"))})
    monkeypatch.setattr(pool, "patience_s", lambda job: 1.5)
    assert "killed 3 times" in grade(course)["kim"].reason
    monkeypatch.undo()
    (tmp_path / "go on").touch()
    assert points(grade(course)["kim"]) == (0, 3)


def _processes(course: Course) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().decode("utf-8", "replace").replace("\0", " ")
        except OSError:
            continue
        if str(course.root) in said and "workbench" in said:
            found.append(said)
    return found


def _until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


@sandboxed
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
def test_a_killed_driver_loses_nothing(tmp_path, monkeypatch):
    books = {"ada": BOOKS["ada"], "bob": BOOKS["bob"], "kim": small.notebook(SAY.format("wait")), "zoe": BOOKS["cem"]}
    course = made(tmp_path / "course", books)
    command = [sys.executable, "-c", "from workbench.cli import main; main()", "class", "grade", "a1"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    driver = subprocess.Popen(command, cwd=course.root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=env)
    try:
        _until((tmp_path / "waiting").exists)
        with pytest.raises(ClassroomError, match="another grading is running"):
            grade(course)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    _until(lambda: not _processes(course))  # the worker and its sandbox end with the driver
    done = files(course, "ada", "bob")
    assert len(done) == 4, "two notebooks, two records"
    assert not files(course, "kim", "zoe")
    assert len(list(temporary.glob("workbench-grading-*"))) == 1, "a killed driver cannot remove its folder"
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (tmp_path / "go on").touch()
    said: list[str] = []
    records = grade(course, on_progress=said.append)
    assert {s: points(r) for s, r in records.items()} == {"ada": (2, 3), "bob": (1, 3), "kim": (0, 3), "zoe": (2, 0)}
    assert not list(temporary.iterdir()), "the next call does"
    assert said[0] == "2 of 4 are graded already and have not changed"
    assert files(course, "ada", "bob") == done
    assert gradebook(course) == {"ada": (5, 10), "bob": (4, 10), "kim": (3, 10), "zoe": (2, 10)}


@sandboxed
def test_on_ray_with_a_killed_worker(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
    course = made(tmp_path / "course", {**BOOKS, "kim": small.notebook(SAY.format("kill once"))})
    records = grade(course, engine="ray", jobs=2, seed=1)
    assert (tmp_path / "killed").exists()
    assert {s: points(r) for s, r in records.items()} == EARNED | {"kim": (0, 3)}
    before, said = files(course, *records), []
    assert grade(course, on_progress=said.append) == records
    assert said == ["4 of 4 are graded already and have not changed"], "both engines write the same records"
    assert files(course, *records) == before


# --- with and without a sandbox -------------------------------------------------------------------------------------


def test_no_sandbox_no_grading_unless_in_so_many_words(tmp_path, monkeypatch, capsys, bad_input):
    course = small.course(tmp_path / "course")
    small.hand_in(course, "ada", BOOKS["ada"])
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap there
    monkeypatch.chdir(course.root)
    walls_module.problem.cache_clear()
    try:
        assert main(["class", "grade", "a1"]) == 2
        err = capsys.readouterr().err
        assert "bubblewrap is not installed" in err
        assert "submissions run only in a sandbox, unless you trust them in so many words: --trusted" in err
        assert not course.autograded("ada", "a1").exists()
        bad_input("grading", "workbench class grade a1, without bubblewrap", err.strip().removeprefix("workbench: "))
        record = grade(course, trusted=True)["ada"]
    finally:
        walls_module.problem.cache_clear()
    assert points(record) == EARNED["ada"]
    assert record.provenance["sandbox"] is False
    assert main(["class", "grade", "a1", "--trusted"]) == 0
    assert "1 of 1 are graded already" in capsys.readouterr().err


# --- what cannot be used --------------------------------------------------------------------------------------------

BY_HAND = {
    "too many points": "student,name,points,comment\nada,Ada,7,\n",
    "no number": "student,name,points,comment\nada,Ada,vier,\n",
    "no points": "student,mark\nada,4\n",
}


@pytest.mark.parametrize("case", BY_HAND)
def test_tables_by_hand_that_cannot_be_used(tmp_path, case, bad_input):
    course = small.course(tmp_path / "course")
    by_hand_path(course, "a1").parent.mkdir()
    by_hand_path(course, "a1").write_text(BY_HAND[case])
    with pytest.raises(WorkbenchError) as error:
        read_marks(course, "a1")
    assert "a1.csv" in str(error.value)
    assert "\n" not in str(error.value)
    bad_input("grading", f"by_hand/a1.csv with {case}", str(error.value).replace(f"{course.root}/", ""))


def test_a_table_as_a_spreadsheet_with_decimal_commas_saves_it(tmp_path):
    course = small.course(tmp_path / "course")
    small.hand_in(course, "ada", BOOKS["ada"])
    by_hand_path(course, "a1").parent.mkdir()
    by_hand_path(course, "a1").write_text(
        "\ufeffstudent;name;points;comment\nada;Ada;4,5;well, yes\n", encoding="utf-8"
    )
    (line,) = read_marks(course, "a1").lines
    assert (line.by_hand, line.comment) == (4.5, "well, yes")


def test_a_name_by_hand_that_nobody_has_is_not_lost(tmp_path):
    course = small.course(tmp_path / "course")
    small.hand_in(course, "ada", BOOKS["ada"])
    by_hand_path(course, "a1").parent.mkdir()
    by_hand_path(course, "a1").write_text("student,name,points,comment\nadaa,Ada,4,typed\n", encoding="utf-8")
    found = read_marks(course, "a1")
    assert "marked by hand and no student of this course: 1 (adaa)" in str(found)
    write_by_hand(course, found)
    assert "adaa,adaa,4,typed" in by_hand_path(course, "a1").read_text(encoding="utf-8")


SOURCES = {
    "answers.py without QUESTIONS": ("answers.py", "INPUTS = dict\n", "has no QUESTIONS"),
    "a source that is no notebook": ("a1.ipynb", "hello", "a1.ipynb is no notebook"),
}


@sandboxed
@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_used(tmp_path, case, bad_input):
    course = small.course(tmp_path / "course")
    small.hand_in(course, "ada", BOOKS["ada"])
    name, content, part = SOURCES[case]
    (course.source("a1") / name).write_text(content)
    with pytest.raises(WorkbenchError, match=part) as error:
        grade(course)
    assert "\n" not in str(error.value)
    bad_input("grading", case, str(error.value).replace(f"{course.root}/", ""))
