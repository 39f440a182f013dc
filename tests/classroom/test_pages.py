"""The pages that people read: a student's feedback, and the texts that a person marks. No sandbox is needed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import small
from nbformat import v4

from workbench.classroom import Course, Record
from workbench.classroom.feedback import NOT_WRITTEN, OTHERS, feedback
from workbench.classroom.handed import in_words
from workbench.classroom.marks import by_hand_path, read_marks, write_by_hand
from workbench.classroom.reading import MOST, write_reading
from workbench.classroom.record import Mark
from workbench.classroom.roster import Roster
from workbench.classroom.worker import write

pytest.importorskip("mistune", reason="mistune is not installed (extra classroom)")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)> </div></article> & \"'"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "i", "ol", "ul", "li", "span", "b",
    "small", "code", "main", "section", "aside", "article", "header", "details", "summary", "pre", "table", "thead",
    "tbody", "tr", "th", "td", "em", "strong",
}  # fmt: skip


class Seen(HTMLParser):
    """The tags and attributes of a page, and its text without styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self._style = set(), set(), "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._style = tag == "style"

    def handle_data(self, data):
        self.text += "" if self._style else data

    def handle_endtag(self, tag):
        self._style = False


def seen(page: str) -> Seen:
    """A page that loads nothing and holds no markup but ours."""
    found = Seen(page)
    assert found.tags <= TAGS, found.tags - TAGS
    assert found.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class", "style", "aria-hidden"}
    assert "default-src 'none'" in page
    assert "width=device-width" in page
    assert not re.search(r"https?:|url\(", page)
    return found


@pytest.fixture
def course(tmp_path) -> Course:
    """Ada is right, Bob has mistakes and is hostile, Zoe handed in something that is no notebook; nobody is read."""
    course = small.course(tmp_path / "course")
    source = small.notebook(source=True)
    titled = [
        (0, "# Assignment 1 · Sums\n\nNeeds: lessons 01 and 02 · 5 minutes."),
        (2, "## 1 · `double` (2 points)"), (5, "## 2 · The total (3 points)"),
        (8, "## 3 · Reflection (5 points, graded by a person)\n\nWhy?\n\n| rubric | points |\n|---|---|\n| why | 5 |"),
    ]  # fmt: skip
    for place, text in titled:
        source.cells.insert(place, v4.new_markdown_cell(text))
    (course.source("a1") / "a1.ipynb").write_text(small.text(source), encoding="utf-8")
    roster = Roster(course)
    for name in ("Ada Lovelace", f"Bob {EVIL}", "zoe"):
        roster.identify(name, "", "a1")
    roster.save()
    ada, bob, zoe = (row.student for row in roster.rows)
    right = {"double-test": Mark(2, 2, "right"), "total-test": Mark(3, 3, "right")}
    other = {
        "double-test": Mark(0, 2, "left out"),
        "total-test": Mark(1.5, 3, f"partly right, with the earlier answers put right; came {EVIL}", True),
    }
    none = dict.fromkeys(right, Mark(0, 2, "a1.ipynb is no notebook"))
    stamp = "2026-11-15 12:15:00.250000 UTC"
    for student, marks, text in ((ada, right, "Because 2x."), (bob, other, EVIL), (zoe, none, None)):
        book = small.notebook()
        book.cells[-1].source = text or ""
        if text:
            small.hand_in(course, student, book)
        reason = "" if text else "a1.ipynb is no notebook"
        record = Record(student, "a1", "failed" if reason else "graded", marks, reason, submitted=stamp)
        write(course, record, small.text(book) if text else "")
    return course


def test_a_student_reads_titles_reasons_and_lessons(course):
    ada, bob, zoe = (p.read_text(encoding="utf-8") for p in feedback(course, "a1"))
    text = seen(ada).text
    assert "Assignment 1 · Sums" in text
    assert f"Ada Lovelace · handed in {in_words('2026-11-15 12:15:00.250000 UTC')}" in text
    assert ".25" not in text.replace(".25em", "")
    assert "5 of 5 points; 5 more points not read yet" in text
    assert "1 · double✓ 2 of 2" in text
    assert "3 · Reflectionnot read yet (of 5)" in text
    assert "The lessons behind this" in text
    assert "notebooks/01_" in text
    text = seen(bob).text
    assert f"1 · double○ 0 of 2{NOT_WRITTEN}" in text
    assert f"2 · The total◐ 1.5 of 3partly right; came {EVIL}" in text
    assert OTHERS in text
    assert "NotImplementedError" not in text
    assert "To read again" in text
    assert re.findall(r"width:(\d+)%", bob) == ["30", "0", "50"]
    text = seen(zoe).text
    assert text.count("a1.ipynb is no notebook") == 1, "said once, not beside each task"
    for page in (ada, bob, zoe):
        assert not re.search("double-test|HIDDEN|SOLUTION|double\\(5\\)", page)


def test_what_a_person_wrote_is_on_the_page(course):
    student = read_marks(course, "a1").lines[0].student
    by_hand_path(course, "a1").parent.mkdir(exist_ok=True)
    by_hand_path(course, "a1").write_text(f'student,points,comment\n{student},4.5,"{EVIL[:20]}"\n', encoding="utf-8")
    page = feedback(course, "a1")[0].read_text(encoding="utf-8")
    assert f"3 · Reflection◐ 4.5 of 5{EVIL[:20]}" in seen(page).text
    assert "9.5 of 10 points" in page


def test_all_texts_stand_beside_the_rubric(course):
    path = write_reading(course, read_marks(course, "a1"))
    page = path.read_text(encoding="utf-8")
    text = seen(page).text
    assert path == by_hand_path(course, "a1").with_suffix(".html")
    assert text.index("Because 2x.") < text.index(EVIL) < text.index("no text: a1.ipynb is no notebook")
    assert "rubric\n  points" in text
    assert text.index("why") < text.index("An example of an answer") < text.index("Because.")
    assert text.count("not marked yet") == 3
    assert "double(5)" not in page
    assert write_reading(course, read_marks(course, "a1")).read_text(encoding="utf-8") == page, "idempotent"


def test_a_flood_is_cut_and_an_untouched_text_is_named(course):
    ada, bob, _ = (line.student for line in read_marks(course, "a1").lines)
    for student, text in ((ada, "YOUR ANSWER HERE"), (bob, "x" * (MOST + 7))):
        book = small.notebook()
        book.cells[-1].source = text
        (course.autograded(student, "a1") / "a1.ipynb").write_text(small.text(book), encoding="utf-8")
    text = seen(write_reading(course, read_marks(course, "a1")).read_text(encoding="utf-8")).text
    assert "no text: left as it was handed out" in text
    assert "… 7 more characters are in the graded notebook" in text
    assert "x" * MOST in text
    assert "x" * (MOST + 1) not in text


def test_marks_and_columns_of_ones_own_stay(course):
    marks = read_marks(course, "a1")
    path, (ada, bob, zoe) = write_by_hand(course, marks), (line.student for line in marks.lines)
    head = "student;name;points;comment;criterion 1;criterion 2"
    path.write_text(f"{head}\n{ada};Ada;4,5;good;2;2,5\n{bob};Bob;;;=1;\n", encoding="utf-8")
    for _ in range(2):
        assert write_by_hand(course, read_marks(course, "a1")) == path
    rows = path.read_text(encoding="utf-8-sig").splitlines()
    assert rows[0] == head.replace(";", ",")
    assert rows[1] == f'{ada},Ada Lovelace,4.5,good,2,"2,5"'
    assert rows[2].endswith(",,'=1,")
    assert rows[3] == f"{zoe},zoe,,,,"


def test_a_time_that_is_none_stays(course):
    assert in_words("<soon>") == "<soon>"
    assert in_words("0001-01-01 00:00:00 UTC")
    assert re.fullmatch(r"2[78] November 2026, \d\d:\d\d", in_words("2026-11-28 00:15:00.5 UTC"))
