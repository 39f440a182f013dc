"""From the training form to the deploy form: fold conv + BN, merge branches, and prove that nothing changed.

The protocol, for any module:

- a module that changes form has ``reparameterize() -> None``: in place, idempotent, without a check;
- a conv and the BN behind it that are not neighbours in an ``nn.Sequential`` are named by a class attribute,
  ``bn_pairs = (("proj", "norm"),)``;
- ``waits_for_ramp = True`` marks modules whose `reparameterize` is exact only once the activation ramp is 1.

`to_deploy_` applies it in place and checks nothing; `deploy` gives a copy that has been compared with the original.
"""

from __future__ import annotations

import copy
import itertools
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import WorkbenchError
from .layers import fold_conv_bn
from .ramp import ramp_schedule, ramp_value, ready_to_merge, set_activation_ramp

__all__ = [
    "DeployReport", "deploy", "is_deployed", "ramp_schedule", "ramp_value", "ready_to_merge", "set_activation_ramp",
    "to_deploy_",
]  # fmt: skip

log = logging.getLogger("workbench")
EXACT = 1e-6  # in float64: ill-conditioned networks reach 1e-9
CHECK_SIZE = 64  # side of the random image that `deploy` compares on: P5 still has 2×2 positions
# Float noise of a sum taken in another order, times a wide margin; a forgotten branch or BN is off by 1e-2 and more.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}


@dataclass(frozen=True)
class DeployReport:
    """What `deploy` measured; it is kept on the result as ``deploy_report``."""

    difference: float  # largest |deploy − train| over the outputs, relative to the largest |train|
    difference_float64: float | None  # the same in float64, measured when `difference` alone was not convincing
    params_train: int
    params_deploy: int
    input_shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        shape = "×".join(map(str, self.input_shape))
        exact = "" if self.difference_float64 is None else f"; in float64 by {self.difference_float64:.1e}"
        return (
            f"deploy form: {self.params_train:,} → {self.params_deploy:,} parameters, outputs differ by at most "
            f"{self.difference:.1e} (relative, {self.dtype}, input {shape}){exact}"
        )


def to_deploy_(model: nn.Module, *, merge: bool = True) -> nn.Module:
    """Switch `model` to its deploy form in place, unverified, and return it. Draws no random number; works on meta.

    Args:
        model: any module; parts that the protocol does not reach stay as they are.
        merge: False leaves the pairs of modules that wait for a ramp (VanillaNet's) and only folds their BN, which is
            exact at any ramp. A later call can still merge them.

    Raises:
        WorkbenchError: `model` is no network.

    >>> from workbench.backbones import create_backbone
    >>> m = to_deploy_(create_backbone("mobileone_s0"))
    >>> sum(p.numel() for p in m.parameters())
    1053504
    """
    _expect_network(model, "to_deploy_")
    for module in reversed(list(model.modules())):  # children before their parents
        switch = getattr(module, "reparameterize", None)
        if callable(switch) and (merge or not getattr(module, "waits_for_ramp", False)):
            switch()
    for module in list(model.modules()):
        _fold_bn_(module)
    return model


def _expect_network(model: object, call: str) -> None:
    if not isinstance(model, nn.Module):
        raise WorkbenchError(
            f"{call}() got {model!r:.60}, not a network; give what wb.create_backbone(…) or torch built, after .eval()"
        )


def _fold_bn_(module: nn.Module) -> None:
    """Fold each conv + BN pair among the direct children of `module`, in place; the BN becomes an identity."""
    children = module._modules
    pairs = list(getattr(module, "bn_pairs", ()))
    if isinstance(module, nn.Sequential):
        pairs += itertools.pairwise(children)
    for conv_name, bn_name in pairs:
        conv, bn = children[conv_name], children[bn_name]
        if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d) and bn.running_var is not None:
            children[conv_name] = fold_conv_bn(conv, bn)
            children[bn_name] = nn.Identity().train(bn.training)


def is_deployed(model: nn.Module) -> bool:
    """Return whether `model` is in its deploy form: `to_deploy_` would change nothing.

    >>> from workbench.backbones import create_backbone
    >>> [is_deployed(create_backbone("starnet_s050", deploy=form)) for form in (False, True)]
    [False, True]
    """
    shapes: dict[int, Any] = {}  # a copy of the structure alone: each tensor is replaced by one without data
    for p in model.parameters():
        shapes[id(p)] = nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
    for b in model.buffers():
        shapes[id(b)] = b.detach().to("meta")
    skeleton = copy.deepcopy(model, shapes)
    before = [(name, type(m)) for name, m in skeleton.named_modules()]
    return before == [(name, type(m)) for name, m in to_deploy_(skeleton).named_modules()]


def deploy(model: nn.Module, x: Tensor | None = None, *, tolerance: float | None = None) -> nn.Module:
    """Return a copy of `model` in its deploy form, compared with the original on `x`. `model` is left as it is.

    The copy can be trained further (each merged weight is trainable if its convolution was) and deployed again, which
    changes nothing. ``result.deploy_report`` has the largest relative difference; the same line goes to the log.

    Args:
        model: in eval mode.
        x: an input to compare on, (B, in_chans, H, W). None: a random image batch (2, in_chans, 64, 64).
        tolerance: the largest relative difference that passes. None: 1e-3 in float32, 1e-9 in float64; a network that
            amplifies rounding beyond that (any order of summation then gives other outputs) is compared in float64.

    Raises:
        WorkbenchError: `model` is no network, is in training mode, has no weights (meta device), has an activation ramp
            below 1 (the message says by how much the outputs would be wrong), or the outputs differ by more than
            `tolerance`.

    >>> from workbench.backbones import create_backbone
    >>> m = create_backbone("starnet_s050", num_classes=10).eval()
    >>> deploy(m).deploy_report.difference < 1e-4
    True
    """
    _expect_network(model, "deploy")
    if any(m.training for m in model.modules()):
        raise WorkbenchError("deploy() got a training-mode model, whose BN statistics still move; call .eval() first")
    weight = next(model.parameters(), None)
    if weight is None or weight.is_meta:
        raise WorkbenchError("deploy() got a model without weights, nothing to compare; use to_deploy_() instead")
    x = _random_image(model, weight) if x is None else x
    result = to_deploy_(copy.deepcopy(model))
    difference = _relative_difference(model, result, x)
    if not ready_to_merge(model):
        raise WorkbenchError(
            f"activation ramp is {ramp_value(model):g}: merging is exact only at 1; now it would change the outputs by "
            f"{difference:.2g} (relative); train on until the ramp is 1, see set_activation_ramp()"
        )
    limit = TOLERANCE.get(weight.dtype, 1e-3) if tolerance is None else tolerance
    exact = None
    if tolerance is None and difference > limit and weight.dtype != torch.float64:
        wide = copy.deepcopy(model).to("cpu", torch.float64)
        exact = _relative_difference(wide, to_deploy_(copy.deepcopy(wide)), x.to("cpu", torch.float64))
    if not (difference <= limit or (exact is not None and exact <= EXACT)):  # so written, NaN fails too
        raise WorkbenchError(
            f"deploy form differs by {difference:.2g} (relative) from the training form, more than {limit:g}"
            + ("" if exact is None else f", and by {exact:.2g} in float64")
            + "; check the BN statistics and each reparameterize()"
        )
    report = DeployReport(
        difference=difference,
        difference_float64=exact,
        params_train=sum(p.numel() for p in model.parameters()),
        params_deploy=sum(p.numel() for p in result.parameters()),
        input_shape=tuple(x.shape),
        dtype=str(weight.dtype).removeprefix("torch."),
    )
    log.info("%s", report)
    result.deploy_report = report  # type: ignore[assignment]
    return result


def _random_image(model: nn.Module, weight: Tensor) -> Tensor:
    """Return a random image batch (2, in_chans, 64, 64) for `model`, from a generator of its own."""
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is None:
        raise WorkbenchError(f"deploy() found no conv in {type(model).__name__}; pass an input, deploy(model, x)")
    x = torch.randn(2, conv.in_channels, CHECK_SIZE, CHECK_SIZE, generator=torch.Generator().manual_seed(0))
    return x.to(weight.device, weight.dtype)


@torch.no_grad()
def _relative_difference(reference: nn.Module, other: nn.Module, x: Tensor) -> float:
    """Return the largest |other − reference| / max |reference| over all outputs."""
    pairs = zip(_tensors(reference(x)), _tensors(other(x)), strict=True)
    parts = [(b - a).abs().max() / a.abs().max().clamp_min(torch.finfo(a.dtype).tiny) for a, b in pairs]
    return float(torch.stack([part.double().cpu() for part in parts]).max())  # unlike Python's max, it keeps a NaN


def _tensors(output: Any) -> list[Tensor]:
    """Return the floating-point tensors in a nested output, in order."""
    return [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]
