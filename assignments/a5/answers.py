"""Answers of assignment 5, the capstone. Designs differ, so shapes, budgets and gaps are judged, not one reference."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from workbench.classroom.answers import Failed, Question, Verdict
from workbench.classroom.judge import Near, difference, judge

BUDGET_MACS = 60_000_000
STRIDES = (4, 8, 16, 32)


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng = random.Random(seed)
    scale = rng.randint(2, 9)
    table = [
        {"name": n, "macs": scale * m, "latency_ms": float(ms), "map50": q}
        for n, m, ms, q in (("big", 90, 4, 0.7), ("slow", 50, 9, 0.6), ("thin", 40, 3, 0.5), ("twin", 45, 2, 0.5))
    ]
    rng.shuffle(table)
    # everything; only latency binds; only MACs bind; both exactly; nothing
    limits = ((99, 20.0), (60, 5.0), (60, 20.0), (90, 4.0), (45, 2.0), (10, 1.0))
    side = 32 * rng.randint(2, 4)
    return {
        "choose-test": [(table, scale * m, ms) for m, ms in limits],
        "maps-test": [(side, side + 32, 3), (96, 64, 1)],
        "budget-test": [(224,)],
        "detector-test": [(side,)],
        "export-test": [(side,)],
    }


def _choose(table: list[dict[str, Any]], macs: float, ms: float, quick: bool = True, exact: bool = True) -> str | None:
    keep = [
        k for k in table
        if (k["macs"] <= macs if exact else k["macs"] < macs)
        and (not quick or (k["latency_ms"] <= ms if exact else k["latency_ms"] < ms))
    ]  # fmt: skip
    return max(keep, key=lambda k: (k["map50"], -k["latency_ms"]))["name"] if keep else None


def _maps(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    seen: list[list[int]] = []
    for came, (h, w, _) in zip(given, inputs, strict=True):
        if isinstance(came, Failed):
            return Verdict(0.0, f"an image of {h} × {w} fails: {came.error}")
        channels = [s[1] if isinstance(s, list) and len(s) == 4 else 0 for s in came] if isinstance(came, list) else []
        seen.append(channels)
        wanted = [[1, c, h // s, w // s] for c, s in zip(channels, STRIDES, strict=False)]
        if len(channels) != 4:
            return Verdict(0.0, f"four maps are needed, P2 to P5; came {len(channels)}")
        if wrong := difference(came, wanted, f"the maps of an image of {h} × {w}"):
            return Verdict(0.0, wrong)
    if seen[0] != seen[1]:
        return Verdict(0.5, "the strides are right; the channels change with the image")
    return Verdict(1.0, "right")


def _budget(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    if wrong := difference([type(v).__name__ for v in given[0]] if isinstance(given[0], list | tuple) else given[0],
                           ["int", "int"], "(MACs, parameters)"):  # fmt: skip
        return Verdict(0.0, wrong)
    macs = given[0][0]
    if macs < BUDGET_MACS / 6:
        return Verdict(0.0, f"{macs:,} MACs are less than a sixth of the budget of {BUDGET_MACS:,}")
    if macs <= BUDGET_MACS:
        return Verdict(1.0, "right")
    half = macs <= 1.25 * BUDGET_MACS
    return Verdict(0.5 if half else 0.0, f"{macs:,} MACs are over the budget of {BUDGET_MACS:,}")


def _detector(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came, side = given[0], inputs[0][0]
    if isinstance(came, Failed):
        return Verdict(0.0, f"the detector was not built: {came.error}")
    places = sum((side // s) ** 2 for s in STRIDES[1:])
    alone = came[3] if isinstance(came, list | tuple) and len(came) == 4 else 0
    wrong = difference(came, [[8.0, 16.0, 32.0], [1, 84, places], alone, alone], "(strides, detections, parameters)")
    return Verdict(0.0, wrong) if wrong else Verdict(1.0, "right")


def _export(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    came = given[0]
    if isinstance(came, Failed):
        return Verdict(0.0, f"the file was not written or does not open: {came.error}")
    if not isinstance(came, list | tuple):
        return Verdict(0.0, f"(outputs, difference) were expected, came {type(came).__name__}")
    if wrong := difference([type(v).__name__ for v in came], ["int", "float"], "(outputs, difference)"):
        return Verdict(0.0, wrong)
    if came[0] != 4:
        return Verdict(0.0, f"the file has {came[0]} outputs; P2, P3, P4 and P5 are four")
    if not 0 <= came[1] < 1e-3:
        return Verdict(0.5, f"the outputs are off by {came[1]:.2g}: was the model in eval mode?")
    return Verdict(1.0, "right")


QUESTIONS = (
    Question("choose-test", 3, "choose", judge(
        _choose,
        Near(1 / 3, lambda *a: _choose(*a, quick=False), "the budget of latency is ignored"),
        Near(2 / 3, lambda *a: _choose(*a, exact=False), "a budget that is met exactly is kept: <=, not <"),
        name="the choice",
    )),
    Question("maps-test", 3, "maps_of", _maps),
    Question("budget-test", 3, "cost_of", _budget),
    Question("detector-test", 3, "detector_of", _detector),
    Question("export-test", 2, "export_gap", _export),
)  # fmt: skip
