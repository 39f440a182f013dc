"""A sample of the named wrong approaches, handed in and graded in the real sandbox: the marks that the rubric says."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import nbformat
import pytest
from hostile import as_released

from workbench.classroom.answers import load_answers
from workbench.classroom.submission import Grader
from workbench.classroom.walls import Limits, problem

pytestmark = pytest.mark.skipif(bool(problem()), reason=f"no sandbox: {problem()}")
ROOT = Path(__file__).resolve().parents[2] / "assignments"
SAMPLE = [
    ("a1", "counts FLOPs"),  # three later questions build on it
    pytest.param("a1", "PConv overwrites its input", marks=pytest.mark.long),
    ("a2", "a sum, not a star"),
    ("a3", "forgets eps"),
    pytest.param("a3", "forgets the ramp", marks=pytest.mark.long),
    ("a4", "no shift"),
    pytest.param("a4", "embed counts rows", marks=pytest.mark.long),
    pytest.param("a5", "three maps", marks=pytest.mark.long),
    pytest.param("a5", "exported in training mode", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("name", "wrong"), SAMPLE)
def test_the_sandbox_agrees_with_the_rubric(tmp_path, name, wrong):
    spec = importlib.util.spec_from_file_location(f"sample_{name}", ROOT / name / "wrong.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cell, source, expected = module.WRONG[wrong]
    book = as_released(name)
    next(c for c in book.cells if c.id == cell).source = source
    nbformat.write(book, tmp_path / f"{name}.ipynb")
    for beside in (ROOT / name).glob("*.safetensors"):
        shutil.copy(beside, tmp_path)
    record, text = Grader(ROOT / name, name, seed=3, limits=Limits(), hide=tmp_path).grade("ada", tmp_path)
    full = {q.id: q.points for q in load_answers(ROOT / name / "answers.py").QUESTIONS}
    assert {k: m.points for k, m in record.questions.items()} == pytest.approx(full | expected), record
    assert record.status == "graded"
    assert not record.reason
    assert all(record.questions[k].message != "right" for k in expected)
    assert "HIDDEN TESTS" not in text
