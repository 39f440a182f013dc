"""What a student gets back: one page with marks and messages per task, readable anywhere, without any hidden test."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from ..files import replace_text
from .course import Course
from .handed import in_words
from .marks import Line, Marks, read_marks
from .outline import lesson_names
from .play import PUT_RIGHT
from .unwritten import LEFT_OUT

STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #595959; --paper: #fff; --line: #d8d8d8; --track: #e4e4e4;
  --all: #0072b2; --part: #b26b00; --none: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #b0b0b0; --paper: #1b1b1b; --line: #444;
  --track: #3a3a3a; --all: #56b4e9; --part: #e69f00; --none: #ff9357; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
p { margin: .3rem 0; } small, .soft { color: var(--soft); }
.total { font-size: 1.25rem; font-weight: 600; margin-top: 1rem; }
ol, ul.lessons { padding: 0; margin: 1rem 0; list-style: none; } ul.lessons { margin: .3rem 0; }
ol li { border-top: 1px solid var(--line); padding: .7rem 0 .8rem; }
.head { display: flex; gap: 1rem; justify-content: space-between; align-items: baseline; font-weight: 600; }
.points { white-space: nowrap; }
.bar { height: .5rem; border-radius: .25rem; background: var(--track); margin: .35rem 0 .45rem; overflow: hidden; }
.bar i { display: block; height: 100%; }
.all { color: var(--all); } .all i { background: var(--all); } .part { color: var(--part); }
.part i { background: var(--part); } .none { color: var(--none); }
code { font-size: .85em; }
@media print { .bar { print-color-adjust: exact; } ol li { break-inside: avoid; } }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><h1>{heading}</h1><p class="soft">{name}{when}</p>
<p class="total">{points}</p>{bar}{reason}
<ol>{rows}</ol>{lessons}
<p><small>Your functions were called on inputs drawn when your work was graded; the results were compared outside your
notebook.</small></p></body></html>
"""
SIGN = {"all": "✓", "part": "◐", "none": "✗", "out": "○"}
OTHERS = (
    "This task uses an earlier answer of yours that is not right yet. It was judged with a right one in that one's "
    "place, so the earlier mistake costs you nothing here."
)
NOT_WRITTEN = "left out: the function still has the line it was handed out with"


def feedback(course: Course, assignment: str) -> list[Path]:
    """Write ``feedback/STUDENT/ASSIGNMENT/ASSIGNMENT.html`` for everybody who is graded; return the files.

    Raises:
        ClassroomError: no such assignment, or a damaged record.
    """
    marks = read_marks(course, assignment)
    written = []
    for line in marks.graded:
        folder = course.feedback(line.student, assignment)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{assignment}.html"
        replace_text(path, page(marks, line))
        written.append(path)
    return written


def page(marks: Marks, line: Line) -> str:
    """Return one student's page; every word of it that came from outside is escaped."""
    record = line.record
    assert record is not None
    unread = sum(q.points for q in marks.questions if q.kind == "text") if line.by_hand is None else 0
    of, total = sum(q.points for q in marks.questions) - unread, line.total or 0
    rest = f"; {unread:g} more points not read yet" if unread else ""
    heading = marks.outline.name or marks.assignment
    when = f" · handed in {html.escape(in_words(record.submitted))}" if record.submitted else ""
    reason = f"<p><b>Not everything could be run:</b> {html.escape(record.reason)}</p>" if record.reason else ""
    return PAGE.format(
        title=html.escape(f"{marks.assignment}: {line.name}"), style=STYLE, heading=html.escape(heading),
        name=html.escape(line.name), when=when + (" · late" if line.late else ""),
        points=f"{total:g} of {of:g} points{rest}", bar=_bar(total, of, "all"), reason=reason,
        rows="".join(_rows(marks, line)), lessons=_lessons(marks, total < of),
    )  # fmt: skip


def _rows(marks: Marks, line: Line) -> Iterator[str]:
    """Yield a task each, in the notebook's order."""
    record = line.record
    assert record is not None
    for q in marks.questions:
        title = marks.outline.title(q.id)
        if q.kind == "text":
            yield _row(title, line.by_hand, q.points, line.comment, "not read yet")
            continue
        mark = record.questions.get(q.id)
        said = "not graded" if mark is None else mark.message
        if record.status == "failed" and said == record.reason:  # it stands above, once
            said = ""
        said = NOT_WRITTEN if said == LEFT_OUT else said.replace(PUT_RIGHT, "", 1)
        yield _row(title, mark.points if mark else 0.0, q.points, said, more=OTHERS if mark and mark.put_right else "")


def _row(title: str, points: float | None, of: float, said: str, unread: str = "", more: str = "") -> str:
    kind = "" if points is None else _kind(points, of)
    shown = (
        f"{unread} (of {of:g})"
        if points is None
        else f"{SIGN['out' if said == NOT_WRITTEN else kind]} {points:g} of {of:g}"
    )
    bar = "" if points is None else _bar(points, of)
    lines = [f"<p>{html.escape(said)}</p>" if said else "", f'<p class="soft">{more}</p>' if more else ""]
    head = f'<div class="head"><span>{html.escape(title)}</span><span class="points {kind}">{shown}</span></div>'
    return f"<li>{head}{bar}{''.join(lines)}</li>\n"


def _kind(points: float, of: float) -> str:
    return "all" if points >= of else "part" if points > 0 else "none"


def _bar(points: float, of: float, kind: str = "") -> str:
    width = 100 * min(1.0, points / of) if of else 0.0
    return f'<div class="bar {kind or _kind(points, of)}" aria-hidden="true"><i style="width:{width:.0f}%"></i></div>'


def _lessons(marks: Marks, lost: bool) -> str:
    names = lesson_names(marks.outline.lessons)
    if not names:
        return ""
    title = "To read again" if lost else "The lessons behind this"
    items = "".join(f"<li><code>{html.escape(name)}</code></li>" for name in names)
    return f'<h2>{title}</h2><ul class="lessons">{items}</ul>'
