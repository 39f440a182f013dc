"""What a notebook cell calls: begin a lesson, commit to a prediction, reveal the measurement, check an answer.

A lesson reads like this (``lesson`` is this package; lesson 03 is notebook ``03_…`` and file ``l03.py``)::

    lesson.begin("03")                                       # seeds, threads, plot style; says where it runs
    lesson.predict("pconv-share", ..., unit="of the MACs")   # replace ... by your answer; ... is no error
    lesson.reveal("pconv-share", 1 / 16, why="…")            # prediction beside measurement
    lesson.check("ex-pconv", my_pconv)                       # … not attempted | ✗ AssertionError with a hint | ✓
    lesson.checkpoint({"q1": "b", "q2": 3905500, "q3": ...}) # scored offline, never raises on a wrong answer
    lesson.record({"backbone": "starnet_s1", "macs": n})     # one row of the running comparison table
    lesson.table()                                           # that table, which the last lesson reads
    epochs = lesson.pick(fast=1, full=50)                    # by WORKBENCH_BUDGET

Writing a lesson's checks: see `exercises` (``@exercise``, ``expect_*``) and `quiz` (``questions``).
"""

from __future__ import annotations

from ..settings import budget
from .exercises import NotAttempted, check, exercise, expect, fresh
from .predictions import predict, reveal
from .quiz import Question, checkpoint, questions
from .results import record, table
from .session import begin, pick, progress

__all__ = [
    "NotAttempted",
    "Question",
    "begin",
    "budget",
    "check",
    "checkpoint",
    "exercise",
    "expect",
    "fresh",
    "pick",
    "predict",
    "progress",
    "questions",
    "record",
    "reveal",
    "table",
]
