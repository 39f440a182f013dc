"""Plain data that crosses the sandbox's wall: JSON and raw numbers, read back under limits and without pickle.

A frame is two lengths of 8 bytes, a JSON text and raw bytes; tensors in the JSON say where in the bytes they lie.
Whatever is not plain arrives as an object of which only the type's name is known.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

from .course import ClassroomError

HEAD = struct.Struct(">QQ")
MAX_JSON = 4 * 2**20
MAX_DEPTH = 20
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class Other:
    """Stands for a value that is not plain. Its class has the name of the value's."""


def pack(value: Any) -> bytes:
    """Return `value` as a frame.

    >>> unpack(pack({"a": (1, 2.0, [True, None, "b"], {3})}))
    {'a': (1, 2.0, [True, None, 'b'], {3})}
    >>> type(unpack(pack(1j))).__name__
    'complex'
    """
    blob = bytearray()
    text = json.dumps(_down(value, blob, 0)).encode()
    return HEAD.pack(len(text), len(blob)) + text + bytes(blob)


def unpack(frame: bytes) -> Any:
    """Return the value in a frame.

    Raises:
        ClassroomError: it is not one; whoever wrote it was not `pack`.
    """
    n, m = HEAD.unpack_from(frame)
    if HEAD.size + n + m != len(frame):
        raise ClassroomError("the results are not as long as they say")
    try:
        return _up(json.loads(frame[HEAD.size : HEAD.size + n]), memoryview(frame)[HEAD.size + n :], 0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, RuntimeError) as e:
        raise ClassroomError(f"the results cannot be read ({type(e).__name__})") from None


def _down(value: Any, blob: bytearray, depth: int) -> Any:
    kind = type(value)
    if value is None or kind in (bool, float) or (kind is int and value.bit_length() < 10_000):
        return value  # Python writes integers of up to 4300 digits
    if kind is str:
        return value.encode("utf-8", "replace").decode()
    if kind is bytes:
        blob += value
        return {"b": [len(blob) - len(value), len(value)]}
    if depth < MAX_DEPTH:
        if kind in (list, tuple, set, frozenset):
            tag = "l" if kind is list else "t" if kind is tuple else "s"
            return {tag: [_down(v, blob, depth + 1) for v in value]}
        if isinstance(value, dict) and kind.__name__ in ("dict", "OrderedDict"):
            return {"d": [[_down(k, blob, depth + 1), _down(v, blob, depth + 1)] for k, v in value.items()]}
        if kind.__module__ == "torch" and kind.__name__ == "Tensor" and (found := _tensor(value, blob)):
            return found
    return {"o": str(kind.__name__)[:60]}


def _tensor(value: Any, blob: bytearray) -> dict[str, Any] | None:
    import torch

    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES or value.layout is not torch.strided:
        return None
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    start = len(blob)
    blob += bytes(flat.numpy())
    return {"x": [dtype, list(value.shape), start]}


def _up(data: Any, blob: memoryview, depth: int) -> Any:
    if not isinstance(data, dict):
        if isinstance(data, list):
            raise ValueError("a bare list")
        return data
    ((tag, inside),) = data.items()
    if depth > MAX_DEPTH + 2:
        raise ValueError("nested too deeply")
    if tag in ("l", "t", "s"):
        return {"l": list, "t": tuple, "s": set}[tag]([_up(v, blob, depth + 1) for v in inside])
    if tag == "d":
        return {_up(k, blob, depth + 1): _up(v, blob, depth + 1) for k, v in inside}
    if tag == "b":
        start, size = (int(i) for i in inside)
        return bytes(_part(blob, start, size))
    if tag == "x":
        return _tensor_from(blob, *inside)
    name = re.sub(r"\W", "", str(inside))[:60]
    return type(name if name.isidentifier() else "Other", (Other,), {})()


def _tensor_from(blob: memoryview, dtype: str, shape: list[int], start: int) -> Any:
    import torch

    if dtype not in DTYPES or len(shape) > 12 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("no tensor")
    kind = getattr(torch, dtype)
    size = math.prod(shape) * torch.empty(0, dtype=kind).element_size()
    part = bytearray(_part(blob, int(start), size))
    return (torch.frombuffer(part, dtype=kind) if size else torch.empty(0, dtype=kind)).reshape(shape)


def _part(blob: memoryview, start: int, size: int) -> memoryview:
    if start < 0 or size < 0 or start + size > len(blob):
        raise ValueError("outside the bytes")
    return blob[start : start + size]
