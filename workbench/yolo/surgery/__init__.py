"""Door 2, the surgery: the articles' edits to ultralytics' ``tasks.py``, finished, on a copy or on a fork of your own.

The workbench itself uses the plug (door 1) and changes no file. This is for learning what the plug does, and for those
who keep a fork: `copy_tasks` and `edit` try the edits on a copy, `surgery_diff` prints them, `apply` and `revert` put
them into a fork and take them out, and `compare` proves both doors equal.
"""

from .edits import EDITS, KNOWN_VERSIONS, STEPS, Edit
from .files import apply, revert, surgery_diff
from .proof import Comparison, KeyMap, Row, compare, cross_weights, key_map, rows
from .work import class_sources, copy_tasks, edit, edits_of, listing

__all__ = [
    "EDITS",
    "KNOWN_VERSIONS",
    "STEPS",
    "Comparison",
    "Edit",
    "KeyMap",
    "Row",
    "apply",
    "class_sources",
    "compare",
    "copy_tasks",
    "cross_weights",
    "edit",
    "edits_of",
    "key_map",
    "listing",
    "revert",
    "rows",
    "surgery_diff",
]
