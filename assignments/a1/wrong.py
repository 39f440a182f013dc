"""Wrong approaches to assignment 1 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks, also where they build on the wrong one: each is judged with right answers
in the place of earlier wrong ones.
"""

ALL = "c_in, c_out, h, w, k, stride, groups"
MOVED = """
def numbers_moved(c_in, c_out, h, w, k, stride=1, groups=1):
    return c_in * h * w + {weights} + c_out * {out}
def intensity(c_in, c_out, h, w, k, stride=1, groups=1):
    shape = ({shape})
    return 2 * conv_macs(*shape) / (4 * numbers_moved(*shape))
"""
PCONV = """
def pconv(x, weight):
    p = len(weight)
    return torch.cat((F.conv2d(x[:, :p], weight, padding={padding}), x[:, p:]), 1)
"""
BLOCK = """
def block_forward(x, s):
    p = pconv(x, s["spatial_mixing.partial_conv3.weight"])
    y = F.conv2d(p, s["mlp.0.weight"])
    y = F.batch_norm(y, s["mlp.1.running_mean"], s["mlp.1.running_var"], s["mlp.1.weight"], s["mlp.1.bias"])
    return {x} + F.conv2d(F.{act}(y), s["mlp.3.weight"])
"""
WIDEST = """
def widest_block(budget_macs, h, w, n_div=4, ratio=2):
    c = 0
    while h * w * (9 * ((c + {n}) // {n}) ** 2 + 2 * ratio * (c + {n}) ** 2) {less} budget_macs:
        c += {n}
    return c
"""
WRONG = {
    "counts FLOPs": (
        "conv-macs-answer",
        "def conv_macs(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    return 2 * -(-h // stride) * -(-w // stride) * c_out * (c_in // groups) * k * k",
        {"conv-macs-test": 1},  # intensity, PConv's MACs and the widest block follow from it, and cost nothing more
    ),
    "forgets groups": (
        "conv-macs-answer",
        "def conv_macs(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    return -(-h // stride) * -(-w // stride) * c_out * c_in * k * k",
        {"conv-macs-test": 1},
    ),
    "counts input pixels": (
        "conv-macs-answer",
        "def conv_macs(c_in, c_out, h, w, k, stride=1, groups=1):\n    return h * w * c_out * (c_in // groups) * k * k",
        {"conv-macs-test": 1},
    ),
    "rounds a side down": (
        "conv-macs-answer",
        "def conv_macs(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    return (h // stride) * (w // stride) * c_out * (c_in // groups) * k * k",
        {"conv-macs-test": 1.5},
    ),
    "a kernel of three always": (
        "conv-macs-answer",
        "def conv_macs(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    return -(-h // stride) * -(-w // stride) * c_out * (c_in // groups) * 9",
        {"conv-macs-test": 1},
    ),
    "writes as much as at stride 1": (
        "intensity-answer",
        MOVED.format(weights="c_out * (c_in // groups) * k * k", out="h * w", shape=ALL),
        {"numbers-moved-test": 0.5},
    ),
    "weights without groups": (
        "intensity-answer",
        MOVED.format(weights="c_out * c_in * k * k", out="-(-h // stride) * -(-w // stride)", shape=ALL),
        {"numbers-moved-test": 0.5},
    ),
    "does not pass on stride and groups": (
        "intensity-answer",
        MOVED.format(
            weights="c_out * (c_in // groups) * k * k",
            out="-(-h // stride) * -(-w // stride)",
            shape="c_in, c_out, h, w, k",
        ),
        {"intensity-test": 0.5},
    ),
    "forgets the weights": (
        "intensity-answer",
        "def numbers_moved(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    return c_in * h * w + c_out * -(-h // stride) * -(-w // stride)\n"
        "def intensity(*shape):\n"
        "    return 2 * conv_macs(*shape) / (4 * numbers_moved(*shape))",
        {"numbers-moved-test": 0.5},
    ),
    "MACs for FLOPs in the intensity": (
        "intensity-answer",
        "def numbers_moved(c_in, c_out, h, w, k, stride=1, groups=1):\n"
        "    weights = c_out * (c_in // groups) * k * k\n"
        "    return c_in * h * w + weights + c_out * -(-h // stride) * -(-w // stride)\n"
        "def intensity(*shape):\n"
        "    return conv_macs(*shape) / (4 * numbers_moved(*shape))",
        {"intensity-test": 0.5},
    ),
    "PConv saves on reading only": (
        "pconv-cost-answer",
        "def pconv_cost(c, h, w, k=3, n_div=4):\n"
        "    p = c // n_div\n"
        "    return conv_macs(p, c, h, w, k), numbers_moved(p, p, h, w, k)",
        {"pconv-cost-test": 1},
    ),
    "a quarter always": (
        "pconv-cost-answer",
        "def pconv_cost(c, h, w, k=3, n_div=4):\n"
        "    return conv_macs(c // 4, c // 4, h, w, k), numbers_moved(c // 4, c // 4, h, w, k)",
        {"pconv-cost-test": 1},
    ),
    "does not pass on k": (
        "pconv-cost-answer",
        "def pconv_cost(c, h, w, k=3, n_div=4):\n"
        "    p = c // n_div\n"
        "    return conv_macs(p, p, h, w, 3), numbers_moved(p, p, h, w, 3)",
        {"pconv-cost-test": 1},
    ),
    "no padding": ("pconv-answer", PCONV.format(padding="0"), {"pconv-test": 0}),
    "padding for three only": ("pconv-answer", PCONV.format(padding="1"), {"pconv-test": 1}),
    "PConv overwrites its input": (
        "pconv-answer",
        "def pconv(x, weight):\n"
        "    p = len(weight)\n"
        "    x[:, :p] = F.conv2d(x[:, :p].clone(), weight, padding=weight.shape[-1] // 2)\n"
        "    return x",
        {"pconv-test": 1},  # the block's shortcut is wrong with it, and costs nothing more
    ),
    "PConv on the last channels": (
        "pconv-answer",
        "def pconv(x, weight):\n"
        "    p = len(weight)\n"
        "    return torch.cat((x[:, :-p], F.conv2d(x[:, -p:], weight, padding=weight.shape[-1] // 2)), 1)",
        {"pconv-test": 1},
    ),
    "no shortcut": (
        "block-answer",
        "def block_forward(x, s):\n"
        "    y = F.conv2d(pconv(x, s['spatial_mixing.partial_conv3.weight']), s['mlp.0.weight'])\n"
        "    y = F.batch_norm(y, s['mlp.1.running_mean'], s['mlp.1.running_var'], s['mlp.1.weight'], s['mlp.1.bias'])\n"
        "    return F.conv2d(F.gelu(y), s['mlp.3.weight'])",
        {"block-test": 2},
    ),
    "ReLU for GELU": ("block-answer", BLOCK.format(act="relu", x="x"), {"block-test": 2}),
    "the shortcut of PConv's output": ("block-answer", BLOCK.format(act="gelu", x="p"), {"block-test": 2}),
    "BN of the batch": (
        "block-answer",
        "def block_forward(x, s):\n"
        "    y = F.conv2d(pconv(x, s['spatial_mixing.partial_conv3.weight']), s['mlp.0.weight'])\n"
        "    y = F.batch_norm(y, None, None, s['mlp.1.weight'], s['mlp.1.bias'], training=True)\n"
        "    return x + F.conv2d(F.gelu(y), s['mlp.3.weight'])",
        {"block-test": 1},
    ),
    "adds the two times": (
        "roofline-answer",
        "def roofline_ms(macs, moved, roof_gflops, bandwidth_gbs):\n"
        "    return (2 * macs / roof_gflops + 4 * moved / bandwidth_gbs) / 1e6",
        {"roofline-test": 1},
    ),
    "arithmetic only": (
        "roofline-answer",
        "def roofline_ms(macs, moved, roof_gflops, bandwidth_gbs):\n    return 2 * macs / roof_gflops / 1e6",
        {"roofline-test": 1},
    ),
    "seconds": (
        "roofline-answer",
        "def roofline_ms(macs, moved, roof_gflops, bandwidth_gbs):\n"
        "    return max(2 * macs / roof_gflops, 4 * moved / bandwidth_gbs) / 1e9",
        {"roofline-test": 1.5},
    ),
    "below the budget, not at it": ("widest-answer", WIDEST.format(n="n_div", less="<"), {"widest-test": 1.5}),
    "a width of four always": ("widest-answer", WIDEST.format(n="4", less="<="), {"widest-test": 1}),
    "rounds the width up": (
        "widest-answer",
        "def widest_block(budget_macs, h, w, n_div=4, ratio=2):\n"
        "    c = n_div\n"
        "    while h * w * (9 * (c // n_div) ** 2 + 2 * ratio * c * c) <= budget_macs:\n"
        "        c += n_div\n"
        "    return c",
        {"widest-test": 0.5},
    ),
}
