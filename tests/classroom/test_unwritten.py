"""`check` tells what is wrong from what is not written, and names the function that a later task waits for."""

from __future__ import annotations

import nbformat
import pytest
from nbformat import v4

from workbench.classroom.check import check
from workbench.classroom.notebook import manifest
from workbench.classroom.outline import LESSONS, lesson_names, outline
from workbench.classroom.unwritten import defined, verdicts

STUB = "# YOUR CODE HERE\n    raise NotImplementedError()"
MACS = "def macs(c, k):\n    {}"
COST = "def cost(c):\n    return macs(c, 3) + 1"
UNIT = "class Unit:\n    def __init__(self, n):\n        self.n = n\n    def area(self):\n        {}"
OWN = "def own(kind):\n    if kind == 'odd':\n        raise NotImplementedError('odd kinds')\n    return 1"


def cell(name: str, source: str, kind: str = "code"):
    """One of nbgrader's cells; the end of its name says what it is."""
    made = (v4.new_code_cell if kind == "code" else v4.new_markdown_cell)(source, id=name)
    test, answer = name.endswith("-test"), name.endswith("-answer")
    made.metadata["nbgrader"] = {
        "schema_version": 3, "grade_id": name, "grade": test, "solution": answer, "locked": not answer, "task": False,
        **({"points": 1} if test else {}),
    }  # fmt: skip
    return made


def book(**answers: str):
    """Six tasks, some with two tests; `answers` stand in the place of what is right."""
    right = {
        "macs": MACS.format("return c * c * k * k"), "cost": COST, "own": OWN,
        "pair": "def first(x):\n    return x\n\ndef second(x):\n    return first(x) + cost(1)",
        "unit": UNIT.format("return self.n"),
    }  # fmt: skip
    text = right | answers
    cells = [
        cell("title", "# Costs\n\nNeeds: lessons 01 and 07 · 5 minutes.", "markdown"),
        cell("macs", "## 1 · MACs of `conv` (1 point)", "markdown"),
        cell("macs-answer", text["macs"]),
        cell("macs-test", "assert macs(2, 3) == 36, f'came {macs(2, 3)}'"),
        cell("cost", "## 2 · What it costs (1 point)", "markdown"),
        cell("cost-answer", text["cost"]),
        cell("cost-test", "assert cost(2) == 37"),
        cell("pair", "## 3 · A pair (2 points)", "markdown"),
        cell("pair-answer", text["pair"]),
        cell("first-test", "assert first(1) == 1"),
        cell("second-test", "assert second(1) == 11"),
        cell("unit", "## 4 · A unit (1 point)", "markdown"),
        cell("unit-answer", text["unit"]),
        cell("unit-given", "def area_of(n):\n    return Unit(n).area()"),
        cell("unit-test", "assert area_of(3) == 3"),
        cell("own", "## 5 · Kinds (1 point)", "markdown"),
        cell("own-answer", text["own"]),
        cell("own-test", "assert own('even') == 1"),
        cell("table", "## 6 · The table (1 point)", "markdown"),
        cell("table-given", "table = [cost(c) for c in (1, 2)]"),
        cell("table-test", "assert len(table) == 2\nassert area_of(2) == 2"),
    ]
    made = v4.new_notebook(cells=cells)
    made.metadata["workbench"] = manifest(made, "costs")
    return made


RIGHT = dict.fromkeys(("macs", "cost", "first", "second", "unit", "own", "table"), ("passes", ""))
CASES = {
    "all right": ({}, {}),
    "the first one": (
        {"macs": MACS.format(STUB)},
        {"macs": ("left out", ""), **dict.fromkeys(("cost", "second", "table"), ("waits for", "macs"))},
    ),
    "one function of two in a cell": (
        {"pair": f"def first(x):\n    {STUB}\n\ndef second(x):\n    return first(x) + cost(1)"},
        {"first": ("left out", ""), "second": ("waits for", "first")},
    ),
    "a method": (
        {"unit": UNIT.format("raise NotImplementedError")},
        {"unit": ("left out", ""), "table": ("waits for", "Unit")},
    ),
    "an error of one's own": (
        {"own": OWN.replace("'odd'", "'even'")}, {"own": ("fails", "NotImplementedError: odd kinds")},
    ),
    "wrong": (
        {"macs": MACS.format("return c * k")},
        {"macs": ("fails", "AssertionError: came 6"), "cost": ("fails", "AssertionError"),
         "second": ("fails", "AssertionError")},
    ),
    "does not parse": (
        {"macs": MACS.format("return (c")},
        {"macs": ("fails", "there is no macs, because its cell ends with SyntaxError: "),
         "table": ("fails", "there is no table, because its cell ends with NameError: "),
         "cost": ("fails", "there is no macs, because"), "second": ("fails", "there is no macs, because")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_each_test(tmp_path, case):
    """In a kernel: the traceback is IPython's own."""
    pytest.importorskip("nbclient", reason="nbclient is not installed (extra classroom)")
    answers, expected = CASES[case]
    nbformat.write(book(**answers), tmp_path / "costs.ipynb")
    found = check(tmp_path)
    for name, (verdict, said) in (RIGHT | expected).items():
        came = found.tests[f"{name}-test"]
        assert came[0] == verdict, (name, came)
        assert came[1].startswith(said), (name, came)
    assert found.ok == (not expected)
    assert not found.notes
    text = str(found)
    assert ("raise" in text, "NotImplementedError" in text) == (False, case == "an error of one's own")
    if case == "the first one":
        assert "○ 1 · MACs of conv: left out\n○ 2 · What it costs: waits for macs\n" in text
        assert "✓ 3 · A pair: first: passes" in text
        assert "what you wrote for a task that waits is graded with a right answer in the other's place" in text


def test_titles_and_lessons():
    found = outline(book())
    assert found.titles == {
        "macs-test": "1 · MACs of conv", "cost-test": "2 · What it costs", "first-test": "3 · A pair: first",
        "second-test": "3 · A pair: second", "unit-test": "4 · A unit", "own-test": "5 · Kinds",
        "table-test": "6 · The table",
    }  # fmt: skip
    assert found.lessons == ("01", "07")
    names = lesson_names(found.lessons)
    assert [n.removeprefix("notebooks/")[:3] for n in names] == ["01_", "07_"]
    assert all((LESSONS.parent / n).is_file() for n in names)


@pytest.mark.parametrize("cells", [None, 3, [1, None, {"cell_type": []}], [{"cell_type": "markdown", "source": 7}]])
def test_no_cells_no_titles(cells):
    assert outline({"cells": cells}).titles == {}
    assert outline({"cells": cells}).title("roofline-test") == "roofline"
    assert verdicts({"cells": cells}) == {}


def test_a_stub_is_the_line_that_was_handed_out():
    assert defined("class A:\n    def f(self):\n        raise NotImplementedError") == {"A": True}
    assert defined("def f():\n    try:\n        g()\n    except TypeError:\n        raise NotImplementedError") == {
        "f": False
    }
    assert defined("def f(:\n    raise NotImplementedError\nclass B: pass") == {"f": False, "B": False}
    assert defined("x = 1") == {}
