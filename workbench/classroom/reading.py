"""What a person marks, on one page: every student's text beside the rubric and an example of an answer."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ..files import replace_text
from .course import ClassroomError, Course
from .marks import Line, Marks, by_hand_path
from .notebook import Item, cells_of, meta_of, read_notebook, source_of
from .outline import HEADING

MOST = 20_000  # characters of a text; of what a measurement printed, a fifth
HANDED_OUT = "YOUR ANSWER HERE"  # what nbgrader's release has in the place of the example
STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #595959; --paper: #fff; --line: #d8d8d8; --tint: #f4f6f8;
  --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #b0b0b0; --paper: #1b1b1b; --line: #444;
  --tint: #262a2e; --mark: #56b4e9; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem 1.5rem; max-width: 84rem; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2, h3 { font-size: 1.1rem; margin: 0 0 .3rem; } h3 { margin-top: 1rem; }
small, .soft { color: var(--soft); }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 2rem; align-items: start; }
aside { position: sticky; top: 1rem; max-height: calc(100vh - 2rem); overflow: auto; background: var(--tint);
  padding: 1rem; border-radius: .5rem; font-size: .93em; }
@media (max-width: 60rem) { main { grid-template-columns: 1fr; }
  aside { position: static; max-height: none; order: -1; } }
article { border-top: 1px solid var(--line); padding: 1rem 0 1.4rem; } article:first-child { border-top: 0; }
article header { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; }
.text { white-space: pre-wrap; margin: .6rem 0; } .given { color: var(--mark); font-weight: 600; }
pre { white-space: pre-wrap; background: var(--tint); padding: .6rem; border-radius: .4rem; font-size: .85em; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
th { white-space: nowrap; }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
<p>Enter points and comments in <code>{table}</code>, a row per student. This page shows the solution: it is for
teachers.</p>
<main><section>{texts}</section><aside>{beside}</aside></main></body></html>
"""


def write_reading(course: Course, marks: Marks) -> Path:
    """Write ``by_hand/ASSIGNMENT.html``, beside the table that marks are entered in, and return it.

    Raises:
        ClassroomError: the source cannot be read.
        MissingExtraError: nbgrader, which brings mistune, is not installed.
    """
    source = read_notebook(course.source(marks.assignment) / f"{marks.assignment}.ipynb")
    questions = [q for q in marks.questions if q.kind == "text"]
    table = by_hand_path(course, marks.assignment)
    path = table.with_suffix(".html")
    path.parent.mkdir(exist_ok=True)
    title = html.escape(f"{marks.assignment}: texts to be marked")
    texts = "\n".join(_article(course, marks, line, questions) for line in marks.graded)
    beside = "".join(_beside(source, marks, q) for q in questions) or "<p>Nothing of this is marked by a person.</p>"
    page = PAGE.format(
        title=title, style=STYLE, table=html.escape(table.name), texts=texts or "<p>Nobody is graded yet.</p>",
        beside=beside,
    )  # fmt: skip
    replace_text(path, page)
    return path


def _beside(source: Mapping[str, Any], marks: Marks, question: Item) -> str:
    """Return rubric, example and task of one text, as the source has them; the rubric is its table."""
    near: list[str] = []  # the texts from its heading to it
    for cell in source["cells"]:
        if meta_of(cell).get("grade_id") == question.id:
            break
        if cell.get("cell_type") == "markdown":
            near = [*([] if HEADING.search(source_of(cell)) else near), source_of(cell)]
    text, example = "\n\n".join(near), source_of(dict(cells_of(source))[question.id])
    rubric = [line for line in text.splitlines() if line.startswith("|")]
    task = [line for line in text.splitlines() if not line.startswith(("|", "#"))]
    return (
        f"<h2>{html.escape(marks.outline.title(question.id))}</h2>{_rendered(rubric)}"
        f"<h3>An example of an answer</h3>{_rendered(example.splitlines())}"
        f"<details><summary>the task</summary>{_rendered(task)}</details>"
    )


def _rendered(lines: Sequence[str]) -> str:
    """Return Markdown of the source as HTML; markup inside it stays text."""
    try:
        import mistune
    except ImportError:
        raise MissingExtraError("nbgrader", "classroom") from None  # it comes with it
    return str(mistune.create_markdown(escape=True, plugins=["table"])("\n".join(lines)))


def _article(course: Course, marks: Marks, line: Line, questions: list[Item]) -> str:
    of = sum(q.points for q in questions)
    given = "not marked yet" if line.by_hand is None else f"{line.by_hand:g} of {of:g} points"
    late = " · late" if line.late else ""
    head = f"<h2>{html.escape(line.name)}</h2><small>{html.escape(line.student)}{late}</small>"
    comment = f'<p class="soft">{html.escape(line.comment)}</p>' if line.comment else ""
    body = "".join(_texts(course, marks, line, questions))
    return f'<article><header>{head}<span class="given">{given}</span></header>{comment}{body}</article>'


def _texts(course: Course, marks: Marks, line: Line, questions: list[Item]) -> Iterator[str]:
    """Yield what a student wrote, and what the cells of the same task printed on the student's machine."""
    place = course.autograded(line.student, marks.assignment) / f"{marks.assignment}.ipynb"
    try:
        notebook = read_notebook(place)
    except ClassroomError:
        reason = line.record.reason if line.record else ""
        yield f'<p class="soft">no text: {html.escape(reason or "the notebook was not kept")}</p>'
        return
    cells, sections = dict(cells_of(notebook)), marks.outline.sections
    for question in questions:
        text = source_of(cells.get(question.id, {})).strip()
        if not text or text == HANDED_OUT:
            yield '<p class="soft">no text: left as it was handed out</p>'
            continue
        if len(questions) > 1:
            yield f"<h3>{html.escape(marks.outline.title(question.id))}</h3>"
        yield f'<div class="text">{html.escape(_cut(text, MOST))}</div><small>{len(text.split())} words</small>'
        near = [c for n, c in cells.items() if sections.get(n, -1) == sections[question.id] and n.endswith("-run")]
        if printed := "".join(o.get("text", "") for c in near for o in c.get("outputs", ())).strip():
            shown = html.escape(_cut(printed, MOST // 5))
            yield f"<details><summary>what the measurement printed there</summary><pre>{shown}</pre></details>"


def _cut(text: str, most: int) -> str:
    more = len(text) - most
    return text if more <= 0 else f"{text[:most]}\n… {more:,} more characters are in the graded notebook"
