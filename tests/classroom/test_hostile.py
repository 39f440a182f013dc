"""The hostile set: right marks for the honest, nothing changed outside a submission's own record, a readable reason."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
import tempfile
import uuid
from pathlib import Path

import nbformat
import pytest
from hostile import CASES, NAME, POINTS, book, write

from workbench.classroom import Course, Record, grade_assignment
from workbench.classroom.init import init_course
from workbench.classroom.walls import PACKAGE, Limits, problem

pytestmark = [
    pytest.mark.skipif(bool(problem()), reason=f"no sandbox: {problem()}"),
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is Linux's"),
]
SHORT = Limits(
    cell_s=10.0,
    call_s=10.0,
    wall_s=120.0,
    cpu_s=25,
    memory_bytes=3 * 2**29,
    disk_bytes=64 * 2**20,
    output_bytes=16 * 1024,
)
HONEST = ("aa-honest", "mm-honest", "zz-honest")


def student(name: str) -> str:
    return "h-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def tree(root: Path, *leave: str) -> dict[str, str]:
    """Checksums of everything that is not a hostile submission's own."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file() and not path.is_symlink() and not name.startswith(leave):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def gradebook(course: Course) -> dict[str, tuple[float, float]]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.gradebook}") as book:
        return {s.student.id: (s.score, s.max_score) for s in book.assignment_submissions(NAME)}


class Graded:
    """A course of hostile and honest submissions, graded once."""

    def __init__(self, root: Path) -> None:
        self.course, _ = init_course(root / "course")
        self.marker = f"hostile-{uuid.uuid4().hex}"
        self.nap = f"3600.{uuid.uuid4().int % 10**9}"
        secret = root / "secret.txt"
        secret.write_text("SECRET-FILE")
        os.environ["GRADING_SECRET"] = "SECRET-ENVIRONMENT"
        self.targets = [
            str(self.course.root), str(self.course.source(NAME)), str(self.course.autograded(HONEST[0], NAME)),
            str(Path.home()), tempfile.gettempdir(), "/var/tmp", str(PACKAGE), str(root),
        ]  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as server:
            places = {
                "course": str(self.course.root), "secret": str(secret), "marker": self.marker, "nap": self.nap,
                "port": str(server.getsockname()[1]), "places": repr(self.targets),
            }  # fmt: skip
            for name in HONEST:
                self._folder(name)
                write(self.course.submitted(name, NAME), book())
            grade_assignment(self.course, NAME, limits=SHORT, seed=1)
            for name, case in CASES.items():
                self._folder(student(name))
                case.make(self.course.submitted(student(name), NAME), places)
            self.before = self.unchanged()
            self.marks_before = gradebook(self.course)
            found = grade_assignment(self.course, NAME, jobs=2, limits=SHORT, seed=2)
            self.records = {r.student: r for r in found}
        del os.environ["GRADING_SECRET"]

    def _folder(self, name: str) -> None:
        self.course.submitted(name, NAME).mkdir(parents=True)

    def unchanged(self) -> dict[str, str]:
        """Everything in the course but the records of hostile submissions, and the gradebook."""
        return tree(self.course.root, "autograded/h-", "gradebook.db")

    def notebook(self, name: str) -> str:
        """All that a graded notebook shows."""
        path = self.course.autograded(student(name), NAME) / f"{NAME}.ipynb"
        if not path.is_file():
            return ""
        outputs = [o for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", ())]
        return "\n".join(o.get("text", "") + str(o.get("data", "")) + o.get("evalue", "") for o in outputs)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    return Graded(tmp_path_factory.mktemp("hostile"))


def test_there_are_enough():
    assert len(CASES) >= 25
    assert len({student(name) for name in CASES}) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_hostile(graded: Graded, name: str):
    """It earns what its honest parts are worth, and its record says what happened, in one line."""
    case, record = CASES[name], graded.records[student(name)]
    expected = POINTS | case.earns
    sure = {k for k, points in expected.items() if points is not None}  # None: as the machine will have it
    came = {k: m.points for k, m in record.questions.items() if k in sure}
    assert came == pytest.approx({k: expected[k] for k in sure}), record
    assert {k: m.of for k, m in record.questions.items()} == POINTS
    lines = [record.reason, *(m.message for m in record.questions.values())]
    assert case.said in " | ".join(lines), lines
    assert all("\n" not in text and len(text) <= 500 for text in lines)
    assert not any(graded.marker in text or "Traceback" in text for text in lines)
    shown = graded.notebook(name)
    assert case.shown in shown, shown[-2000:]
    assert str(graded.course.root) not in shown, "nothing inside says where the course is"
    for secret in case.hidden:
        assert not re.search(secret, shown, re.M), shown[:2000]
    text = (graded.course.autograded(student(name), NAME) / f"{NAME}.ipynb").read_text() if shown else ""
    assert len(text) < 400_000, "what a submission prints is bounded in bytes"
    assert "HIDDEN TESTS" not in text
    assert Record.load(graded.course.autograded(student(name), NAME)) == record


def test_the_honest_have_their_marks(graded: Graded):
    for name in HONEST:
        assert graded.records[name].points == 15
        assert graded.records[name].provenance["seed"] == 1, "not graded again"
    found = gradebook(graded.course)
    assert {n: found[n] for n in HONEST} == graded.marks_before == dict.fromkeys(HONEST, (15.0, 20.0))


def test_the_gradebook_says_what_the_records_say(graded: Graded):
    found = gradebook(graded.course)
    assert {k: v[0] for k, v in found.items()} == pytest.approx({k: r.points for k, r in graded.records.items()})


def test_nothing_else_has_changed(graded: Graded):
    assert graded.unchanged() == graded.before
    for folder in graded.targets:
        assert not (Path(folder) / graded.marker).exists()
        assert not (Path(folder) / "marks.json").exists() or "autograded" in folder
    assert {p.name for p in graded.course.root.rglob(".*")} == {".grading.lock"}, "no half-written file"


def test_no_process_survives(graded: Graded):
    left = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if graded.nap in said or str(graded.course.root) in said:
            left.append(said.replace("\0", " "))
    assert not left
