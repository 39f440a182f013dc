"""Checks of lesson 05, VanillaNet: merging a pair, the ramp, the receptive field."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .exercises import exercise, expect, expect_equal, expect_function, expect_tensor, fresh
from .quiz import Question, questions


def _conv(first: nn.Conv2d, second: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor, **how: Any) -> nn.Conv2d:
    settings: dict[str, Any] = {"stride": first.stride, "padding": first.padding} | how
    conv = nn.Conv2d(first.in_channels, second.out_channels, first.kernel_size, **settings)  # type: ignore[arg-type]
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
    return conv


def _merged(first: nn.Conv2d, second: nn.Conv2d, *, bias: str = "right", **how: Any) -> nn.Conv2d:
    w2 = second.weight[:, :, 0, 0]  # (C_out, C_mid)
    assert first.bias is not None
    assert second.bias is not None
    own, carried = second.bias, w2 @ first.bias  # (C_out,)
    added = {"right": carried + own, "only the second": own, "only the first": carried}[bias]
    return _conv(first, second, torch.einsum("om,mikl->oikl", w2, first.weight), added, **how)


@exercise(
    "ex-merge-stem",
    hint="'om,mikl->oikl' multiplies the matrices and leaves the window alone; the first bias passes through W₂",
    ok="Kernel, stride and padding belong to the first convolution; the second only mixes channels.",
    wrong={
        "lost the first bias": lambda a, b: _merged(a, b, bias="only the second"),
        "lost the second bias": lambda a, b: _merged(a, b, bias="only the first"),
        "forgot the stride": lambda a, b: _merged(a, b, stride=1),
        "forgot the padding": lambda a, b: _merged(a, b, padding=0),
        "multiplied in the wrong order": lambda a, b: _conv(
            a, b, torch.einsum("mo,mikl->oikl", b.weight[:, :, 0, 0], a.weight), b.bias
        ),
    },
)
def _merge_stem(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    for k, stride, padding in ((4, 4, 0), (4, 3, 1), (3, 2, 1)):
        first, second = nn.Conv2d(3, 8, k, stride, padding), nn.Conv2d(8, 8, 1)
        x = torch.randn(2, 3, 24, 24, generator=g)  # (B, C, H, W)
        came = answer(first, second)
        expect(isinstance(came, nn.Conv2d), f"expected one nn.Conv2d, came {type(came).__name__}")
        with torch.no_grad():
            case = f"the merged stem (kernel {k}, stride {stride}, padding {padding})"
            expect_tensor(came(x), second(first(x)), case)


@exercise(
    "ex-ramp",
    hint="epochs − last is the first epoch that must have 1; min(1, …) caps; take care when it is 0",
    ok="The last epochs train the very network that will be merged.",
    wrong={
        "reaches 1 only in the last epoch": lambda e, n, last: e / max(n - 1, 1),
        "never reaches 1": lambda e, n, last: e / n,
        "grows beyond 1": lambda e, n, last: e / max(n - last, 1),
        "starts above 0": lambda e, n, last: min(1.0, (e + 1) / max(n - last, 1)),
        "divides by zero": lambda e, n, last: min(1.0, e / (n - last)),
    },
)
def _ramp(answer: Any) -> None:
    expect_function(answer)
    for epochs, last in ((10, 1), (10, 3), (100, 5), (7, 7), (int(torch.randint(20, 60, (1,), generator=fresh())), 4)):
        full = epochs - last
        for epoch in range(epochs):
            expected = 1.0 if epoch >= full else epoch / full
            expect_equal(answer(epoch, epochs, last), expected, f"ramp({epoch}, {epochs}, {last})", rel=1e-6)


def _field(steps: list[tuple[int, int]], *, jump_first: bool = False, strides: bool = True, start: int = 1) -> int:
    field, jump = start, 1
    for kernel, stride in steps:
        if jump_first:
            jump *= stride
        field += (kernel - 1) * jump
        if strides and not jump_first:
            jump *= stride
    return field


@exercise(
    "ex-receptive-field",
    hint="add (kernel − 1) jumps first, then multiply the jump by the stride",
    ok="1×1 convolutions add nothing: without the series activations, VanillaNet sees very little.",
    wrong={
        "multiplied the stride too early": lambda steps: _field(steps, jump_first=True),
        "ignored strides": lambda steps: _field(steps, strides=False),
        "started at 0": lambda steps: _field(steps, start=0),
        "product of kernels": lambda steps: int(torch.tensor([k for k, _ in steps]).prod()),
    },
)
def _receptive_field(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    random = [tuple(torch.randint(1, 5, (2,), generator=g).tolist()) for _ in range(5)]
    for steps in ([(1, 1)], [(3, 1), (3, 1)], [(3, 2), (3, 2), (3, 1)], [(4, 4), (2, 2), (7, 1)], random):
        expect_equal(answer(steps), _field(steps), f"the receptive field of {steps}")


def _lost() -> int:
    from ..backbones import create_backbone

    with torch.device("meta"):
        forms = [create_backbone("vanillanet_6", num_classes=1000, deploy=d) for d in (False, True)]
    train, deploy = (sum(p.numel() for p in m.parameters()) for m in forms)
    return train - deploy


def _stride() -> int:
    from ..backbones import create_backbone

    with torch.device("meta"):
        info: Any = create_backbone("vanillanet_13").feature_info
    return next(level.stride for level in info if level.module == "stages.8")


questions(
    Question("q1", "b", "the official files do not store it; the constructor's value, 1, is meant", "section 2"),
    Question("q2", "c", "shapes fit, so nothing complains: only a comparison of outputs can tell", "section 2"),
    Question("q3", _lost, "each pair C → C → C' loses its C·C part, and every BN goes", "section 1", code=True),
    Question("q4", _stride, "feature_info names the last module at each stride", "section 4", code=True),
)
