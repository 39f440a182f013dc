"""Wrong approaches to assignment 3 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks: each is judged with right answers in the place of earlier wrong ones.
"""

FOLD = """
def fold(weight, bias, bn):
    scale = bn["weight"] / torch.sqrt(bn["running_var"] + {eps})
    before = {bias}
    return {weight}, bn["bias"] + (before - bn["running_mean"]) * scale
"""


def fold(
    eps: str = "bn['eps']",
    bias: str = "0 if bias is None else bias",
    weight: str = "weight * scale.reshape(-1, 1, 1, 1)",
) -> str:
    """Return the source of a fold with one mistake."""
    return FOLD.format(eps=eps, bias=bias, weight=weight)


KERNEL = """
def identity_kernel(c, k, groups=1):
    weight = torch.zeros(c, c // groups, k, k)
    for i in range(c):
        weight[i, {channel}, {place}, {place}] = 1.0
    return weight
"""
MERGE = """
def merge_mobileone(state, k, groups, eps=1e-5):
    def bn_at(p):
        return {{n: state[f"{{p}}.{{n}}"] for n in ("weight", "bias", "running_mean", "running_var")}} | {{"eps": eps}}
    names = {convs}
    parts = [fold(state[f"{{n}}.conv.weight"], None, bn_at(f"{{n}}.bn")) for n in names]
    if {scale}:
        parts.append(fold(widen(state["rbr_scale.conv.weight"], k), None, bn_at("rbr_scale.bn")))
    if {skip} and "rbr_skip.weight" in state:
        parts.append(fold(identity_kernel(len(state["rbr_skip.weight"]), k, groups), None, bn_at("rbr_skip")))
    return sum(w for w, _ in parts), sum(b for _, b in parts)
"""
ALL = "[n[:-12] for n in state if n.startswith('rbr_conv') and n.endswith('conv.weight')]"


def merge(convs: str = ALL, scale: bool = True, skip: bool = True) -> str:
    """Return the source of a merge that leaves something out."""
    return MERGE.format(convs=convs, scale=scale, skip=skip)


PAIR = """
def merge_pair(w1, b1, bn1, w2, b2, bn2):
    inner, ib = {first}
    outer, ob = fold(w2, b2, bn2)
    return torch.einsum("om,mikl->oikl", outer[:, :, 0, 0], inner), {bias}
"""
RAMP = """
def ramp_error(x, parts, ramp):
    expected = pair(x, *parts, ramp={ramp})
    came = F.conv2d(x, *merge_pair(*parts))
    return float((came - expected).abs().max() / {by})
"""
EXACT = """
def exact(case):
    if {first}:
        return False
    if case["k"] == 1:
        return True
    if {second}:
        return False
    return not ({third})
"""
BOTH = 'case["training"] or case["ramp"] < 1'
MODE = 'case["padding_mode"] != case["merged_padding_mode"]'
BIAS = 'case["form"] == "pair" and case["bias"] and case["padding_mode"] == "zeros"'


def exact(first: str = BOTH, second: str = MODE, third: str = BIAS) -> str:
    """Return the source of a rule that forgets something."""
    return EXACT.format(first=first, second=second, third=third)


WRONG = {
    "forgets eps": (
        "fold-answer", fold(eps="0"), {"fold-test": 1}),
    "forgets the convolution's bias": (
        "fold-answer", fold(bias="0"), {"fold-test": 1}),
    "scales input channels": (
        "fold-answer",
        fold(weight="weight * scale[: weight.shape[1]].reshape(1, -1, 1, 1)"),
        {"fold-test": 0},
    ),
    "identity without groups": (
        "identity-answer", KERNEL.format(channel="i", place="k // 2"), {"identity-test": 0}),
    "identity in the corner": (
        "identity-answer", KERNEL.format(channel="i % (c // groups)", place="0"),
        {"identity-test": 1}),
    "the small kernel in the corner": (
        "pad-answer", "def widen(weight, k):\n    return F.pad(weight, [0, k - 1, 0, k - 1])",
        {"pad-test": 0}),
    "no skip branch": ("mobileone-answer", merge(skip=False), {"mobileone-test": 2}),
    "one branch only": ("mobileone-answer", merge(convs="['rbr_conv.0']"), {"mobileone-test": 1}),
    "no small branch": ("mobileone-answer", merge(scale=False), {"mobileone-test": 1}),
    "the first bias is lost": (
        "vanilla-answer", PAIR.format(first="fold(w1, b1, bn1)", bias="ob"), {"vanilla-test": 2}),
    "the first BN is not folded": (
        "vanilla-answer", PAIR.format(first="w1, b1", bias="outer[:, :, 0, 0] @ ib + ob"),
        {"vanilla-test": 0}),
    "error of a finished ramp": (
        "ramp-answer", RAMP.format(ramp="1.0", by="expected.abs().max()"), {"ramp-test": 0}),
    "absolute error": ("ramp-answer", RAMP.format(ramp="ramp", by="1"), {"ramp-test": 1}),
    "always exact": ("when-answer", "def exact(case):\n    return True", {"when-test": 0}),
    "never exact": ("when-answer", "def exact(case):\n    return False", {"when-test": 0}),
    "forgets the ramp": ("when-answer", exact(first='case["training"]'), {"when-test": 3}),
    "forgets training mode": ("when-answer", exact(first='case["ramp"] < 1'), {"when-test": 3}),
    "forgets the padding mode": ("when-answer", exact(second="False"), {"when-test": 3}),
    "forgets the bias at the border": ("when-answer", exact(third="False"), {"when-test": 3}),
    "only zero padding merges": (
        "when-answer", exact(second='case["padding_mode"] != "zeros" or ' + MODE), {"when-test": 0}),
}  # fmt: skip
