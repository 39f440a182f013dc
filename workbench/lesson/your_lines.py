"""The learner's lines in a copy of ultralytics' ``tasks.py``: what lesson 08 writes takes the place of ours.

The finished surgery (`yolo.surgery`) is known line by line; an answer replaces the lines it stands for, and the edited
file is imported and tried like any other.
"""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .exercises import NotAttempted, expect

OURS = {  # exercise → (indent, the lines of the finished surgery that the learner's replace)
    "width": (12, "c2 = [0, *(level.channels for level in backbone.feature_info)]\n"),
    "shift": (
        8,
        "if backbone is not None:\n    ch.extend(c2)\n    shift += len(c2) - 1\nelse:\n    ch.append(c2)\n",
    ),
    "forward": (
        12,
        """\
for x in [None, *m(x)] if hasattr(m, "width_list") else [m(x)]:  # run
    i = len(y)
    y.append(x if i in self.save else None)  # save output
    if i in embed:
        embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))
        if i == max_idx:
            return torch.unbind(torch.cat(embeddings, 1), dim=0)
""",
    ),
}
AFTER = {"forward": "        return x\n\n    def _predict_augment(self, x):\n"}  # RT-DETR's loop has the same lines


def _replaced(tasks: ModuleType, piece: str, lines: str) -> ModuleType:
    """Put the learner's lines in place of ours."""
    from ..yolo import surgery

    indent, ours = OURS[piece]
    tail = AFTER.get(piece, "")
    old, new = (textwrap.indent(textwrap.dedent(t).strip("\n") + "\n", " " * indent) + tail for t in (ours, lines))
    return tasks if old == new else surgery.edit(tasks, old, new)


def tasks_with(piece: str, lines: Any) -> ModuleType:
    """Return the finished surgery as a module, with the learner's lines for one of the exercises."""
    from ..yolo import surgery

    expect(isinstance(lines, str), f"expected your lines of code as one string, came {type(lines).__name__}")
    if "..." in lines:
        raise NotAttempted
    try:  # in a function and a loop, as where they will stand
        compile("def f():\n for _ in ():\n" + textwrap.indent(textwrap.dedent(lines), "  "), "your lines", "exec")
    except SyntaxError as e:
        raise AssertionError(f"your lines are no Python yet: {e.msg}, at {(e.text or '').strip()!r}") from None
    with tempfile.TemporaryDirectory() as folder:
        return _replaced(surgery.copy_tasks(folder, "tasks_of_yours", surgery.STEPS), piece, lines)


def with_your_lines(work: Path, steps: Sequence[str], **lines: Any) -> tuple[ModuleType, list[str]]:
    """Return a copy of ``tasks.py`` with these steps made by the learner's lines, and which of them those were.

    Args:
        work: folder of the copy.
        steps: of the surgery.
        **lines: exercise (``width``, ``shift``, ``forward``) → the answer; ours stand in where it is still ``...``.
    """
    from ..yolo import surgery

    tasks = surgery.copy_tasks(work, "tasks_of_yours", steps)
    yours = [piece for piece, answer in lines.items() if isinstance(answer, str) and "..." not in answer]
    for piece in yours:
        tasks = _replaced(tasks, piece, lines[piece])
    return tasks, yours
