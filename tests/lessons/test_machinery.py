"""What a notebook cell calls: begin, predict, reveal, check, checkpoint, record, table."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lesson_files as lf
import numpy as np
import pytest
import torch

from workbench import lesson
from workbench.errors import WorkbenchError
from workbench.lesson import exercises as ex
from workbench.lesson import quiz, results, session
from workbench.lesson.predictions import show


@pytest.fixture(autouse=True)
def _session(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "_session", session.Session("99"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ex, "_EXERCISES", {})
    monkeypatch.setattr(quiz, "_QUESTIONS", {})


@pytest.fixture
def twice():
    """An exercise of lesson 99: double a number."""

    def run(answer):
        ex.expect_function(answer)
        for n in (1, 5):
            ex.expect_equal(answer(n), 2 * n, f"double of {n}")

    run.__module__ = "workbench.lesson.l99"
    wrong = {"same": lambda n: n, "square": lambda n: n * n, "half": lambda n: n / 2}
    return ex.exercise("ex-twice", hint="add it to itself", ok="Twice.", wrong=wrong)(run)


class TestBegin:
    def test_seeds_threads_style_and_four_lines(self, capsys):
        threads = torch.get_num_threads()
        draws = []
        try:
            for _ in range(2):
                lesson.begin("03", threads=1)
                assert torch.get_num_threads() == 1
                draws.append((random.random(), np.random.rand(), torch.rand(2).tolist()))
        finally:
            torch.set_num_threads(threads)
        assert draws[0] == draws[1]
        import matplotlib as mpl

        assert mpl.rcParams["axes.spines.top"] is False
        printed = capsys.readouterr().out.strip().splitlines()
        assert len(printed) == 2 * 3
        assert "StarNet" in printed[0]
        assert torch.__version__ in printed[1]
        assert "1 thread of" in printed[2]
        assert lesson.progress()["lesson"] == "03"

    def test_says_the_budget(self, capsys, monkeypatch):
        monkeypatch.setenv("WORKBENCH_BUDGET", "full")
        lesson.begin("00")
        assert "budget full" in capsys.readouterr().out
        assert lesson.pick(fast=1, full=2) == 2
        monkeypatch.setenv("WORKBENCH_BUDGET", "quick")
        with pytest.raises(WorkbenchError, match="'fast' or 'full'"):
            lesson.begin("00")

    def test_unknown_lesson(self):
        with pytest.raises(WorkbenchError, match="no lesson '3'"):
            lesson.begin("3")

    def test_titles_are_the_notebooks(self):
        assert set(session.TITLES) == set(lf.FILES)


class TestPredictions:
    def test_beside_the_measurement(self, capsys):
        lesson.predict("ratio", 16, unit="×")
        lesson.reveal("ratio", 12.5, why="copies")
        out = capsys.readouterr().out
        assert "your prediction is 16 ×" in out
        assert "12.5 ×" in out
        assert "predicted is 1.28 × measured" in out
        assert out.endswith("copies\n\n")

    @pytest.mark.parametrize(
        ("predicted", "measured", "verdict"),
        [(4, 4.0, "as predicted"), ((1, 2), [1, 2], "as predicted"), ("a", "b", "different"), (2, 8, "4 × predicted")],
    )
    def test_verdicts(self, predicted, measured, verdict, capsys):
        lesson.predict("k", predicted)
        lesson.reveal("k", measured)
        assert verdict in capsys.readouterr().out

    def test_not_committed_is_no_error(self, capsys):
        lesson.predict("k", ..., unit="ms")
        lesson.reveal("k", 3, unit="ms")
        lesson.reveal("never asked", 3)
        out = capsys.readouterr().out
        assert "no prediction yet" in out
        assert out.count("—") == 2
        assert lesson.progress()["predictions"] == {}

    def test_after_the_measurement_is_said(self, capsys):
        lesson.reveal("k", 3)
        lesson.predict("k", 3)
        assert "after the measurement" in capsys.readouterr().out

    def test_choices(self):
        with pytest.raises(WorkbenchError, match="not one of the choices 'a', 'b'"):
            lesson.predict("k", "c", choices=("a", "b"))

    def test_numbers_are_readable(self):
        assert show(0.123456) == "0.1235"
        assert show(1234567.8) == "1,234,568"
        assert show(True) == "True"
        assert show([1.5, 2]) == "1.5, 2"


class TestCheck:
    def test_right(self, twice, capsys):
        lesson.check("ex-twice", lambda n: n + n)
        assert capsys.readouterr().out == "✓ ex-twice: Twice.\n"
        assert lesson.progress()["exercises"] == {"ex-twice": "passed"}

    def test_wrong_says_expected_came_and_hint(self, twice):
        match = r"double of 1: expected 2, came 1, 2 times too small\n  hint: add it to itself"
        with pytest.raises(AssertionError, match=match):  # "same" and "square" both give 1 of 1: neither is named
            lesson.check("ex-twice", lambda n: n)

    def test_a_named_mistake_is_recognised(self, twice):
        with pytest.raises(
            AssertionError, match=r"came 0\.5, .*\n  the same comes out with this mistake: half\n  hint: "
        ):
            lesson.check("ex-twice", lambda n: n * 0.5)
        with pytest.raises(AssertionError, match=r"came 7, 3\.5 times too large\n  hint: "):
            lesson.check("ex-twice", lambda n: 7 * n)

    def test_a_check_leaves_the_global_seed_alone_and_draws_anew(self):
        seen = []

        def run(answer):
            seen.append((torch.rand(1).item(), torch.rand(1, generator=ex.fresh()).item()))

        run.__module__ = "workbench.lesson.l99"
        ex.exercise("ex-draw", hint="", wrong={name: name for name in "abc"})(run)
        torch.manual_seed(1)
        expected = torch.rand(2)
        torch.manual_seed(1)
        first = torch.rand(1)
        lesson.check("ex-draw", 0), lesson.check("ex-draw", 0)
        assert torch.equal(torch.cat((first, torch.rand(1))), expected)
        assert len({*seen[0], *seen[1]}) == 4

    def test_an_error_in_the_answer_is_a_wrong_answer(self, twice):
        with pytest.raises(AssertionError, match="raised ZeroDivisionError") as caught:
            lesson.check("ex-twice", lambda n: n / 0)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_a_notebook_shows_the_learners_lines_and_not_the_check(self, tmp_path, monkeypatch):
        """The check's source holds the answer: it must not stand in the traceback."""
        monkeypatch.undo()
        monkeypatch.setattr(session, "_session", session.Session("02"))
        answer = tmp_path / "cell.py"
        answer.write_text("def params(c, n_div, ratio):\n    return c / 0")
        names = {}
        exec(compile(answer.read_text(), str(answer), "exec"), names)
        with pytest.raises(AssertionError) as caught:
            lesson.check("ex-block-params", names["params"])
        shown = caught.value._render_traceback_()
        assert "raised ZeroDivisionError" in shown[0]
        assert shown[1].startswith("  hint: ")
        assert shown[2:] == ["  line 2, in params:  return c / 0"]

    @pytest.mark.parametrize("answer", [3, None, "n + n", torch.zeros(2)])
    def test_type_before_value(self, twice, answer):
        with pytest.raises(AssertionError, match="expected a function"):
            lesson.check("ex-twice", answer)

    def test_not_attempted(self, twice, capsys):
        def ellipsis_body(n): ...

        def returns_ellipsis(n):
            return ...

        def documented(n):
            """Double n."""

        for answer in (..., ellipsis_body, returns_ellipsis, documented, [1, ...]):
            lesson.check("ex-twice", answer)
        assert capsys.readouterr().out == "… ex-twice: not attempted\n" * 5
        assert lesson.progress()["exercises"] == {"ex-twice": "not attempted"}

    def test_a_function_that_returns_none_was_attempted(self, twice):
        with pytest.raises(AssertionError, match="expected a number, came NoneType"):
            lesson.check("ex-twice", lambda n: print(end=""))

    def test_unknown_exercise_names_the_near_one(self, twice):
        with pytest.raises(WorkbenchError, match="did you mean 'ex-twice'"):
            lesson.check("ex-twise", 1)

    def test_needs_three_wrong_answers(self):
        with pytest.raises(WorkbenchError, match="names 2 wrong answers"):
            ex.exercise("ex-few", hint="", wrong={"a": 1, "b": 2})

    def test_fresh_leaves_the_global_seed_alone(self):
        torch.manual_seed(1)
        expected = torch.rand(1)
        torch.manual_seed(1)
        assert ex.fresh().initial_seed() != ex.fresh().initial_seed()
        assert torch.equal(torch.rand(1), expected)

    def test_wrong_answers_are_caught_without_asserts_too(self):
        """``python -O`` drops assert statements; checks must not depend on them."""
        code = (
            "from workbench import lesson; from workbench.lesson import session, exercises as ex\n"
            "session._session.lesson = '03'\n"
            "try: lesson.check('ex-star-block', lambda x, f1, f2: f1(x))\n"
            "except AssertionError: print('caught')"
        )
        done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, cwd=lf.ROOT)
        assert done.stdout.strip() == "caught", done.stderr


class TestCheckpoint:
    def test_needs_code_and_three_to_five(self):
        q = [quiz.Question(f"q{i}", "a", why="", see="", code=i == 0) for i in range(6)]
        for items in (q[:2], q[:6], q[1:4]):
            with pytest.raises(WorkbenchError, match="3 to 5 questions"):
                quiz.questions(*items)

    def test_answers_of_each_kind(self):
        letter, number = quiz.Question("q", "b", "", ""), quiz.Question("q", lambda: 200, "", "", rel=0.01)
        shape = quiz.Question("q", (1, 2), "", "")
        assert letter.is_right(" B ")
        assert not letter.is_right("a")
        assert not letter.is_right(2)
        assert number.is_right(torch.tensor(201))
        assert number.is_right(200.0)
        assert not number.is_right(203)
        assert not number.is_right("200")
        assert not number.is_right(True)
        assert shape.is_right([1, 2])
        assert not shape.is_right([1, 2, 3])


class TestTable:
    def test_empty(self):
        assert lesson.table() == []
        assert "empty" in repr(lesson.table())

    def test_rows_come_back_as_numbers_and_are_replaced(self):
        lesson.record({"backbone": "starnet_s1", "macs": 421877376, "latency_ms": 4.5})
        lesson.record({"backbone": "fasternet_t0", "macs": 335422720, "form": "deploy"})
        lesson.record({"backbone": "starnet_s1", "macs": 1})
        rows = lesson.table()
        assert [(r["lesson"], r["backbone"]) for r in rows] == [("99", "fasternet_t0"), ("99", "starnet_s1")]
        assert rows[1]["macs"] == 1
        assert "latency_ms" not in rows[1], "the earlier row is replaced, not merged"
        assert rows[0]["threads"] == torch.get_num_threads()
        assert rows[0]["budget"] == "fast"

    def test_prints_as_table(self):
        lesson.record({"backbone": "<b>", "macs": 1234567})
        assert "1,234,567" in repr(lesson.table())
        html = lesson.table()._repr_html_()
        assert "&lt;b&gt;" in html
        assert "<b>" not in html

    @pytest.mark.parametrize(
        ("row", "message"),
        [({"macs": 1}, "no 'backbone'"), ({"backbone": "x", "shape": (1, 2)}, "is a tuple"), ({}, "no 'backbone'")],
    )
    def test_bad_rows(self, row, message):
        with pytest.raises(WorkbenchError, match=message):
            lesson.record(row)
        assert not results.path().exists()

    def test_before_begin(self, monkeypatch):
        monkeypatch.setattr(session, "_session", session.Session())
        with pytest.raises(WorkbenchError, match=r"before lesson\.begin"):
            lesson.record({"backbone": "x"})

    def test_somebody_elses_file_is_refused_and_kept(self):
        results.path().write_text("a,b\n1,2\n")
        for call in (lesson.table, lambda: lesson.record({"backbone": "x"})):
            with pytest.raises(WorkbenchError, match="delete it"):
                call()
        assert results.path().read_text() == "a,b\n1,2\n"

    def test_writers_at_once_lose_no_row(self):
        with ThreadPoolExecutor(4) as pool:
            for n in range(20):
                pool.submit(lesson.record, {"lesson": "01", "backbone": f"b{n}", "n": n})
        assert sorted(r["n"] for r in lesson.table()) == list(range(20))
        assert [p.name for p in results.path().parent.iterdir() if "tmp" in p.name] == []
