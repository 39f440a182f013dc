"""The operator lab: what is stacked, what the papers print, what the table and the panel say. No speed is asserted."""

import pytest
import torch

from workbench.errors import WorkbenchError
from workbench.measure import Latency, OperatorTable, count, operator_table, published
from workbench.measure.operators import FOUR, LAYERS, OPERATORS, SHAPES, candidate, stack
from workbench.measure.stats import Sample
from workbench.panels import OperatorLab
from workbench.plots.latency import achieved_rates, cost_against_latency, pareto_front, table1_heatmap, waterfall

TINY = {"rounds": 2, "budget_s": 30.0, "sample_ms": 0.2, "progress": False, "process": "here"}


@pytest.mark.parametrize("row", published("fasternet_table1"), ids=lambda r: f"{r['operator']}-{r['channels']}")
def test_our_macs_are_those_the_paper_divides_by(row):
    """latency × rate = MACs, to the rounding of the printed milliseconds."""
    model = stack(row["operator"], row["channels"], row["layers"])
    macs = count(model, torch.zeros(1, row["channels"], row["size"], row["size"])).macs
    assert macs == pytest.approx(row["cpu_ms"] * row["cpu_gmacs_per_s"] * 1e6, rel=0.02)


def test_published_means_are_the_means_of_the_published_rows():
    means = {r["operator"]: r["gmacs_per_s"] for r in published("fasternet_table1_means") if r["device"] == "cpu"}
    for op, mean in means.items():
        rates = [r["cpu_gmacs_per_s"] for r in published("fasternet_table1") if r["operator"] == op]
        assert sum(rates) / 4 == pytest.approx(mean, abs=0.02)
    assert means["pconv"] / means["depthwise"] == pytest.approx(6.2, abs=0.05)  # the paper's claim for CPU


def test_published_tables_are_whole():
    rows = published("latency")
    assert {r["paper"].split(",")[0] for r in rows} == {"FasterNet", "StarNet", "MobileOne", "VanillaNet"}
    assert all(r["value"] > 0 and r["unit"] in ("ms", "images/s") for r in rows)
    t0 = {r["device"]: r["value"] for r in rows if r["model"] == "fasternet_t0" and r["paper"].startswith("FasterNet")}
    assert t0 == {"GPU": 6807, "CPU, one thread": 9.2, "ARM": 143}
    with pytest.raises(WorkbenchError, match="there are fasternet_table1"):
        published("nothing")


@pytest.mark.parametrize("forms", [("pconv", "pconv, slicing", "pconv, in-place")])
def test_the_forms_of_pconv_compute_the_same(forms):
    stacks = [stack(f, 32, 3) for f in forms]
    for other in stacks[1:]:
        other.load_state_dict(dict(zip(other.state_dict(), stacks[0].state_dict().values(), strict=True)), strict=True)
    x = torch.randn(1, 32, 9, 9)
    with torch.no_grad():
        first, *rest = [s(x.clone()) for s in stacks]
    assert all(torch.allclose(first, r, atol=1e-6) for r in rest)


def test_an_in_place_stack_can_run_twice_on_one_input():
    s, x = stack("pconv, in-place", 32, 2), torch.randn(1, 32, 6, 6)
    with torch.no_grad():
        assert torch.equal(s(x), s(x))


def test_star_and_sum_differ_only_in_the_product():
    star, plus = stack("star", 16, 1), stack("sum", 16, 1)
    plus.load_state_dict(star.state_dict())
    x = torch.randn(1, 16, 5, 5)
    a, b = star[0].f1(x), star[0].f2(x)
    assert torch.equal(star(x), a * b)
    assert torch.equal(plus(x), a + b)
    assert count(star, x).macs == count(plus, x).macs


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_a_recipe_for_the_child(name):
    recipe = candidate(name, 32, 8, layers=2)
    assert recipe.shape == (1, 32, 8, 8)
    with torch.no_grad():
        assert recipe.build()(torch.zeros(1, 32, 8, 8)).shape == (1, 32, 8, 8)


def synthetic(seconds):
    """A table whose times are made up: operator → seconds at 192 × 28²."""
    samples = {op: [Sample(i, t, t, 1, 0.0) for i in range(20)] for op, t in seconds.items()}
    macs = {op: count(stack(op, 192), torch.zeros(1, 192, 28, 28)).macs for op in seconds}
    latency = Latency(samples, {"threads": 1, "device": "cpu"}, next(iter(seconds)), macs=macs)
    return OperatorTable(latency, {op: (op, 192, 28) for op in seconds})


def test_table_by_hand():
    table = synthetic({"conv": 0.026, "pconv": 0.003, "depthwise": 0.002})
    conv = table.rows()[0]
    assert conv["macs"] == 10 * 9 * 192**2 * 28**2
    assert conv["gmacs_per_s"] == pytest.approx(conv["macs"] / 0.026 / 1e9)
    assert (conv["paper_ms"], conv["paper_gmacs_per_s"]) == (28.41, 91.53)
    assert table.ranking(192) == ["depthwise", "pconv", "conv"]
    assert table.mean_rate("conv") == conv["gmacs_per_s"]
    for part in ("paper GMAC/s", "28.41", "192 × 28²", "thread", "i9-9900X"):
        assert part in str(table)
        assert part in table._repr_html_()
    with pytest.raises(WorkbenchError, match="was not measured"):
        table.mean_rate("star")


def test_figures_draw_what_the_table_says():
    table = synthetic({"conv": 0.026, "pconv": 0.003})
    ax = achieved_rates(table)
    assert [round(p.get_height(), 3) for p in ax.patches] == [round(r["gmacs_per_s"], 3) for r in table.rows()]
    assert [t.get_text() for t in table1_heatmap(table).texts] == ["26", "3"]


def test_cost_figures():
    rows = [{"candidate": n, "macs": m, "median_ms": t, "iqr_ms": 0.1} for n, m, t in (("a", 1, 3), ("b", 2, 9))]
    assert {t.get_text() for t in cost_against_latency(rows).texts} == {"a", "b"}
    assert pareto_front({"a": (1.0, 1.0)}) == ["a"]
    assert pareto_front({"a": (1, 1), "b": (1, 2), "c": (2, 1)}) == ["a"]
    with pytest.raises(WorkbenchError, match="no row has both"):
        cost_against_latency([{"candidate": "a"}])
    parts = count(stack("conv", 16, 3), torch.zeros(1, 16, 8, 8)).parts()
    assert len(waterfall(parts).patches) == 3


def test_a_real_table_runs_every_shape_interleaved():
    t = operator_table(("depthwise", "pconv"), ((32, 8), (64, 4)), layers=2, **TINY)
    assert t.shapes == [(32, 8), (64, 4)]
    assert len(t.rows()) == 4
    assert all(r["paper_ms"] is None for r in t.rows())  # not the paper's shapes
    assert len(SHAPES) == len(FOUR) == 4
    assert LAYERS == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: operator_table(("convv",), **TINY), "did you mean 'conv'"),
        (lambda: operator_table(("group conv",), ((24, 8),), **TINY), "choose a multiple of 16"),
        (lambda: operator_table(mode="warm", **TINY), "expected one of clean"),
        (lambda: stack("conv", 0), "positive integers"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(WorkbenchError, match=message) as e:
        call()
    assert "\n" not in str(e.value)


def test_panel_measures_and_says_what_it_did():
    lab = OperatorLab(budget_s=10, rounds=2, channels=96, size=14, operators=("depthwise", "pconv"))
    table = lab.result
    assert table.operators == ["depthwise", "pconv"]
    assert lab.picture.value[:4] == b"\x89PNG"
    for part in ("latency = MACs", "depthwise", "thread", "torch"):
        assert part in lab.words.value
    lab.set(channels=192, size=28, operators=("depthwise",))
    assert lab.result.rows()[0]["paper_ms"] == 1.97
    assert "paper 1.97 ms" in lab.words.value
    lab.set(batch=4)
    assert lab.result.rows()[0]["paper_ms"] is None
    assert lab.result.latency.env["input"] == "4×192×28×28"


def test_panel_refuses_and_goes_on():
    lab = OperatorLab(budget_s=10, rounds=1, channels=32, size=7, operators=("depthwise",))
    lab.controls["operators"].value = ()
    assert "no operator chosen" in lab.words.value
    with pytest.raises(WorkbenchError, match="no control"):
        lab.set(chanels=32)
    with pytest.raises(WorkbenchError, match="no control"):
        OperatorLab(colour=3)
    lab.set(operators=("pointwise",))
    assert lab.result.operators == ["pointwise"]
