"""Archives and folders that try something: the honest are taken, the rest is refused with a reason."""

from __future__ import annotations

import csv
import io
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest
import small
from small import GOOD, MONDAY, OTHER, pack, taken, tree, verdicts

from workbench.classroom import ClassroomError, Course
from workbench.classroom import archives as archives_module
from workbench.classroom.collect import collect
from workbench.classroom.ledger import read_ledger

MB = 2**20


@pytest.fixture
def course(tmp_path) -> Course:
    return small.course(tmp_path / "term")


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, MONDAY)
    entry.create_system, entry.external_attr = 3, mode << 16
    return entry


def _encrypted(data: bytes) -> bytes:
    """Set the flag of encryption in the first file's two headers."""
    raw = bytearray(data)
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


HOSTILE = {
    "a link": (_entry("eve/a1.ipynb", stat.S_IFLNK | 0o777), b"/etc/passwd", "a link"),
    "a link to the course": (_entry("eve/a1.ipynb", stat.S_IFLNK | 0o777), b"../../source/a1/a1.ipynb", "a link"),
    "a device": (_entry("eve/a1.ipynb", stat.S_IFBLK | 0o666), b"", "no regular file"),
    "path traversal": (_entry("../../eve/a1.ipynb", 0), GOOD, "a path that leaves the archive"),
    "path traversal, Windows": (_entry("eve\\..\\..\\a1.ipynb", 0), GOOD, "a path that leaves the archive"),
    "an absolute path": (_entry("/tmp/eve/a1.ipynb", 0), GOOD, "an absolute path"),
    "a drive": (_entry("C:\\eve\\a1.ipynb", 0), GOOD, "an absolute path"),
    "too large": (_entry("eve/a1.ipynb", 0), b"x" * (20 * MB + 1), "20.1 MB; a file may have 20 MB"),
    "a zip bomb": (_entry("eve/a1.ipynb", 0), b"\0" * (19 * MB), "a zip bomb"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_entries(course, tmp_path, case):
    """The honest are taken, the entry is refused with its reason, and nothing is written anywhere else."""
    entry, data, reason = HOSTILE[case]
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if case == "too large" else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("ada/a1.ipynb", MONDAY), GOOD)
        archive.writestr(entry, data, zipfile.ZIP_STORED if case == "too large" else zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("zoe/a1.ipynb", MONDAY), GOOD)
    outside = {p for p in tmp_path.rglob("*") if not p.is_relative_to(course.root)}
    found = collect(course, "a1", [path])
    assert taken(course) == {"ada": GOOD, "zoe": GOOD}
    refused = [r for r in found.rows if r.verdict == "refused"]
    assert [r.note.startswith(reason) for r in refused] == [True], refused
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(course.root)} == outside
    assert not any(p.is_symlink() for p in course.root.rglob("*"))


def test_an_encrypted_entry(course, tmp_path):
    data = pack(tmp_path / "all.zip", {"eve/a1.ipynb": GOOD, "ada/a1.ipynb": GOOD}).read_bytes()
    (tmp_path / "all.zip").write_bytes(_encrypted(data))
    found = collect(course, "a1", [tmp_path / "all.zip"])
    assert verdicts(found)["eve/a1.ipynb"] == ("refused", "encrypted")
    assert course.students("a1") == ["ada"]


def test_a_bomb_of_many_small_files(course, tmp_path):
    """Each file is small and packs well; together they would fill the disk."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(120):
            archive.writestr(f"s{i}/a1.ipynb", b"\0" * MB)
    found = collect(course, "a1", [path])
    assert [(r.verdict, r.note.split(":")[0]) for r in found.rows] == [("refused", "a zip bomb")]
    assert not course.students("a1")


@pytest.mark.parametrize(("limit", "value"), [("MAX_ENTRIES", 3), ("MAX_ARCHIVE", 3 * len(GOOD))])
def test_an_archive_that_is_too_much(course, tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(archives_module, limit, value)
    found = collect(course, "a1", [pack(tmp_path / "all.zip", {f"s{i}/a1.ipynb": GOOD for i in range(4)})])
    assert [r.verdict for r in found.rows] == ["refused"]
    assert "that is too much" in found.rows[0].note


def test_a_header_that_lies_about_the_size(course, tmp_path):
    path = pack(tmp_path / "all.zip", {"eve/a1.ipynb": b"\0" * MB})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(raw)
    found = collect(course, "a1", [path])
    assert [r.note.split(":")[0] for r in found.rows] == ["damaged"]


def collected_or_refused(course: Course, path: Path) -> list[str]:
    """Return what is said of each file, or of the whole of it; any other error is the test's."""
    try:
        return [r.note for r in collect(course, "a1", [path]).rows]
    except ClassroomError as e:
        return [str(e)]


def test_damaged_archives_are_one_line_each(course, tmp_path):
    """Bytes changed at random places: every file is taken as it was, or refused."""
    whole = pack(tmp_path / "all.zip", {f"s{i}/a1.ipynb": GOOD for i in range(3)}).read_bytes()
    draw = random.Random(0)
    for turn in range(60):
        raw = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path = tmp_path / f"d{turn}.zip"
        path.write_bytes(raw[: draw.choice([len(raw), len(raw), draw.randrange(len(raw))])])
        said = collected_or_refused(course, path)
        assert all("\n" not in note and len(note) < 250 for note in said)
    assert all(p.name in ("a1.ipynb", "timestamp.txt") for p in (course.root / "submitted").rglob("*") if p.is_file())


NAMES = {
    "UTF-8 without the flag": ("Jürgen".encode(), "Jürgen"),
    "Latin-1": ("Jürgen".encode("latin-1"), "Jⁿrgen"),
    "GBK": ("王小明".encode("gbk"), None),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_in_other_encodings(course, tmp_path, case):
    raw, name = NAMES[case]
    placeholder = b"N" * len(raw)
    path = pack(tmp_path / "all.zip", {f"{placeholder.decode()}_7_assignsubmission_file_/a1.ipynb": GOOD})
    path.write_bytes(path.read_bytes().replace(placeholder, raw))
    collect(course, "a1", [path])
    before = tree(course.root)
    collect(course, "a1", [path])
    assert tree(course.root) == before, "the same folder every time"
    assert list(taken(course).values()) == [GOOD]
    with (course.root / "students.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["student"].isascii()
    assert name is None or row["name"] == name


def test_a_name_that_claims_to_be_utf8(course, tmp_path):
    path = pack(tmp_path / "all.zip", {"Jürgen_7_assignsubmission_file_/a1.ipynb": GOOD})
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xfe"))
    found = collect(course, "a1", [path])
    assert "unpack it, and give the folder" in found.rows[0].note


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_links_and_pipes_in_a_folder(course, tmp_path):
    inbox, secret = tmp_path / "inbox", tmp_path / "secret.ipynb"
    secret.write_bytes(OTHER)
    for name in ("ada", "eve", "ivy"):
        (inbox / name).mkdir(parents=True)
    (inbox / "ada" / "a1.ipynb").write_bytes(GOOD)
    (inbox / "eve" / "a1.ipynb").symlink_to(secret)
    os.mkfifo(inbox / "ivy" / "a1.ipynb")
    (inbox / "zoe").symlink_to(tmp_path)
    found = collect(course, "a1", [inbox])
    assert taken(course) == {"ada": GOOD}
    notes = {f: n for f, (v, n) in verdicts(found).items() if v == "refused"}
    assert notes == {"eve/a1.ipynb": "a link", "ivy/a1.ipynb": "no regular file", "zoe": "a link"}


def test_nothing_is_written_through_a_link_in_the_course(course, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (course.root / "submitted").mkdir()
    (course.root / "submitted" / "ada").symlink_to(elsewhere)
    found = collect(course, "a1", [pack(tmp_path / "all.zip", {"ada/a1.ipynb": GOOD})])
    assert found.rows[0].note == "submitted/ada is a link; nothing is written through it"
    assert not list(elsewhere.iterdir())


def test_tables_hold_no_formula(course, tmp_path):
    name = '=HYPERLINK("http://x.y","z")'
    entries = {
        f"{name.replace('/', '_')}_7_assignsubmission_file_/a1.ipynb": GOOD,
        "-eve/+a1.exe": b"",
        "@x/a1.ipynb": GOOD,
    }
    collect(course, "a1", [pack(tmp_path / "=1+1.zip", entries)])
    for path in (course.root / "students.csv", course.root / "collected" / "a1.csv"):
        cells = [v for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) for v in row]
        assert any(c.startswith("'") for c in cells)
        assert not [c for c in cells if c.startswith(("=", "+", "-", "@"))]
    assert {r.origin for r in read_ledger(course, "a1")} == {"=1+1.zip"}, "read back as it was"
