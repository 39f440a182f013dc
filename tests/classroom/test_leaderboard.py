"""The capstone's leaderboard: its rows, its page with hostile names in it, its files, and the panel that reads them."""

from __future__ import annotations

import base64
import csv
import html.parser
import io
import json
import re

import pytest

from workbench.classroom import Course, Record, leaderboard
from workbench.classroom.leaderboard import COLOURS, PSEUDONYMS, read_board
from workbench.cli import main
from workbench.errors import WorkbenchError
from workbench.panels import Leaderboard
from workbench.plots.leaderboard import front_of, leaderboard_scatter

HOSTILE = {
    "ada": "Ada Lovelace",
    "bob": '<script>alert("x")</script>',
    "cyd": "\" onmouseover='alert(1)' x=\"",
    "dan": "=HYPERLINK(1)",
    "eve": r"$\frac{1}{0}$ ${title} {rows}",
    "fay": "</table><img src=https://example.org/a.png>",
    "gus": "張偉 " + "y" * 300,
}


def numbers(map50: float, macs: int, ratio: float | None = 1.0) -> dict:
    timed = {} if ratio is None else {
        "latency_ratio": ratio, "latency_low": 0.9 * ratio, "latency_high": 1.1 * ratio}  # fmt: skip
    return {
        "map50": map50, "map50_low": map50 - 0.02, "map50_high": map50 + 0.02, "map50_95": 0.8 * map50, "macs": macs,
        "params": 1_737_104, "images": 200, "imgsz": 128, "stock_macs": 126_410_752, "stock_params": 2_578_088,
        "refused": "", **timed,
    }  # fmt: skip


@pytest.fixture
def course(tmp_path):
    made = Course(tmp_path)
    (tmp_path / "source" / "a5").mkdir(parents=True)
    (tmp_path / "source" / "a5" / "a5.ipynb").write_text("{}")
    (tmp_path / "nbgrader_config.py").write_text("")
    stream = io.StringIO()
    csv.writer(stream).writerows([("student", "name", "numbers"), *((s, n, "") for s, n in HOSTILE.items())])
    (tmp_path / "students.csv").write_text(stream.getvalue(), encoding="utf-8")
    for i, student in enumerate(HOSTILE):
        enter(
            made, student, numbers(0.5 + 0.04 * i, 70_000_000 + 5_000_000 * (i % 4), None if i == 2 else 0.6 + 0.1 * i)
        )
    enter(made, "zoe", {"refused": "a5.safetensors is not there"})
    enter(made, "yan", {"map50": float("nan"), "map50_95": 1, "macs": "many", "params": 1})
    return made


def write_board(course: Course, pseudonyms: bool = False) -> list:
    return leaderboard.write_board(course, read_board(course, "a5", pseudonyms))


def enter(course: Course, student: str, capstone: dict) -> None:
    course.submitted(student, "a5").mkdir(parents=True, exist_ok=True)
    Record(student, "a5", "graded", {}, capstone=capstone).save(course.autograded(student, "a5"))


class Page(html.parser.HTMLParser):
    """Takes down tags, attributes, and the text of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.rows = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1] and "script" not in self.tags:
            self.rows[-1][-1] += data


def test_best_first_and_who_has_no_numbers(course):
    board = read_board(course, "a5")
    assert [r["map50"] for r in board.rows] == sorted((r["map50"] for r in board.rows), reverse=True)
    assert [r["rank"] for r in board.rows] == list(range(1, 8))
    assert board.waiting == 2
    assert board.rows[-1]["name"] == "Ada Lovelace"


def test_equals_stand_by_cost(course):
    enter(course, "ada", numbers(0.74, 60_000_000))
    assert [r["macs"] for r in read_board(course, "a5").rows[:2]] == [60_000_000, 80_000_000]


def test_no_name_becomes_markup_and_nothing_is_fetched(course):
    files = write_board(course)
    assert [f.name for f in files] == ["a5.html", "a5.csv", "a5.json"]
    text = files[0].read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [a for a in page.attributes if a.startswith("on")]
    outside = [u for u in re.findall(r"https?://[^\s\"'<)]+", text) if not u.startswith("http://www.w3.org/")]
    assert set(outside) == {"https://example.org/a.png&gt;"}, "and that is the text of a name"
    assert "default-src 'none'" in text
    shown = [row[1].removesuffix(" ★") for row in page.rows if row]
    assert shown == [r["name"] for r in read_board(course, "a5").rows], "each name reads as it is"
    assert HOSTILE["bob"] in shown
    assert text == write_board(course)[0].read_text(encoding="utf-8"), "the same page every time"


def test_both_figures_find_the_point_of_a_row(course):
    text = write_board(course)[0].read_text(encoding="utf-8")
    assert {f"entry-macs-{rank}" for rank in range(1, 8)} <= set(re.findall(r'id="(entry[^"]*)"', text))
    assert 'id="entry-latency_ratio-5"' not in text, "one could not be timed"
    assert text.count("<svg") == 2
    assert text.count('role="img" aria-label="mAP50 against') == 2


def test_the_table_is_safe_in_a_spreadsheet_and_whole(course):
    rows = list(csv.DictReader(io.StringIO(write_board(course)[1].read_text(encoding="utf-8-sig"))))
    assert {r["name"] for r in rows} >= {"'=HYPERLINK(1)"}
    assert [int(r["macs"]) for r in rows] == [r["macs"] for r in read_board(course, "a5").rows]
    assert not [v for r in rows for v in r.values() if v.startswith(("=", "+", "@"))]


def test_pseudonyms_stay_and_tell_nothing(course):
    first = [f.read_text(encoding="utf-8") for f in write_board(course, pseudonyms=True)]
    names = {r["name"] for r in read_board(course, "a5", pseudonyms=True).rows}
    assert len(names) == 7
    assert all(name.split()[0] in COLOURS for name in names)
    for secret in (*HOSTILE, "Lovelace", "HYPERLINK"):
        assert not any(re.search(rf"\b{re.escape(secret)}\b", text) for text in first)
    enter(course, "ned", numbers(0.9, 50_000_000))
    again = read_board(course, "a5", pseudonyms=True).rows
    assert names < {r["name"] for r in again}
    assert len(again) == 8
    assert set(json.loads((course.root / PSEUDONYMS).read_text())) == {*HOSTILE, "ned"}


def test_more_students_than_pseudonyms(course, monkeypatch):
    monkeypatch.setattr("workbench.classroom.leaderboard.ANIMALS", ["owl"])
    monkeypatch.setattr("workbench.classroom.leaderboard.COLOURS", ["grey", "red"])
    names = [r["name"] for r in read_board(course, "a5", pseudonyms=True).rows]
    assert len(set(names)) == 7
    assert {"grey owl", "red owl"} < set(names)


def test_the_command(course, monkeypatch, capsys, bad_input):
    monkeypatch.chdir(course.root)
    assert main(["class", "leaderboard", "a5", "--pseudonyms"]) == 0
    assert capsys.readouterr().out.count("leaderboard") == 3
    for student in course.students("a5"):
        enter(course, student, {})
    assert main(["class", "leaderboard", "a5"]) == 2
    err = capsys.readouterr().err
    assert "no detector of a5 has been measured" in err
    bad_input("grading", "workbench class leaderboard a5, before grading", err.strip().removeprefix("workbench: "))
    (course.root / PSEUDONYMS).write_text("[")
    enter(course, "ada", numbers(0.5, 1))
    assert main(["class", "leaderboard", "a5", "--pseudonyms"]) == 2
    assert "pseudonyms.json cannot be read" in capsys.readouterr().err


def test_the_same_network_handed_in_twice_is_told_to_the_teacher(course, monkeypatch, capsys):
    for student in ("ada", "eve"):
        enter(course, student, numbers(0.6, 70_000_000) | {"sha256": "5f" * 8})
    assert read_board(course, "a5").same == (("ada", "eve"),)
    monkeypatch.chdir(course.root)
    assert main(["class", "leaderboard", "a5"]) == 0
    assert "the same network, to the last bit: ada, eve" in capsys.readouterr().out
    assert "5f5f" not in (course.root / "leaderboard" / "a5.html").read_text(encoding="utf-8")


def test_the_front():
    rows = [{"rank": i, "macs": m, "map50": q} for i, (m, q) in enumerate([(9, 0.9), (5, 0.8), (6, 0.7), (3, 0.2)], 1)]
    assert front_of(rows) == [4, 2, 1]
    with pytest.raises(WorkbenchError, match="there are macs, params, latency_ratio"):
        leaderboard_scatter(rows, "price")
    with pytest.raises(WorkbenchError, match="no detector"):
        leaderboard_scatter(rows, "latency_ratio")


def test_the_panel_reads_what_the_command_wrote(course):
    file = write_board(course)[2]
    panel = Leaderboard(file, cost="latency_ratio", point_out=1)
    assert bytes(panel.picture.value).startswith(b"\x89PNG")
    assert panel.result["front"] == front_of(read_board(course, "a5").rows, "latency_ratio")
    assert all(control.description for control in panel.controls.values())
    panel.set(point_out=6, quality="map50_95", cost="params")
    assert "<script" not in panel.words.value
    assert "&lt;script" in panel.words.value
    assert "mAP50 0.540" in panel.words.value
    shown = panel._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]) == bytes(panel.picture.value), "what is seen without a kernel"
    assert "application/vnd.jupyter.widget-view+json" in shown
    again = eval(panel.code(), {"Leaderboard": Leaderboard})
    assert again.state == panel.state
    with pytest.raises(WorkbenchError, match="cost"):
        panel.set(cost="price")


def test_the_panel_refuses_what_is_no_leaderboard(tmp_path, bad_input):
    file = tmp_path / "a5.json"
    with pytest.raises(WorkbenchError, match="is not there") as e:
        Leaderboard(file)
    bad_input("panels", "Leaderboard('a5.json'), before the page was written", str(e.value).replace(str(tmp_path), "…"))
    for text in ("{", "[]", '{"rows": [{"rank": 1}]}', '{"rows": [{"rank": 1, "name": "a", "macs": "x"}]}'):
        file.write_text(text)
        with pytest.raises(WorkbenchError, match="is no leaderboard"):
            Leaderboard(file)
    file.write_text('{"rows": []}')
    with pytest.raises(WorkbenchError, match="no detector that was measured"):
        Leaderboard(file)
