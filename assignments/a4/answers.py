"""Answers of assignment 4. The reference is the source notebook's own solution, run once; mistakes are named here."""

from __future__ import annotations

import contextlib
import functools
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import torch

from workbench.classroom.answers import Failed, Question, Verdict
from workbench.classroom.judge import Near, judge
from workbench.classroom.partly import ByPart


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    names = ["Conv", "Pebble", "SPPF", "Pebble", "Conv"]
    longer = rng.choices(("Conv", "SPPF"), k=rng.randint(2, 6)) + ["Pebble"] + ["Concat"] * 3
    n = rng.randint(7, 11)
    rows = [[-1, 1, "Conv", [8]] for _ in range(n)]
    rows += [
        [-1, 1, "SPPF", [64, 5]],
        [[-1, 4], 1, "Concat", [1]],
        [n, 1, "Conv", [8]],
        [[6, n + 1, -1], 1, "Detect", []],
    ]
    images = [torch.rand(1, 3, 64, 96, generator=g) for _ in range(2)]
    configs = [_small(8 * rng.randint(1, 3), before) for before in (0, 2)]
    return {
        "layers-test": [(names, {"Pebble"}), (longer, {"Pebble"}), (["A", "B", "C"], {"B", "C"})],
        "transplant-test": [(rows, {4: 2, 6: 3}, n)],
        "parse-test": [(cfg,) for cfg in configs],
        "loop-test": [(cfg, x, layers) for cfg, x, layers in zip(configs, images, ([3], [4, 7]), strict=True)],
        "rtdetr-test": [(8 * rng.randint(1, 3), torch.rand(1, 3, 160, 160, generator=g), [2, 4])],
    }


def _small(base: int, before: int) -> dict[str, Any]:
    return reference()["small"](base, before)


@functools.cache
def reference() -> dict[str, Any]:
    """Return the names the source notebook defines, its solutions among them."""
    names: dict[str, Any] = {"__name__": "reference"}
    book = nbformat.read(Path(__file__).with_name("a4.ipynb"), as_version=4)
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in book.cells:
            if cell.cell_type == "code" and not cell.metadata["nbgrader"]["grade"]:
                exec(compile(cell.source, cell.id, "exec"), names)
    return names


def _ours(name: str) -> Any:
    return lambda *arguments: reference()[name](*arguments)


def _first(by: int) -> Any:
    def layers(names: list[str], backbones: set[str]) -> list[int]:
        return [i + sum(by - 1 for n in names[:i] if n in backbones) for i in range(len(names))]

    return layers


def _only_first(names: list[str], backbones: set[str]) -> list[int]:
    return [i + 4 * (i > 0 and names[0] in backbones) for i in range(len(names))]


def _unmoved(rows: list[Any], taps: dict[int, int], n_old: int) -> list[Any]:
    """Taps are replaced, later layers keep their old numbers."""
    return [
        [[taps.get(s, s) for s in f] if isinstance(f, list) else taps.get(f, f), *rest] for f, *rest in rows[n_old:]
    ]


def _untapped(rows: list[Any], taps: dict[int, int], n_old: int) -> list[Any]:
    return reference()["transplant"](rows, {old: old for old in range(n_old)}, n_old)


class Raised(NamedTuple):
    """A comparison of tuples in which one part may be the text of an error instead of a tensor."""

    compare: ByPart
    part: int

    def __call__(self, given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
        """Return the verdict on a student's results."""
        return self.compare([self._with_error(result) for result in given], inputs)

    def _with_error(self, result: Any) -> Any:
        if type(result) not in (list, tuple) or len(result) <= self.part or type(result[self.part]) is not str:
            return result
        parts = list(result)
        parts[self.part] = Failed(parts[self.part])
        return parts


QUESTIONS = (
    Question("layers-test", 2, "first_layers", judge(
        _first(5),
        Near(0.5, _first(4), "four layers for a backbone; it stands for five: layer 0 holds nothing"),
        Near(0.5, _only_first, "right only for a backbone in the first row"),
        call="first_layers(names, backbones)",
    )),
    Question("transplant-test", 3, "transplant", judge(
        _ours("transplant"),
        Near(1 / 3, _unmoved, "the taps are right; a layer behind the old backbone moves with its row"),
        Near(1 / 3, _untapped, "later layers are right; old layers of the backbone become their taps"),
        call="transplant(rows, taps, n_old)",
    )),
    Question("parse-test", 4, "parse_rows", ByPart(judge(
        _ours("parse_rows"), call="parse_rows(cfg)", parts=("layer numbers", "kept layers", "parameters"),
    ), (0.5, 0.25, 0.25))),
    Question("loop-test", 3, "run_yolo", Raised(ByPart(judge(
        _ours("run_yolo"),
        call="run_yolo(cfg, x, layers)", parts=("strides", "detections", "vectors", "what y holds"),
    ), (1 / 6, 1 / 3, 1 / 3, 1 / 6)), 2)),
    Question("rtdetr-test", 2, "run_rtdetr", Raised(ByPart(judge(
        _ours("run_rtdetr"), call="run_rtdetr(base, x, layers)", parts=("shape of the queries", "vectors"),
    ), (0.5, 0.5)), 1)),
)  # fmt: skip
