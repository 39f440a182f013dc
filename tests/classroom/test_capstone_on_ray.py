"""The capstone on a cluster: weights travel with the notebook, and the files are opened where the work was graded."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("ray", reason="Ray is not installed (extra cluster)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra runtimes)")

from workbench.classroom.grade import grade_assignment
from workbench.classroom.init import init_course
from workbench.classroom.walls import problem


@pytest.mark.long
@pytest.mark.skipif(bool(problem()), reason=f"no sandbox: {problem()}")
def test_the_solution_and_one_without_weights(tmp_path):
    course, _ = init_course(tmp_path / "course")
    for student, files in (("ada", ("a5.ipynb", "a5.safetensors")), ("bob", ("a5.ipynb",))):
        folder = course.submitted(student, "a5")
        folder.mkdir(parents=True)
        for name in files:
            shutil.copy(course.source("a5") / name, folder)
    ada, bob = grade_assignment(course, "a5", engine="ray", jobs=1, seed=1)
    assert (ada.points, bob.points) == (16, 12), (ada, bob)
    assert ada.capstone["map50_high"] >= 0.6
    assert "a5.safetensors is not there" in bob.questions["quality-test"].message
