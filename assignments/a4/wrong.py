"""Wrong approaches to assignment 4 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks: each is judged with right answers in the place of earlier wrong ones.
"""

from pathlib import Path

import nbformat

BOOK = {c.id: c.source for c in nbformat.read(Path(__file__).with_name("a4.ipynb"), as_version=4).cells}


def change(cell: str, old: str, new: str) -> str:
    """Return the right solution of a cell with one piece changed."""
    assert BOOK[cell].count(old) == 1, (cell, old)
    return BOOK[cell].replace(old, new)


WRONG = {
    "four layers": ("layers-answer", change("layers-answer", "5 if", "4 if"), {"layers-test": 1}),
    "shift from the first row only": (
        "layers-answer",
        "def first_layers(names, backbones):\n"
        "    return [i + 4 * (i > 0 and names[0] in backbones) for i in range(len(names))]",
        {"layers-test": 1},
    ),
    "later layers keep their numbers": (
        "transplant-answer", change("transplant-answer", "layer - n_old + 5", "layer"), {"transplant-test": 1}),
    "moves by five": (
        "transplant-answer", change("transplant-answer", "layer - n_old + 5", "layer - 5"), {"transplant-test": 0}),
    "no shift": ("parse-answer", change("parse-answer", "len(c2) - 1", "0"), {"parse-test": 1}),
    "shift by five": ("parse-answer", change("parse-answer", "len(c2) - 1", "len(c2)"), {"parse-test": 2}),
    "input channels forgotten": (
        "parse-answer", change("parse-answer", "args = [ch[f], *args]", "pass"), {"parse-test": 0}),
    "no place for the empty layer": (
        "loop-answer", change("loop-answer", "[None, *m(x)]", "list(m(x))"), {"loop-test": 0}),
    "embed counts rows": (
        "loop-answer", change("loop-answer", "if i in embed", "if m.i in embed"), {"loop-test": 2}),
    "everything is kept": (
        "loop-answer", change("loop-answer", "y.append(x if i in self.save else None)", "y.append(x)"),
        {"loop-test": 2.5}),
    "taps keep their numbers": (
        "transplant-answer", change("transplant-answer", "taps[layer] if layer < n_old", "layer if layer < n_old"),
        {"transplant-test": 1}),
    "backbone channels in one entry": (
        "parse-answer", change("parse-answer", "ch.extend(c2)", "ch.append(c2[-1])"), {"parse-test": 0}),
    "RT-DETR forgotten": ("rtdetr-answer", "def edit_rtdetr(text):\n    return text", {"rtdetr-test": 0}),
}  # fmt: skip
