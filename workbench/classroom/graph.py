"""What a stranger's ONNX file is: checked before anything of it runs, then counted from the graph alone.

Needs onnx and NumPy, no torch. It runs inside `opener`, a process under limits: reading the file is already a risk.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .course import ClassroomError
from .graph_shapes import Shape, infer

MAX_BYTES = 32 * 2**20  # of a file; a stock YOLO11n has 10 MB
MAX_NODES = 5000  # a stock YOLO11n has 540
MAX_VALUES = 2**24  # of one tensor; the largest of YOLO11n at 640 pixels has 1.6 million
MAX_WHOLE = 4096  # whole numbers in one constant: sizes and indices, not weights in disguise
MAX_MACS = 2_000_000_000  # of what is run; a stock YOLO11n at 128 pixels has 0.13 billion
_STANDARD = """Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
    ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor
    Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization
    HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool MatMul Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow RMSNormalization Range
    Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split
    Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile Transpose Trilu Unsqueeze Where Xor"""
ALLOWED = frozenset(_STANDARD.split())
LOOPS = frozenset(("Loop", "Scan", "If", "SequenceMap", "LSTM", "GRU", "RNN"))
PRODUCTS = frozenset(("Mul", "Div", "Pow"))
FLOATS = frozenset((1, 10, 11, 16))  # FLOAT, FLOAT16, DOUBLE, BFLOAT16 of onnx.TensorProto


class BadFileError(ClassroomError):
    """A handed-in file is refused. The message says why, to the student."""


def check_size(data: bytes) -> None:
    """Refuse a file that is too large.

    Raises:
        BadFileError: it is.
    """
    if len(data) > MAX_BYTES:
        raise BadFileError(
            f"the file has {len(data) / 2**20:,.0f} MB; at most {MAX_BYTES >> 20} MB, which is "
            f"{MAX_BYTES >> 22} million parameters in single precision"
        )


def read(data: bytes) -> Any:
    """Return the model in a file that may be run: standard operators only, everything in the one file.

    Raises:
        BadFileError: it is not such a file.
    """
    import onnx

    check_size(data)
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's; which class depends on its version
        raise BadFileError("this is no ONNX file") from None
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise BadFileError("this is no ONNX file: it holds no graph")
    _only_standard(model)
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise BadFileError("some weights are kept outside the file; export it whole: external_data=False")
        if tensor.data_type not in FLOATS and math.prod(tensor.dims) > MAX_WHOLE:
            raise BadFileError(
                f"the constant {_short(tensor.name)} holds {math.prod(tensor.dims):,} whole numbers; weights are float"
            )
    try:
        onnx.checker.check_model(model)
    except Exception as e:
        raise BadFileError(f"the file breaks ONNX's rules: {_short(e, 120)}") from None
    return model


def _only_standard(model: Any) -> None:
    graph = model.graph
    if model.functions:
        raise BadFileError("the file defines functions of its own; only the operators of ONNX are taken")
    domains = [o.domain for o in model.opset_import if o.domain not in ("", "ai.onnx")]
    domains = [n.domain for n in graph.node if n.domain not in ("", "ai.onnx")] or domains
    if domains:
        raise BadFileError(f"the file uses operators of {_short(domains[0])!r}; only those of ONNX itself are taken")
    if len(graph.node) > MAX_NODES:
        raise BadFileError(f"the graph has {len(graph.node):,} operators; at most {MAX_NODES:,}")
    for node in graph.node:
        if node.op_type in LOOPS or any(a.HasField("g") or a.graphs for a in node.attribute):
            raise BadFileError(f"the graph has a loop or a branch ({_short(node.op_type)}): what it costs is not fixed")
        if node.op_type not in ALLOWED:
            raise BadFileError(
                f"the operator {_short(node.op_type)}{_at(node)} is not one that a detector may use here; use "
                "convolutions, matrix products, norms, activations, pooling, sums and products"
            )
    if graph.sparse_initializer or model.training_info:
        raise BadFileError("the file holds sparse weights or a training graph; export the network for inference")


def facts(model: Any) -> dict[str, Any]:
    """Return what the graph says: inputs and outputs with shapes, parameters, MACs, whether it is in training mode.

    MACs are multiply-adds of contractions (convolutions, matrix products), as `workbench.measure.count` has them.
    Parameters are the floating-point numbers that the file stores, norms folded as it was exported.

    Raises:
        BadFileError: a shape is not fixed, a tensor is too large, or the counts say nothing.
    """
    shapes, whole = infer(model)
    for node in model.graph.node:
        for name in filter(None, node.output):
            shape = shapes.get(name)
            if shape is None:
                raise BadFileError(
                    f"how large {_short(name)} gets ({node.op_type}) is not known before it runs; export fixed shapes"
                )
            if math.prod(shape) > MAX_VALUES:
                size = "×".join(f"{n:,}" for n in shape)
                raise BadFileError(
                    f"{_short(name)} ({node.op_type}) has {size} values; at most {MAX_VALUES:,} a tensor"
                )
    stored = {i.name for i in model.graph.initializer}
    inputs = [_described(v, shapes) for v in model.graph.input if v.name not in stored]
    macs = sum(_macs(node, shapes) for node in model.graph.node)
    products = sum(
        math.prod(shapes[n.output[0]]) for n in model.graph.node if n.op_type in PRODUCTS and n.output[0] not in whole
    )
    if products > max(macs, 1_000_000):
        raise BadFileError(
            f"{products:,} products of single numbers stand beside {macs:,} MACs: they would not be counted; use "
            "convolutions or matrix products"
        )
    return {
        "inputs": inputs,
        "outputs": [_described(v, shapes) for v in model.graph.output],
        "params": sum(math.prod(t.dims) for t in _tensors(model.graph) if t.dims and t.data_type in FLOATS),
        "macs": macs,
        "nodes": len(model.graph.node),
        "operators": dict(Counter(n.op_type for n in model.graph.node)),
        "training": any(map(_trains, model.graph.node)),
        "weights": sorted(list(t.dims) for t in _tensors(model.graph) if len(t.dims) > 1 and t.data_type in FLOATS),
    }


def _described(value: Any, shapes: dict[str, Shape]) -> list[Any]:
    """Return [name, type, shape] of an input or output; the shape is a list, empty where it is not fixed."""
    import onnx

    kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    return [_short(value.name), kind.lower(), list(shapes.get(value.name) or ())]


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield everything that is stored: initialisers, and constants in nodes."""
    yield from graph.initializer
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("t"):
                yield a.t
            yield from a.tensors
            for sparse in itertools.chain([a.sparse_tensor] if a.HasField("sparse_tensor") else [], a.sparse_tensors):
                yield sparse.values


def _trains(node: Any) -> bool:
    """Whether a node behaves as in training: a norm that takes its statistics from the batch."""
    return node.op_type == "BatchNormalization" and any(a.name == "training_mode" and a.i for a in node.attribute)


def _macs(node: Any, shapes: dict[str, Shape]) -> int:
    kind = node.op_type
    if kind not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"):
        return 0
    ins, out = [shapes.get(n, ()) for n in node.input], shapes[node.output[0]]
    if kind == "Conv":
        return math.prod(out) * math.prod(ins[1][1:])  # W is (out, in / groups, k, k)
    if kind == "ConvTranspose":
        return math.prod(ins[0]) * math.prod(ins[1][1:])  # W is (in, out / groups, k, k)
    if kind == "MatMul":
        return math.prod(out) * ins[0][-1]
    if kind == "Gemm":
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(out) * ins[0][0 if turned else 1]
    return _einsum(node, ins)


def _einsum(node: Any, ins: list[Shape]) -> int:
    equation = next(a.s.decode("utf-8", "replace") for a in node.attribute if a.name == "equation")
    terms = "".join(equation.split()).partition("->")[0].split(",")
    if "." in equation or [len(t) for t in terms] != [len(s) for s in ins]:
        raise BadFileError(f"the Einsum {_short(equation)!r} cannot be counted; write it as a matrix product")
    sizes = dict(pair for term, shape in zip(terms, ins, strict=True) for pair in zip(term, shape, strict=True))
    return math.prod(sizes.values()) * max(1, len(terms) - 1)


def _at(node: Any) -> str:
    """Return where in the network an operator is, as far as its name says it: PyTorch writes "/stages.0/conv/Conv"."""
    place = _short(node.name).strip("/").rpartition("/")[0].rpartition("/")[2]
    return f" in {place}" if place else ""


def _short(text: object, most: int = 60) -> str:
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in line)[:most]


def contained(part: Sequence[Sequence[int]], whole: Sequence[Sequence[int]]) -> float:
    """Return which share of the weights of `part` has a tensor of the same shape in `whole`.

    >>> contained([[8, 3, 3, 3], [8, 8, 1, 1]], [[8, 3, 3, 3], [9, 9]])
    0.7714285714285715
    """
    left = Counter(map(tuple, whole))
    wanted = Counter(map(tuple, part))
    total = sum(n * math.prod(shape) for shape, n in wanted.items())
    found = sum(min(n, left[shape]) * math.prod(shape) for shape, n in wanted.items())
    return float(np.divide(found, total)) if total else 0.0
