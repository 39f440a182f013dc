"""The shape of every tensor in an ONNX graph, without running it.

ONNX's own inference stops at sizes that the graph computes, as YOLO's ``chunk`` does (Shape, Gather, Add, Div, Slice).
Here that arithmetic on a handful of numbers is done, and the inference goes on from there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .course import ClassroomError

Shape = tuple[int, ...]
SMALL = 64  # numbers that a size or an index may have
MAX_ROUNDS = 100
_FOLDED = (
    "Add Cast Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater Identity Less Max Min Mod Mul Neg Not "
    "ReduceProd ReduceSum Reshape Round Slice Sqrt Squeeze Sub Unsqueeze Where"
)
FOLDED = frozenset(_FOLDED.split())


def infer(model: Any) -> tuple[dict[str, Shape], set[str]]:
    """Return name → shape for all tensors whose shape is fixed, and the names of small constants among them.

    Raises:
        ClassroomError: shapes contradict each other.
    """
    import onnx

    light, known = _light(model)
    opsets = {o.domain: o.version for o in model.opset_import}
    shapes: dict[str, Shape] = {}
    for _ in range(MAX_ROUNDS):
        try:
            found = onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True)
        except Exception as e:
            line = " ".join(str(e).split())
            raise ClassroomError(f"the shapes in the graph contradict each other: {line[-160:]}") from None
        shapes = _static(found.graph)
        if not _fold(light.graph, shapes, known, opsets):
            break
    return shapes | {name: tuple(value.shape) for name, value in known.items()}, set(known)


def _light(model: Any) -> tuple[Any, dict[str, Any]]:
    """Return a copy whose large constants are inputs, since only their shapes matter here; and the small ones."""
    import onnx

    light, known = onnx.ModelProto(), dict[str, Any]()
    light.CopyFrom(model)
    graph = light.graph
    del graph.initializer[:], graph.node[:], graph.value_info[:]  # what a file says of its shapes is a claim
    declared = {v.name for v in graph.input}
    for tensor in model.graph.initializer:
        _take(graph, tensor, tensor.name, known, declared)
    for node in model.graph.node:
        value = node.attribute[0] if node.op_type == "Constant" and len(node.attribute) == 1 else None
        if value is not None and value.name == "value":
            _take(graph, value.t, node.output[0], known, declared)
        else:
            graph.node.add().CopyFrom(node)
    return light, known


def _take(graph: Any, tensor: Any, name: str, known: dict[str, Any], declared: set[str]) -> None:
    from onnx import helper, numpy_helper

    if math.prod(tensor.dims) <= SMALL:
        known[name] = numpy_helper.to_array(tensor)
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    elif name not in declared:
        graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))


def _static(graph: Any) -> dict[str, Shape]:
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dims = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
        if kind.HasField("shape") and min(dims, default=0) >= 0:
            found[value.name] = dims
    return found | {t.name: tuple(t.dims) for t in graph.initializer}


def _fold(graph: Any, shapes: dict[str, Shape], known: dict[str, Any], opsets: dict[str, int]) -> bool:
    """Replace nodes whose few numbers can be computed now by constants; return whether there was one."""
    from onnx import numpy_helper

    left, before = [], len(known)
    for node in graph.node:
        value = _value(node, shapes, known, opsets)
        if value is None:
            left.append(node)
        else:
            known[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    if len(known) == before:
        return False
    kept = [type(n).FromString(n.SerializeToString()) for n in left]
    del graph.node[:]
    graph.node.extend(kept)
    return True


def _value(node: Any, shapes: dict[str, Shape], known: dict[str, Any], opsets: dict[str, int]) -> Any:
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator
    if len(node.output) != 1:
        return None
    if node.op_type == "Shape" and node.input[0] in shapes:
        span: dict[str, int] = {str(a.name): int(a.i) for a in node.attribute}
        return np.array(shapes[node.input[0]][span.get("start", 0) : span.get("end")], np.int64)
    names = [n for n in node.input if n]
    if node.op_type not in FOLDED or not all(n in known for n in names) or not names:
        return None
    if node.op_type == "ConstantOfShape" and math.prod(map(int, known[names[0]].ravel())) > SMALL:
        return None
    if node.op_type == "Expand" and math.prod(map(int, known[names[1]].ravel())) > SMALL:
        return None
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(evaluator(node, opsets=opsets).run(None, {n: known[n] for n in names})[0])
    except Exception:  # what cannot be computed stays in the graph, and its size unknown
        return None
    return value if value.size <= SMALL and value.dtype.kind in "iufb" else None
