"""The backbone lab: rows equal the ruler's counts, ranks are Spearman's, memory is exact, timm's networks are ours."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from families import table
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench import _torchvision
from workbench.errors import WorkbenchError
from workbench.measure import backbone_lab, bench, costs, peak_memory, published_correlation, rank_correlation
from workbench.measure.correlation import spearman
from workbench.measure.rivals import ours, summed, theirs

QUICK = {"imgsz": 32, "rounds": 3, "budget_s": 20, "sample_ms": 1, "progress": False, "process": "here"}


@pytest.fixture(scope="module")
def lab():
    return backbone_lab(["starnet_s050", "mobileone_s0"], ("train", "deploy"), **QUICK)


def test_every_row_has_the_rulers_counts(lab):
    assert [r["label"] for r in lab.rows] == [
        f"{n} {form}" for n in ("starnet_s050", "mobileone_s0") for form in ("train", "deploy")
    ]
    for row in lab.rows:
        counted = wb.measure.count(ours(row["backbone"], row["form"]), imgsz=32)
        assert (row["macs"], row["params"]) == (counted.macs, counted.params)
        assert (row["activations"], row["elements"]) == (counted.activations, counted.elements)
        assert row["low_ms"] <= row["latency_ms"] <= row["high_ms"]
        assert row["gmacs_per_s"] == pytest.approx(row["macs"] / row["latency_ms"] / 1e6)


def test_counts_at_224_are_the_tables():
    rows = {row["variant"]: row for row in table("backbones.csv")}
    for name, form in (("fasternet_t0", "train"), ("mobileone_s0", "deploy"), ("starnet_s1", "train")):
        assert costs(name, form)["macs"] == int(rows[name][f"macs_{form}"])
        assert costs(name, form)["params"] == int(rows[name][f"params_{form}"])


def test_it_prints_with_its_environment(lab):
    text = str(lab)
    assert "mobileone_s0" in text
    assert "1 MAC = 2 FLOPs" in text
    assert "thread" in text
    assert set(lab.rank_correlation()) == {"macs", "activations", "params"}
    assert lab.speedup("mobileone_s0").n > 0
    with pytest.raises(WorkbenchError, match="was not measured; measured: starnet_s050 train"):
        lab.row("resnet")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["starnet_s11"],), "did you mean 'starnet_s1'"),
        ((["starnet"],), "'starnet' is a family; name one of its variants: starnet_s1, starnet_s2"),
        ((["starnet_s1"], ("thin",)), "deploy or train"),
        (([],), "expected variants"),
    ],
)
def test_what_cannot_be_measured_is_said_first(arguments, says, bad_input):
    with pytest.raises(WorkbenchError, match=says) as caught:
        backbone_lab(*arguments, **QUICK)
    bad_input("measuring", f"backbone_lab{arguments}", caught.value)


def test_spearman_on_values_worked_out_by_hand():
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826816681233)  # ties share a rank
    assert spearman([1, 2, 3], [9, 4, 1]) == -1
    assert spearman([1, 1], [1, 2]) != spearman([1, 1], [1, 2]), "no order, no correlation"
    with pytest.raises(WorkbenchError, match="same length"):
        spearman([1, 2], [1])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12))
def test_a_rank_correlation_sees_order_only(pairs):
    a, b = zip(*pairs, strict=True)
    first = spearman(a, b)
    assert first != first or -1 <= first <= 1
    stretched = spearman([v**3 for v in a], [2.0**v for v in b])
    assert first == stretched or (first != first and stretched != stretched)


def test_two_rows_are_no_correlation():
    with pytest.raises(WorkbenchError, match="at least 3"):
        rank_correlation([{"macs": 1, "latency_ms": 2}] * 2)


def test_the_papers_own_tables():
    """Within one family every count ranks; across families the papers' own numbers say otherwise."""
    found = {(row["paper"], row["device"]): row for row in published_correlation()}
    assert all(row["n"] >= 4 for row in found.values())
    own = [r["macs"] for (paper, _), r in found.items() if paper == "FasterNet, table 3"]
    assert own == [1.0, 1.0, 1.0]
    assert found["StarNet, table of comparisons", "GPU P100"]["macs"] < 0.6


class Chain(nn.Module):
    """a → b → c, each as large as its input; what is alive at once depends on `keep`."""

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x):
        y = x + 1
        z = y * 2
        if not self.keep:
            del y
        w = z - 1
        return (w, y) if self.keep else w


@pytest.mark.parametrize("name", ["fasternet_t1", "starnet_s050", "mobileone_s0"])
@pytest.mark.parametrize("deploy", [False, True])
def test_peak_memory_is_the_same_on_the_meta_device(name, deploy):
    real = wb.create_backbone(name, num_classes=1000, deploy=deploy).eval()
    with torch.device("meta"):
        ghost = wb.create_backbone(name, num_classes=1000, deploy=deploy).eval()
    found = peak_memory(ghost, torch.zeros(1, 3, 64, 64, device="meta"))
    assert found == peak_memory(real, torch.zeros(1, 3, 64, 64))


def test_peak_memory_counts_what_is_alive_at_once():
    x = torch.zeros(1, 1, 16, 16)  # 1024 bytes
    assert peak_memory(Chain(keep=False).eval(), x).activations == 3 * 1024  # input, z, w
    assert peak_memory(Chain(keep=True).eval(), x).activations == 4 * 1024
    view = nn.Sequential(nn.Flatten(), nn.Identity()).eval()
    assert peak_memory(view, x).activations == 1024, "a view holds no memory of its own"
    linear = nn.Linear(16, 16, bias=False)
    assert peak_memory(linear, x).weights == 1024
    assert peak_memory(nn.ReLU(inplace=True), x.clone()).activations == 1024


@pytest.mark.parametrize("form", ["train", "deploy"])
@pytest.mark.parametrize("name", ["fasternet_t0", "starnet_s050", "mobileone_s0"])
@torch.inference_mode()
def test_the_rival_is_the_same_network_with_the_same_weights(name, form):
    _torchvision.ensure()  # timm imports torchvision, whose compiled operators not every torch can load
    pytest.importorskip("timm", reason="timm comes with the extra reference")
    x = torch.rand(1, 3, 64, 64)
    a, b = ours(name, form)(x), theirs(name, form)(x)
    assert ((a - b).abs().max() / b.abs().max()).item() < 1e-4


def test_no_rival_for_vanillanet():
    with pytest.raises(WorkbenchError, match="timm has no 'vanillanet_5'"):
        theirs("vanillanet_5")


@torch.inference_mode()
def test_a_sum_for_the_star_costs_the_same_and_computes_something_else():
    star, total = ours("starnet_s050"), summed("starnet_s050")
    x = torch.rand(1, 3, 64, 64)
    counted = [wb.measure.count(net, x) for net in (star, total)]
    assert counted[0].macs == counted[1].macs
    assert counted[0].params == counted[1].params
    assert not torch.allclose(star(x), total(x), rtol=1e-3)
    assert counted[0].by_operator()["mul"]["calls"] == counted[1].by_operator()["add"]["calls"] - 6  # six shortcuts
    with pytest.raises(WorkbenchError, match="no star to replace"):
        summed("fasternet_t0")


def test_the_recorded_runs_hold_what_the_bench_asks():
    """Every setting twice, the required mean reached, and intervals that held on a real machine."""
    folder = Path(bench.__file__).parents[2] / "data" / "results"
    rows = list(csv.DictReader((folder / "bench_rivals.csv").open(encoding="utf-8")))
    numeric = [{k: _number(v) for k, v in row.items()} for row in rows]
    assert {r["run"] for r in numeric} == {1, 2}
    assert {(r["batch"], r["threads"]) for r in numeric} == set(bench.SETTINGS)
    for run in (1, 2):
        own = [r for r in numeric if r["run"] == run]
        best = bench.best_deploy(own)
        assert len(best) == len(bench.SETTINGS) * len(bench.NAMES)
        assert bench.geometric_mean(best) >= 1.0
    tested = list(csv.DictReader((folder / "bench_selftest.csv").open(encoding="utf-8")))
    assert all(int(r["covered"]) >= 34 and int(r["slower"]) >= 34 for r in tested)


def _number(text: str) -> float | int | str:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text
