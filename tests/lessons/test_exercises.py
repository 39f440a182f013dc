"""Each exercise refuses its wrong answers, accepts its own solution, and lets an unsolved lesson run through."""

from __future__ import annotations

import ast

import lesson_files as lf
import pytest

from workbench import lesson
from workbench.errors import WorkbenchError
from workbench.lesson import mistakes
from workbench.lesson.exercises import exercises
from workbench.lesson.quiz import checkpoint_of

ALL = [(n, key) for n in lf.PRESENT for key in exercises(n)]
WRONG = [(n, key, name) for n, key in ALL for name in exercises(n)[key].wrong]
each = pytest.mark.parametrize(("number", "key"), ALL)


@pytest.fixture(autouse=True)
def _session(monkeypatch):
    """A lesson's session without the seeds and styles of `begin`."""
    from workbench.lesson import session

    monkeypatch.setattr(session, "_session", session.Session())


def start(number: str) -> None:
    from workbench.lesson import session

    session._session.lesson = number


@pytest.mark.parametrize("number", lf.FINISHED)
def test_notebook_and_checks_name_the_same_exercises(number):
    checked = [ast.literal_eval(c.args[0]) for c in lf.calls(number, "check")]
    assert len(checked) == len(set(checked))
    assert set(checked) == set(exercises(number))
    assert set(lf.solutions(number)) == set(checked)
    assert len(checked) >= 2


@pytest.mark.parametrize(("number", "key", "name"), WRONG)
def test_wrong_answers_fail(number, key, name, monkeypatch):
    start(number)
    monkeypatch.setattr(mistakes, "PATIENCE_S", 0.2)  # some checks build detectors
    with pytest.raises(AssertionError, match="hint: ") as caught:
        lesson.check(key, exercises(number)[key].wrong[name])
    said = str(caught.value)
    assert key in said
    assert ("this mistake: " not in said) or f"this mistake: {name}\n" in said, "a mistake is named, and it is another"
    assert lesson.progress()["exercises"] == {key: "wrong"}


@pytest.mark.parametrize("name", exercises("02")["ex-block-params"].wrong)
def test_a_wrong_answer_is_told_its_mistake(name):
    start("02")
    with pytest.raises(AssertionError, match=f"this mistake: {name}"):
        lesson.check("ex-block-params", exercises("02")["ex-block-params"].wrong[name])


@each
def test_three_wrong_answers_are_named(number, key):
    assert len(exercises(number)[key].wrong) >= 3


@each
def test_solution_passes(number, key, capsys):
    """The solution in the notebook's ``<details>`` is right, given only the definitions above it."""
    start(number)
    found = lf.solutions(number)
    assert key in found, f"{key} has no <details> with a Solution"
    names = lf.definitions_before(number, lf.exercise_cells(number)[key][1].id)
    exec(compile(found[key], f"solution of {key}", "exec"), names)
    call = next(c for c in lf.calls(number, "check") if ast.literal_eval(c.args[0]) == key)
    answer = eval(compile(ast.Expression(call.args[1]), "answer", "eval"), names)
    lesson.check(key, answer)
    assert f"✓ {key}" in capsys.readouterr().out


@each
def test_hint_is_there_before_the_solution(number, key):
    cell = lf.exercise_cells(number)[key][0]
    assert cell is not None, "a markdown cell with <details> stands right above the exercise"
    assert 0 < cell.source.lower().find("<summary>hint") < cell.source.lower().find("<summary>solution")


@each
def test_the_stub_is_not_attempted(number, key, capsys):
    start(number)
    cell = lf.exercise_cells(number)[key][1]
    names = lf.definitions_before(number, cell.id) | {"lesson": lesson}
    exec(compile(lf.tree(cell), cell.id, "exec"), names)
    assert f"… {key}: not attempted" in capsys.readouterr().out


@pytest.mark.parametrize("number", lf.FINISHED)
def test_checkpoint(number, capsys):
    """Three to five questions, one that needs code; right answers score, wrong ones neither score nor raise."""
    start(number)
    known = checkpoint_of(number)
    assert 3 <= len(known) <= 5
    assert any(q.code for q in known.values())
    (call,) = lf.calls(number, "checkpoint")
    asked = ast.literal_eval(ast.unparse(call.args[0]).replace("...", "None"))
    assert set(asked) == set(known)
    assert set(asked.values()) == {None}, "a committed lesson answers nothing for the learner"
    text = "".join(c.source for c in lf.cells(number) if c.id.startswith("checkpoint"))
    assert all(f"**{key}**" in text for key in known), "every question is asked in the notebook"
    right = {k: q.right for k, q in known.items()}
    lesson.checkpoint(right)
    assert lesson.progress()["score"] == (len(known), len(known))
    lesson.checkpoint(dict.fromkeys(known, "no such answer"))
    assert lesson.progress()["score"] == (0, len(known))
    lesson.checkpoint(dict.fromkeys(known, ...))
    assert capsys.readouterr().out.count("not answered") == len(known)
    with pytest.raises(WorkbenchError, match="no checkpoint question"):
        lesson.checkpoint({"q99": 1})
