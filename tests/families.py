"""What the tests of the families share: small networks, calibrated statistics, one measure of difference."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.backbones import create_backbone

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = Path(__file__).parent / "fixtures"

# One network of each family that builds in milliseconds, and one for each configuration switch that changes its layers.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "fasternet": ("fasternet", {"embed_dim": 16, "depths": (1, 2, 1, 1), "feature_dim": 32, "drop_path_rate": 0.0}),
    "fasternet-scale": ("fasternet", {"embed_dim": 8, "depths": (1, 1, 1, 1), "layer_scale_init_value": 0.5}),
    "starnet": ("starnet", {"base_dim": 8, "depths": (1, 2, 1, 1)}),
    "mobileone": ("mobileone", {"num_blocks_per_stage": (1, 2, 2, 1), "width_multipliers": (0.25,) * 4}),
    "mobileone-k3-se": (
        "mobileone",
        {
            "num_blocks_per_stage": (1, 1, 2, 1), "width_multipliers": (0.25,) * 4, "num_conv_branches": 3,
            "use_se": True,
        },
    ),
    "vanillanet": ("vanillanet", {"dims": (16, 16, 32, 48, 48, 64), "strides": (1, 2, 2, 1, 2)}),
    "vanillanet-stem-is-p2": ("vanillanet", {"dims": (16, 24, 32, 48), "strides": (2, 2, 2), "act_num": 1}),
}  # fmt: skip


def small(key: str, **changes: Any) -> nn.Module:
    """Build one of `SMALL`, the same each time."""
    family, config = SMALL[key]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_backbone(family, **{**config, **changes})


def meta(name: str, **changes: Any) -> nn.Module:
    """Build a network of any size in no time: shapes without numbers."""
    with torch.device("meta"):
        return create_backbone(name, **changes).eval()


@torch.no_grad()
def calibrated(model: nn.Module, size: int = 64, seed: int = 0) -> nn.Module:
    """Give `model` random BN parameters and the statistics of a random batch, so that a wrong fold shows. Eval mode."""
    gen = torch.Generator().manual_seed(seed)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for bn in norms:
        bn.weight.uniform_(0.5, 1.5, generator=gen)
        bn.bias.normal_(0, 0.3, generator=gen)
        bn.momentum = 1.0  # statistics of the one batch below
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    model.train()(torch.randn(4, first.in_channels, size, size, generator=gen, dtype=first.weight.dtype))
    for bn in norms:
        bn.momentum = 0.1
    return model.eval()


@torch.no_grad()
def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every BN of `model` random parameters and statistics, without a forward pass. Eval mode."""
    gen = torch.Generator().manual_seed(seed)
    for bn in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        bn.weight.uniform_(0.5, 1.5, generator=gen)
        bn.bias.normal_(0, 0.2, generator=gen)
        bn.running_mean.normal_(0, 0.2, generator=gen)
        bn.running_var.uniform_(0.5, 1.5, generator=gen)
    return model.eval()


def tensors(output: Tensor | list[Tensor]) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(output)


@torch.no_grad()
def relative(a: Tensor | list[Tensor], b: Tensor | list[Tensor]) -> float:
    """Return the largest |a − b| / max |b| over one or more outputs; NaN if any is, which no tolerance passes."""
    pairs = zip(tensors(a), tensors(b), strict=True)
    return float(torch.stack([(x - y).abs().max() / y.abs().max() for x, y in pairs]).double().max())


def table(name: str) -> list[dict[str, str]]:
    """Return the rows of a committed table of reference values."""
    with (ROOT / "data" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def fixture(family: str) -> dict[str, Any]:
    """Return what the official code says about a fixture: configuration, seeds, sensitivities."""
    return json.loads((FIXTURES / f"{family}_A.json").read_text())
