"""Put a class from a notebook cell into a file, so that checkpoints with it can be opened by another process."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import importlib.util
import linecache
import os
import symtable
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ..errors import WorkbenchError
from ..files import replace_text
from .contract import import_problem

HEADER = "# Written by workbench.backbones.custom.save_class; the next call overwrites edits."


def save_class(cls: type, path: str | os.PathLike[str]) -> type:
    """Write a class defined in a notebook cell, with all it uses, into a module; import that and return its class.

    Functions, classes and plain constants of the notebook that the class uses are written too, and the imports.

    Args:
        cls: the class; its methods as they were when its cell last ran.
        path: the file, such as ``"my_backbone.py"``. Its folder is put on ``sys.path``.

    Returns:
        The class under its new import path. Use this one from now on: ``Net = save_class(Net, "net.py")``.

    Raises:
        WorkbenchError: the source is not found, the class uses something that cannot be written down, the file is
            not one of ours, or its name is that of another module.
    """
    path = Path(path).expanduser().absolute()
    if not isinstance(cls, type):
        raise WorkbenchError(f"save_class takes a class, not {type(cls).__name__}")
    if import_problem(cls) is None:
        return cls  # already in a module: the line ran again without its class's cell
    _check_path(path)
    imports: dict[str, None] = {}  # ordered, without repeats
    pieces: dict[str, str] = {}  # name → source, what is needed first coming first
    _collect(cls.__name__, cls, vars(sys.modules[cls.__module__]), imports, pieces)
    text = "\n".join([HEADER, "", *sorted(imports), "\n", "\n\n\n".join(pieces.values()), ""])
    compile(text, str(path), "exec")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
    # the byte code of a rewrite within the same second would be taken for current
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()
    sys.modules.pop(path.stem, None)
    try:
        return getattr(importlib.import_module(path.stem), cls.__name__)
    except Exception as e:
        raise WorkbenchError(f"{path} was written but does not import ({type(e).__name__}: {e})") from e


def _check_path(path: Path) -> None:
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise WorkbenchError(f"{path.name!r} cannot be imported; give a file name like 'my_backbone.py'")
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(HEADER):
        raise WorkbenchError(f"{path} exists and was not written by save_class; give another name, or delete it")
    loaded = sys.modules.get(path.stem)
    origin = getattr(loaded, "__file__", None) if loaded else None
    if loaded is None and (spec := importlib.util.find_spec(path.stem)) is not None:
        origin, loaded = spec.origin, ModuleType(path.stem)
    if loaded is not None and (origin is None or Path(origin).absolute() != path):
        raise WorkbenchError(f"{path.stem!r} is the name of another module ({origin or 'built in'}); give another one")


def _collect(name: str, obj: Any, namespace: dict[str, Any], imports: dict[str, None], pieces: dict[str, str]) -> None:
    """Add the source of one class or function, after everything of the notebook that it uses."""
    source = _source(obj)
    pieces[name] = ""  # being written: ends the recursion of a class that names itself
    for used in sorted(_globals(symtable.symtable(source, name, "exec"))):
        if used in pieces or used not in namespace:
            continue  # a builtin, or a name that does not exist yet; both are Python's business
        value = namespace[used]
        if (line := _import_line(used, value)) is not None:
            imports[line] = None
        elif getattr(value, "__module__", None) == obj.__module__ and hasattr(value, "__qualname__"):
            _collect(used, value, namespace, imports, pieces)
        elif _is_plain(value):
            pieces[used] = f"{used} = {value!r}"
        else:
            raise WorkbenchError(
                f"{name} uses {used!r}, a {type(value).__name__} of the notebook that cannot be written into a file; "
                "make it an argument or an attribute of the class"
            )
    del pieces[name]
    pieces[name] = source


def _globals(table: symtable.SymbolTable) -> set[str]:
    """Return the names a source reads from its module's namespace; parameters and locals of equal name are not."""
    top = table.get_type() == "module"
    found = {
        s.get_name()
        for s in table.get_symbols()
        if (s.is_referenced() and not s.is_assigned() if top else s.is_global() and s.is_referenced())
    }
    return found.union(*(_globals(child) for child in table.get_children()))


def _source(obj: Any) -> str:
    """Return the source of a class or function from the cell or file that defined it."""
    for text in map(_body_of_magic, _texts(obj)):
        try:
            tree = ast.parse(text)
        except SyntaxError:  # a cell that failed
            continue
        for node in reversed(tree.body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == obj.__name__:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise WorkbenchError(
        f"the source of {obj.__name__} is not to be found; write it into a file, in a notebook with %%writefile"
    )


def _body_of_magic(cell: str) -> str:
    """Return what runs under a cell magic such as ``%%time``, which IPython turns into a call on the cell's text."""
    with contextlib.suppress(SyntaxError, AttributeError, IndexError, ValueError):
        node: Any = ast.parse(cell).body[0]
        if node.value.func.attr == "run_cell_magic":
            return str(ast.literal_eval(node.value.args[2]))
    return cell


def _texts(obj: Any) -> list[str]:
    """Return where the definition may stand, likeliest first: the cell of its code, earlier cells, the script."""
    members = vars(obj).values() if isinstance(obj, type) else [obj]
    inner = (getattr(m, "fget", None) or getattr(m, "__func__", m) for m in members)
    codes = [c for m in inner if isinstance(c := getattr(m, "__code__", None), CodeType)]
    module = sys.modules[obj.__module__]
    cells = [c for c in reversed(getattr(module, "In", [])) if isinstance(c, str)]  # IPython's record of its inputs
    files = [*dict.fromkeys(c.co_filename for c in codes), getattr(module, "__file__", None)]
    cached = ["".join(linecache.getlines(f)) for f in files if f]
    return [*cached, *cells]


def _import_line(name: str, value: Any) -> str | None:
    """Return the statement that imports `value` as `name`, or None if it is defined in the notebook."""
    if isinstance(value, ModuleType):
        return f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    for module in (getattr(value, "__module__", None), "torch", "torch.nn.functional"):
        if not isinstance(module, str) or module in ("__main__", builtins.__name__):
            continue
        for attribute in (getattr(value, "__name__", name), name):
            if module in sys.modules and getattr(sys.modules[module], attribute, None) is value:
                return f"from {module} import {attribute}" + (f" as {name}" if attribute != name else "")
    return None


def _is_plain(value: Any) -> bool:
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, TypeError, RecursionError):
        return False
