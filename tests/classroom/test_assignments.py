"""Tests of the tests: each assignment gives the right solution full marks, the release none, a wrong approach its own.

The notebooks' cells run in this process, with replacements, and so are the files opened that they write. Marks follow
the rule of grading: a question is judged with right answers in the place of earlier wrong ones. The sandbox (with a
sample of the same) and the process for files are tested elsewhere.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import inspect
import io
import linecache
import os
import re
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.backbones import registry
from workbench.classroom import exam
from workbench.classroom.answers import Failed, load_answers
from workbench.classroom.calls import signature_of, written
from workbench.classroom.judge import Judge
from workbench.classroom.sheet import Master, repaired, sheet

ROOT = Path(__file__).resolve().parents[2] / "assignments"
NAMES = sorted(p.parent.name for p in ROOT.glob("a?/a?.ipynb"))
SEEDS = (1, 2)
SOLUTION = re.compile(r"( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.S)
every = pytest.mark.parametrize("name", NAMES)


def wrong_of(name: str) -> dict[str, tuple[str, str, dict[str, float]]]:
    spec = importlib.util.spec_from_file_location(f"wrong_{name}", ROOT / name / "wrong.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


def cells(name: str) -> list[Any]:
    return nbformat.read(ROOT / name / f"{name}.ipynb", as_version=4).cells


def meta(cell: Any) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})


def graded_cells(name: str) -> dict[str, Any]:
    return {c.id: c for c in cells(name) if c.cell_type == "code" and meta(c).get("grade")}


def released(source: str) -> str:
    return SOLUTION.sub(r"\1raise NotImplementedError()", source)


def run(name: str, replaced: dict[str, str] | None = None, release: bool = False) -> dict[str, Any]:
    """Run the student's cells (no test, no measurement or training) and return the names they define."""
    student = [c for c in cells(name) if c.cell_type == "code" and not meta(c).get("grade")]
    sources = {c.id: released(c.source) if release else c.source for c in student if not c.id.endswith("-run")}
    return played(name, list((sources | (replaced or {})).items()))


def played(name: str, sources: list[tuple[str, str]]) -> dict[str, Any]:
    """Run cells, given as (id, source), and return the names they define."""
    student = sys.modules["student"] = types.ModuleType("student")
    names = vars(student)
    with contextlib.redirect_stdout(io.StringIO()):
        for cell_id, source in sources:
            where = f"{name}:{cell_id}"
            linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)  # as IPython does
            exec(compile(source, where, "exec"), names)
    return names


def call(function: Any, arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*copy.deepcopy(arguments))
    except Exception as e:
        return Failed(f"{type(e).__name__}: {e}")


def marks(name: str, names: dict[str, Any], seed: int, files: bool = True) -> dict[str, tuple[float, str]]:
    """Question → (points, message), decided as at grading time; those decided from files only where wanted."""
    answers = load_answers(ROOT / name / "answers.py")
    inputs, table = answers.INPUTS(seed), {}
    for q in answers.QUESTIONS:
        if q.measure and not files:
            continue
        table[q.id] = judged(q, names, inputs[q.id], seed)
    return table


def judged(question: Any, names: dict[str, Any], inputs: list[tuple[Any, ...]], seed: int) -> tuple[float, str]:
    given = [call(names[question.call], arguments) for arguments in inputs]
    fraction, message = question.compare(question.measured(given, seed), inputs)
    return question.points * fraction, message


def put_right(
    name: str, replaced: dict[str, str], alone: dict[str, tuple[float, str]], seed: int
) -> dict[str, tuple[float, str]]:
    """Question → (points, message) with right answers in the place of earlier wrong ones, as grading has it."""
    answers, master = load_answers(ROOT / name / "answers.py"), Master(ROOT / name, name)
    inputs, table = answers.INPUTS(seed), dict(alone)
    book = nbformat.read(ROOT / name / f"{name}.ipynb", as_version=4)
    for cell in book.cells:
        cell.source = replaced.get(cell.id, cell.source)
    steps = sheet(book, master, [q.call for q in answers.QUESTIONS])
    wrong = [q for q in answers.QUESTIONS if q.id in alone and alone[q.id][0] < q.points]
    for q in wrong:
        sources = repaired(steps, master, q, wrong)
        if sources is not None:
            names = played(name, [(f"put-right-{i}", source) for i, source in enumerate(sources)])
            again = judged(q, names, inputs[q.id], seed)
            table[q.id] = again if again[0] > alone[q.id][0] else alone[q.id]
    return table


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # what a notebook writes goes with the test
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(exam, "opener", exam.Here)
    monkeypatch.setattr(exam, "score_file", functools.partial(exam.score_file, images=40, timing_s=0.0))
    for weights in ROOT.glob("*/*.safetensors"):
        shutil.copy(weights, tmp_path)  # what is handed in beside a notebook
    yield
    sys.modules.pop("mine", None)  # the file that assignment 5 writes
    registry._custom.pop("Mine", None)


def test_five_assignments():
    assert NAMES == ["a1", "a2", "a3", "a4", "a5"]


@every
def test_questions_are_the_graded_cells(name):
    questions = load_answers(ROOT / name / "answers.py").QUESTIONS
    assert {q.id: q.points for q in questions} == {i: meta(c)["points"] for i, c in graded_cells(name).items()}
    assert 10 <= sum(q.points for q in questions) <= 20
    by_hand = [c for c in cells(name) if c.cell_type == "markdown" and meta(c).get("grade")]
    assert len(by_hand) == 1
    above = cells(name)[cells(name).index(by_hand[0]) - 1].source
    rubric = [float(p) for p in re.findall(r"\| *([\d.]+) *\|$", above, re.M)]
    assert sum(rubric) == meta(by_hand[0])["points"]


@every
def test_cells_are_nbgraders(name):
    ids = [c.id for c in cells(name)]
    assert len(set(ids)) == len(ids)
    for c in cells(name):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", c.id)
        data = meta(c)
        assert data.get("grade_id") == c.id
        assert data["schema_version"] == 3
        assert data["solution"] == (c.id.endswith("-answer"))
        assert data["solution"] or data["locked"]
        if c.cell_type == "code":
            assert data["solution"] == ("### BEGIN SOLUTION" in c.source)
            assert data["grade"] == ("### BEGIN HIDDEN TESTS" in c.source)
            assert not c.outputs
            assert c.execution_count is None


@every
@pytest.mark.parametrize("seed", SEEDS)
def test_right_is_full_marks(name, seed):
    names = run(name)
    points = {q.id: q.points for q in load_answers(ROOT / name / "answers.py").QUESTIONS}
    found = marks(name, names, seed, files=seed == SEEDS[0])  # a file is the same whatever is drawn
    assert {k: v[0] for k, v in found.items()} == {k: points[k] for k in found}, found
    assert seed != SEEDS[0] or found.keys() == points.keys()


@every
def test_release_is_zero(name):
    found = marks(name, run(name, release=True), 1)
    assert {v[0] for v in found.values()} == {0.0}, found
    assert all("NotImplementedError" in v[1] for v in found.values()), found


@pytest.mark.parametrize(
    ("name", "wrong"), [(n, w) for n in NAMES for w in wrong_of(n)], ids=lambda v: v.replace(" ", "-")
)
def test_wrong_approaches_earn_exactly_their_marks(name, wrong):
    """The comparison outside decides, each question by itself; the notebook's own tests agree on what is wrong."""
    cell, source, expected = wrong_of(name)[wrong]
    assert cell in [c.id for c in cells(name)]
    names = run(name, {cell: source})
    full = {q.id: q.points for q in load_answers(ROOT / name / "answers.py").QUESTIONS}
    assert expected, "a wrong approach that costs nothing is none"
    for seed in SEEDS:
        alone = marks(name, names, seed, files=seed == SEEDS[0])  # a file is the same whatever is drawn
        found = put_right(name, {cell: source}, alone, seed)
        wanted = {k: v for k, v in (full | expected).items() if k in found}
        assert {k: pytest.approx(v) for k, v in wanted.items()} == {k: v[0] for k, v in found.items()}, found
        for question in expected.keys() & found.keys():
            assert found[question][1] != "right"
    for question in expected:
        with pytest.raises(Exception), contextlib.redirect_stdout(io.StringIO()):  # noqa: B017 - any error costs it
            exec(compile(graded_cells(name)[question].source, question, "exec"), dict(names))


def judge_of(compare: Any) -> Judge | None:
    """Return the judge inside a comparison, below what gives shares around it."""
    while compare is not None and not isinstance(compare, Judge):
        compare = getattr(compare, "compare", None)
    return compare


@every
def test_messages_name_the_call_as_the_notebook_defines_it(name):
    """What a student reads is what the student can type."""
    answers, names = load_answers(ROOT / name / "answers.py"), run(name)
    judges = {q.id: found for q in answers.QUESTIONS if (found := judge_of(q.compare))}
    assert judges
    for question, compare in judges.items():
        called, signature = signature_of(compare.call)
        assert signature == inspect.signature(names[called]), f"{question}: {compare.call}"
    inputs = answers.INPUTS(1)
    for question, compare in judges.items():
        fraction, message = compare([object()] * len(inputs[question]), inputs[question])
        assert fraction == 0
        assert message.startswith(written(compare.call, inputs[question][0]) + ": ")


@every
def test_at_least_five_wrong_approaches(name):
    assert len(wrong_of(name)) >= 5
    touched = {q for _, _, expected in wrong_of(name).values() for q in expected}
    assert touched == set(graded_cells(name)), "each question has a wrong approach that fails it"


@every
def test_no_stderr_and_one_thread(name):
    setup = next(c for c in cells(name) if c.id == "setup").source
    assert "set_threads(1)" in setup
    assert not any("nbgrader" in c.source for c in cells(name) if c.cell_type == "code")
    assert os.sep + "work" not in "".join(c.source for c in cells(name))
