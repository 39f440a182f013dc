"""Answers of assignment 3. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.classroom.answers import Question, Verdict
from workbench.classroom.judge import Near, difference, judge

Bn = dict[str, Any]
Pair = tuple[Tensor, Tensor, Bn, Tensor, Tensor, Bn]
MODES = ("zeros", "reflect", "replicate", "circular")


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    folds = [(torch.randn(8, 4 // n, 3, 3, generator=g), b, _bn(8, g)) for n in (1, 2) for b in (None, _draw(g, 8))]
    pairs = [_pair(*s, g) for s in ((3, 6, 5, 4), (5, 4, 6, 1))]
    blocks = [
        _mobileone(*s, g) for s in ((6, 6, 1, 3, True), (8, 8, 8, 2, True), (8, 8, 4, 1, True), (4, 6, 1, 4, False))
    ]
    cases = _cases()
    rng.shuffle(cases)
    return {
        "fold-test": folds,
        "identity-test": [(6, 3, 1), (6, 5, 2), (6, 3, 6), (4 * rng.randint(2, 4), 3, 4)],
        "pad-test": [(_draw(g, 4, 3, 1, 1), k) for k in (3, 5)],
        "mobileone-test": blocks,
        "vanilla-test": pairs,
        "ramp-test": [(_draw(g, 2, 4, 6, 6), _pair(4, 8, 6, 1, g), r) for r in (0.0, rng.uniform(0.2, 0.8), 1.0)],
        "when-test": [(cases,)],
    }


def _draw(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=g)


def _bn(c: int, g: torch.Generator) -> Bn:
    bn: Bn = {"weight": _draw(g, c), "bias": _draw(g, c), "running_mean": _draw(g, c)}
    bn |= {"running_var": torch.rand(c, generator=g) + 0.05, "eps": 1e-3}
    bn["running_var"][0], bn["weight"][0], bn["running_mean"][0] = 1e-4, 1.0, 1.0  # where eps is seen in every draw
    return bn


def _pair(c_in: int, c_mid: int, c_out: int, k: int, g: torch.Generator) -> Pair:
    first = _draw(g, c_mid, c_in, k, k), _draw(g, c_mid), _bn(c_mid, g)
    return *first, _draw(g, c_out, c_mid, 1, 1), _draw(g, c_out), _bn(c_out, g)


def _mobileone(c1: int, c2: int, groups: int, branches: int, skip: bool, g: torch.Generator) -> tuple[Any, ...]:
    state: dict[str, Tensor] = {}

    def norm(prefix: str) -> None:
        state.update({f"{prefix}.{k}": v for k, v in _bn(c2, g).items() if k != "eps"})

    for name, k in (*((f"rbr_conv.{i}", 3) for i in range(branches)), ("rbr_scale", 1)):
        state[f"{name}.conv.weight"] = _draw(g, c2, c1 // groups, k, k)
        norm(f"{name}.bn")
    if skip:
        norm("rbr_skip")
    return state, 3, groups, 1e-3


def _cases() -> list[dict[str, Any]]:
    """Every combination that the table of the task allows."""
    return [
        {"form": form, "training": t, "ramp": r, "k": k, "padding_mode": a, "merged_padding_mode": b, "bias": bias}
        for form in ("branches", "pair")
        for t in (False, True)
        for r in ((1.0, 0.5, 0.0) if form == "pair" else (1.0,))
        for k in (1, 3)
        for a in MODES
        for b in MODES
        for bias in ((False, True) if form == "pair" else (False,))
    ]


def _fold(weight: Tensor, bias: Tensor | None, bn: Bn, eps: bool = True, own: bool = True) -> tuple[Tensor, Tensor]:
    scale = bn["weight"] / torch.sqrt(bn["running_var"] + (bn["eps"] if eps else 0.0))
    before = bias if bias is not None and own else 0.0
    return weight * scale.reshape(-1, 1, 1, 1), bn["bias"] + (before - bn["running_mean"]) * scale


def _identity(c: int, k: int, groups: int) -> Tensor:
    weight = torch.zeros(c, c // groups, k, k)
    index = torch.arange(c)
    weight[index, index % (c // groups), k // 2, k // 2] = 1.0
    return weight


def _merge(
    state: dict[str, Tensor], k: int, groups: int, eps: float, leave: str = "", only: str = ""
) -> tuple[Tensor, Tensor]:
    parts = []
    names = sorted(
        {key.split(".conv.")[0] for key in state if ".conv." in key}
        | {"rbr_skip"} & {key.split(".")[0] for key in state}
    )
    for name in names:
        if (leave and name.startswith(leave)) or (only and name.startswith("rbr_conv") and name != only):
            continue
        prefix = name if name == "rbr_skip" else f"{name}.bn"
        bn = {n: state[f"{prefix}.{n}"] for n in ("weight", "bias", "running_mean", "running_var")} | {"eps": eps}
        weight = _identity(len(bn["bias"]), k, groups) if name == "rbr_skip" else state[f"{name}.conv.weight"]
        parts.append(_fold(F.pad(weight, [(k - weight.shape[-1]) // 2] * 4), None, bn))
    return sum(w for w, _ in parts), sum(b for _, b in parts)  # type: ignore[return-value]


def _merge_pair(
    w1: Tensor, b1: Tensor, bn1: Bn, w2: Tensor, b2: Tensor, bn2: Bn, seen: bool = True
) -> tuple[Tensor, Tensor]:
    (inner, ib), (outer, ob) = _fold(w1, b1, bn1), _fold(w2, b2, bn2)
    through = outer[:, :, 0, 0]
    return torch.einsum("om,mikl->oikl", through, inner), (through @ ib + ob) if seen else ib[: len(ob)].sum() * 0 + ob


def _errors(x: Tensor, parts: Pair, ramp: float) -> tuple[float, Tensor, Tensor]:
    (inner, ib), (outer, ob) = _fold(*parts[:3]), _fold(*parts[3:])
    y = F.conv2d(x, inner, ib)
    true = F.conv2d(ramp * y + (1 - ramp) * torch.relu(y), outer, ob)
    merged = F.conv2d(y, outer, ob)
    return float((merged - true).abs().max()), true, merged


def _ramp_error(x: Tensor, parts: Pair, ramp: float) -> float:
    gap, true, _ = _errors(x, parts, ramp)
    return gap / float(true.abs().max())


def _by_merged(x: Tensor, parts: Pair, ramp: float) -> float:
    gap, _, merged = _errors(x, parts, ramp)
    return gap / float(merged.abs().max())


def reasons(case: dict[str, Any]) -> set[str]:
    """Return every way in which merging this case goes wrong; none is an exact case."""
    found = {"training"} if case["training"] else set()
    found |= {"ramp"} if case["ramp"] < 1 else set()
    if case["k"] > 1:
        found |= {"padding mode"} if case["padding_mode"] != case["merged_padding_mode"] else set()
        if case["form"] == "pair" and case["bias"] and case["padding_mode"] == "zeros":
            found.add("bias at the border")
    return found


def _when(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    cases = inputs[0][0]
    wanted = [not reasons(case) for case in cases]
    shape = difference([type(v).__name__ for v in given[0]] if isinstance(given[0], list) else given[0],
                       ["bool"] * len(cases), "your answers' types")  # fmt: skip
    if shape:
        return Verdict(0.0, shape)
    missed = next((c for c, came, want in zip(cases, given[0], wanted, strict=True) if want and not came), None)
    if missed:
        return Verdict(0.0, f"this case is exact, and you say it is not: {missed}")
    ways = ("training", "ramp", "padding mode", "bias at the border")
    right = [
        way for way in ways if not any(came for c, came in zip(cases, given[0], strict=True) if reasons(c) == {way})
    ]
    if given[0] == wanted:
        return Verdict(1.0, "right")
    left = [way for way in ways if way not in right]
    return Verdict(len(right) / 4, f"not recognised when it is the only obstacle: {', '.join(left)}")


QUESTIONS = (
    Question("fold-test", 2, "fold", judge(
        _fold,
        Near(0.5, lambda *a: _fold(*a, own=False), "right without a bias; the convolution's own bias is scaled too"),
        Near(0.5, lambda *a: _fold(*a, eps=False), "eps is missing under the root"),
        call="fold(weight, bias, bn)", parts=("weight", "bias"),
    )),
    Question("identity-test", 2, "identity_kernel", judge(
        _identity,
        Near(0.5, lambda c, k, n: _identity(c, k, n).roll((-(k // 2),) * 2, (2, 3)),
             "the 1 belongs in the kernel's middle"),
        call="identity_kernel(c, k, groups=1)",
    )),
    Question("pad-test", 1, "widen", judge(lambda w, k: F.pad(w, [k // 2] * 4), call="widen(weight, k)")),
    Question("mobileone-test", 3, "merge_mobileone", judge(
        _merge,
        Near(2 / 3, lambda *a: _merge(*a, leave="rbr_skip"), "the skip branch, a bare BN, is missing"),
        Near(1 / 3, lambda *a: _merge(*a, only="rbr_conv.0"),
             "only the first of the parallel convolutions is in the sum"),
        Near(1 / 3, lambda *a: _merge(*a, leave="rbr_scale"), "the 1×1 branch is missing"),
        call="merge_mobileone(state, k, groups, eps=1e-5)", parts=("weight", "bias"),
    )),
    Question("vanilla-test", 3, "merge_pair", judge(
        _merge_pair,
        Near(2 / 3, lambda *a: _merge_pair(*a, seen=False),
             "the second layer also sees the first one's bias: b = W₂b₁ + b₂"),
        call="merge_pair(w1, b1, bn1, w2, b2, bn2)", parts=("weight", "bias"),
    )),
    Question("ramp-test", 2, "ramp_error", lambda given, inputs: _ramp(given, inputs)),
    Question("when-test", 4, "exact_all", _when),
)  # fmt: skip


def _ramp(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    """At ramp 1 any rounding is right; elsewhere the values are compared."""
    came = [0.0 if a[2] == 1 and type(v) is float and 0 <= v < 1e-2 else v for v, a in zip(given, inputs, strict=True)]

    def clean(function: Any) -> Any:
        return lambda x, parts, ramp: 0.0 if ramp == 1 else function(x, parts, ramp)

    return judge(
        clean(_ramp_error),
        Near(0.5, clean(_by_merged), "divided by the largest output of the merged form; the pair's was asked for"),
        Near(0.5, clean(lambda *a: _errors(*a)[0]), "the absolute difference; divide by the pair's largest output"),
        rel=1e-3, call="ramp_error(x, parts, ramp)",
    )(came, inputs)  # fmt: skip
