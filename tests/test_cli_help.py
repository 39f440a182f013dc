"""What somebody sees who asks the command line for help."""

from __future__ import annotations

import pytest

import workbench as wb
import workbench.yolo  # now, so that ultralytics' logger does not hold on to the captured stream of one test
from workbench.cli import main

VERBS = (
    "list info measure yaml layers surgery data train sweep results doctor class",
    "init build release collect grade marks leaderboard feedback check",
)


@pytest.mark.parametrize("group", [[], ["class"]], ids=["workbench", "class"])
def test_every_verb_says_in_one_whole_sentence_what_it_does(capsys, group):
    assert main([*group, "--help"]) == 0
    listed = [line.split(None, 1) for line in capsys.readouterr().out.partition("Commands:\n")[2].splitlines()]
    assert {verb for verb, _ in listed} >= set(VERBS[len(group)].split())
    assert [verb for verb, about in listed if not about.endswith((".", ")"))] == []
    assert [verb for verb, about in listed if about.endswith("...")] == []


@pytest.mark.parametrize("verb", [*VERBS[0].split(), *(f"class {v}" for v in VERBS[1].split())])
def test_every_option_is_explained(capsys, verb):
    assert main([*verb.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert "Usage: workbench" in said
    options = said.partition("Options:\n")[2].splitlines()
    bare = [line for line in options if line.startswith("  -") and len(line.split()) < 3]
    assert bare == [], "an option without a word about it"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"workbench {wb.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]], ids=lambda a: " ".join(a) or "nothing")
def test_yolo_says_what_it_is_before_ultralytics_speaks(capsys, arguments):
    assert main(["yolo", *arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith("This is ultralytics' own command line, with our backbones known to it.")
    assert "workbench yolo export model=" in said
    assert "WARNING" not in said
