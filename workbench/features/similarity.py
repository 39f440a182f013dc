"""How alike two layers are, by centred kernel alignment with the unbiased estimator.

Kornblith et al., "Similarity of Neural Network Representations Revisited" (2019) compare Gram matrices; with few
examples and many features their estimator is biased towards 1. Song et al. (2012) give the unbiased HSIC₁ used here,
and Nguyen et al. (2021) its average over minibatches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import WorkbenchError
from .capture import capture


def hsic1(k: Tensor, m: Tensor) -> Tensor:
    """Return the unbiased HSIC₁ of two Gram matrices (n, n), n ≥ 4 (Song et al. 2012, equation 5).

    The diagonals are set to zero, which removes each example's similarity to itself, the source of the bias.
    """
    n = k.shape[0]
    k, m = k - torch.diag(torch.diagonal(k)), m - torch.diag(torch.diagonal(m))  # (n, n)
    trace = (k * m.T).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    cross = 2 * (k.sum(0) @ m.sum(1)) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def gram(x: Tensor) -> Tensor:
    """Return the Gram matrix (n, n) of n examples (n, …) in double precision."""
    flat = x.detach().flatten(1).double()  # (n, p)
    return flat @ flat.T


def cka(x: Tensor, y: Tensor) -> float:
    """Return the unbiased linear CKA of two layers on the same n examples: 1 for equal up to rotation and scale.

    Args:
        x: (n, …), n ≥ 4.
        y: (n, …), any number of features.

    Raises:
        WorkbenchError: fewer than four examples, or not the same number.

    >>> x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    >>> rotation = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))[0]
    >>> round(cka(x, 3 * x @ rotation), 6)
    1.0
    """
    if x.shape[0] != y.shape[0] or x.shape[0] < 4:
        raise WorkbenchError(
            f"CKA of {x.shape[0]} and {y.shape[0]} examples; expected the same 4 or more on both sides"
        )
    k, m = gram(x), gram(y)
    scale = (hsic1(k, k) * hsic1(m, m)).clamp_min(0).sqrt()
    return float(hsic1(k, m) / scale) if scale > 0 else float("nan")


def cka_matrix(
    a: nn.Module, names_a: Sequence[str], b: nn.Module, names_b: Sequence[str], batches: Iterable[Tensor]
) -> Tensor:
    """Return CKA between layers of two networks, (len(names_a), len(names_b)), with HSIC₁ averaged over batches.

    Args:
        a: first network, and the modules or levels to compare.
        names_a: of `a`.
        b: second network; may be the same.
        names_b: of `b`.
        batches: image batches (n, C, H, W), n ≥ 4 each.

    Returns:
        NaN where a layer has the same output for every image, which is like nothing.

    Raises:
        WorkbenchError: no batch, or one with fewer than four images.
    """
    cross = torch.zeros(len(names_a), len(names_b), dtype=torch.float64)
    own_a, own_b = (torch.zeros(len(n), dtype=torch.float64) for n in (names_a, names_b))
    seen = 0
    for batch in batches:
        if batch.shape[0] < 4:
            raise WorkbenchError(f"a batch of {batch.shape[0]} images given; unbiased CKA needs 4 or more in each")
        left = [gram(t) for t in capture(a, batch, names_a).values()]
        right = [gram(t) for t in capture(b, batch, names_b).values()]
        cross += torch.stack([torch.stack([hsic1(k, m) for m in right]) for k in left])
        own_a += torch.stack([hsic1(k, k) for k in left])
        own_b += torch.stack([hsic1(m, m) for m in right])
        seen += 1
    if not seen:
        raise WorkbenchError("no batch given; CKA needs at least one batch of 4 images")
    scale = (own_a[:, None] * own_b[None, :]).clamp_min(0).sqrt()
    return torch.where(scale > 0, cross / scale, torch.nan)  # as `cka`: a layer that says nothing is like no other
