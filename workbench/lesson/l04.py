"""Checks of lesson 04, MobileOne: fold, identity kernels, calibrated batch norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .exercises import exercise, expect, expect_function, expect_tensor, fresh
from .quiz import Question, questions


def _used(bn: Any, g: torch.Generator) -> Any:
    """Give a BN statistics and weights as training leaves them, in eval mode."""
    for tensor in (bn.running_mean, bn.weight.data, bn.bias.data):
        tensor.copy_(torch.randn(tensor.shape, generator=g))
    bn.running_var.copy_(torch.rand(bn.running_var.shape, generator=g) * 0.5 + 1e-3)
    bn.running_var[0], bn.weight.data[0] = 1e-4, 1.0  # a nearly constant channel: there eps is seen in every draw
    return bn.eval()


def _scale(bn: Any, eps: float | None = None) -> Tensor:
    return bn.weight / torch.sqrt(bn.running_var + (bn.eps if eps is None else eps))


def _bias(linear: nn.Linear) -> Any:
    return 0.0 if linear.bias is None else linear.bias


@exercise(
    "ex-fold-linear",
    hint="the scale has shape (out,), the weight (out, in): reshape it to (out, 1)",
    ok="A fold is the same step for every linear layer in front of a BN.",
    wrong={
        "forgot eps": lambda lin, bn: (
            lin.weight * _scale(bn, 0.0).reshape(-1, 1),
            bn.bias + (_bias(lin) - bn.running_mean) * _scale(bn, 0.0),
        ),
        "forgot the layer's own bias": lambda lin, bn: (
            lin.weight * _scale(bn).reshape(-1, 1),
            bn.bias - bn.running_mean * _scale(bn),
        ),
        "did not scale the mean": lambda lin, bn: (
            lin.weight * _scale(bn).reshape(-1, 1),
            bn.bias + _bias(lin) - bn.running_mean,
        ),
        "divided by the variance": lambda lin, bn: (
            lin.weight * (bn.weight / (bn.running_var + bn.eps)).reshape(-1, 1),
            bn.bias + (_bias(lin) - bn.running_mean) * bn.weight / (bn.running_var + bn.eps),
        ),
    },
)
def _fold_linear(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    for bias in (True, False):
        linear, bn = nn.Linear(7, 5, bias=bias), _used(nn.BatchNorm1d(5), g)
        x = torch.randn(6, 7, generator=g)  # (B, C_in)
        came = answer(linear, bn)
        expect(isinstance(came, tuple) and len(came) == 2, f"expected (weight, bias), came {type(came).__name__}")
        with torch.no_grad():
            case = f"the folded layer ({'with' if bias else 'without'} a bias of its own)"
            expect_tensor(nn.functional.linear(x, *came), bn(linear(x)), case)


def _identity(channels: int, groups: int, k: int, *, inside: bool = True, centre: bool = True) -> Tensor:
    per_group = channels // groups
    kernel = torch.zeros(channels, per_group, k, k)  # (C, C/g, k, k)
    for c in range(channels):
        at = k // 2 if centre else 0
        kernel[c, c % per_group if inside else 0, at, at] = 1.0
    return kernel


@exercise(
    "ex-identity",
    hint="inside its group, channel c has the index c % (channels // groups); the centre of a k×k kernel is k // 2",
    ok="An identity branch is a convolution that happens to copy.",
    wrong={
        "always the group's first channel": lambda c, g, k: _identity(c, g, k, inside=False),
        "corner instead of centre": lambda c, g, k: _identity(c, g, k, centre=False),
        "all ones at the centre": lambda c, g, k: (
            _identity(c, g, k) + _identity(c, g, k).sum(1, keepdim=True).expand(c, c // g, k, k)
        ).clamp(max=1),
        "ignored the groups": lambda c, g, k: _identity(c, 1, k),
    },
)
def _identity_kernel(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    for channels, groups, k in ((6, 1, 3), (8, 8, 3), (12, 3, 5)):
        x = torch.randn(2, channels, 9, 9, generator=g)  # (B, C, H, W)
        kernel = answer(channels, groups, k)
        case = f"identity({channels}, {groups}, {k})"
        expect_tensor(kernel, _identity(channels, groups, k), f"the kernel of {case}")
        expect_tensor(nn.functional.conv2d(x, kernel, padding=k // 2, groups=groups), x, f"x convolved with {case}")


def _calibrated(
    model: nn.Module, batches: list[Tensor], *, reset: bool = True, average: bool = True, restore: bool = True
) -> nn.Module:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for m in norms:
        if reset:
            m.reset_running_stats()
        if average:
            m.momentum = None
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum if restore else None
    return model.eval()


@exercise(
    "ex-calibrate",
    hint="reset_running_stats(), momentum = None, forward in train mode under no_grad, momentum back, eval()",
    ok="Now the running statistics describe the data, and eval mode means something.",
    wrong={
        "kept the exponential average": lambda m, b: _calibrated(m, b, average=False),
        "did not reset first": lambda m, b: _calibrated(m, b, reset=False, average=False),
        "left the model in train mode": lambda m, b: _calibrated(m, b).train(),
        "never put the momentum back": lambda m, b: _calibrated(m, b, restore=False),
        "did nothing": lambda m, b: m.eval(),
    },
)
def _calibrate(answer: Any) -> None:
    expect_function(answer)
    g = fresh()
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    model[1].running_mean.fill_(7.0)  # stale statistics from somewhere else
    weight = model[0].weight.detach().clone()
    batches = [torch.randn(8, 3, 12, 12, generator=g) * s + s for s in (0.5, 1.0, 2.0)]  # (B, C, H, W)
    with torch.no_grad():
        maps = [model[0](b) for b in batches]
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)  # (C,)
    var = torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps]).mean(0)  # (C,)
    came = answer(model, batches)
    expect(isinstance(came, nn.Module), f"expected the model back, came {type(came).__name__}")
    expect(not came.training, "the model came back in train mode; expected eval mode")
    expect_tensor(came[1].running_mean, mean, "the running mean")
    expect_tensor(came[1].running_var, var, "the running variance")
    expect_tensor(came[0].weight, weight, "the convolution's weight")
    momentum = came[1].momentum
    expect(momentum == 0.1, f"the momentum afterwards: expected 0.1, as before, came {momentum}")


def _lost() -> int:
    from ..backbones import create_backbone

    with torch.device("meta"):
        forms = [create_backbone("mobileone_s1", num_classes=1000, deploy=d) for d in (False, True)]
    train, deploy = (sum(p.numel() for p in m.parameters()) for m in forms)
    return train - deploy


def _se_blocks() -> int:
    from ..backbones import create_backbone

    with torch.device("meta"):
        net = create_backbone("mobileone_s4", deploy=True)
    return sum(type(m).__name__ == "SEBlock" for m in net.modules())


questions(
    Question("q1", "b", "a ReLU in between makes the whole non-linear, so no one convolution equals it", "section 2"),
    Question("q2", "b", "train mode normalises with the batch, merging uses the running statistics", "section 3"),
    Question("q3", _lost, "the small branches and every BN are gone; the big 1×1 kernels stay", "section 3", code=True),
    Question("q4", _se_blocks, "its sigmoid is not linear, so SE is kept as it is", "section 3", code=True),
)
