"""What a learning management system hands out becomes one folder for each student, whatever is in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import small
from small import GOOD, MONDAY, OTHER, THIRD, TUESDAY, UNDATED, pack, taken, tree, verdicts

from workbench.classroom import ClassroomError, Course
from workbench.classroom.collect import collect
from workbench.classroom.ledger import late_students, read_ledger


@pytest.fixture
def course(tmp_path) -> Course:
    return small.course(tmp_path / "term")


# --- every shape ----------------------------------------------------------------------------------------------------

SHAPES = {
    "Moodle folders": ("Ada Lovelace_71_assignsubmission_file_/a1.ipynb", "ada-lovelace", "Moodle"),
    "Moodle, flat": ("Ada Lovelace_71_assignsubmission_file_a1.ipynb", "ada-lovelace", "Moodle"),
    "Moodle, a folder inside": ("Ada Lovelace_71_assignsubmission_file_/a1/a1.ipynb", "ada-lovelace", "Moodle"),
    "Canvas": ("lovelaceada_71_8812_a1.ipynb", "lovelaceada", "Canvas"),
    "Canvas, second": ("lovelaceada_71_8812_a1-2.ipynb", "lovelaceada", "Canvas"),
    "Canvas, late": ("lovelaceada_LATE_71_8812_a1.ipynb", "lovelaceada", "Canvas"),
    "Blackboard": ("Homework 1_alovelace_attempt_2026-03-02-10-00-00_a1.ipynb", "alovelace", "Blackboard"),
    "Brightspace": ("71-88 - Ada Lovelace - Mar 2, 2026 1000 AM/a1.ipynb", "ada-lovelace", "Brightspace"),
    "a folder each": ("ada/a1.ipynb", "ada", "folder"),
    "nbgrader's": ("submitted/ada/a1/a1.ipynb", "ada", "folder"),
    "older work in a folder": ("ada/old/a1.ipynb", "ada", "folder"),
    "named": ("ada_a1.ipynb", "ada", "file"),
    "named the other way": ("a1-ada.ipynb", "ada", "file"),
    "Windows": ("ada\\a1.ipynb", "ada", "folder"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(course, tmp_path, shape):
    path, student, name = SHAPES[shape]
    found = collect(course, "a1", [pack(tmp_path / "all.zip", {path: GOOD})])
    assert taken(course) == {student: GOOD}
    assert found.shapes == f"1 × {name}"
    assert found.count("taken") == 1
    stamp = (course.submitted(student, "a1") / "timestamp.txt").read_text()
    local = datetime.fromisoformat(stamp.strip().replace(" UTC", "+00:00")).astimezone()
    assert local.strftime("%Y-%m-%d %H:%M") == "2026-03-02 10:00"
    assert (late_students(course, "a1") == {student}) == ("late" in shape)


def test_folders_notebooks_and_archives_of_students(course, tmp_path):
    inbox = tmp_path / "inbox"
    (inbox / "ada").mkdir(parents=True)
    (inbox / "ada" / "a1.ipynb").write_bytes(GOOD)
    pack(inbox / "bob_a1.zip", {"work of mine/a1.ipynb": OTHER})
    (tmp_path / "cem_a1.ipynb").write_bytes(THIRD)
    (tmp_path / "download.ipynb").write_bytes(GOOD)
    collect(course, "a1", [inbox, tmp_path / "cem_a1.ipynb"])
    collect(course, "a1", [tmp_path / "download.ipynb"], student="dora")
    assert taken(course) == {"ada": GOOD, "bob": OTHER, "cem": THIRD, "dora": GOOD}


def test_a_students_own_archive_inside_the_systems(course, tmp_path):
    inner = pack(tmp_path / "inner.zip", {"project/a1.ipynb": GOOD, "project/plot.png": b"p", "a1.safetensors": b"w"})
    twice = pack(tmp_path / "twice.zip", {"inner.zip": inner.read_bytes()})
    moodle = "{}_7{}_assignsubmission_file_/homework.zip"
    entries = {moodle.format("Ada", 1): inner.read_bytes(), moodle.format("Bob", 2): twice.read_bytes()}
    found = collect(course, "a1", [pack(tmp_path / "all.zip", entries)])
    assert taken(course) == {"Ada": GOOD}
    there = {p.name for p in course.submitted("Ada", "a1").iterdir()}
    assert there == {"a1.ipynb", "plot.png", "a1.safetensors", "timestamp.txt"}
    assert [r.note for r in found.rows if r.verdict == "refused"] == ["a zip in a zip in a zip"]


# --- whose it is ----------------------------------------------------------------------------------------------------

NESTED = {
    "an older one below": (["ada/a1.ipynb", "ada/old/a1.ipynb"], {"ada": 0}),
    "any folder below": (["ada/a1.ipynb", "ada/final try/a1.ipynb", "bob/a1.ipynb"], {"ada": 0, "bob": 2}),
    "only below": (["ada/project/a1.ipynb", "bob/a1.ipynb"], {"ada": 0, "bob": 1}),
    "all around": (["export/ada/a1.ipynb", "export/bob/a1.ipynb"], {"ada": 0, "bob": 1}),
    "around and below": (["export/ada/x/a1.ipynb", "export/bob/a1.ipynb"], {"ada": 0, "bob": 1}),
    "groups": (["group 1/ada/a1.ipynb", "group 2/bob/a1.ipynb"], {"ada": 0, "bob": 1}),
    "the same folder in each": (["ada/src/a1.ipynb", "bob/src/a1.ipynb"], {"ada": 0, "bob": 1}),
    "Moodle, below": (
        ["A_1_assignsubmission_file_/old/a1.ipynb", "A_1_assignsubmission_file_/a1.ipynb"], {"A": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", NESTED)
def test_whose_folder_it_is(course, tmp_path, case):
    paths, expected = NESTED[case]
    books = [GOOD, OTHER, THIRD][: len(paths)]
    collect(course, "a1", [pack(tmp_path / "all.zip", dict(zip(paths, books, strict=True)))])
    assert taken(course) == {student: books[i] for student, i in expected.items()}


def test_a_known_student_is_found_wherever_the_folder_stands(course, tmp_path):
    (course.root / "students.csv").write_text("student,name,numbers\nada,Ada Lovelace,\nbob,Bob,\n")
    paths = {"Ada Lovelace/solved/deep/a1.ipynb": GOOD, "x/y/bob/z/a1.ipynb": OTHER}
    collect(course, "a1", [pack(tmp_path / "all.zip", paths)])
    assert taken(course) == {"ada": GOOD, "bob": OTHER}


def test_two_people_of_one_name(course, tmp_path):
    moodle = "Wang Wei_{}_assignsubmission_file_/a1.ipynb"
    archive = pack(tmp_path / "all.zip", {moodle.format(71): GOOD, moodle.format(72): OTHER})
    collect(course, "a1", [archive])
    assert taken(course) == {"wang-wei": GOOD, "wang-wei-72": OTHER}
    collect(course, "a1", [pack(tmp_path / "again.zip", {moodle.format(72): THIRD}, TUESDAY)])
    assert taken(course) == {"wang-wei": GOOD, "wang-wei-72": THIRD}


def test_names_that_make_the_same_folder(course, tmp_path):
    moodle = "{}_{}_assignsubmission_file_/a1.ipynb"
    names = ["José Núñez", "Jose Nunez", "jose-nunez!", "王小明", "李小龙", "../..", "con/..", "A" * 300]
    entries = {moodle.format(n.replace("/", "_"), i): GOOD for i, n in enumerate(names)}
    collect(course, "a1", [pack(tmp_path / "all.zip", entries)])
    assert len(taken(course)) == len(names)
    folders = [p.name for p in (course.root / "submitted").iterdir()]
    assert all(f.isascii() and len(f) < 65 and not f.startswith(".") for f in folders)
    assert len({f.casefold() for f in folders}) == len(names)


def test_what_came_with_it_is_its_owners_alone(course, tmp_path):
    entries = {
        "ada/a1.ipynb": GOOD, "ada/a1.safetensors": b"ada's", "ada/figures/plot.png": b"plot",
        "ada/old/a1.safetensors": b"older", "bob/a1.ipynb": GOOD, "readme.txt": b"", "eve/notes.txt": b"",
        "ada/virus.exe": b"", "ada/__MACOSX/._a1.ipynb": b"", "ada/.ipynb_checkpoints/a1.ipynb": OTHER,
    }  # fmt: skip
    found = collect(course, "a1", [pack(tmp_path / "all.zip", entries)])
    there = {p.name: p.read_bytes() for p in course.submitted("ada", "a1").iterdir() if p.name != "timestamp.txt"}
    assert there == {"a1.ipynb": GOOD, "a1.safetensors": b"ada's", "plot.png": b"plot"}
    assert course.students("a1") == ["ada", "bob"]
    assert "eve" not in (course.root / "students.csv").read_text(), "notes alone are no hand-in"
    said = verdicts(found)
    assert said["eve/notes.txt"] == ("refused", "not taken: no notebook came with it")
    assert said["ada/virus.exe"] == ("refused", "not taken: .exe is no notebook")
    assert said["readme.txt"][0] == "refused"


def test_another_assignments_notebook_is_sent_back(course, tmp_path):
    wrong = small.text(small.notebook(name="a2")).encode()
    found = collect(course, "a1", [pack(tmp_path / "all.zip", {"ada/a1.ipynb": wrong})])
    assert not course.students("a1")
    assert found.rows[0].note == "this is assignment a2, not a1"


# --- again, later, late ---------------------------------------------------------------------------------------------


def test_collecting_twice_changes_nothing(course, tmp_path):
    moodle = "{}_{}_assignsubmission_file_/{}"
    archives = [
        pack(
            tmp_path / "moodle.zip",
            {moodle.format("Ada", 1, "a1.ipynb"): GOOD, moodle.format("=cmd|x", 2, "a1 (1).ipynb"): GOOD},
        ),
        pack(tmp_path / "later.zip", {moodle.format("Ada", 1, "a1.ipynb"): OTHER, "strange\nname.exe": b""}, TUESDAY),
        pack(tmp_path / "undated.zip", {"bob/a1.ipynb": GOOD, "bob/w.csv": b"1"}, UNDATED),
        pack(tmp_path / "canvas.zip", {"cem_LATE_5_6_a1-1.ipynb": GOOD, "cem_LATE_5_7_a1-2.ipynb": OTHER}),
    ]
    first = collect(course, "a1", archives, due="2026-03-02 12:00")
    before = tree(course.root)
    assert taken(course)["Ada"] == OTHER
    assert taken(course)["cem"] == OTHER
    again = collect(course, "a1", archives)
    assert tree(course.root) == before
    assert again.count("taken", "replaced") == 0
    assert again.count("unchanged") == first.count("taken", "replaced") == 4
    assert again.count("refused") == first.count("refused")
    for archive in archives:  # one after the other too
        collect(course, "a1", [archive])
    assert taken(course) == {"Ada": OTHER, "bob": GOOD, "cem": OTHER, "cmd-x": GOOD}
    assert late_students(course, "a1") == {"Ada", "cem"}
    assert not list(course.root.glob(".collecting-*"))


def test_the_latest_counts_in_whatever_order(course, tmp_path):
    old, new = (
        pack(tmp_path / "old.zip", {"ada/a1.ipynb": GOOD}),
        pack(tmp_path / "n.zip", {"ada/a1.ipynb": OTHER}, TUESDAY),
    )
    collect(course, "a1", [new])
    found = collect(course, "a1", [old])
    assert taken(course) == {"ada": OTHER}
    assert found.rows[0].note == "older than the one taken before; kept in collected/earlier"
    kept = list((course.root / "collected" / "earlier" / "ada" / "a1").glob("*/a1.ipynb"))
    assert [p.read_bytes() for p in kept] == [GOOD]
    other = small.course(tmp_path / "other")
    both = collect(other, "a1", [new, old])
    assert taken(other) == {"ada": OTHER}
    assert sorted(r.verdict for r in both.rows) == ["earlier", "taken"]


@pytest.mark.parametrize("together", [True, False])
def test_an_archive_without_times_counts_as_it_is_given(course, tmp_path, together):
    """It says so, and giving the older one again does not bring it back."""
    dated = pack(tmp_path / "dated.zip", {"ada/a1.ipynb": GOOD}, TUESDAY)
    undated = pack(tmp_path / "undated.zip", {"ada/a1.ipynb": OTHER}, UNDATED)
    for call in [[dated, undated]] if together else [[dated], [undated]]:
        found = collect(course, "a1", call, due="2026-03-02 12:00")
    assert taken(course) == {"ada": OTHER}
    row = next(r for r in found.rows if r.origin == "undated.zip")
    assert "no time says which is newer: what is collected later counts" in row.note
    assert row.late == "no time"
    assert "0 late, 1 without a time and not held against --due" in str(found)
    assert late_students(course, "a1") == set(), "nothing says that what counts is late"
    again = collect(course, "a1", [dated])
    assert taken(course) == {"ada": OTHER}
    assert again.rows[0].note == "was replaced before, and no time says that it is newer now"


def test_late_and_not_late(course, tmp_path):
    moodle = "{}_{}_assignsubmission_file_/a1.ipynb"
    archive = pack(tmp_path / "all.zip", {moodle.format("Ada", 1): GOOD, moodle.format("Bob", 2): GOOD}, TUESDAY)
    collect(course, "a1", [archive], due="2026-03-03 09:59")
    assert late_students(course, "a1") == {"Ada", "Bob"}
    collect(course, "a1", [archive])
    assert late_students(course, "a1") == {"Ada", "Bob"}, "without --due nothing is judged anew"
    collect(course, "a1", [archive], due="2026-03-03 10:00")
    assert late_students(course, "a1") == set(), "the deadline was moved"


def test_the_same_again_later_makes_nobody_late(course, tmp_path):
    first, again = (pack(tmp_path / f"{when[2]}.zip", {"ada/a1.ipynb": GOOD}, when) for when in (MONDAY, TUESDAY))
    collect(course, "a1", [first], due="2026-03-02 12:00")
    found = collect(course, "a1", [again], due="2026-03-02 12:00")
    assert (found.rows[0].verdict, late_students(course, "a1")) == ("unchanged", set())
    other = small.course(tmp_path / "other")
    collect(other, "a1", [again, first], due="2026-03-02 12:00")
    assert late_students(other, "a1") == set()


def test_new_weights_beside_the_same_notebook_are_a_new_hand_in(course, tmp_path):
    for name, when, weights in (("a", MONDAY, b"1"), ("b", TUESDAY, b"2")):
        archive = pack(tmp_path / f"{name}.zip", {"ada/a1.ipynb": GOOD, "ada/a1.safetensors": weights}, when)
        found = collect(course, "a1", [archive])
    assert found.rows[0].verdict == "replaced"
    assert (course.submitted("ada", "a1") / "a1.safetensors").read_bytes() == b"2"


KILLED = """
import os, signal, sys
from pathlib import Path
from workbench.classroom import Course
from workbench.classroom import handin
from workbench.classroom.collect import collect
place, n = handin.Shelf.place, 0
def some(self, student, one):
    global n
    if (n := n + 1) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return place(self, student, one)
handin.Shelf.place = some
collect(Course(Path(sys.argv[1])), "a1", [sys.argv[2]])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_in_the_middle_loses_nothing(course, tmp_path):
    """What was placed is whole; the next call places the rest, and leaves nothing of the killed one."""
    archive = pack(tmp_path / "all.zip", {f"s{i}/a1.ipynb": GOOD for i in range(5)})
    command = [sys.executable, "-c", KILLED, str(course.root), str(archive)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert taken(course) == {"s0": GOOD, "s1": GOOD}
    found = collect(course, "a1", [archive])
    assert taken(course) == {f"s{i}": GOOD for i in range(5)}
    assert (found.count("unchanged"), found.count("taken")) == (2, 3)
    assert {p.name for p in course.root.glob(".*")} == {".collecting.lock"}
    rows = read_ledger(course, "a1")
    assert len({r.student for r in rows}) == len(rows) == 5


def test_two_at_the_same_time(course, tmp_path):
    archive = pack(tmp_path / "all.zip", {"ada/a1.ipynb": GOOD})
    with (
        course.alone("collecting"),
        pytest.raises(ClassroomError, match=r"another collecting is running in .*; wait for it, or end it"),
    ):
        collect(course, "a1", [archive])
    collect(course, "a1", [archive])
    assert taken(course) == {"ada": GOOD}


# --- what it costs --------------------------------------------------------------------------------------------------


def operations(course: Course, archive: Path) -> int:
    """Return how many bytecodes of the classroom a collection runs, and how many calls it makes."""
    n = 0

    def inside(frame, event, _):
        nonlocal n
        n += event == "opcode"
        return inside

    def trace(frame, event, _):
        nonlocal n
        n += 1
        if f"{os.sep}classroom{os.sep}" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        collect(course, "a1", [archive])
    finally:
        sys.settrace(before)
    return n


@pytest.mark.parametrize("again", [False, True])
def test_cost_grows_with_the_number_of_submissions(tmp_path, again):
    """Ten more cost as much when there are 50 as when there are 10, with one name and with many."""
    cost = {}
    for n in (10, 20, 40, 80):
        course = small.course(tmp_path / f"c{n}")
        entries = {f"Student {i:03d}_{i}_assignsubmission_file_/a1.ipynb": GOOD for i in range(n)}
        archive = pack(tmp_path / f"{n}.zip", entries)
        if again:
            collect(course, "a1", [archive])
        cost[n] = operations(course, archive)
    early, late = (cost[20] - cost[10]) / 10, (cost[80] - cost[40]) / 40
    assert late < 1.1 * early, cost


# --- what cannot be used --------------------------------------------------------------------------------------------

BAD = {
    "an archive that is none": (lambda t: ([_file(t / "essay.zip", b"PK no")], {}), "is no zip, folder or notebook"),
    "nothing": (lambda t: ([], {}), "nothing to collect; give zips, folders or notebooks"),
    "a path for a student": (lambda t: ([t], {"student": "../ada"}), "cannot name a folder"),
    "a day for a time": (lambda t: ([t], {"due": "2026-11-28"}), "write it like '2026-11-28 23:59'"),
}


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(course, tmp_path, case, bad_input):
    make, part = BAD[case]
    paths, options = make(tmp_path)
    with pytest.raises(ClassroomError) as error:
        collect(course, "a1", paths, **options)
    assert part in str(error.value)
    assert "\n" not in str(error.value)
    given = " ".join(["workbench class collect a1", *(p.name for p in paths if p.suffix)])
    given += "".join(f" --{k} '{v}'" for k, v in options.items())
    bad_input("grading", given, str(error.value).replace(f"{tmp_path}/", ""))


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", "student,name,numbers\nJürgen,x,\n".encode("latin-1")])
def test_a_students_table_that_is_none(course, tmp_path, content, bad_input):
    (course.root / "students.csv").write_bytes(content)
    with pytest.raises(
        ClassroomError, match=r"students.csv is no table \(CSV, UTF-8\) with the columns student, name"
    ) as e:
        collect(course, "a1", [pack(tmp_path / "all.zip", {"ada/a1.ipynb": GOOD})])
    given = "students.csv with other columns" if content.startswith(b"a") else "students.csv that is not UTF-8"
    bad_input("grading", given, str(e.value).replace(f"{course.root}/", ""))


def test_a_students_table_that_names_a_path(course, tmp_path, bad_input):
    (course.root / "students.csv").write_text("student,name,numbers\n../../etc,Eve,\n")
    with pytest.raises(ClassroomError, match=r"'\.\./\.\./etc' cannot name a student's folder") as error:
        collect(course, "a1", [pack(tmp_path / "all.zip", {"ada/a1.ipynb": GOOD})])
    bad_input("grading", "students.csv: ../../etc", str(error.value).replace(f"{course.root}/", ""))
