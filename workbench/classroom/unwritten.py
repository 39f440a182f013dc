"""Which tasks are not written yet, and what a later task that stumbles over one is waiting for."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from typing import Any

from .notebook import cells_of, items_of, source_of
from .outline import outline

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
FRAME = re.compile(r"^(?:Cell|File) [^\n]*?, in ([A-Za-z_]\w*)[\w.<>]*\(", re.M)
CELL_FILE = re.compile(r"\(\d+\.py, line")  # the kernel's name of a cell
UNDEFINED = re.compile(r"name '(\w+)' is not defined")
STUB = "NotImplementedError"
PASSED, FAILED, LEFT_OUT, WAITS, MISSING = "passes", "fails", "left out", "waits for", "is missing"
Verdicts = dict[str, tuple[str, str]]


def defined(source: str) -> dict[str, bool]:
    r"""Return the functions and classes of a cell, and of each whether it is as it was handed out.

    >>> defined("def area(r):\n    raise NotImplementedError()\n\ndef double(x):\n    return 2 * x")
    {'area': True, 'double': False}
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return dict.fromkeys(re.findall(r"^(?:def|class)[ \t]+(\w+)", source, re.M), False)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {n.name: _is_stub(n) for n in body if isinstance(n, kinds)}


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether the line that stands for an answer is there; one under an ``if`` is the student's own."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and isinstance(node, ast.ClassDef) and _is_stub(part):
            return True
        raised = part.exc if isinstance(part, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        if isinstance(raised, ast.Name) and raised.id == STUB:
            return True
    return False


def verdicts(notebook: Mapping[str, Any]) -> Verdicts:
    """Return what each test of a notebook that was run says.

    Returns:
        test → ("passes", "") or ("fails", the error's line); ("left out", "") where the task's own function is not
        written; ("waits for", a function) where another task's is not.
    """
    cells, sections = dict(cells_of(notebook)), outline(notebook).sections
    kinds = {i.id: i.kind for i in items_of(notebook)}
    tests = [name for name in cells if kinds[name] == "test"]
    own = {k: defined(source_of(c)) for k, c in cells.items() if kinds[k] == "answer"}
    stubs = {name for functions in own.values() for name, stub in functions.items() if stub}
    ended = {k: e for k, c in cells.items() if kinds[k] != "test" and (e := error_of(c))}
    found: Verdicts = {}
    for test in tests:
        beside = [t for t in tests if sections[t] == sections[test]]
        mine = {n for k, functions in own.items() if sections[k] == sections[test] for n in functions}
        found[test] = _verdict(cells[test], _named(mine, cells[test]) if len(beside) > 1 else mine, stubs)
        if found[test][0] == FAILED and (name := UNDEFINED.search(found[test][1])):
            found[test] = _undefined(name[1], cells, ended, stubs) or found[test]
    return found


def _verdict(cell: Mapping[str, Any], mine: Collection[str], stubs: Collection[str]) -> tuple[str, str]:
    error = error_of(cell)
    if error is None:
        return PASSED, ""
    line, trace = error
    if STUB not in line and STUB not in trace:
        return FAILED, line
    if set(mine) & set(stubs):
        return LEFT_OUT, ""
    missing = raised_in(trace, stubs)
    return (WAITS, missing) if missing else (FAILED, line)


def _named(names: Collection[str], cell: Mapping[str, Any]) -> Collection[str]:
    """Return the functions that a test speaks of: tests of one task may share a cell of answers."""
    return {n for n in names if re.search(rf"\b{n}\b", source_of(cell))} or names


def raised_in(trace: str, names: Collection[str]) -> str:
    r"""Return the innermost function of a traceback that is one of `names`; "" where none is.

    >>> raised_in("Cell In[2], line 4, in cost(c)\nCell In[1], line 2, in macs(c, k)", {"macs"})
    'macs'
    """
    return next((name for name in reversed(FRAME.findall(trace)) if name in names), "")


def _undefined(
    name: str, cells: Mapping[str, Any], ended: Mapping[str, tuple[str, str]], stubs: Collection[str]
) -> tuple[str, str] | None:
    """Return why a name is not there: the cell that makes it ended early."""
    makes = re.compile(rf"^(?:def|class)[ \t]+{name}\b|^{name}\b[^=\n]*=", re.M)
    cause = next((k for k in ended if makes.search(source_of(cells[k]))), None)
    if cause is None:
        return None
    line, trace = ended[cause]
    missing = raised_in(trace, stubs) if STUB in line else ""
    return (WAITS, missing) if missing else (FAILED, f"there is no {name}, because its cell ends with {line}")


def error_of(cell: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the last line of a cell's error, and its traceback as plain text; None where it ran."""
    errors = [o for o in cell.get("outputs", ()) if o.get("output_type") == "error"]
    if not errors:
        return None
    line = f"{errors[0]['ename']}: {errors[0]['evalue']}".rstrip(": ").splitlines()[0]
    return CELL_FILE.sub("(line", line)[:160], ANSI.sub("", "\n".join(errors[0].get("traceback", ())))
