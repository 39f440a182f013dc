"""The backbone lab: what networks cost, in one interleaved run, beside what they were said to cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..backbones.registry import FAMILIES, classes_for, family_of, is_backbone, unknown
from ..errors import WorkbenchError
from .candidates import FORMS, factory
from .correlation import COUNTS, rank_correlation
from .count import build, count
from .environment import describe
from .latency import latency
from .memory import peak_memory
from .stats import Ratio
from .tables import html_table, text_table
from .timing import Latency

# two sizes of each family, the smaller of which take at most some 10 ms on one core
DEFAULT = (
    *("fasternet_t0", "fasternet_t1", "starnet_s1", "starnet_s4"),
    *("mobileone_s0", "mobileone_s1", "vanillanet_5", "vanillanet_6"),
)
HEADER = (
    *("backbone", "form", "params", "MACs", "elements", "peak MiB", "median ms", "q1", "q3", "GMAC/s"),
    "MAC per byte",
)


@dataclass(frozen=True)
class BackboneLab:
    """Costs and latencies of several backbones. Prints as a table, fastest first.

    Attributes:
        rows: one dictionary per network and form: ``label``, ``backbone``, ``family``, ``form``, ``params``, ``macs``,
            ``activations`` (outputs of contractions), ``elements`` (written by every operator), ``bytes_moved``,
            ``peak_bytes``, ``latency_ms`` (median) with ``low_ms`` and ``high_ms`` (quartiles), ``gmacs_per_s``,
            ``n``, ``dropped``.
        timing: every sample, ratios, environment.
    """

    rows: list[dict[str, Any]]
    timing: Latency = field(repr=False)

    def row(self, label: str) -> dict[str, Any]:
        """Return one row.

        Raises:
            WorkbenchError: nothing of that label was measured.
        """
        for row in self.rows:
            if row["label"] == label:
                return row
        raise WorkbenchError(f"{label!r} was not measured; measured: {', '.join(r['label'] for r in self.rows)}")

    def rank_correlation(self, form: str | None = None, counts: Sequence[str] = COUNTS) -> dict[str, float]:
        """Return how well each count ranks the latencies, over all rows or those of one form; see there."""
        return rank_correlation([r for r in self.rows if form in (None, r["form"])], counts=counts)

    def speedup(self, name: str) -> Ratio:
        """Return how many times slower a backbone's train form is than its deploy form, with its interval."""
        return self.timing.ratio(f"{name} train", f"{name} deploy")

    def _table(self) -> tuple[list[str], list[list[Any]], str, list[str]]:
        body = [
            [r["backbone"], r["form"], r["params"], r["macs"], r["elements"], r["peak_bytes"] / 2**20,
             r["latency_ms"], r["low_ms"], r["high_ms"], r["gmacs_per_s"], r["macs"] / r["bytes_moved"]]
            for r in sorted(self.rows, key=lambda r: r["latency_ms"])
        ]  # fmt: skip
        notes = [describe(dict(self.timing.env)), "MACs = multiply-adds, 1 MAC = 2 FLOPs; one interleaved run"]
        return list(HEADER), body, f"input {self.timing.env.get('input', '?')}", notes

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def backbone_lab(
    names: Iterable[str] = DEFAULT,
    forms: Sequence[str] = ("deploy",),
    *,
    imgsz: int = 224,
    batch: int = 1,
    runtime: str = "eager",
    **options: Any,
) -> BackboneLab:
    """Count and time backbones, in both forms if wanted, in one interleaved run.

    Args:
        names: variants, names you registered, or ``"timm:MODEL"``; with 1000 classes where they can have a classifier.
        forms: ``"train"``, ``"deploy"`` or both. A train form is timed as it stands, in eval mode.
        imgsz: image side in pixels.
        batch: images per run; counts are of one run, too.
        runtime: see `runtimes`.
        **options: of `latency`: threads, device, layout, rounds, budget_s, progress, stop …

    Raises:
        WorkbenchError: an unknown name, form, runtime or setting.

    >>> lab = backbone_lab(["starnet_s050", "mobileone_s0"], imgsz=32, rounds=3, budget_s=5, progress=False)
    >>> [row["label"] for row in lab.rows], lab.row("starnet_s050 deploy")["macs"] > 0
    (['starnet_s050 deploy', 'mobileone_s0 deploy'], True)
    """
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if not is_backbone(name) or name in FAMILIES:
            raise unknown(name)
    if not chosen or not forms or set(forms) - set(FORMS):
        raise WorkbenchError(f"names={chosen!r}, forms={forms!r} given; expected variants, and {' or '.join(FORMS)}")
    recipes = {
        f"{name} {form}": factory(name, num_classes=classes_for(name), deploy=form == "deploy", runtime=runtime)
        for name in chosen
        for form in forms
    }
    timing = latency(recipes, imgsz=imgsz, batch=batch, count=False, **options)
    rows = [_row(label, timing, imgsz, batch) for label in timing.names if timing.summary(label).n]
    return BackboneLab(rows, timing)


def costs(name: str, form: str, imgsz: int = 224, batch: int = 1) -> dict[str, Any]:
    """Return what can be known of a backbone without timing it: counts and peak memory, exact.

    >>> costs("fasternet_t0", "train")["macs"]
    335422720
    """
    net = build(name, form == "deploy", batch * imgsz * imgsz)
    x = torch.zeros(batch, 3, imgsz, imgsz, device=next(net.parameters()).device)  # (B, 3, H, W)
    counted = count(net, x)
    return {
        "backbone": name, "family": family_of(name) or "other", "form": form, "params": counted.params,
        "macs": counted.macs, "activations": counted.activations, "elements": counted.elements,
        "bytes_moved": counted.bytes_moved, "peak_bytes": peak_memory(net, x).peak,
    }  # fmt: skip


def _row(label: str, timing: Latency, imgsz: int, batch: int) -> dict[str, Any]:
    name, _, form = label.rpartition(" ")
    known: Mapping[str, Any] = costs(name, form, imgsz, batch)
    s = timing.summary(label)
    times = {"latency_ms": 1e3 * s.median_s, "low_ms": 1e3 * s.q1_s, "high_ms": 1e3 * s.q3_s}
    return {"label": label, **known, **times, "gmacs_per_s": known["macs"] / s.median_s / 1e9, "n": s.n,
            "dropped": s.dropped}  # fmt: skip
