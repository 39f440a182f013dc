"""What an assignment's headings say: the task that a cell belongs to, and the lessons that it builds on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .notebook import items_of, meta_of, source_of

LESSONS = Path(__file__).resolve().parents[2] / "notebooks"
HEADING = re.compile(r"^##[ \t]+(.+?)[ \t]*$", re.M)
TOP = re.compile(r"^#[ \t]+(.+?)[ \t]*$", re.M)
POINTS = re.compile(r"[ \t]*\([\d.]+ points?\b[^)]*\)$")
NEEDS = re.compile(r"^Needs: ([^·\n]*)", re.M)


@dataclass(frozen=True)
class Outline:
    """The tasks of a notebook.

    Attributes:
        titles: ``grade_id`` of a graded cell → what people call it; where a task has several tests, each says which.
        sections: ``grade_id`` of any of nbgrader's cells → the number of the heading that it stands under.
        lessons: two digits of each lesson that the assignment names.
        name: of the whole, as its first heading has it; "" where it has none.
    """

    titles: dict[str, str]
    sections: dict[str, int]
    lessons: tuple[str, ...]
    name: str = ""

    def title(self, name: str) -> str:
        """Return what people call a graded cell; its own name where no heading stands above it."""
        return self.titles.get(name) or short(name)


def short(name: str) -> str:
    """Return a ``grade_id`` without its kind.

    >>> short("numbers-moved-test"), short("reflection-answer")
    ('numbers moved', 'reflection')
    """
    return name.removesuffix("-test").removesuffix("-answer").replace("-", " ")


def outline(notebook: Mapping[str, Any]) -> Outline:
    r"""Return the tasks of a notebook; whatever its cells are, this never fails.

    >>> cells = [
    ...     {"cell_type": "markdown", "source": "# One\nNeeds: lessons 01 and 02 · 75 minutes"},
    ...     {"cell_type": "markdown", "source": "## 1 · MACs of `conv` (2 points)"},
    ...     {"cell_type": "code", "source": "", "metadata": {"nbgrader": {"grade_id": "macs-test", "grade": True}}},
    ... ]
    >>> found = outline({"cells": cells})
    >>> found.title("macs-test"), found.lessons
    ('1 · MACs of conv', ('01', '02'))
    """
    kinds = {i.id: i.kind for i in items_of(notebook)}
    headings, sections, needs, whole = [""], dict[str, int](), "", ""
    cells = notebook.get("cells")
    for cell in cells if isinstance(cells, list) else []:
        if not isinstance(cell, Mapping):
            continue
        if cell.get("cell_type") == "markdown":
            text = source_of(cell)
            headings += [POINTS.sub("", h).replace("`", "") for h in HEADING.findall(text)]
            whole = whole or (top[1].replace("`", "") if (top := TOP.search(text)) else "")
            needs = needs or (found[1] if (found := NEEDS.search(text)) else "")
        if name := str(meta_of(cell).get("grade_id", "")):
            sections[name] = len(headings) - 1
    graded = [name for name in sections if kinds.get(name) in ("test", "text")]
    tests = Counter(sections[name] for name in graded if kinds[name] == "test")
    titles = {}
    for name in (n for n in graded if headings[sections[n]]):
        several = kinds[name] == "test" and tests[sections[name]] > 1
        titles[name] = headings[sections[name]] + (f": {short(name)}" if several else "")
    return Outline(titles, sections, tuple(dict.fromkeys(re.findall(r"\b\d\d\b", needs))), whole)


def lesson_names(numbers: Sequence[str], folder: Path = LESSONS) -> list[str]:
    """Return the files of lessons, as students have them; ``lesson 01`` where this installation has no lessons.

    >>> lesson_names(["01"], Path("nowhere"))
    ['lesson 01']
    """
    found = {n: sorted(p.name for p in folder.glob(f"{n}_*.ipynb")) for n in numbers}
    return [f"notebooks/{names[0]}" if (names := found[n]) else f"lesson {n}" for n in numbers]
