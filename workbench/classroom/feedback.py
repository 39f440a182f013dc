"""What a student gets back: one page with marks and messages per task, readable anywhere, without any hidden test."""

from __future__ import annotations

import html
from pathlib import Path

from ..files import replace_text
from .course import Course
from .marks import Line, Marks, read_marks

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; vertical-align: top; }
th { border-bottom: 2px solid #333; } td { border-bottom: 1px solid #ddd; } td.points { white-space: nowrap; }
.all { color: #0072b2; } .part { color: #8a5a00; } .none { color: #b34700; } small { color: #666; }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
<p><b>{points}</b><br><small>{when}{late}</small></p>{reason}
<table><thead><tr><th>task</th><th>points</th><th>what was found</th></tr></thead><tbody>{rows}</tbody></table>
<p><small>Your functions were called on inputs drawn when your work was graded; the results were compared outside your
notebook.</small></p></body></html>
"""
SIGN = {"all": "✓", "part": "◐", "none": "✗"}


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
    rows = []
    for q in marks.tests:
        mark = record.questions.get(q.id)
        points, of, said = (mark.points, mark.of, mark.message) if mark else (0.0, q.points, "not graded")
        kind = "all" if points >= of else "part" if points > 0 else "none"
        name = html.escape(q.id.removesuffix("-test"))
        rows.append(
            f'<tr><td>{name}</td><td class="points {kind}">{SIGN[kind]} {points:g} of {of:g}</td>'
            f"<td>{html.escape(said)}</td></tr>"
        )
    for q in (q for q in marks.questions if q.kind == "text"):
        given = "not read yet" if line.by_hand is None else f"{line.by_hand:g} of {q.points:g}"
        name = html.escape(q.id.removesuffix("-answer"))
        rows.append(f'<tr><td>{name}</td><td class="points">{given}</td><td>{html.escape(line.comment)}</td></tr>')
    unread = sum(q.points for q in marks.questions if q.kind == "text") if line.by_hand is None else 0
    of = sum(q.points for q in marks.questions) - unread
    rest = f"; {unread:g} more points not read yet" if unread else ""
    title = html.escape(f"{marks.assignment}: {line.name}")
    late = " · handed in late" if line.late else ""
    when = html.escape(f"handed in {record.submitted}" if record.submitted else "")
    reason = f"<p><b>Not everything could be run:</b> {html.escape(record.reason)}</p>" if record.reason else ""
    return PAGE.format(
        title=title, style=STYLE, points=f"{line.total or 0:g} of {of:g} points{rest}", when=when, late=late,
        reason=reason, rows="".join(rows),
    )  # fmt: skip
