"""Which cells of a submission run, in whose words, and what stands in for a wrong earlier answer; no sandbox needed."""

from __future__ import annotations

import pytest
import small
from nbformat import v4

from workbench.classroom import ClassroomError
from workbench.classroom.answers import Question, load_answers
from workbench.classroom.sheet import MAX_CELLS, Master, attempted, clean, function_in, repaired, sheet

CALLS = ("double", "total")


@pytest.fixture(scope="module")
def a1(tmp_path_factory):
    course = small.course(tmp_path_factory.mktemp("sheet") / "course")
    folder = course.source("a1")
    return Master(folder, "a1"), {q.id: q for q in load_answers(folder / "answers.py").QUESTIONS}


def test_given_cells_are_the_sources_and_copies_are_dropped(a1):
    master, _ = a1
    book = small.notebook()
    test = next(c for c in book.cells if c.id == "double-test")
    test.source = "pass"
    book.cells += [v4.new_code_cell("pass", metadata=dict(test.metadata)), v4.new_code_cell("double = None")]
    steps = sheet(book, master, CALLS)
    found = [(s.id, s.source) for s in steps if s.id == "double-test"]
    assert found == [("double-test", "assert double(1) == 2")], "the source's, without hidden tests, once"
    assert [(s.id, s.kind) for s in steps][-1] == ("", "extra")
    assert not any("HIDDEN" in s.source for s in steps)


def test_missing_cells_are_put_back_where_they_stood(a1):
    master, _ = a1
    book = small.notebook()
    book.cells = [c for c in book.cells if c.id not in ("setup", "double-test", "total-answer", "total-test")]
    steps = sheet(book, master, CALLS)
    assert [s.id for s in steps] == list(master.kinds)
    assert next(s.source for s in steps if s.id == "total-answer") == ""


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda b: b.metadata.update(workbench={"assignment": "a2", "cells": []}), "the notebook of 'a2', not of 'a1'"),
        (lambda b: b.update(cells=[v4.new_code_cell("x = 1")]), "none of the cells of 'a1'"),
    ],
)
def test_another_notebook_is_refused(a1, change, part):
    book = small.notebook()
    change(book)
    with pytest.raises(ClassroomError, match=part):
        sheet(book, a1[0], CALLS)


def test_there_is_an_end_to_cells(a1):
    book = small.notebook()
    book.cells += [v4.new_code_cell("pass")] * MAX_CELLS
    assert len(sheet(book, a1[0], CALLS)) == MAX_CELLS


@pytest.mark.parametrize(
    ("source", "tried"),
    [
        ("def double(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()", False),
        ("# YOUR CODE HERE\nraise NotImplementedError()", False),
        ("  \n", False),
        ("def double(x):\n    if x is None:\n        raise NotImplementedError('nothing')\n    return 2 * x", True),
        ("def helper(x):\n    raise NotImplementedError\n\ndef double(x):\n    return 2 * x", True),
        ("def double(x:\n", True),
        ("double = lambda x: 2 * x", True),
    ],
)
def test_what_counts_as_tried(a1, source, tried):
    master, questions = a1
    steps = sheet(small.notebook(double=source), master, CALLS)
    assert attempted(steps, master, questions["double-test"]) is tried


def test_an_earlier_wrong_answer_is_replaced_and_nothing_later_is_shown(a1):
    master, questions = a1
    total = "def total(xs):\n    return sum(map(double, xs))"
    book = small.notebook(double="def double(x):\n    return x", total=total)
    steps = sheet(book, master, CALLS)
    wrong = list(questions.values())
    cells = repaired(steps, master, questions["total-test"], wrong)
    assert cells is not None
    assert any("### BEGIN SOLUTION" in c and "return 2 * x" in c for c in cells), "the source's double"
    assert cells[-1] == total, "the student's own, last"
    assert not any(c.endswith("return x") for c in cells)
    assert repaired(steps, master, questions["double-test"], wrong) is None, "nothing stands before the first"
    assert repaired(steps, master, questions["total-test"], [questions["total-test"]]) is None
    left_out = [i for i, s in enumerate(steps) if s.id == "total-answer"]
    assert not any("map" in c for c in repaired(steps, master, questions["total-test"], wrong, left_out))


def test_the_answer_of_a_test_is_the_nearest_above(a1):
    master, _ = a1
    assert master.answer_of("total-test") == "total-answer"
    assert master.answer_of("setup") == ""


def test_texts_that_are_no_python():
    assert function_in("def f(:", "f") == ""
    assert function_in("(" * 10_000, "f") == ""
    assert function_in("def f():\n    return 1\n\ndef f():\n    return 2", "f") == "def f():\n    return 2"
    assert clean("a\ud800b\0") == "a?b"
    assert isinstance(Question("x", 1, "f", lambda r, i: None).measured((1, 2), 0), list)
