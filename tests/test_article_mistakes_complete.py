"""Every numbered mistake of the five articles has a test named after it that fails when the mistake comes back."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

# shared; FasterNet; StarNet; MobileOne; VanillaNet, and how many of each the articles make
MISTAKES = [f"{letter}{n}" for letter, last in zip("sacde", (5, 7, 12, 9, 8), strict=True) for n in range(1, last + 1)]


@functools.cache
def named_after_a_mistake() -> dict[str, list[ast.FunctionDef]]:
    """Return mistake → the tests named after it, wherever they stand."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name.split("_")[1], []).append(node)
    return {key: tests for key, tests in found.items() if key in MISTAKES}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_mistake_has_a_test_that_can_fail(mistake):
    tests = named_after_a_mistake().get(mistake, [])
    assert tests, f"no test is named after mistake {mistake.upper()}"
    for test in tests:
        calls = (n.func for n in ast.walk(test) if isinstance(n, ast.Call))
        raises = any(isinstance(f, ast.Attribute) and f.attr == "raises" for f in calls)
        assert raises or any(isinstance(n, ast.Assert) for n in ast.walk(test)), f"{test.name} asserts nothing"
