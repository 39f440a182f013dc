"""What the grading benchmark grades is what it says, and what is said of its results follows from them."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from workbench.classroom import bench, costs
from workbench.classroom.made import MIX, hand_in_made, made_course
from workbench.errors import WorkbenchError
from workbench.measure.bench import save


def answers(path: Path) -> dict[str, str]:
    return {c.id: c.source for c in nbformat.read(path, as_version=4).cells if c.id.endswith("-answer")}


def test_made_submissions(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")
    course = made_course(tmp_path / "course")
    students = [f"s{i:02}" for i in range(len(MIX))]
    hand_in_made(course, "a1", students)
    released = answers(course.release("a1") / "a1.ipynb")
    made = {s: answers(course.submitted(s, "a1") / "a1.ipynb") for s in students}
    right = made["s00"]
    code = {k for k in released if "def " in released[k]}
    assert not any("NotImplementedError" in right[k] or "SOLUTION" in right[k] for k in code)
    changed = {"right": 0, "one wrong": 1, "two wrong": 2, "blank": len(code), "gave up half way": (len(code) + 1) // 2}
    for student, kind in zip(students, MIX, strict=True):
        mine = made[student]
        other = {k for k in code if mine[k] != right[k]}
        if kind == "does not parse":
            with pytest.raises(SyntaxError):
                ast.parse(mine[next(iter(other))])
            continue
        assert all(ast.parse(mine[k]) for k in code)
        assert len(other) == changed[kind], (student, kind, other)
        if kind in ("blank", "gave up half way"):
            assert all(mine[k] == released[k] for k in other)
    assert MIX.count("right") == 8


def record(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    env = {"cpu": "a CPU", "cores": 2, "python": "3", "torch": "2", "nbgrader": "0.9"}
    save(folder / "results" / name, rows, 1, env, "made")


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """Results of which every number is known: the sandbox takes 0.9 × nbgrader's time, two jobs 0.6 × one's."""
    monkeypatch.setattr(costs, "data_dir", lambda: tmp_path)
    cost = {"plain nbgrader": 2.0, "sandbox, 1 job": 1.8, "sandbox, 2 jobs": 1.08}
    ways = [
        {"run": 1, "round": k, "way": w, "jobs": bench.WAYS[w], "submissions": 10, "wall_s": 10 * s * (1 + k / 10),
         "s_per_submission": s * (1 + k / 10)}
        for k in range(6) for w, s in cost.items()
    ]  # fmt: skip
    many = [
        {"run": 1, "what": what, "jobs": 2, "submissions": n, "wall_s": s, "s_per_submission": s / n,
         "driver_mib": 90.0, "all_mib": 900.0}
        for what, n, s in (("1 to 50", 50, 50.0), ("51 to 100", 50, 60.0), ("into the gradebook", 100, 3.0),
                           ("all", 100, 113.0), ("again, nothing has changed", 100, 4.0))
    ]  # fmt: skip
    seat = [
        {"run": 1, "what": what, "kernel_mib": own, "child_mib": child, "cpu_s": 20.0, "wall_s": 30.0}
        for what, own, child in (("JupyterLab without a kernel", 124.0, 0.0), ("01_a_lesson", 600.0, 300.0),
                                 ("a5", 700.0, 0.0))
    ]  # fmt: skip
    both = [r | {"submissions": 20} for r in ways if r["way"] != "plain nbgrader"]
    for name, rows in ((costs.WAYS, ways), (costs.JOBS, both), (costs.MANY, many), (costs.SEAT, seat)):
        record(tmp_path, name, rows)
    return ways


def test_what_is_said_of_the_costs(made_up):
    assert bench.verdicts("ways", made_up) == [
        "sandbox with one job / plain nbgrader: 0.9 [0.9, 0.9] (n = 6; at most 1.3 wanted: met)",
        "one job / two jobs: 1.67 [1.67, 1.67] (n = 6)",
    ]
    assert bench.verdicts("jobs", made_up) == [
        "one job / two jobs: 1.67 [1.67, 1.67] (n = 6; at least 1.5 wanted: met)"
    ]
    slow = [r | {"s_per_submission": 9.0} if r["way"] == bench.ONE else r for r in made_up]
    assert "missed" in bench.verdicts("ways", slow)[0]
    text = costs.costs()
    assert "| plain nbgrader | 10 | 2.50 (2.00 to 3.00, n = 6) |" in text
    assert "takes 0.90 [0.90, 0.90] × the time of plain nbgrader" in text
    assert "takes 1.67 [1.67, 1.67] × the time of two on all 20" in text
    assert "| 100 submissions in one call, 2 jobs |" in text
    assert "The last 50 cost 1.20 × what the first 50 did" in text


def test_the_last_run_of_a_benchmark_speaks(made_up, tmp_path):
    slower = [r | {"run": 2, "submissions": 20, "s_per_submission": 4.0} for r in made_up]
    save(tmp_path / "results" / costs.JOBS, slower, 2, {"cpu": "a CPU", "cores": 2}, "made")
    rows, _ = costs.recorded(costs.JOBS)
    assert {r["run"] for r in rows} == {"2"}
    assert "| sandbox, 2 jobs | 20 | 4.00 (4.00 to 4.00, n = 6) |" in costs.costs()


def test_what_is_said_of_a_seat(made_up):
    assert costs.largest_mib() == 124 + 900
    text = costs.seats()
    assert "| 01 a lesson | 900 | 20 |" in text
    assert "01_a_lesson with JupyterLab, is 1.0 GiB" in text


def test_nothing_recorded_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "data_dir", lambda: tmp_path)
    with pytest.raises(WorkbenchError, match=r"bench_classroom.csv is not there; python -m workbench.classroom.bench"):
        costs.costs()


def test_a_way_that_fails_is_said(tmp_path):
    pytest.importorskip("nbgrader", reason="nbgrader is not installed (extra classroom)")
    from workbench.classroom import Course

    with pytest.raises(WorkbenchError, match="sandbox, 1 job left nobody"):
        bench._timed(Course(tmp_path), "sandbox, 1 job", ["nobody"])
