"""What is said about the tests is what was recorded; and the tools that record it can see a difference."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "data" / "results"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def tool(name: str) -> ModuleType:
    """Import a script of .ci, which is no package."""
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / ".ci"))


def mutants(source: str, only: str | None = None) -> list[str]:
    return [m.after for m in tool("mutants").mutants(source, only)]


# ------------------------------------------------------------------ mutation


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader((RESULTS / "mutation.csv").open(encoding="utf-8", newline="")))


def test_mutants_killed_reach_the_target_and_the_sentence_says_so():
    found = json.loads((RESULTS / "mutation.json").read_text(encoding="utf-8"))
    tools = tool("mutate")
    assert found["summary"] == tools.summary(rows()), "the table and the summary are of one run"
    total = found["summary"]["all"]
    changed = total["killed"] + total["survived"]
    assert changed >= 60
    assert total["killed_share"] >= found["target"] == 0.85
    per_group = ", ".join(
        f"{name} {n['killed']} of {n['killed'] + n['survived']}"
        for name, n in found["summary"].items() if name != "all"
    )  # fmt: skip
    sentence = (
        f"{total['killed']} of {changed} are killed ({total['killed_share']:.0%}, at least 85 % is asked): "
        f"{per_group}; {total['equivalent']} more change nothing, each with its reason."
    )
    assert sentence in CONTRIBUTING, f"write in CONTRIBUTING.md: {sentence}"
    first = found["first_run"]["all"]
    assert f"The first run killed {first['killed']};" in CONTRIBUTING
    assert f"the first run's {first['killed_share']:.0%} there" in CONTRIBUTING


def test_every_group_and_every_reason_is_of_the_sample():
    groups = tool("mutation_groups")
    assert {r["group"] for r in rows()} == {g.name for g in groups.GROUPS}
    equivalent = {(r["file"], r["before"], r["after"]) for r in rows() if r["verdict"] == "equivalent"}
    assert equivalent == set(groups.EQUIVALENT)
    assert len(equivalent) <= 0.1 * len(rows()), "more would be an excuse"
    assert all(len(reason) > 30 for reason in groups.EQUIVALENT.values())
    assert all(r["by"] for r in rows() if r["verdict"] == "killed")
    for group in groups.GROUPS:
        for place in (*group.files, *group.tests):
            assert (ROOT / place.partition("::")[0]).exists(), place


def test_mutants_are_wrong_in_one_place_and_leave_words_alone():
    assert mutants("a = b + 1 if c else d") == [
        "a = b + 1 if not c else d", "a = b - 1 if c else d", "a = b + 2 if c else d",
    ]  # fmt: skip
    assert mutants("x.a = 1\nx.b = f(k=y)") == ["nothing", "nothing", "x.a = 2", "x.b = f()"]
    assert mutants("def f(a: int = 1) -> 'str':\n    '''Say 1.'''\n    return a") == ["def f(a: int=2) -> 'str':"]
    for words in ("raise E(f'{a} < {1}')", "log.info('a', 1)", "__all__ = ['a']", "import a", "s = 'no identifier'"):
        assert mutants(words) == []
    assert mutants("class A:\n    def f(self):\n        return 1\ndef g():\n    return 2", "A.f") == ["return 2"]
    every = tool("mutants").mutants("if a < 1 and not b:\n    c[0] += -d")
    assert len({m.source for m in every}) == len(every), "each is another program"
    for m in every:
        compile(m.source, m.operator, "exec")


SUM = "def total(a, b):\n    return a + b\n"
TEST = "from workbench.it import total\ndef test_total():\n    assert total({0}, {1}) == {2}\n"


@pytest.mark.parametrize(("arguments", "verdict"), [((2, 3, 5), "killed"), ((0, 0, 0), "survived")])
def test_a_mutant_dies_of_a_test_that_looks_and_lives_beside_one_that_does_not(tmp_path, arguments, verdict):
    """The driver, on a project of two lines: a − b for a + b, against a test that sees it and one that cannot."""
    for folder in (".ci", "tests", "workbench"):
        (tmp_path / folder).mkdir()
    (tmp_path / "workbench/__init__.py").touch()
    (tmp_path / "workbench/it.py").write_text(SUM)
    (tmp_path / "tests/test_it.py").write_text(TEST.format(*arguments))
    for name in ("mutants.py", "mutate.py"):
        (tmp_path / ".ci" / name).write_text((ROOT / ".ci" / name).read_text("utf-8"), "utf-8")
    groups = 'Group("it", ("workbench/it.py",), ("tests/test_it.py",))'
    source = (ROOT / ".ci/mutation_groups.py").read_text("utf-8").partition("GROUPS = ")[0]
    (tmp_path / ".ci/mutation_groups.py").write_text(f"{source}GROUPS = ({groups},)\nEQUIVALENT = {{}}\n", "utf-8")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    script = "import mutate; rows = mutate.judge(mutate.GROUPS[0], mutate.sample(mutate.GROUPS[0], 9)); print(rows)"
    guarded = f"if __name__ == '__main__':\n    {script}"
    (tmp_path / ".ci/once.py").write_text(guarded, "utf-8")
    done = subprocess.run([sys.executable, ".ci/once.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"'verdict': '{verdict}'" in done.stdout.splitlines()[-1]
    assert (tmp_path / "workbench/it.py").read_text() == SUM, "the tree itself is not touched"


# ------------------------------------------------------------------ coverage


def test_lines_reached_meet_the_target_and_the_sentence_says_so():
    found = json.loads((RESULTS / "coverage.json").read_text(encoding="utf-8"))
    packages = {p.name for p in (ROOT / "workbench").iterdir() if (p / "__init__.py").is_file()}
    assert {name.removeprefix("workbench/") for name in found["packages"]} - {"workbench", "all"} == packages
    total = found["packages"]["all"]
    assert total["statements"] == sum(n["statements"] for k, n in found["packages"].items() if k != "all")
    assert total["share"] >= found["target"] == 0.90
    least, row = min(found["packages"].items(), key=lambda item: item[1]["share"])
    sentence = (
        f"{total['share']:.1%} of {total['statements']:,} statements (at least 90 % is asked); "
        f"least in {least}, {row['share']:.1%}."
    )
    assert sentence in CONTRIBUTING, f"write in CONTRIBUTING.md: {sentence}"


def test_files_are_counted_to_their_package():
    cover = tool("cover")
    files = {
        "a/workbench/errors.py": (10, 9),
        "a/workbench/yolo/surgery/files.py": (20, 10),
        "workbench/yolo/x.py": (5, 5),
    }
    report = {"files": {k: {"summary": {"num_statements": n, "covered_lines": c}} for k, (n, c) in files.items()}}
    assert cover.table(report) == {
        "workbench": {"statements": 10, "reached": 9, "share": 0.9},
        "workbench/yolo": {"statements": 25, "reached": 15, "share": 0.6},
        "all": {"statements": 35, "reached": 24, "share": 0.6857},
    }


# ------------------------------------------------------------------ times


def test_the_suite_prints_a_table_of_times_with_every_section_and_the_slowest_files(capsys, monkeypatch, tmp_path):
    suite = tool("suite")
    report = (
        '<testsuites><testsuite><testcase classname="tests.test_{0}" name="a" time="{1}"/></testsuite></testsuites>'
    )
    ran = []

    def run(command, **_):
        section = command[2]
        ran.append(section)
        for argument in command:
            if argument.startswith("--junitxml="):
                path = Path(argument.partition("=")[2])
                path.write_text(report.format("slow" if path.stem == "tests" else "quick", 9.5), "utf-8")
        return subprocess.CompletedProcess(command, 1 if section == "mypy" else 0)

    monkeypatch.setattr(suite, "notebooks", lambda: ["a.ipynb"])
    monkeypatch.setattr(suite, "PAGE", tmp_path / "none")
    monkeypatch.setattr(suite.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["suite.py", "--workers", "1"])
    assert suite.main() == 1
    table = capsys.readouterr().out.partition("── times")[2]
    assert all(f"  {section}" in table for section in suite.SECTIONS)
    assert "mypy         FAILED (1)" in table
    assert "     9.5 s    tests.test_slow" in table
    assert "in all; failed: mypy" in table
    assert table.rstrip().endswith("5 passed, 1 failed, 0 skipped"), "four linters, two reports of one test"
    assert ran == ["ruff", "ruff", "nbstripout", "mypy", "pytest", "pytest"]
