"""One submission's marks: the file that grading writes, and that marks, feedback and leaderboard read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..files import replace_text
from .course import MARKS, ClassroomError


@dataclass(frozen=True)
class Mark:
    """What one question earned.

    Attributes:
        points, of: earned, and the most it can earn.
        message: one line for the student; never shows a hidden test.
        put_right: whether it was judged with right answers in the place of earlier ones, which are wrong or missing.
    """

    points: float
    of: float
    message: str
    put_right: bool = False


@dataclass(frozen=True)
class Record:
    """Everything that grading found out about one submission.

    Attributes:
        student, assignment: whose, and of what.
        status: "graded"; or "failed" when the notebook could not be run as a whole, `reason` then says why.
        questions: the ``grade_id`` of each auto-graded question → its `Mark`.
        submitted: time stamp of the hand-in, ISO 8601, or None.
        checksum: of the submission and of what decides its marks; a record with another one is graded anew.
        capstone: numbers computed outside from the exported network (MACs, latency ratio, mAP), where there is one.
        provenance: seed of the inputs, versions, seconds.
    """

    student: str
    assignment: str
    status: str
    questions: dict[str, Mark]
    reason: str = ""
    submitted: str | None = None
    checksum: str = ""
    capstone: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> float:
        """Sum of what the auto-graded questions earned."""
        return sum(m.points for m in self.questions.values())

    def save(self, folder: Path) -> Path:
        """Write ``marks.json`` into `folder` by rename, so that it is there whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / MARKS
        replace_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """Return the record that ``asdict`` made `data` of."""
        questions = {k: Mark(**m) for k, m in data["questions"].items()}
        return cls(**data | {"questions": questions})

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Return the record in `folder`.

        Raises:
            ClassroomError: there is none, or it is not one of ours.
        """
        path = folder / MARKS
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise ClassroomError(f"{folder} is not graded yet; run: workbench class grade {folder.name}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as e:
            raise ClassroomError(f"{path} cannot be read ({e}); delete it and grade again") from None
