"""The two-dimensional demonstration of lesson 03: two tiny networks, one adds its branches and one multiplies them.

After "Rewrite the Stars" (Ma et al., CVPR 2024), section 3 and figure 2: same layers, same parameters, one sign apart.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError, did_you_mean
from ..settings import set_threads

ACTIVATIONS = ("none", "relu6")
OPS = ("sum", "star")
DATASETS = ("ring", "moons", "checks", "halves")


def toy_data(name: str, n: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return n points in the plane and their classes: (n, 2) floats of about unit scale, (n,) of 0 and 1.

    Args:
        name: ``ring`` (a disc inside a ring), ``moons`` (two hooks), ``checks`` (a 2 × 2 chessboard, XOR) or
            ``halves`` (two half-planes, the easy one).
        n: points.
        seed: of the points' places; torch's global generator is not touched.

    Raises:
        WorkbenchError: no such data.

    >>> x, y = toy_data("ring", 200)
    >>> x.shape, y.sum().item()
    (torch.Size([200, 2]), 100)
    """
    if name not in DATASETS:
        raise WorkbenchError(f"no toy data {name!r}; there are {', '.join(DATASETS)}{did_you_mean(name, DATASETS)}")
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2  # (n,)
    noise = 0.08 * torch.randn(n, 2, generator=g)  # (n, 2)
    angle = 2 * torch.pi * torch.rand(n, generator=g)  # (n,)
    if name == "ring":
        radius = torch.where(y == 1, 1.3 + 0 * angle, 0.7 * torch.rand(n, generator=g).sqrt())  # (n,)
        return radius[:, None] * torch.stack((angle.cos(), angle.sin()), 1) + noise, y
    if name == "moons":
        angle = angle / 2
        x = torch.stack((angle.cos() - 0.5, angle.sin() - 0.25), 1)  # (n, 2)
        return torch.where(y[:, None] == 1, -x, x) + noise, y
    x = 2.4 * torch.rand(n, 2, generator=g) - 1.2  # (n, 2)
    label = (x[:, 0] * x[:, 1] > 0) if name == "checks" else (x[:, 0] + 0.5 * x[:, 1] > 0)
    return x, label.long()


class ToyNet(nn.Module):
    """Layers of two linear branches f1 and f2, added or multiplied, on two inputs; then one linear output.

    Args:
        op: ``"sum"`` or ``"star"``.
        width: outputs of each branch.
        act: ``"none"`` or ``"relu6"``, on f1 alone, as in StarNet's block.
        layers: how often the operation is stacked. Without activation, l star layers are a polynomial of degree 2^l.

    >>> ToyNet("star", 8)(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(self, op: str, width: int = 8, act: str = "none", layers: int = 1) -> None:
        super().__init__()
        if op not in OPS or act not in ACTIVATIONS:
            raise WorkbenchError(f"op={op!r}, act={act!r} given; expected op of {OPS} and act of {ACTIVATIONS}")
        self.op = op
        inputs = [2, *[width] * (layers - 1)]
        self.f1 = nn.ModuleList(nn.Linear(n, width) for n in inputs)
        self.f2 = nn.ModuleList(nn.Linear(n, width) for n in inputs)
        self.act: nn.Module = nn.ReLU6() if act == "relu6" else nn.Identity()
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for f1, f2 in zip(self.f1, self.f2, strict=True):
            a, b = self.act(f1(x)), f2(x)  # (n, width), (n, width)
            x = a * b if self.op == "star" else a + b  # (n, width)
        return self.out(x).squeeze(-1)  # (n,), above 0: class 1


@dataclass(frozen=True)
class ToyRun:
    """A trained toy network's surface and accuracy on points it was not trained on."""

    op: str
    act: str
    data: str
    width: int
    layers: int
    params: int
    accuracy: float  # on 400 other points
    x: Tensor  # (n, 2) training points
    y: Tensor  # (n,)
    extent: float  # the surface covers [−extent, extent]²
    surface: Tensor  # (81, 81), probability of class 1; row 0 is the lowest x₂


@functools.lru_cache(maxsize=64)
def train_toy(
    op: str, data: str = "ring", *, width: int = 8, act: str = "none", layers: int = 1, steps: int = 300, seed: int = 0
) -> ToyRun:
    """Train one toy network with Adam on 400 points; a fraction of a second, and the same again for the same arguments.

    Raises:
        WorkbenchError: an unknown op, activation or data set.
    """
    threads = set_threads(1)  # tensors this small are slower on more
    try:
        return _train(op, data, width, act, layers, steps, seed)
    finally:
        set_threads(threads)


def _train(op: str, data: str, width: int, act: str, layers: int, steps: int, seed: int) -> ToyRun:
    x, y = toy_data(data, seed=seed)  # (n, 2), (n,)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ToyNet(op, width, act, layers)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    with torch.enable_grad():
        for _ in range(steps):
            loss = nn.functional.binary_cross_entropy_with_logits(net(x), y.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    extent = 1.7
    line = torch.linspace(-extent, extent, 81)
    x1, x2 = torch.meshgrid(line, line, indexing="xy")  # (81, 81) each
    with torch.inference_mode():
        held_x, held_y = toy_data(data, seed=seed + 1)
        accuracy = ((net(held_x) > 0) == (held_y == 1)).float().mean().item()
        surface = torch.sigmoid(net(torch.stack((x1, x2), -1).reshape(-1, 2))).reshape(81, 81)
    params = sum(p.numel() for p in net.parameters())
    return ToyRun(op, act, data, width, layers, params, accuracy, x, y, extent, surface.clone())
