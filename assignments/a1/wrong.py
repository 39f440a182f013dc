"""Wrong approaches to assignment 1 by name: what stands in a solution cell, and what each question then earns.

Questions that are not named earn full marks, also where they build on the wrong one: each is judged with right answers
in the place of earlier wrong ones.
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
    "PConv overwrites its input": (
        "pconv-answer",
        "def pconv(x, weight):\n"
        "    p = len(weight)\n"
        "    x[:, :p] = F.conv2d(x[:, :p].clone(), weight, padding=weight.shape[-1] // 2)\n"
        "    return x",
        {"block-test": 2},  # alone its output is right; the block's shortcut is not
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
