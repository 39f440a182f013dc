"""Each kind of leak is planted once and found, by name; a clean release has none."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import small
from nbformat import v4

from workbench.classroom.init import IGNORED
from workbench.classroom.leaks import TELLING, leaks

DOUBLE = "def double(x):\n    the_answer_is_plain_to_see = 2 * x\n    return the_answer_is_plain_to_see"
SECRET = "    the_answer_is_plain_to_see = 2 * x"
HIDDEN = "assert double(1_234_567) == 2_469_134"
STUB = "def {}(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"


def source() -> v4.new_notebook:
    """The teacher's."""
    book = small.notebook(double=DOUBLE, source=True)
    test = next(c for c in book.cells if c.id == "double-test")
    test.source = test.source.replace("assert double(5) == 10", HIDDEN)
    return book


def release() -> v4.new_notebook:
    """What nbgrader would make of it."""
    book = copy.deepcopy(source())
    for cell in book.cells:
        cell.source = re.sub(r"\n?### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", "", cell.source, flags=re.S)
        if cell.id.endswith("-answer"):
            cell.source = STUB.format(cell.id) if cell.cell_type == "code" else "YOUR ANSWER HERE"
    return book


def cell(book, name: str):
    return next(c for c in book.cells if c.id == name)


def found(tmp_path: Path, change) -> list[str]:
    """Leaks of a release that `change` was applied to: (notebook, folder) → nothing."""
    for name, book in (("source", source()), ("release", release())):
        (tmp_path / name).mkdir()
        if name == "release":
            change(book, tmp_path / name)
        (tmp_path / name / "a1.ipynb").write_text(small.text(book), encoding="utf-8")
    (tmp_path / "source" / "data.csv").write_text("1\n")
    return leaks(tmp_path / "source", tmp_path / "release", "a1")


def _set(name: str, text: str):
    return lambda book, _: cell(book, name).update(source=text)


def _metadata(book, _):
    book.metadata["widgets"] = {"state": {}}


def _output(book, _):
    cell(book, "setup").outputs = [v4.new_output("stream", text="4")]


def _attachment(book, _):
    cell(book, "text-answer")["attachments"] = {"a.png": {"image/png": "AAAA"}}


def _away(book, _):
    book.cells.remove(cell(book, "total-answer"))


PLANTED = {
    "a line of a solution": (
        _set("setup", f"# {{}}\n{SECRET}  "),
        "cell setup shows the solution of double-answer: the",
    ),
    "with other spaces": (_set("setup", SECRET.replace(" ", "").replace("=", " = ")), "cell setup shows the solution"),
    "a hidden test": (_set("double-test", HIDDEN), "cell double-test shows a hidden test of double-test: assert"),
    "a marker": (_set("setup", "#  begin hidden tests"), "cell setup still has the marker"),
    "the teacher's text": (_set("text-answer", " Because.\n"), "cell text-answer still holds the teacher's answer"),
    "an output": (_output, "cell setup has an output"),
    "a count": (lambda b, _: cell(b, "setup").update(execution_count=3), "cell setup has an output"),
    "an attachment": (_attachment, "cell text-answer has an attachment"),
    "a widget": (_metadata, "the state of widgets"),
    "a cell away": (_away, "cell total-answer is missing"),
    "answers.py": (lambda _, f: (f / "answers.py").write_text(""), "the file answers.py is for teachers only"),
    "deep down": (lambda _, f: ((f / "x").mkdir(), (f / "x" / "wrong.py").touch()), "x/wrong.py is for teachers only"),
    "a link": (lambda _, f: (f / "data.csv").symlink_to("/etc/hostname"), "the file data.csv is a link"),
    "another file": (lambda _, f: (f / "notes.txt").touch(), "the file notes.txt is not one of the source's"),
}


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_leak_is_named(tmp_path, case):
    change, said = PLANTED[case]
    (leak,) = found(tmp_path, change)
    assert said in leak.replace("'", "", 2) or said in leak


def test_a_clean_release_has_none(tmp_path):
    def beside(_, folder):
        (folder / "data.csv").write_text("1\n")

    assert found(tmp_path, beside) == []
    assert {"answers.py", "wrong.py"} <= set(IGNORED)


def test_what_a_student_may_read_anyway_is_no_secret(tmp_path):
    """A line that the visible part of a test has too, and a line too short to tell."""
    line = "assert double(1) == 2"
    assert len(line.replace(" ", "")) < TELLING

    def change(book, _):
        cell(book, "setup").source = f"{line}\n    return 2 * x"

    assert found(tmp_path, change) == []
