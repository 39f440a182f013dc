"""Reading the lessons for the guards: cells by id, sections, solutions, and the definitions a solution may use."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
FILES = {
    "00": "00_start_here",
    "01": "01_cost_of_a_convolution",
    "02": "02_fasternet",
    "03": "03_starnet",
    "04": "04_mobileone",
    "05": "05_vanillanet",
    "06": "06_feature_maps",
    "07": "07_flops_vs_latency",
    "08": "08_wiring_yolo11",
    "09": "09_other_hosts",
    "10": "10_training_on_coco128",
    "11": "11_compare",
}
# every guard holds for these; the others need only run and assert, so far
FINISHED = ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11")
PRESENT = tuple(n for n, stem in FILES.items() if (NOTEBOOKS / f"{stem}.ipynb").exists())


def path(lesson: str) -> Path:
    return NOTEBOOKS / f"{FILES[lesson]}.ipynb"


def cells(lesson: str) -> list[Any]:
    return nbformat.read(path(lesson), as_version=4).cells


def code_cells(lesson: str) -> list[Any]:
    return [c for c in cells(lesson) if c.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def is_golden(cell: Any) -> bool:
    """A table whose output is kept and compared."""
    checked = "nbval-check-output" in tags(cell) or "NBVAL_CHECK_OUTPUT" in cell.source
    return cell.cell_type == "code" and "keep_output" in tags(cell) and checked and bool(cell.outputs)


def tree(cell: Any) -> ast.Module:
    """A code cell's syntax tree; line magics are dropped."""
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))


def asserts(cell: Any) -> list[ast.Assert]:
    """The asserts of a cell that look at a computed value (``assert True`` does not)."""
    found = [n for n in ast.walk(tree(cell)) if isinstance(n, ast.Assert)]
    return [a for a in found if any(isinstance(n, ast.Name | ast.Attribute | ast.Call) for n in ast.walk(a.test))]


def calls(lesson: str, function: str) -> list[ast.Call]:
    """Every ``lesson.<function>(…)`` in the notebook, in order."""
    found = []
    for cell in code_cells(lesson):
        for node in ast.walk(tree(cell)):
            name = node.func if isinstance(node, ast.Call) else None
            if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id == "lesson":
                found += [node] if name.attr == function else []
    return found


def exercise_cells(lesson: str) -> dict[str, tuple[Any, Any]]:
    """Exercise key → (the markdown cell that states it, the learner's cell, which calls ``lesson.check(key, …)``)."""
    found: dict[str, tuple[Any, Any]] = {}
    task = None
    for cell in cells(lesson):
        if cell.cell_type == "markdown":
            task = cell if "<details>" in cell.source and cell.id.startswith("ex-") else None
        else:
            for key in re.findall(r"""lesson\.check\(\s*["'](ex-[\w-]+)""", cell.source):
                found[key] = (task, cell)
    return found


def solutions(lesson: str) -> dict[str, str]:
    """Exercise key → the code of its solution, the Python block in ``<details><summary>Solution</summary>``."""
    found = {}
    for key, (task, _) in exercise_cells(lesson).items():
        for block in re.findall(r"<details>(.*?)</details>", task.source if task else "", re.S):
            code = re.search(r"```python\n(.*?)```", block, re.S)
            if code and re.search(r"<summary>[^<]*solution", block, re.I):
                found[key] = code.group(1)
    return found


def definitions_before(lesson: str, cell_id: str) -> dict[str, Any]:
    """Run the imports, functions, classes and constants of the code cells above `cell_id`; return the names."""
    keep = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    names: dict[str, Any] = {"__name__": "lesson_definitions"}
    for cell in cells(lesson):
        if cell.id == cell_id:
            break
        if cell.cell_type != "code" or "lesson.check(" in cell.source:
            continue
        body = [n for n in tree(cell).body if isinstance(n, keep) or _is_constant(n)]
        exec(compile(ast.Module(body, []), f"{FILES[lesson]}:{cell.id}", "exec"), names)
    return names


def _is_constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign):
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True
