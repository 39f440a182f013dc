"""Answers of assignment 3. Reference and recognised mistakes; inputs are drawn when a submission is graded."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from workbench.classroom.answers import Failed, Question, Verdict
from workbench.classroom.judge import Near, judge
from workbench.classroom.partly import Compare, OnlyWhere

Bn = dict[str, Any]
Pair = tuple[Tensor, Tensor, Bn, Tensor, Tensor, Bn]
MODES = ("zeros", "reflect", "replicate", "circular")


def INPUTS(seed: int) -> dict[str, list[tuple[Any, ...]]]:  # noqa: N802 - a name of the contract
    """Return question id → argument tuples."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    folds = [
        (_draw(g, 8, 4 // n, 3, 3), b, _bn(8, g, eps)) for n, eps in ((1, 1e-3), (2, 5e-3)) for b in (None, _draw(g, 8))
    ]
    pairs = [_pair(*s, g) for s in ((3, 6, 5, 2), (5, 4, 6, 1), (4, 5, 3, 3))]
    blocks = [
        _mobileone(*s, g)
        for s in (
            (6, 6, 1, 3, True, 3), (8, 8, 8, 2, True, 3), (8, 8, 4, 1, True, 5), (4, 6, 1, 4, False, 3),
            (6, 6, 1, 2, True, 7),
        )
    ]  # fmt: skip
    cases = _cases()
    rng.shuffle(cases)
    return {
        "fold-test": folds,
        "identity-test": [(6, 3, 1), (6, 5, 2), (6, 3, 6), (4 * rng.randint(2, 4), 3, 4)],
        "pad-test": [(_draw(g, 4, 3, 1, 1), k) for k in (5, 7, 1)],
        "mobileone-test": blocks,
        "vanilla-test": pairs,
        "ramp-test": [(_draw(g, 2, 4, 6, 6), _pair(4, 8, 6, 1, g), r) for r in (0.0, rng.uniform(0.2, 0.8), 1.0)],
        "when-test": [(cases,)],
    }


def _draw(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=g)


def _bn(c: int, g: torch.Generator, eps: float = 1e-3) -> Bn:
    bn: Bn = {"weight": _draw(g, c), "bias": _draw(g, c), "running_mean": _draw(g, c)}
    bn |= {"running_var": torch.rand(c, generator=g) + 0.05, "eps": eps}
    bn["running_var"][0], bn["weight"][0], bn["running_mean"][0] = 1e-4, 1.0, 1.0  # where eps is seen in every draw
    return bn


def _pair(c_in: int, c_mid: int, c_out: int, k: int, g: torch.Generator) -> Pair:
    first = _draw(g, c_mid, c_in, k, k), _draw(g, c_mid), _bn(c_mid, g)
    return *first, _draw(g, c_out, c_mid, 1, 1), _draw(g, c_out), _bn(c_out, g)


def _mobileone(
    c1: int, c2: int, groups: int, branches: int, skip: bool, size: int, g: torch.Generator
) -> tuple[Any, ...]:
    state: dict[str, Tensor] = {}

    def norm(prefix: str) -> None:
        state.update({f"{prefix}.{k}": v for k, v in _bn(c2, g).items() if k != "eps"})

    for name, k in (*((f"rbr_conv.{i}", size) for i in range(branches)), ("rbr_scale", 1)):
        state[f"{name}.conv.weight"] = _draw(g, c2, c1 // groups, k, k)
        norm(f"{name}.bn")
    if skip:
        norm("rbr_skip")
    return state, size, groups, 1e-3


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


def _root(var: Tensor, eps: float) -> Tensor:
    return torch.sqrt(var + eps)


def _fold(
    weight: Tensor, bias: Tensor | None, bn: Bn, root: Callable[[Tensor, float], Tensor] = _root, own: bool = True
) -> tuple[Tensor, Tensor]:
    scale = bn["weight"] / root(bn["running_var"], bn["eps"])
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
    w1: Tensor, b1: Tensor, bn1: Bn, w2: Tensor, b2: Tensor, bn2: Bn, seen: bool = True, folded: str = "both"
) -> tuple[Tensor, Tensor]:
    inner, ib = _fold(w1, b1, bn1) if folded != "second" else (w1, b1)
    outer, ob = _fold(w2, b2, bn2) if folded != "first" else (w2, b2)
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


WAYS = ("training", "ramp", "padding mode", "bias at the border")
KINDS = ("plain branches", "a pair without a bias", "a pair with a bias", "k = 1")


def kind(case: dict[str, Any]) -> str:
    """Return what makes a case worth a look, when it is exact."""
    if case["k"] == 1:
        return "k = 1"
    return "plain branches" if case["form"] == "branches" else f"a pair with{'' if case['bias'] else 'out'} a bias"


def words(case: dict[str, Any]) -> str:
    """Return a case as one would say it."""
    form = "branches" if case["form"] == "branches" else f"a pair with{'' if case['bias'] else 'out'} a bias"
    a, b = case["padding_mode"], case["merged_padding_mode"]
    modes = f"padding {a} before and after" if a == b else f"padding {a} before, {b} after"
    bn = "training" if case["training"] else "eval"
    return f"{form}, k = {case['k']}, {modes}, BN in {bn} mode, ramp {case['ramp']:g}"


def _when(given: Sequence[Any], inputs: Sequence[tuple[Any, ...]]) -> Verdict:
    """A quarter for each way that is recognised where it is the only obstacle, less one for each kind refused."""
    cases, answers = inputs[0][0], given[0]
    if isinstance(answers, Failed):
        return Verdict(0.0, f"exact(case): your function raised {answers.error}")
    if not isinstance(answers, list) or len(answers) != len(cases) or not all(type(v) is bool for v in answers):
        return Verdict(0.0, "exact(case): return True or False for every case")
    pairs = list(zip(cases, answers, strict=True))
    missed = [way for way in WAYS if any(said for case, said in pairs if reasons(case) == {way})]
    refused = {k: c for c, said in reversed(pairs) if not reasons(c) and not said for k in [kind(c)]}
    if not missed and not refused:
        wrong = next((case for case, said in pairs if said and reasons(case)), None)
        return Verdict(1.0, "right") if wrong is None else Verdict(0.75, f"exact({{…}}): True for {words(wrong)}")
    said = [f"not recognised when it is the only obstacle: {', '.join(missed)}"] if missed else []
    said += [f"exact, and you say it is not: {words(refused[k])}" for k in KINDS if k in refused][:2]
    if len(refused) > 2:
        said.append(f"in all {len(refused)} kinds of exact cases are refused")
    return Verdict(max(0, len(WAYS) - len(missed) - len(refused)) / len(WAYS), "; ".join(said))


def _branches(state: dict[str, Tensor]) -> int:
    return sum(key.startswith("rbr_conv") and key.endswith("conv.weight") for key in state)


def _mobileone_verdict() -> Compare:
    compare: Compare = judge(
        _merge,
        Near(2 / 3, lambda *a: _merge(*a, leave="rbr_skip"), "the skip branch, a bare BN, is missing"),
        Near(2 / 3, lambda state, k, groups, eps: _merge(state, k, groups, 1e-5), "the eps you are given is ignored"),
        Near(1 / 3, lambda *a: _merge(*a, only="rbr_conv.0"),
             "only the first of the parallel convolutions is in the sum"),
        Near(1 / 3, lambda *a: _merge(*a, leave="rbr_scale"), "the 1×1 branch is missing"),
        call="merge_mobileone(state, k, groups, eps=1e-5)", parts=("weight", "bias"),
    )  # fmt: skip
    for n in (1, 2, 3, 4):
        message = f"right only for blocks with {n} of the k × k convolutions: how many there are, the state dict says"
        compare = OnlyWhere(compare, lambda state, *_, n=n: _branches(state) == n, 1 / 3, message)
    alone = "with groups, the kernel in front of the bare BN needs them too"
    compare = OnlyWhere(compare, lambda s, k, groups, eps: groups == 1 or "rbr_skip.weight" not in s, 2 / 3, alone)
    return OnlyWhere(compare, lambda s, k, *_: k == 3, 2 / 3, "right only for k = 3: use the k you are given")


QUESTIONS = (
    Question("fold-test", 2, "fold", judge(
        _fold,
        Near(0.5, lambda *a: _fold(*a, own=False), "right without a bias; the convolution's own bias is scaled too"),
        Near(0.5, lambda *a: _fold(*a, root=lambda v, e: v.sqrt()), "eps is missing under the root"),
        Near(0.5, lambda *a: _fold(*a, root=lambda v, e: v.sqrt() + e), "eps stands under the root, not beside it"),
        *(Near(0.5, lambda *a, own=own: _fold(*a, root=lambda v, e: (v + own).sqrt()),
               f"eps is {own:g} whatever bn says: use the one in bn") for own in (1e-5, 1e-3)),
        call="fold(weight, bias, bn)", parts=("weight", "bias"),
    )),
    Question("identity-test", 2, "identity_kernel", OnlyWhere(OnlyWhere(
        judge(
            _identity,
            Near(0.5, lambda c, k, n: _identity(c, k, n).roll((-(k // 2),) * 2, (2, 3)),
                 "the 1 belongs in the kernel's middle"),
            call="identity_kernel(c, k, groups=1)",
        ),
        lambda c, k, groups: groups == 1, 0.5,
        "right without groups; with them, a kernel counts the input channels of its own group from 0"),
        lambda c, k, groups: groups in (1, c), 0.5,
        "right without groups and for depthwise; between them, channel i is not number 0 of its group"),
    ),
    Question("pad-test", 1, "widen", judge(
        lambda w, k: F.pad(w, [k // 2] * 4),
        Near(0.0, lambda w, k: F.pad(w, [0, k - 1, 0, k - 1]), "the 1×1 kernel belongs in the middle, not in a corner"),
        Near(0.0, lambda w, k: w.repeat(1, 1, k, k), "the 1×1 kernel stands once, in the middle; the rest is 0"),
        call="widen(weight, k)",
    )),
    Question("mobileone-test", 3, "merge_mobileone", _mobileone_verdict()),
    Question("vanilla-test", 3, "merge_pair", OnlyWhere(
        judge(
            _merge_pair,
            Near(2 / 3, lambda *a: _merge_pair(*a, seen=False),
                 "the second layer also sees the first one's bias: b = W₂b₁ + b₂"),
            Near(1 / 3, lambda *a: _merge_pair(*a, folded="second"), "the first BN is not folded"),
            Near(1 / 3, lambda *a: _merge_pair(*a, folded="first"), "the second BN is not folded"),
            call="merge_pair(w1, b1, bn1, w2, b2, bn2)", parts=("weight", "bias"),
        ),
        lambda w1, *_: w1.shape[-1] == 1, 1 / 3,
        "right for a 1×1 convolution in front; W₂ mixes the channels of W₁ in the same way at each of its k × k places",
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
