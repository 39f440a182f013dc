"""The book's pages before Sphinx sees them: every link leads to a page that is there, or is no link any more."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    spec = importlib.util.spec_from_file_location("build_book", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    source = tmp_path_factory.mktemp("book") / "source"
    build.gather(source)
    return source


def texts(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        return ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown"]
    return [re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)]


def test_every_link_of_every_page_and_lesson_leads_somewhere(book):
    pages = [*book.rglob("*.md"), *book.rglob("*.ipynb")]
    links = [(page, target) for page in pages for text in texts(page) for target in LINK.findall(text)]
    inside = [(p, t) for p, t in links if not re.match(r"https?:|mailto:|#", t)]
    assert len(pages) >= 25
    assert len(inside) >= 50
    lost = [f"{p.relative_to(book)}: {t}" for p, t in inside if not (p.parent / t.partition("#")[0]).exists()]
    assert lost == []


def test_lessons_link_to_guides_inside_the_book(book):
    """From notebooks/ of the repository the guide is in docs/; in the book it is not."""
    lessons = {p.name: "\n".join(texts(p)) for p in (book / "notebooks").glob("*.ipynb")}
    assert "](../guides/your_backbone.md)" in lessons["08_wiring_yolo11.ipynb"]
    assert "](../teaching.md)" in lessons["11_compare.ipynb"]


def test_a_lesson_keeps_its_code_and_its_cell_ids(book):
    for copied in (book / "notebooks").glob("*.ipynb"):
        ours, theirs = (json.loads(p.read_text("utf-8"))["cells"] for p in (ROOT / "notebooks" / copied.name, copied))
        assert [c["id"] for c in ours] == [c["id"] for c in theirs]
        code = [["".join(c["source"]) for c in cells if c["cell_type"] == "code"] for cells in (ours, theirs)]
        assert code[0] == code[1]
