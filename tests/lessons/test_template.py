"""Every lesson follows the template, asserts on what it computes, and is committed clean."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import lesson_files as lf
import pytest

SECTION = ("predict", "idea", "code", "run", "reveal", "ex")
ORDER = ("title", "setup", "recall", *SECTION, "panel", "checkpoint", "recap", "further", "next")
RANK = {p: i if p not in SECTION else 3 for i, p in enumerate(ORDER)}
STAMP = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

finished = pytest.mark.parametrize("lesson", lf.FINISHED)
present = pytest.mark.parametrize("lesson", lf.PRESENT)


def prefix(cell_id: str) -> str:
    return cell_id.split("-", 1)[0]


@finished
def test_finished_lessons_exist(lesson):
    assert lf.path(lesson).exists()


@present
def test_size(lesson):
    cells = lf.cells(lesson)
    assert len(cells) <= 40
    for cell in cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 25, cell.id


@present
def test_ids_are_readable_and_unique(lesson):
    ids = [c.id for c in lf.cells(lesson)]
    assert len(set(ids)) == len(ids)
    for i in ids:
        assert STAMP.fullmatch(i), i
        assert prefix(i) in ORDER, f"{i}: an id starts with one of {', '.join(ORDER)}"


@finished
def test_order_of_the_template(lesson):
    kinds = [prefix(c.id) for c in lf.cells(lesson)]
    ranks = [RANK[k] for k in kinds]
    assert ranks == sorted(ranks), kinds
    required = {"title", "setup", "panel", "checkpoint", "recap", "further", "next"}
    required |= set() if lesson == "00" else {"recall"}
    assert required <= set(kinds)
    assert kinds.count("setup") == 1


def sections(lesson: str) -> list[list[str]]:
    """Cell kinds of each section; a section opens with its prediction."""
    found: list[list[str]] = []
    before = ""
    for kind in (prefix(c.id) for c in lf.cells(lesson)):
        if kind in SECTION:
            if kind == "predict" and before != "predict":
                found.append([])
            assert found, f"the first section of lesson {lesson} opens with {kind}, not with a prediction"
            found[-1].append(kind)
        before = kind
    return found


@finished
def test_two_or_three_sections_each_complete(lesson):
    found = sections(lesson)
    assert 2 <= len(found) <= 3
    for kinds in found:
        assert set(kinds) == set(SECTION), kinds
        assert kinds[-1] == "ex"
        assert kinds.index("run") < kinds.index("reveal") < kinds.index("ex")
        assert "predict" not in kinds[kinds.index("run") :]


@finished
def test_every_prediction_is_revealed_after_it(lesson):
    keys = {f: [ast.literal_eval(c.args[0]) for c in lf.calls(lesson, f)] for f in ("predict", "reveal")}
    assert keys["predict"]
    assert keys["predict"] == keys["reveal"], "predictions and reveals pair up, in order"
    for call in lf.calls(lesson, "predict"):
        given = [ast.unparse(a) for a in call.args[1:2]] + [
            ast.unparse(k.value) for k in call.keywords if k.arg == "answer"
        ]
        assert given == ["..."], "a committed lesson predicts nothing for the learner"


@finished
def test_title_says_what_and_how_long(lesson):
    title = lf.cells(lesson)[0]
    assert title.source.startswith("# ")
    assert len(re.findall(r"^\s*[-*] ", title.source, re.M)) >= 3, "three things the learner will be able to do"
    assert "?" in title.source
    assert re.search(r"\d+\s*(–\s*\d+\s*)?minutes", title.source)


@finished
def test_recall_hides_two_answers(lesson):
    if lesson == "00":
        pytest.skip("lesson 00 is the tour: there is nothing before it to recall")
    text = "".join(c.source for c in lf.cells(lesson) if prefix(c.id) == "recall")
    assert text.count("<details>") >= 2


@finished
def test_ideas_are_short(lesson):
    for cell in lf.cells(lesson):
        if prefix(cell.id) == "idea":
            prose = re.sub(r"\$\$.*?\$\$|```.*?```|^\|.*$", " ", cell.source, flags=re.S | re.M)
            assert len(prose.split()) <= 120, cell.id


@present
def test_begins_with_its_own_number(lesson):
    begin = lf.calls(lesson, "begin")
    assert [ast.literal_eval(c.args[0]) for c in begin] == [lesson]


@finished
def test_eight_cells_assert_on_computed_values(lesson):
    assert sum(bool(lf.asserts(c)) for c in lf.code_cells(lesson)) >= 8


@present
def test_first_versions_assert_too(lesson):
    assert sum(bool(lf.asserts(c)) for c in lf.code_cells(lesson)) >= 3


@finished
def test_a_golden_table_is_kept(lesson):
    golden = [c for c in lf.code_cells(lesson) if lf.is_golden(c)]
    assert golden
    assert any(re.search(r"\d", str(c.outputs)) for c in golden)


@present
def test_only_golden_tables_keep_output(lesson):
    for cell in lf.code_cells(lesson):
        assert lf.is_golden(cell) or not cell.outputs, cell.id
        assert "keep_output" not in lf.tags(cell) or lf.is_golden(cell), f"{cell.id}: kept, but not compared"


@finished
def test_panel_is_driven_and_asserted(lesson):
    panel = [c for c in lf.cells(lesson) if prefix(c.id) == "panel" and c.cell_type == "code"]
    assert any(lf.asserts(c) for c in panel[1:]), "a cell below the panel sets a control and asserts on the result"
    assert any(".set(" in c.source for c in panel)


@present
def test_no_shell_no_urls_no_skips(lesson):
    for cell in lf.code_cells(lesson):
        assert not re.search(r"^\s*[!%](pip|conda|sh|bash|system)|^\s*!", cell.source, re.M), cell.id
        assert not re.search(r"https?://|urlopen|urlretrieve|requests\.|hub\.load|wget|curl ", cell.source), cell.id
        banned = {"nbval-skip", "skip", "skip-execution", "nbval-raises-exception", "raises-exception"}
        assert not banned & {t.lower() for t in lf.tags(cell)}, cell.id
        assert not re.search(r"NBVAL_SKIP|NBVAL_RAISES_EXCEPTION", cell.source), cell.id


@finished
def test_recap_speaks_from_variables(lesson):
    """No measured number is typed: not in the recap's prose, not in its strings, not as a literal."""
    unit = r"((ms|µs|s|[kMG]|MACs?|GMACs?|MMACs?|FLOPs?|mAP|params?|parameters|times)\b|%|[×x](?!\w))"
    for cell in lf.cells(lesson):
        if prefix(cell.id) != "recap":
            continue
        prose = [cell.source]
        if cell.cell_type == "code":
            whole = lf.tree(cell)
            for node in ast.walk(whole):
                if isinstance(node, ast.FormattedValue):
                    node.format_spec = None  # ".1%" is a format, not a number
            nodes = list(ast.walk(whole))
            prose = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            numbers = [n.value for n in nodes if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
            assert set(numbers) <= {0, 1, 2, 3, 4, 10, 100, 1e3, 1e6, 1e9, -1}, (cell.id, numbers)
        for text in prose:
            assert not re.search(rf"\b\d+([.,]\d+)*\s*{unit}", text), (cell.id, text)
    assert any(c.cell_type == "code" and prefix(c.id) == "recap" for c in lf.cells(lesson))
    assert lf.calls(lesson, "record"), "the recap appends a row to the comparison table"


@present
def test_committed_stripped(lesson):
    command = [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", str(lf.path(lesson))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"run nbstripout --keep-id on it: {done.stdout}{done.stderr}"
    for cell in lf.code_cells(lesson):
        assert cell.execution_count is None, cell.id


@finished
def test_next_and_needs_point_to_files_that_exist(lesson):
    for cell in lf.cells(lesson):
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+\.ipynb)", cell.source):
                assert target.removesuffix(".ipynb") in lf.FILES.values(), target
