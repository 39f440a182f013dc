"""Small wrong changes of a source: one comparison, operator, constant, condition, keyword or statement at a time.

What no test of behaviour could see is left alone: annotations, decorators, docstrings, ``__all__``, the words of a
message (everything inside ``raise``, f-strings and log calls), and strings that are no identifier.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Add,
    ast.USub: ast.UAdd, ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*")
SPOKEN = {"log", "LOGGER", "warnings"}  # what is said to these is a message
BODIES = ("body", "orelse", "finalbody")


@dataclass(frozen=True)
class Mutant:
    """One wrong version of a source."""

    line: int
    operator: str
    before: str  # the statement that was changed, or its head
    after: str
    source: str  # the whole module


@dataclass(frozen=True)
class _Edit:
    operator: str
    node: ast.AST
    field: str
    value: Any


def mutants(source: str, only: str | None = None) -> list[Mutant]:
    r"""Return every mutant of a module, or of one function in it (``Class.method``), in order.

    >>> [m.after for m in mutants("def f(a):\n    return a + 1 if a < 2 else g(a, k=b)", "f")][:3]
    ['return a + 1 if not a < 2 else g(a, k=b)', 'return a + 1 if a <= 2 else g(a, k=b)', 'return a + 1 if a < 3 else g(a, k=b)']
    """  # noqa: E501
    tree = ast.parse(source)
    found = []
    for statement, edit in _edits(_function(tree, only) if only else tree):
        kept = getattr(edit.node, edit.field)
        before = _head(statement)
        setattr(edit.node, edit.field, edit.value)
        wrong = ast.unparse(ast.fix_missing_locations(tree))
        after = "nothing" if edit.operator == "statement" else _head(statement)
        setattr(edit.node, edit.field, kept)
        where = kept[_changed(kept, edit.value)] if edit.operator == "statement" else statement
        before = _head(where) if edit.operator == "statement" else before
        found.append(Mutant(where.lineno, edit.operator, before, after, wrong))
    return found


def _changed(old: list[ast.AST], new: list[ast.AST]) -> int:
    return next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a is not b)


def _function(tree: ast.AST, name: str) -> ast.AST:
    for part in name.split("."):
        tree = next(n for n in tree.body if getattr(n, "name", None) == part)  # type: ignore[attr-defined]
    return tree


def _head(statement: ast.AST) -> str:
    """Return a statement on one line, a compound one without its body."""
    if any(getattr(statement, field, None) for field in BODIES):
        statement = copy.copy(statement)
        for field in BODIES:
            if getattr(statement, field, None):
                setattr(statement, field, [ast.Pass()] if field == "body" else [])
    return " ".join(ast.unparse(statement).removesuffix("pass").split())


def _edits(root: ast.AST) -> Iterator[tuple[ast.AST, _Edit]]:
    """Yield (statement, edit) for everything below `root` that may be changed, statements in order."""
    yield from _below(root, root)


def _below(node: ast.AST, statement: ast.AST) -> Iterator[tuple[ast.AST, _Edit]]:
    if isinstance(node, ast.stmt | ast.Module):
        statement = node
    if _is_spoken(node):
        return
    yield from ((statement, edit) for edit in _of_node(node))
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _below(child, statement)


def _is_spoken(node: ast.AST) -> bool:
    """Whether nothing in here is behaviour: a message, a docstring, an import, the list of public names."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
        return True
    if isinstance(node, ast.Expr):
        call = node.value.func if isinstance(node.value, ast.Call) else None
        return isinstance(node.value, ast.Constant) or _first_name(call) in SPOKEN
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("__all__", "__repr__")
    return False


def _first_name(node: ast.AST | None) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _of_node(node: ast.AST) -> Iterator[_Edit]:
    for field in BODIES:
        body = getattr(node, field, None)
        for i, child in enumerate(body if isinstance(body, list) else []):
            if _has_an_effect(child):
                yield _Edit("statement", node, field, [*body[:i], ast.Pass(), *body[i + 1 :]])
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            yield _Edit("condition", node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.Compare():
            for i, op in enumerate(node.ops):
                yield _Edit("comparison", node, "ops", [*node.ops[:i], SWAPS[type(op)](), *node.ops[i + 1 :]])
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in SWAPS:
            yield _Edit("operator", node, "op", SWAPS[type(node.op)]())
        case ast.UnaryOp(op=ast.USub()):
            yield _Edit("operator", node, "op", ast.UAdd())
        case ast.UnaryOp(op=ast.Not()):
            yield _Edit("operator", node, "operand", ast.UnaryOp(ast.Not(), node.operand))
        case ast.comprehension():
            for i in range(len(node.ifs)):
                yield _Edit("filter", node, "ifs", node.ifs[:i] + node.ifs[i + 1 :])
        case ast.Call():
            for i, keyword in enumerate(node.keywords):
                if keyword.arg is not None:
                    yield _Edit("keyword", node, "keywords", node.keywords[:i] + node.keywords[i + 1 :])
        case ast.Constant(value=bool(value)):
            yield _Edit("constant", node, "value", not value)
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            yield _Edit("constant", node, "value", value + 1)
        case ast.Constant(value=str(value)) if IDENTIFIER.fullmatch(value):
            yield _Edit("name", node, "value", f"{value}_")


def _has_an_effect(node: ast.AST) -> bool:
    """Whether leaving a statement out may go unnoticed: a call, or a value put into something that exists."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and not _is_spoken(node)
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
    return isinstance(node, ast.AugAssign)
