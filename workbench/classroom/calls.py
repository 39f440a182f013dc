"""How a call is written in a message: as a student would type it, with tensors by their shape, and short."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

MOST = 100  # characters of a call
FIT = 40  # characters of a list or text
FEW = 4  # numbers of a tensor that are shown instead of its shape


def signature_of(call: str | Callable[..., Any]) -> tuple[str, inspect.Signature]:
    """Return name and parameters of a call: "f(a, b=1)", or a function that has them.

    Raises:
        ValueError: the text is no call with plain parameters.
    """
    if not isinstance(call, str):
        return getattr(call, "__name__", "").strip("_<>") or "call", inspect.signature(call)
    try:
        (function,) = ast.parse(f"def {call}: ...").body
        assert isinstance(function, ast.FunctionDef)
        defaults = [ast.literal_eval(d) for d in function.args.defaults]
    except (SyntaxError, ValueError, AssertionError):
        raise ValueError(f"{call!r} is no call; write it as in a def: name(a, b=1)") from None
    names = [a.arg for a in function.args.args]
    given = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(n, kind, default=given.get(n, inspect.Parameter.empty)) for n in names]
    return function.name, inspect.Signature(parameters)


def written(call: str | Callable[..., Any], arguments: Sequence[Any]) -> str:
    """Return a call with these arguments, at most 100 characters; what equals its default is left out.

    >>> written("conv_macs(c_in, c_out, h, w, k, stride=1, groups=1)", (16, 32, 25, 31, 3, 2, 1))
    'conv_macs(16, 32, 25, 31, 3, stride=2)'
    >>> import torch
    >>> written("block(x, state)", (torch.zeros(2, 8, 6, 7), {"a.weight": torch.zeros(8), "a.bias": torch.zeros(8)}))
    'block(x (2, 8, 6, 7), state {2 tensors})'
    """
    name, signature = signature_of(call)
    shown = []
    for parameter, value in _paired(signature, arguments):
        by_name = parameter.default is not parameter.empty
        if by_name and type(value) is type(parameter.default) and value == parameter.default:
            continue
        text = short(value, parameter.name)
        shown.append(f"{parameter.name}={text}" if by_name and not text.startswith(parameter.name) else text)
    text = f"{name}({', '.join(shown)})"
    return text if len(text) <= MOST else f"{text[: MOST - 2]}…)"


def _paired(signature: inspect.Signature, arguments: Sequence[Any]) -> list[tuple[inspect.Parameter, Any]]:
    """Return each argument with its parameter; a ``*rest`` takes what is left."""
    parameters = list(signature.parameters.values())
    rest = inspect.Parameter("argument", inspect.Parameter.POSITIONAL_ONLY)
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    plain += [rest] * (len(arguments) - len(plain))
    return list(zip(plain, arguments, strict=False))


def short(value: Any, name: str = "") -> str:
    """Return a value as a message has it; what would be long as its name and what it is.

    >>> short(48_211_931), short(1.0), short("P2"), short({3: 1}), short([[-1, 1, "Conv", [8]]] * 9, "rows")
    ('48_211_931', '1.0', "'P2'", '{3: 1}', 'rows [9 lists]')
    """
    if _is_tensor(value):
        if value.numel() <= FEW and value.dim() < 2:
            numbers = [f"{float(v):.3g}" for v in value.reshape(-1)]
            return f"[{', '.join(numbers)}]" if value.dim() else numbers[0]
        return f"{name} {tuple(value.shape)}".lstrip()
    if type(value) is int:
        return f"an int of {value.bit_length()} bits" if value.bit_length() > 100 else _int(value)
    if type(value) is float:
        text = f"{value:.4g}"
        return text if not text.lstrip("-").isdigit() else f"{text}.0"
    if not isinstance(value, Mapping | Sequence | Set) or isinstance(value, str):
        return repr(value)[:FIT]
    inside = list(value.values()) if isinstance(value, Mapping) else list(value)
    plain = "" if any(_is_tensor(v) for v in inside) else repr(value)
    if plain and len(plain) <= FIT:
        return plain
    opened, closed = ("[", "]") if isinstance(value, list) else ("(", ")") if isinstance(value, tuple) else ("{", "}")
    kinds = {"tensor" if _is_tensor(v) else type(v).__name__ for v in inside}
    one, many = (kind := kinds.pop(), f"{kind}s") if len(kinds) == 1 else ("entry", "entries")
    return f"{name} {opened}{len(inside)} {one if len(inside) == 1 else many}{closed}".lstrip()


def _int(value: int) -> str:
    return f"{value:_}" if abs(value) >= 10_000 else str(value)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # where nobody has imported it, nothing is one
    return torch is not None and isinstance(value, torch.Tensor)
