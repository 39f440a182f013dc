"""ONNX files of every kind, built by hand: a small detector that is right, and what students might hand in instead."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIDE = 128


def constant(model: ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def node(model: ModelProto, op: str, inputs: list[str], at: int | None = None, **attributes: Any) -> str:
    """Add a node and return its output; in front of the last node, where the detections are."""
    name = f"{op.lower()}{len(model.graph.node)}"
    made = helper.make_node(op, inputs, [name], **attributes)
    model.graph.node.insert(len(model.graph.node) - 1 if at is None else at, made)
    return name


def detector(side: int = SIDE, channels: int = 12) -> ModelProto:
    """Three convolutions with strides 8, 16 and 32, side by side: the right input, the right output, little sense."""
    rng = np.random.default_rng(0)
    places = sum((side // s) ** 2 for s in (8, 16, 32))
    graph = helper.make_graph(
        [], "detector", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, channels, places])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    parts = []
    for s in (8, 16, 32):
        weight = constant(model, f"w{s}", (0.01 * rng.standard_normal((channels, 3, s, s))).astype(np.float32))
        made = node(model, "Conv", ["images", weight], len(graph.node), strides=[s, s], kernel_shape=[s, s])
        size = constant(model, f"size{s}", np.array([1, channels, -1]))
        parts.append(node(model, "Reshape", [made, size], len(model.graph.node)))
    model.graph.node.append(helper.make_node("Concat", parts, ["found"], axis=2))
    return model


def changed(change: Callable[[ModelProto], Any]) -> bytes:
    model = detector()
    change(model)
    return bytes(model.SerializeToString())


def after(model: ModelProto, tail: str, op: str = "Add") -> None:
    """Let the detections depend on `tail`, a tensor of one number."""
    next(n for n in model.graph.node if n.output[0] == "found").output[0] = "before"
    model.graph.node.append(helper.make_node(op, ["before", tail], ["found"]))


def mean(model: ModelProto, name: str) -> str:
    return node(model, "ReduceMean", [name], keepdims=0)


def _external(m: ModelProto) -> None:
    tensor = m.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _function(m: ModelProto) -> None:
    own = helper.make_function(
        "mine", "Fast", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    m.functions.append(own)
    m.opset_import.append(helper.make_opsetid("mine", 1))


def _domain(m: ModelProto) -> None:
    m.graph.node[0].domain = "com.microsoft"
    m.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _body(name: str) -> Any:
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
    return helper.make_graph([helper.make_node("Constant", [], [name], value_float=1.0)], name, [], [out])


def _branch(m: ModelProto) -> None:
    yes = constant(m, "yes", np.array(True))
    after(m, node(m, "If", [yes], then_branch=_body("a"), else_branch=_body("b")))


def _loop(m: ModelProto) -> None:
    ports = [helper.make_tensor_value_info(n, t, []) for n, t in (("i", 7), ("go", 9), ("v", 1))]
    outs = [helper.make_tensor_value_info(n, t, []) for n, t in (("on", 9), ("w", 1))]
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])]
    body = helper.make_graph(steps, "body", ports, outs)
    names = [
        constant(m, "often", np.array(10**15)),
        constant(m, "go0", np.array(True)),
        constant(m, "v0", np.float32(0)),
    ]
    after(m, node(m, "Loop", names, body=body))


def _bomb(m: ModelProto) -> None:
    after(m, mean(m, node(m, "ConstantOfShape", [constant(m, "huge", np.array([10**5, 10**6]))])))


def _expanded(m: ModelProto) -> None:
    after(m, mean(m, node(m, "Expand", ["images", constant(m, "wide", np.array([10**4, 3, SIDE, SIDE]))])))


def _computed(m: ModelProto) -> None:
    """How many numbers there are depends on the image."""
    zero, one = constant(m, "zero", np.array(0)), constant(m, "one", np.array(1))
    total = node(m, "Cast", [node(m, "ReduceSum", ["images"], keepdims=0)], to=TensorProto.INT64)
    after(m, mean(m, node(m, "Cast", [node(m, "Range", [zero, total, one])], to=TensorProto.FLOAT)))


def _open(m: ModelProto) -> None:
    m.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"


def _whole(m: ModelProto) -> None:
    hidden = constant(m, "hidden", np.ones((100, 100), np.int8))
    after(m, mean(m, node(m, "Cast", [hidden], to=TensorProto.FLOAT)))


def _products(m: ModelProto) -> None:
    name = "images"
    for _ in range(60):
        name = node(m, "Mul", [name, "images"])
    after(m, mean(m, name))


def _many(m: ModelProto) -> None:
    m.graph.node.extend(helper.make_node("Relu", ["images"], [f"r{i}"]) for i in range(5001))


def _training(m: ModelProto) -> None:
    ones = [constant(m, f"bn{i}", np.ones(3, np.float32)) for i in range(4)]
    made = helper.make_node("BatchNormalization", ["images", *ones], ["bn", "mean", "var"], training_mode=1)
    m.graph.node.insert(0, made)
    after(m, mean(m, "bn"))


def _heavy(m: ModelProto) -> None:
    first = constant(m, "f", np.zeros((512, 3, 3, 3), np.float32))
    second = constant(m, "s", np.zeros((512, 512, 3, 3), np.float32))
    wide = node(m, "Conv", ["images", first], pads=[1] * 4)
    after(m, mean(m, node(m, "Conv", [wide, second], pads=[1] * 4)))


def _slow(m: ModelProto) -> None:
    """No multiply-add, and billions of comparisons an image."""
    after(m, mean(m, node(m, "MaxPool", ["images"], kernel_shape=[255, 255], pads=[127] * 4)))


def _memory(m: ModelProto) -> None:
    """Each tensor is small enough; together they are 4 GB, all of them needed at the end."""
    size = constant(m, "size", np.array([330, 3, SIDE, SIDE]))
    parts = []
    for i in range(64):
        shifted = node(m, "Add", ["images", constant(m, f"c{i}", np.float32(i))])
        parts.append(node(m, "Expand", [shifted, size]))
    after(m, mean(m, node(m, "Sum", parts)))


def _pickle() -> bytes:
    stream = io.BytesIO()
    pickle.dump({"macs": 1, "map50": 1.0}, stream)
    return stream.getvalue()


BAD: dict[str, tuple[bytes, str]] = {  # what is handed in, and what is said about it when it is opened
    "text": (b"I am a network", "no ONNX file"),
    "nothing": (b"", "no ONNX file"),
    "half a file": (detector().SerializeToString()[:20_000], "no ONNX file"),
    "a pickle": (_pickle(), "no ONNX file"),
    "33 MB": (bytes(33 * 2**20), "33 MB; at most 32 MB"),
    "weights elsewhere": (changed(_external), "external_data=False"),
    "a function of its own": (changed(_function), "functions of its own"),
    "another domain": (changed(_domain), "operators of 'com.microsoft'"),
    "a random operator": (
        changed(lambda m: after(m, mean(m, node(m, "RandomNormal", [], shape=[4])))), "operator RandomNormal is not"),
    "a loop": (changed(_loop), "loop or a branch (Loop)"),
    "a branch": (changed(_branch), "loop or a branch (If)"),
    "5001 operators": (changed(_many), "at most 5,000"),
    "a tensor of 400 GB": (changed(_bomb), "100,000×1,000,000 values"),
    "an image repeated": (changed(_expanded), "10,000×3×128×128 values"),
    "a size that is computed": (changed(_computed), "not known before it runs"),
    "a size that is left open": (changed(_open), "not known before it runs"),
    "weights as whole numbers": (changed(_whole), "10,000 whole numbers"),
    "products that no counter sees": (changed(_products), "products of single numbers"),
    "shapes that do not fit": (
        changed(lambda m: m.graph.node[-1].attribute[0].__setattr__("i", 1)), "contradict each other"),
    "an input from nowhere": (changed(lambda m: after(m, "nowhere")), "breaks ONNX's rules"),
}  # fmt: skip
UNFIT: dict[str, tuple[bytes, str]] = {  # sound files that are no detector of the capstone
    "for smaller images": (bytes(detector(96).SerializeToString()), "float 1×3×96×96; expected one image"),
    "for 80 classes": (bytes(detector(channels=84).SerializeToString()), "float 1×84×336; expected float 1×12×336"),
    "two outputs": (
        changed(lambda m: m.graph.output.append(helper.make_tensor_value_info("conv0", 1, [1, 12, 16, 16]))),
        "expected float 1×12×336"),
    "in training mode": (changed(_training), "exported in training mode"),
    "far too many MACs": (changed(_heavy), "MACs an image; at most 2,000,000,000"),
    "not a number": (changed(lambda m: after(m, constant(m, "nan", np.float32("nan")))), "not finite"),
}  # fmt: skip
SLOW, MEMORY = changed(_slow), changed(_memory)
