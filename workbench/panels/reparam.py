"""The Reparam panel: one block before, during and after merging, by touch."""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import torch

from ..backbones.anatomy import FAMILIES, SIZE, STEPS, block_anatomy
from ..errors import WorkbenchError
from ..measure.latency import latency
from ..plots.reparam import block_step
from ._careful import alert
from ._lesson import LessonPanel
from ._reason import reason

SEEN = {
    (
        "mobileone",
        "branches",
    ): "As trained: each kernel has its own BN behind it, and the skip is a BN alone.",
    ("mobileone", "folded"): "Every BN is in its kernel now; the skip has become a kernel with one weight.",
    ("mobileone", "merged"): "The merged kernel is the sum of the others, weight by weight.",
    ("vanillanet", "branches"): "As trained: two matrices, a BN behind each and the activation between them.",
    ("vanillanet", "folded"): "Every BN is in its matrix now; the activation is still between them.",
    (
        "vanillanet",
        "merged",
    ): "The merged matrix is second · first, as if nothing stood between; on the right, is that true?",
}


def _state(family: str, channels: int, branches: int, ramp: float, step: str, channel: int) -> dict[str, Any]:
    if channel >= channels:
        raise WorkbenchError(f"channel={channel} of a block with {channels} channels; expected 0 to {channels - 1}")
    anatomy = block_anatomy(family, channels, branches=branches, ramp=ramp)
    return {**anatomy.numbers(), "step": step, "channel": channel, "anatomy": anatomy}


def _say(r: dict[str, Any]) -> str:
    wrong = r["largest_difference"] > 1e-3
    verdict = "merging it now would be <b>wrong</b>" if wrong else "merging is exact up to rounding"
    rows = [("parameters", "params", ",d"), (f"MACs at {SIZE}×{SIZE}", "macs", ",d"), ("milliseconds", "ms", ".4f")]
    cells = "".join(
        f"<tr><th style='text-align:left'>{what}</th>"
        + "".join(f"<td style='text-align:right;padding:0 1em'>{r[key][form]:{as_}}</td>" for form in r[key])
        + "</tr>"
        for what, key, as_ in rows
        if key in r
    )
    times = (
        f" The branches take {r['speedup']} × the merged form's time, here, on one thread." if "speedup" in r else ""
    )
    return (
        f"{SEEN[r['family'], r['step']]}<table><tr><th></th><th>branches</th><th>merged</th></tr>{cells}</table>"
        f"Largest difference, relative to the largest output: <b>{r['largest_difference']:.1e}</b>; {verdict}.{times}"
    )


class Reparam(LessonPanel):
    """A MobileOne or VanillaNet block: its branches, their folded kernels, and what they merge into.

    Args:
        family: ``"mobileone"`` or ``"vanillanet"``.
        channels: of the block, 2 to 64.
        branches: MobileOne's parallel convolutions, 1 to 6.
        ramp: VanillaNet's activation ramp, 0 (ReLU between the two convolutions) to 1 (identity: mergeable).
        step: ``"branches"`` (as trained), ``"folded"`` (BN folded in) or ``"merged"``.
        channel: the output channel whose kernels are drawn (MobileOne).

    Result: ``params`` and ``macs`` of both forms, ``largest_difference``, and the `Anatomy` with all kernels; ``ms``
    of both forms and ``speedup``, with its interval, once `time` or the button has measured this block.

    >>> panel = Reparam("mobileone", channels=8)
    >>> panel.set(step="merged").result["largest_difference"] < 1e-5
    True
    """

    def __init__(
        self, family: str = "mobileone", channels: int = 16, branches: int = 4, ramp: float = 1.0,
        step: str = "branches", channel: int = 0,
    ) -> None:  # fmt: skip
        late: dict[str, Any] = {"continuous_update": False}
        controls: dict[str, Any] = {
            "family": widgets.Dropdown(options=FAMILIES, value=family),
            "step": widgets.SelectionSlider(options=STEPS, value=step),
            "channels": widgets.IntSlider(channels, 2, 64, **late),
            "channel": widgets.IntSlider(channel, 0, 63, description="draw channel", **late),
            "branches": widgets.IntSlider(branches, 1, 6, description="conv branches", **late),
            "ramp": widgets.FloatSlider(ramp, min=0, max=1, step=0.05, description="ramp a", **late),
        }

        def draw(r: dict[str, Any], figure: Any) -> None:
            mobile = r["family"] == "mobileone"
            controls["branches"].disabled = controls["channel"].disabled = not mobile
            controls["ramp"].disabled = mobile
            figure.set_size_inches(9.2, 2.1 if mobile else 2.9)
            block_step(r["anatomy"], r["step"], r["channel"], figure)

        self._timed: dict[tuple[Any, ...], dict[str, Any]] = {}
        super().__init__(controls, self._with_times, draw, _say, (9.2, 2.9))
        self.button = widgets.Button(description="time both", tooltip="measure both forms in one interleaved run: 2 s")
        self.button.on_click(self._clicked)
        self.widget.children = (*self.widget.children, self.button)

    def time(self, budget_s: float = 2.0, rounds: int = 25) -> Reparam:
        """Measure the block with its branches and merged, one thread, one image, in one interleaved run."""
        anatomy = self.result["anatomy"]
        x = torch.randn(
            1, self.state["channels"], SIZE, SIZE, generator=torch.Generator().manual_seed(0)
        )  # (1, C, H, W)
        measured = latency(
            anatomy.forms, x, baseline="merged", budget_s=budget_s, rounds=rounds, sample_ms=5.0, process="here",
            count=False, progress=False,
        )  # fmt: skip
        ms = {form: measured.median_ms(form) for form in anatomy.forms}
        self._timed[self._block()] = {"ms": ms, "speedup": measured.ratio("branches")}
        self._update(strict=True)
        return self

    def _block(self) -> tuple[Any, ...]:
        return tuple(self.state[name] for name in ("family", "channels", "branches", "ramp"))

    def _with_times(self, **state: Any) -> dict[str, Any]:
        return _state(**state) | self._timed.get(self._block(), {})

    def _clicked(self, _button: Any) -> None:
        self.button.disabled, self.button.description = True, "timing …"
        try:
            self.time()
        except WorkbenchError as e:
            self.words.value = alert(reason(e))
        finally:
            self.button.disabled, self.button.description = False, "time both"
