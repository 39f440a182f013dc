"""Wrong approaches to assignment 2 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks: each is judged with right answers in the place of earlier wrong ones.
"""

BLOCK = """
class StarBlock(nn.Module):
    def __init__(self, dim, ratio=4):
        super().__init__()
        self.dwconv = ConvBN(dim, dim, 7, groups=dim)
        self.f1 = ConvBN(dim, ratio * dim, bn={bn})
        self.f2 = ConvBN(dim, ratio * dim, bn=False)
        self.g = ConvBN(ratio * dim, dim)
        self.dwconv2 = ConvBN(dim, dim, 7, groups=dim, bn=False)

    def forward(self, x):
        y = self.dwconv(x)
        y = {star}
        return {out}
"""
SUM = "self.dwconv2(self.g(y))"
STAR = "F.relu6(self.f1(y)) * self.f2(y)"


def block(star: str = STAR, out: str = f"x + {SUM}", bn: bool = False) -> str:
    """Return the source of a block with one mistake."""
    return BLOCK.format(star=star, out=out, bn=bn)


TERMS = "def star_terms(d, layers=1, bias=True):\n    return {count}"
PHI = """
def phi(x):
    n, d = x.shape
    i, j = torch.triu_indices(d, d, offset=1)
    return torch.cat((torch.ones(n, 1), {linear}, x * x, {mixed}x[:, i] * x[:, j]), 1)
"""
ORDERED = """
def phi(x):
    pairs = (x[:, :, None] * x[:, None, :]).flatten(1)
    return torch.cat((torch.ones(len(x), 1), math.sqrt(2) * x, pairs), 1)
"""
COST = """
def block_cost(c, h, w, ratio=4):
    weights = 98 * c + 3 * ratio * c * c
    return {params}, {macs}
"""
CHANNELS = """
def level_channels(base, width, multiple=8):
    def near(v):
        r = max(multiple, int(v + multiple / 2) // multiple * multiple)
        return {rule}
    return {levels}
"""
ROUNDED = """
def level_channels(base, width, multiple=8):
    v = base * width
    r = max(multiple, {nearest})
    r += multiple * (r < 0.9 * v)
    return [r * 2**i for i in range(4)]
"""
WRONG = {
    "forgets linear terms and constant": (
        "terms-answer", TERMS.format(count="math.comb(d + 2**layers - 1, 2**layers)"), {"terms-test": 1}),
    "one star only": ("terms-answer", TERMS.format(count="math.comb(d + 1 + bias, 2)"), {"terms-test": 1}),
    "lesson 03's formula": ("terms-answer", TERMS.format(count="(d + 1) * (d + 2) // 2"), {"terms-test": 0.5}),
    "degree 2 · layers": (
        "terms-answer", TERMS.format(count="math.comb(d + bias + 2 * layers - 1, 2 * layers)"), {"terms-test": 1}),
    "counts ordered pairs": ("terms-answer", TERMS.format(count="(d + bias) ** 2**layers"), {"terms-test": 1}),
    "a float for a count": (
        "terms-answer", TERMS.format(count="1.0 * math.comb(d + bias + 2**layers - 1, 2**layers)"), {"terms-test": 0}),
    "each bias with its own weights": (
        "quadratic-answer",
        "def quadratic_form(w1, b1, w2, b2):\n"
        "    o = torch.outer(w1, w2)\n"
        "    return (o + o.T) / 2, b1 * w1 + b2 * w2, b1 * b2",
        {"quadratic-test": 2},
    ),
    "A of lesson 03, upper triangle": (
        "quadratic-answer",
        "def quadratic_form(w1, b1, w2, b2):\n"
        "    o = torch.outer(w1, w2)\n"
        "    return torch.triu(o + o.T) - torch.diag(w1 * w2), b1 * w2 + b2 * w1, b1 * b2",
        {"quadratic-test": 2},
    ),
    "A twice too large": (
        "quadratic-answer",
        "def quadratic_form(w1, b1, w2, b2):\n"
        "    o = torch.outer(w1, w2)\n"
        "    return o + o.T, b1 * w2 + b2 * w1, b1 * b2",
        {"quadratic-test": 2},
    ),
    "A is not symmetric": (
        "quadratic-answer",
        "def quadratic_form(w1, b1, w2, b2):\n    return torch.outer(w1, w2), b1 * w2 + b2 * w1, b1 * b2",
        {"quadratic-test": 2},
    ),
    "no cross terms of the biases": (
        "quadratic-answer",
        "def quadratic_form(w1, b1, w2, b2):\n"
        "    o = torch.outer(w1, w2)\n"
        "    return (o + o.T) / 2, torch.zeros_like(w1), b1 * b2",
        {"quadratic-test": 1},
    ),
    "the sum is a product": (
        "sum-answer", "def collapse(w1, b1, w2, b2):\n    return w1 * w2, b1 * b2", {"sum-test": 0}),
    "features without the root of two": ("kernel-answer", PHI.format(linear="x", mixed=""), {"kernel-test": 1}),
    "mixed terms without the root of two": (
        "kernel-answer", PHI.format(linear="math.sqrt(2) * x", mixed=""), {"kernel-test": 1.5}),
    "linear terms without the root of two": (
        "kernel-answer", PHI.format(linear="x", mixed="math.sqrt(2) * "), {"kernel-test": 1.5}),
    "features for ordered pairs": ("kernel-answer", ORDERED, {"kernel-test": 1}),
    "no shortcut": ("block-answer", block(out=SUM), {"block-test": 2}),
    "activation on both branches": (
        "block-answer", block("F.relu6(self.f1(y)) * F.relu6(self.f2(y))"), {"block-test": 2}),
    "activation after the product": ("block-answer", block("F.relu6(self.f1(y) * self.f2(y))"), {"block-test": 2}),
    "ReLU for ReLU6": ("block-answer", block("F.relu(self.f1(y)) * self.f2(y)"), {"block-test": 3}),
    "activation on the other branch": ("block-answer", block("self.f1(y) * F.relu6(self.f2(y))"), {"block-test": 2}),
    "a sum, not a star": ("block-answer", block("F.relu6(self.f1(y)) + self.f2(y)"), {"block-test": 1}),
    "a BN too many": ("block-answer", block(bn=True), {"block-test": 0}),
    "no biases, no BN": ("cost-answer", COST.format(params="weights", macs="weights * h * w"), {"cost-test": 1}),
    "no biases": ("cost-answer", COST.format(params="weights + 4 * c", macs="weights * h * w"), {"cost-test": 1.5}),
    "MACs for biases": (
        "cost-answer",
        COST.format(params="weights + 7 * c + 2 * ratio * c", macs="(weights + 3 * c + 2 * ratio * c) * h * w"),
        {"cost-test": 1},
    ),
    "running statistics as parameters": (
        "cost-answer",
        COST.format(params="weights + 11 * c + 2 * ratio * c", macs="weights * h * w"),
        {"cost-test": 1.5},
    ),
    "FLOPs for MACs": (
        "cost-answer",
        COST.format(params="weights + 7 * c + 2 * ratio * c", macs="2 * weights * h * w"),
        {"cost-test": 1},
    ),
    "may lose more than a tenth": (
        "channels-answer", CHANNELS.format(rule="r", levels="[near(base * width) * 2**i for i in range(4)]"),
        {"channels-test": 1}),
    "rounds each level": (
        "channels-answer",
        CHANNELS.format(rule="r + multiple * (r < 0.9 * v)", levels="[near(base * 2**i * width) for i in range(4)]"),
        {"channels-test": 0.5},
    ),
    "rounds down": ("channels-answer", ROUNDED.format(nearest="int(v) // multiple * multiple"), {"channels-test": 0.5}),
    "rounds up": (
        "channels-answer", ROUNDED.format(nearest="math.ceil(v / multiple) * multiple"), {"channels-test": 0.5}),
    "multiples of 8 always": (
        "channels-answer", ROUNDED.replace("multiple=8):", "_=8, multiple=8):").format(nearest="int(v + 4) // 8 * 8"),
        {"channels-test": 1}),
    "rounds halves to even": (
        "channels-answer", ROUNDED.format(nearest="round(v / multiple) * multiple"), {"channels-test": 1}),
}  # fmt: skip
