"""Wrong approaches to assignment 3 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks: each is judged with right answers in the place of earlier wrong ones.
"""

FOLD = """
def fold(weight, bias, bn):
    scale = bn["weight"] / {root}
    before = {bias}
    return {weight}, bn["bias"] + (before - bn["running_mean"]) * scale
"""


def fold(
    root: str = "torch.sqrt(bn['running_var'] + bn['eps'])",
    bias: str = "0 if bias is None else bias",
    weight: str = "weight * scale.reshape(-1, 1, 1, 1)",
) -> str:
    """Return the source of a fold with one mistake."""
    return FOLD.format(root=root, bias=bias, weight=weight)


KERNEL = """
def identity_kernel(c, k, groups=1):
    weight = torch.zeros(c, c // groups, k, k)
    for i in range(c):
        weight[i, {channel}, {place}, {place}] = 1.0
    return weight
"""
MERGE = """
def merge_mobileone(state, k, groups, eps=1e-5):
    {first}
    names = {convs}
    parts = [fold(state[f"{{n}}.conv.weight"], None, bn_of(state, f"{{n}}.bn", eps)) for n in names]
    if {scale}:
        parts.append(fold(widen(state["rbr_scale.conv.weight"], k), None, bn_of(state, "rbr_scale.bn", eps)))
    if {skip} and "rbr_skip.weight" in state:
        alone = identity_kernel(len(state["rbr_skip.weight"]), {groups})
        parts.append(fold(alone, None, bn_of(state, "rbr_skip", eps)))
    return sum(w for w, _ in parts), sum(b for _, b in parts)
"""
ALL = "[n[:-12] for n in state if n.startswith('rbr_conv') and n.endswith('conv.weight')]"


def merge(convs: str = ALL, scale: bool = True, skip: bool = True, first: str = "", groups: str = "k, groups") -> str:
    """Return the source of a merge that leaves something out."""
    return MERGE.format(convs=convs, scale=scale, skip=skip, first=first or "pass", groups=groups)


PAIR = """
def merge_pair(w1, b1, bn1, w2, b2, bn2):
    inner, ib = {first}
    outer, ob = {second}
    return {weight}, {bias}
"""
SEEN = "outer[:, :, 0, 0] @ ib + ob"


def merged(
    first: str = "fold(w1, b1, bn1)",
    second: str = "fold(w2, b2, bn2)",
    weight: str = 'torch.einsum("om,mikl->oikl", outer[:, :, 0, 0], inner)',
    bias: str = SEEN,
) -> str:
    """Return the source of a merged pair with one mistake."""
    return PAIR.format(first=first, second=second, weight=weight, bias=bias)


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
        "fold-answer", fold(root="torch.sqrt(bn['running_var'])"), {"fold-test": 1}),
    "eps beside the root": (
        "fold-answer", fold(root="(torch.sqrt(bn['running_var']) + bn['eps'])"), {"fold-test": 1}),
    "an eps of its own": (
        "fold-answer", fold(root="torch.sqrt(bn['running_var'] + 1e-3)"), {"fold-test": 1}),
    "forgets the convolution's bias": (
        "fold-answer", fold(bias="0"), {"fold-test": 1}),
    "scales input channels": (
        "fold-answer",
        fold(weight="weight * scale[: weight.shape[1]].reshape(1, -1, 1, 1)"),
        {"fold-test": 0},
    ),
    "identity without groups": (
        "identity-answer", KERNEL.format(channel="i", place="k // 2"), {"identity-test": 1}),
    "identity of the first channel": (
        "identity-answer", KERNEL.format(channel="i if groups == 1 else 0", place="k // 2"), {"identity-test": 1}),
    "identity in the corner": (
        "identity-answer", KERNEL.format(channel="i % (c // groups)", place="0"),
        {"identity-test": 1}),
    "the small kernel in the corner": (
        "pad-answer", "def widen(weight, k):\n    return F.pad(weight, [0, k - 1, 0, k - 1])",
        {"pad-test": 0}),
    "no skip branch": ("mobileone-answer", merge(skip=False), {"mobileone-test": 2}),
    "one branch only": ("mobileone-answer", merge(convs="['rbr_conv.0']"), {"mobileone-test": 1}),
    "three branches, whatever the block has": (
        "mobileone-answer", merge(convs="[f'rbr_conv.{i}' for i in range(3)]"), {"mobileone-test": 1}),
    "the block's eps is ignored": ("mobileone-answer", merge(first="eps = 1e-5"), {"mobileone-test": 2}),
    "the skip's groups are forgotten": ("mobileone-answer", merge(groups="k"), {"mobileone-test": 2}),
    "no small branch": ("mobileone-answer", merge(scale=False), {"mobileone-test": 1}),
    "the first bias is lost": ("vanilla-answer", merged(bias="ob"), {"vanilla-test": 2}),
    "the first BN is not folded": ("vanilla-answer", merged(first="w1, b1"), {"vanilla-test": 1}),
    "the second BN is not folded": ("vanilla-answer", merged(second="w2, b2"), {"vanilla-test": 1}),
    "only 1×1 pairs": (
        "vanilla-answer",
        merged(weight="(outer[:, :, 0, 0] @ inner[:, :, 0, 0])[:, :, None, None]"),
        {"vanilla-test": 1},
    ),
    "the layers in the other order": (
        "vanilla-answer", merged(weight='torch.einsum("mo,mikl->oikl", outer[:, :, 0, 0], inner)'),
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
        "when-answer", exact(second='case["padding_mode"] != "zeros" or ' + MODE), {"when-test": 1}),
    "padding where nothing is padded": (
        "when-answer",
        exact(third=BIAS).replace('    if case["k"] == 1:\n        return True\n', ""),
        {"when-test": 3},
    ),
    "no pair merges": ("when-answer", exact(third='case["form"] == "pair"'), {"when-test": 2}),
}  # fmt: skip
