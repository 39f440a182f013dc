"""Checks of lesson 08, wiring YOLO11: detectors built by a ``tasks.py`` with the learner's lines in it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .exercises import NotAttempted, exercise, expect, expect_equal, expect_function, expect_tensor, fresh
from .quiz import Question, questions
from .your_lines import tasks_with
from .your_lines import with_your_lines as with_your_lines  # the notebook takes it from here


def _detector(base: int, before: int = 0, more: int = 0) -> dict[str, Any]:
    """Return a small detector's YAML as a dict.

    `before` rows that do nothing, a StarNet whose P2 has `base` channels, 1 + `more` convolutions on its P5, a head.
    """
    p3, p4, p5 = before + 2, before + 3, before + 5 + more
    identity, conv = [-1, 1, "nn.Identity", []], [-1, 1, "Conv", [32, 1, 1]]
    rows = [identity] * before + [[-1, 1, "starnet_s050", [{"base_dim": base}]]] + [conv] * (1 + more)
    head = [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, p4], 1, "Concat", [1]],
        [-1, 1, "Conv", [16, 1, 1]],
        [[p3, p5 + 3, p5], 1, "Detect", ["nc"]],
    ]
    return copy.deepcopy({"nc": 2, "backbone": rows, "head": head})


def _stock() -> dict[str, Any]:
    rows = [[-1, 1, "Conv", [8, 3, 2]] for _ in range(5)]
    return {"nc": 2, "backbone": rows, "head": [[[2, 3, 4], 1, "Detect", ["nc"]]]}


def _any_width() -> int:
    return 8 * int(torch.randint(1, 5, (1,), generator=fresh()))


def _expect_detector(tasks: ModuleType, cfg: dict[str, Any]) -> Any:
    """Build a detector and require the strides of its head."""
    model = tasks.DetectionModel(copy.deepcopy(cfg), verbose=False).eval()
    expect_equal([float(s) for s in model.stride], [8.0, 16.0, 32.0], "the strides of the detector that came out")
    return model


@exercise(
    "ex-width-list",
    hint="five entries: 0 for the layer that holds nothing, then level.channels of each of the four levels",
    ok="One row now announces five layers.",
    wrong={
        "no entry for the empty layer": "c2 = [level.channels for level in backbone.feature_info]",
        "P5 only, as for any other layer": "c2 = backbone.feature_info[-1].channels",
        "strides instead of channels": "c2 = [0, *(level.stride for level in backbone.feature_info)]",
        "deepest level first": "c2 = [0, *(level.channels for level in reversed(backbone.feature_info))]",
    },
)
def _width_list(answer: Any) -> None:
    tasks = tasks_with("width", answer)
    base = _any_width()
    layers, _ = tasks.parse_model(copy.deepcopy({**_detector(base), "head": []}), ch=3, verbose=False)
    widths = list(layers[0].width_list)
    wanted = [base * 2**k for k in range(4)]
    expect(len(widths) == 5, f"layers 0 to 4 need five entries, came {len(widths)}: {widths}")
    expect_equal(widths[1:], wanted, "the channels of layers 1 to 4, P2 to P5")
    _expect_detector(tasks, _detector(base))


@exercise(
    "ex-shift",
    hint="a backbone row extends ch by five entries but is one row, so every row after it counts four more",
    ok="It works wherever the backbone stands, not only in the first row.",
    wrong={
        "no shift": "if backbone is not None:\n    ch.extend(c2)\nelse:\n    ch.append(c2)",
        "shift by five": "if backbone is not None:\n    ch.extend(c2)\n    shift += 5\nelse:\n    ch.append(c2)",
        "shift at every row": "if backbone is not None:\n    ch.extend(c2)\nelse:\n    ch.append(c2)\nshift += 4",
        "only in the first row": "if i == 0:\n    ch.extend(c2)\n    shift = 4\nelse:\n    ch.append(c2)",
        "the whole list as one entry": "ch.append(c2)\nif backbone is not None:\n    shift += 4",
    },
)
def _shift(answer: Any) -> None:
    tasks = tasks_with("shift", answer)
    for before in (0, 1, 2):
        cfg, where = _detector(_any_width(), before), f"with {before} rows before the backbone"
        layers, save = tasks.parse_model(copy.deepcopy(cfg), ch=3, verbose=False)
        expected = [*range(before + 1), *range(before + 5, before + 10)]
        expect_equal([m.i for m in layers], expected, f"the layer numbers {where}")
        expect_equal(save, [before + k for k in (2, 3, 5, 8)], f"the layers to keep {where}")
        _expect_detector(tasks, cfg)


_EMBED = "embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))"
_WRONG_LOOP = """
outputs = {outputs}
for x in outputs:
    i = len(y)
    y.append(x if i in self.save else None)
    if i in embed:
        {embed}
        if i == max_idx:
            return torch.unbind(torch.cat(embeddings, 1), dim=0)
"""


@exercise(
    "ex-forward",
    hint="loop over [None, *m(x)] for a backbone and over [m(x)] for any other row; the layer's number is len(y)",
    ok="Layers, kept outputs and embeddings keep their numbers.",
    wrong={
        "no place for the empty layer": _WRONG_LOOP.format(
            outputs='list(m(x)) if hasattr(m, "width_list") else [m(x)]', embed=_EMBED
        ),
        "the list goes on as x": _WRONG_LOOP.format(outputs="[m(x)]", embed=_EMBED),
        "embed forgotten, as in the article": 'for x in [None, *m(x)] if hasattr(m, "width_list") else [m(x)]:\n'
        "    y.append(x if len(y) in self.save else None)",
        "embed asks for the row's number": _WRONG_LOOP.format(
            outputs='[None, *m(x)] if hasattr(m, "width_list") else [m(x)]', embed=_EMBED
        ).replace("if i in embed", "if m.i in embed"),
        "every row is taken for a backbone": _WRONG_LOOP.format(outputs="[None, *m(x)]", embed=_EMBED),
    },
)
def _forward(answer: Any) -> None:
    from ..yolo import surgery

    tasks = tasks_with("forward", answer)
    with tempfile.TemporaryDirectory() as folder:
        finished = surgery.copy_tasks(folder, "tasks_finished", surgery.STEPS)
    x = torch.rand(2, 3, 64, 64, generator=fresh())  # (B, 3, H, W)
    for cfg, layers in ((_detector(_any_width()), ([2], [8], [3, 5])), (_stock(), ([3],))):
        model = _expect_detector(tasks, cfg)
        reference = finished.DetectionModel(copy.deepcopy(cfg), verbose=False).eval()
        reference.load_state_dict(model.state_dict())
        with torch.no_grad():
            expect_tensor(model(x)[0], reference(x)[0], "the detections", rel=0.0)
            for embed in layers:
                came, right = model.predict(x, embed=embed), reference.predict(x, embed=embed)
                ok = isinstance(came, tuple) and len(came) == len(x) and all(isinstance(v, torch.Tensor) for v in came)
                expect(ok, f"predict(x, embed={embed}) should give one vector per image, came {type(came).__name__}")
                expect_tensor(torch.stack(came), torch.stack(right), f"the embedding of layers {embed}", rel=0.0)


def _own(**twist: Any) -> type[torch.nn.Module]:
    """Return a backbone of a learner, with a mistake."""

    class Mine(torch.nn.Module):
        def __init__(self, width: int = 16) -> None:
            super().__init__()
            width = twist.get("width", width)
            widths = [width * twist.get("grow", 2) ** k for k in range(4)]
            steps = [twist.get("stem", 4), 2, 2, twist.get("last", 2)]
            self.stages = torch.nn.ModuleList(
                torch.nn.Conv2d(c1, c2, s, s) for c1, c2, s in zip([3, *widths], widths, steps, strict=False)
            )
            if "spare" in twist:
                self.classifier = torch.nn.Linear(widths[-1], 10)

        def forward(self, x: Tensor) -> Any:
            maps = []
            for stage in self.stages:
                x = stage(x)  # (B, C, H, W)
                maps.append(x)
            return twist.get("give", list)(maps)

    return Mine


@exercise(
    "ex-own-backbone",
    hint="four maps, shallowest first: (B, width · 2ᵏ, H/(4 · 2ᵏ), W/(4 · 2ᵏ)) for k = 0 … 3; collect them in a list",
    ok="Any host of this course takes it now; register it and see.",
    wrong={
        "P2 at stride 2": _own(stem=2),
        "P5 at P4's stride": _own(last=1),
        "the last map only": _own(give=lambda maps: maps[-1]),
        "deepest first": _own(give=lambda maps: maps[::-1]),
        "all levels of one width": _own(grow=1),
        "the argument width has no effect": _own(width=16),
        "a classifier that no map needs": _own(spare=True),
    },
)
def _own_backbone(answer: Any) -> None:
    from ..backbones.contract import check_names

    ok = isinstance(answer, type) and issubclass(answer, torch.nn.Module)
    expect(ok, f"expected a class made from nn.Module, came {type(answer).__name__}; pass the class, do not call it")
    x = torch.rand(2, 3, 64, 96, generator=fresh())  # (B, 3, H, W)
    for width in (16, 24):
        net = answer(width=width)
        maps = net(x)
        if maps is ...:
            raise NotAttempted
        ok = isinstance(maps, list | tuple) and len(maps) == 4 and all(isinstance(m, Tensor) for m in maps)
        expect(ok, f"forward should return a list of four maps, came {type(maps).__name__} of length {len(maps)}")
        for k, level in enumerate(maps):
            wanted = (2, width * 2**k, 16 // 2**k, 24 // 2**k)
            came = tuple(level.shape)
            expect(came == wanted, f"P{k + 2} of (2, 3, 64, 96) with width={width}: expected {wanted}, came {came}")
        sum(m.square().sum() for m in maps).backward()
        idle = [name for name, p in net.named_parameters() if p.grad is None]
        expect(not idle, f"no map depends on {', '.join(idle)}: it would be stored and never trained")
        check_names(net)  # ultralytics writes attributes of its own on every layer


def _key(by: int, inside: str = "backbone.") -> Callable[[str], str]:
    def to_plug(key: str) -> str:
        row, rest = key.removeprefix("model.").split(".", 1)
        return f"model.0.{inside}{rest}" if row == "0" else f"model.{int(row) + by}.{rest}"

    return to_plug


@exercise(
    "ex-key-map",
    hint="split the key into row number and rest; row 0 goes into model.0.backbone, any other row moves by four",
    ok="With this map the weights cross, and every output is the same to the last bit.",
    wrong={
        "the backbone's own module forgotten": _key(4, ""),
        "moved by five": _key(5),
        "rows not moved": _key(0),
        "only one digit is read": lambda key: (
            f"model.0.backbone.{key[8:]}" if key[6] == "0" else f"model.{int(key[6]) + 4}.{key[8:]}"
        ),
    },
)
def _key_map(answer: Any) -> None:
    from ..yolo import surgery
    from ..yolo.tasks import ultralytics_tasks

    expect_function(answer)
    cfg = _detector(_any_width(), more=7)  # row numbers of two digits
    with tempfile.TemporaryDirectory() as folder:
        edited = surgery.copy_tasks(folder, "tasks_finished", surgery.STEPS)
    ours = edited.DetectionModel(copy.deepcopy(cfg), verbose=False)
    plug = ultralytics_tasks.DetectionModel(copy.deepcopy(cfg), verbose=False)
    for key, right in surgery.key_map(ours, plug).items():
        came = answer(key)
        expect(came == right, f"{key!r}: expected {right!r}, came {came!r}")


def _article_parameters() -> int:
    import workbench as wb
    from workbench.yolo.tasks import ultralytics_tasks

    cfg = wb.detector_yaml("yolo11", "starnet_s1", "n", width=0.25, round_to=8)
    return sum(p.numel() for p in ultralytics_tasks.DetectionModel(cfg, nc=80, verbose=False).parameters())


questions(
    Question("q1", "c", "layers 1 to 4 are P2 to P5, so 3 is P4, at stride 16", "section 1"),
    Question("q2", 7, "two rows take layers 0 and 1, the backbone 2 to 6, and the next row is 7", "section 1"),
    Question(
        "q3", "b", "get_flops answers every exception with 0.0, and RT-DETR's first forward raises one", "section 2"
    ),
    Question("q4", _article_parameters, "the head grows with the number of classes", "section 3", code=True),
    Question("q5", "a", "ultralytics sets eps = 1e-3 on every BN of the model it builds", "section 3"),
)
