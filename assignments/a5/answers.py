"""Answers of assignment 5, the capstone. Designs differ, so shapes, budgets and quality are judged, not one reference.

Everything but the rule for choosing is decided from ONNX files that the student's process writes; they are opened
outside it, under limits (`workbench.classroom.capstone`). Nothing that is computed in the notebook counts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.classroom.answers import Failed, Question, Verdict
from workbench.classroom.capstone import IMGSZ, Facts, Scored, contained, opened, scored
from workbench.classroom.judge import Near, judge
from workbench.classroom.partly import OnlyWhere

BUDGET_MACS = 60_000_000
STRIDES = (4, 8, 16, 32)
FULL, HALF = 0.60, 0.30  # mAP50, reached by the upper end of its interval


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng = random.Random(seed)
    scale = rng.randint(2, 9)
    table = [
        {"name": n, "macs": scale * m, "latency_ms": float(ms), "map50": q}
        for n, m, ms, q in (("big", 90, 4, 0.7), ("slow", 50, 9, 0.6), ("thin", 40, 3, 0.5), ("twin", 45, 2, 0.5))
    ]
    rng.shuffle(table)
    # everything; only latency binds, where two are equals; only MACs bind; both exactly; nothing
    limits = ((99, 20.0), (60, 5.0), (60, 20.0), (90, 4.0), (45, 2.0), (10, 1.0))
    calls = [(table, scale * m, ms) for m, ms in limits]
    calls.append((table[::-1], scale * 60, 5.0))  # of equals, now the other one comes first
    side = 32 * rng.randint(2, 4)
    return {
        "choose-test": calls,
        "maps-test": [(side, side + 32, 3), (96, 64, 1), (96, 64, 2)],
        "budget-test": [(224, 224, 3)],
        "detector-test": [(side,)],
        "export-test": [(side,)],
        "quality-test": [(IMGSZ,)],
    }


def _choose(
    table: list[dict[str, Any]], macs: float, ms: float, quick: bool = True, exact: bool = True, ties: float = -1
) -> str | None:
    keep = [
        k for k in table
        if (k["macs"] <= macs if exact else k["macs"] < macs)
        and (not quick or (k["latency_ms"] <= ms if exact else k["latency_ms"] < ms))
    ]  # fmt: skip
    return max(keep, key=lambda k: (k["map50"], ties * k["latency_ms"]))["name"] if keep else None


def _problem(came: Any, files: int = 1) -> str | None:
    """Return why there is nothing to judge; None where there is as many files as asked for."""
    if isinstance(came, Failed):
        return came.error
    found = list(came) if isinstance(came, list | tuple) else [came]
    if len(found) == files and all(isinstance(f, Facts | Scored) for f in found):
        return None
    return f"{files} ONNX file{'s' if files > 1 else ''} were expected, came {type(came).__name__}"


def _levels(facts: Facts, height: int, width: int) -> str | None:
    """Return what is wrong with the maps of a backbone's file."""
    maps = [shape for _, _, shape in facts.outputs]
    if len(maps) != 4:
        return f"four maps are needed, P2 to P5; the file has {len(maps)}"
    for shape, stride in zip(maps, STRIDES, strict=True):
        wanted = (1, shape[1] if len(shape) > 1 else 0, height // stride, width // stride)
        if shape != wanted:
            return f"at stride {stride} an image of {height} × {width} gives {wanted}; came {shape}"
    return None


def _maps(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    channels = []
    for came, (h, w, c) in zip(given, inputs, strict=True):
        if wrong := _problem(came) or _levels(came, h, w):
            said = f"an image of {h} × {w} with {c} channels: {wrong}"
            return Verdict(0.0, said) if c == 3 else Verdict(0.5, f"right for images of 3 channels; {said}")
        channels.append([shape[1] for _, _, shape in came.outputs])
    if any(other != channels[0] for other in channels):
        return Verdict(0.5, "the strides are right; the channels change with the image")
    return Verdict(1.0, "right")


def _budget(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came, (h, w, c) = given[0], inputs[0]
    if wrong := _problem(came):
        return Verdict(0.0, wrong)
    if [shape for _, _, shape in came.inputs] != [(1, c, h, w)]:
        return Verdict(0.0, f"the file is not for one image of {c} × {h} × {w}, on which the budget is counted")
    if came.macs < BUDGET_MACS / 6:
        return Verdict(0.0, f"{came.macs:,} MACs are less than a sixth of the budget of {BUDGET_MACS:,}")
    if came.macs <= BUDGET_MACS:
        return Verdict(1.0, f"right: {came.macs:,} MACs, {came.params:,} parameters")
    half = came.macs <= 1.25 * BUDGET_MACS
    return Verdict(0.5 if half else 0.0, f"{came.macs:,} MACs are over the budget of {BUDGET_MACS:,}")


def _detector(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came, side = given[0], inputs[0][0]
    if wrong := _problem(came, 2):
        return Verdict(0.0, f"the detector was not built: {wrong}")
    alone, whole = came
    wanted = [(1, 84, sum((side // s) ** 2 for s in STRIDES[1:]))]
    if [shape for _, _, shape in whole.outputs] != wanted:
        found = ", ".join(str(shape) for _, _, shape in whole.outputs)
        return Verdict(0.0, f"detections on P3, P4 and P5 are {wanted[0]}; came {found}")
    share = contained(alone.weights, whole.weights)
    if share < 0.9:
        return Verdict(0.0, f"{share:.0%} of your backbone's weights are in the detector: is it Mine that is inside?")
    return Verdict(1.0, f"right: {whole.macs:,} MACs on {side} × {side}, {whole.params:,} parameters")


def _export(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came, side = given[0], inputs[0][0]
    if wrong := _problem(came) or _levels(came, side, side):
        return Verdict(0.0, wrong)
    if came.training:
        return Verdict(0.5, "the file takes its statistics from the batch: was the model in eval mode?")
    return Verdict(1.0, "right")


def _quality(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came = given[0]
    if wrong := _problem(came):
        return Verdict(0.0, wrong)
    said = f"mAP50 {came.map50:.3f} [{came.low:.3f}, {came.high:.3f}] on {came.images} images drawn for the grading"
    fraction = 1.0 if came.high >= FULL else 0.5 if came.high >= HALF else 0.0
    if came.latency is not None:
        said += f"; latency {came.latency} of a stock YOLO11n"
    if came.facts.macs > came.stock_macs or came.facts.params > came.stock_params:
        fraction, said = fraction / 2, f"{said}; larger than a stock YOLO11n: half"
    return Verdict(fraction, said)


def CAPSTONE(measured: Mapping[str, Sequence[Any]]) -> dict[str, Any]:  # noqa: N802 - a name of the contract
    """Return what of the measured files goes into the record of a submission."""
    record: dict[str, Any] = {}
    for backbone in measured.get("budget-test", ()):
        if isinstance(backbone, Facts):
            record |= {"backbone_macs": backbone.macs, "backbone_params": backbone.params}
    for detector in measured.get("quality-test", ()):
        if isinstance(detector, Scored):
            record |= detector.to_record()
        else:
            record["refused"] = detector.error if isinstance(detector, Failed) else "no file was written"
    return record


QUESTIONS = (
    Question("choose-test", 3, "choose", OnlyWhere(judge(
        _choose,
        Near(1 / 3, lambda *a: _choose(*a, quick=False), "the budget of latency is ignored"),
        Near(2 / 3, lambda *a: _choose(*a, exact=False), "a budget that is met exactly is kept: <=, not <"),
        *(Near(2 / 3, lambda table, macs, ms, order=order: _choose(table[::order], macs, ms, ties=0),
               "of equals the quicker one, wherever it stands in the list") for order in (1, -1)),
        Near(2 / 3, lambda *a: _choose(*a, ties=1), "of equals the quicker one, not the slower"),
        call="choose(candidates, macs, latency_ms)",
    ), _choose, 2 / 3, "right where something fits; where nothing does, return None")),
    Question("maps-test", 2, "backbone_file", _maps, opened),
    Question("budget-test", 3, "backbone_file", _budget, opened),
    Question("detector-test", 2, "detector_files", _detector, opened),
    Question("export-test", 2, "export_file", _export, opened),
    Question("quality-test", 4, "trained_file", _quality, scored),
)  # fmt: skip
