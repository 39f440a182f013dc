"""Wrong approaches to the capstone by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks: each is judged with right answers in the place of earlier wrong ones.
"""

from pathlib import Path

import nbformat

BOOK = {c.id: c.source for c in nbformat.read(Path(__file__).with_name("a5.ipynb"), as_version=4).cells}


def change(cell: str, old: str, new: str) -> tuple[str, str]:
    """Return a cell's id, and its right solution with one piece changed."""
    assert BOOK[cell].count(old) == 1, (cell, old)
    return cell, BOOK[cell].replace(old, new)


LEVELS = "((16, 4, 1), (32, 2, 2), (64, 2, 4), (128, 2, 1))"
WRONG = {
    "ignores latency": (
        *change("choose-answer", ' and k["latency_ms"] <= latency_ms', ""), {"choose-test": 1}),
    "a budget met exactly is refused": (
        "choose-answer",
        BOOK["choose-answer"].replace("<=", "<"),
        {"choose-test": 2},
    ),
    "any of equals": (
        *change("choose-answer", '(k["map50"], -k["latency_ms"])', 'k["map50"]'), {"choose-test": 2}),
    "no answer where nothing fits": (
        *change("choose-answer", ' if fitting else None', ''), {"choose-test": 2}),
    "three maps": (
        *change("backbone-answer", "return maps", "return maps[1:]"),
        {"maps-test": 0}),
    "stem of stride two": (
        *change("backbone-answer", "(16, 4, 1)", "(16, 2, 1)"),
        {"maps-test": 0, "budget-test": 0}),
    "far over the budget": (
        *change("backbone-answer", LEVELS, "((64, 4, 2), (128, 2, 2), (256, 2, 4), (512, 2, 1))"),
        {"budget-test": 0}),
    "three channels wired in": (
        *change("backbone-answer", "nn.ModuleList(), in_chans", "nn.ModuleList(), 3"), {"maps-test": 1}),
    "a stock YOLO11": (
        "detector-answer", "def wire():\n    return wb.YOLO('yolo11n.yaml')", {"detector-test": 0}),
    "changed after the training": (
        *change("backbone-answer", "return x + self.down", "return self.down"), {"quality-test": 0}),
    "exported in training mode": (
        "export-answer",
        "def export_onnx(model, path, side):\n"
        "    x = torch.rand(1, 3, side, side)\n"
        "    mode = torch.onnx.TrainingMode.TRAINING\n"
        "    torch.onnx.export(model.train(), (x,), str(path), dynamo=False, training=mode)",
        {"export-test": 1},
    ),
    "one map exported": (
        "export-answer",
        "class Last(nn.Module):\n"
        "    def __init__(self, body):\n        super().__init__()\n        self.body = body\n"
        "    def forward(self, x):\n        return self.body(x)[-1]\n"
        "def export_onnx(model, path, side):\n"
        "    torch.onnx.export(Last(model).eval(), (torch.zeros(1, 3, side, side),), str(path), dynamo=False)",
        {"export-test": 0},
    ),
}  # fmt: skip
