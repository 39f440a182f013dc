"""The benchmarks of `make bench`: what they run, and what they conclude from numbers. Never how fast anything is."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch

from workbench.measure import Latency, bench, progress, selftest
from workbench.measure.rounds import Progress
from workbench.measure.stats import Ratio, Summary
from workbench.settings import set_threads


@pytest.fixture(autouse=True)
def one_thread():
    before = set_threads(1)
    yield
    set_threads(before)


# ------------------------------------------------------------------ the ruler's


class Made:
    """A result of `latency` with chosen medians: a ratio is the quotient, its interval a tenth to both sides."""

    ending, env = "25 rounds", {"threads": 1}

    def __init__(self, medians: dict[str, float]) -> None:
        self.medians, self.names = medians, list(medians)

    def summary(self, name: str) -> SimpleNamespace:
        s = self.medians[name]
        return SimpleNamespace(median_s=s, q1_s=0.9 * s, q3_s=1.1 * s, n=25, dropped=0, clock="wall")

    def median_ms(self, name: str) -> float:
        return 1e3 * self.medians[name]

    def ratio(self, a: str, b: str) -> SimpleNamespace:
        r = self.medians[a] / self.medians[b]
        return SimpleNamespace(ratio=r, low=0.9 * r, high=1.1 * r)


MS = {"timm train": 12, "timm deploy nchw": 10, "timm deploy channels_last": 8, "ours train": 12, "ours deploy nchw": 9,
      "ours deploy channels_last": 6, "ours deploy onnxruntime": 4, "ours deploy openvino": 5}  # fmt: skip


def test_rivals_compare_with_the_better_layout_of_the_same_form(monkeypatch, capsys):
    asked = []

    def latency(made, **options):
        asked.append((list(made), options))
        return Made({name: MS[name] / 1e3 for name in made})

    monkeypatch.setattr(bench, "latency", latency)
    monkeypatch.setattr(bench, "available", lambda: ["eager", "onnxruntime", "openvino"])
    rows, env = bench.rivals(3, settings=[(1, 1), (32, 2)], names=["mobileone_s0"])
    assert env == {"threads": 1}
    assert [(o["batch"], o["threads"], o["seed"], o["baseline"]) for _, o in asked] == [
        (1, 1, 3, "timm train"), (32, 2, 3, "timm train"),
    ]  # fmt: skip
    assert set(asked[0][0]) == set(MS)
    ratios = {r["candidate"]: r["ratio_to_timm"] for r in rows if r["batch"] == 1}
    assert ratios["ours train"] == 1.0
    assert ratios["ours deploy nchw"] == pytest.approx(8 / 9), "timm's channels_last is its better one"
    assert ratios["ours deploy onnxruntime"] == 2.0
    assert tuple(rows[0]) == bench.COLUMNS
    assert "mobileone_s0, batch 32, 2 thread(s): 25 rounds" in capsys.readouterr().out
    said = bench.verdicts(rows, peak_gflops=1000.0)
    assert said[0] == "train form: the interval reaches 1.0 in 2 of 2 settings"
    assert f"geometric mean {8 / 6:.3f} (required 1.0, goal 1.2)" in said[1]
    assert "best runtime: geometric mean 2.00" in said[2]
    macs = bench.count(bench.ours("mobileone_s0"), imgsz=224).macs
    assert said[3].startswith(f"MobileOne-S0 there: {2 * macs / 4e-3 / 1e9:.0f} of 1000 GFLOP/s"), "4 ms is the faster"


def test_a_train_form_that_misses_is_named():
    row = {"run": 1, "network": "starnet_s1", "batch": 32, "threads": 2, "ratio_to_timm": 0.8, "low": 0.7, "high": 0.9}
    rows = [row | {"candidate": name} for name in ("ours train", "ours deploy nchw", "ours deploy channels_last")]
    said = bench.verdicts(rows)
    assert said[0].endswith("in 0 of 1 settings; not at starnet_s1 batch 32 threads 2 (0.800)")
    assert len(said) == 2, "no runtime, no sentence about one"
    assert bench.geometric_mean([{"ratio_to_timm": 2.0}, {"ratio_to_timm": 0.5}]) == 1.0


def test_the_star_stands_beside_its_sum_and_the_paper(monkeypatch):
    monkeypatch.setattr(bench, "latency", lambda made, **_: Made({"summed": 0.02, "ours": 0.03}))
    monkeypatch.setattr(bench, "available", lambda: ["eager"])
    (row,), _ = bench.star(1, names=["starnet_s1"])
    assert (row["star_ms"], row["sum_ms"], row["star_over_sum"]) == (30, 20, 1.5)
    assert (row["paper_star_ms"], row["paper_sum_ms"]) == (4.3, 3.8), "as printed"


def test_peak_memory_of_both_is_exact(monkeypatch):
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm comes with the extra reference")
    monkeypatch.setattr(bench, "_zeros", lambda batch: torch.zeros(batch, 3, 64, 64))
    found = {(r["form"], r["batch"], r["who"]): r for r in bench.memory(1, names=["starnet_s1"])}
    assert len(found) == 8
    for form in ("train", "deploy"):
        for who in ("ours", "timm"):
            one, many = found[form, 1, who], found[form, 32, who]
            assert one["weights_mib"] == many["weights_mib"]
            assert many["activations_mib"] == pytest.approx(32 * one["activations_mib"], rel=0.05)
    assert found["train", 1, "ours"]["weights_mib"] == found["train", 1, "timm"]["weights_mib"], "the same weights"
    assert found["deploy", 1, "ours"]["weights_mib"] < found["train", 1, "ours"]["weights_mib"], "BN is folded"


def test_runs_stand_side_by_side_and_a_repeated_one_replaces_itself(tmp_path):
    file = tmp_path / "out" / "bench"
    bench.save(file, [{"run": 2, "ms": 1.23456789}], 2, {"cpu": "a"}, "python -m bench")
    bench.save(file, [{"run": 1, "ms": 5.0}], 1, {"cpu": "b"}, "python -m bench")
    bench.save(file, [{"run": 2, "ms": 7.0}], 2, {"cpu": "c"}, "python -m bench")
    rows = list(csv.DictReader(file.with_suffix(".csv").open(encoding="utf-8")))
    assert rows == [{"run": "1", "ms": "5"}, {"run": "2", "ms": "7"}]
    meta = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    assert meta == {"command": "python -m bench", "environments": {"2": {"cpu": "c"}, "1": {"cpu": "b"}}}


def test_the_command_runs_the_sections_it_is_given(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "memory", lambda run: [{"run": run, "network": "n", "weights_mib": 1.5}])
    monkeypatch.setattr(bench, "star", lambda run: ([{"run": run, "network": "n", "star_ms": 2.5}], {"threads": 1}))
    monkeypatch.setattr(sys, "argv", ["bench", "memory", "star", "--out", str(tmp_path), "--run", "4"])
    bench.main()
    out = capsys.readouterr().out
    assert "peak memory of one forward pass, exact" in out
    assert "the star against a sum" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "bench_memory.csv", "bench_memory.json", "bench_star.csv", "bench_star.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "bench_star.json").read_text())["environments"] == {"4": {"threads": 1}}
    monkeypatch.setattr(sys, "argv", ["bench", "rival"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "unknown section rival; expected some of selftest, memory, star, rivals" in capsys.readouterr().err


def test_the_selftest_counts_what_the_intervals_hold(monkeypatch):
    """With intervals of known truth: `again` is covered in three of four, `more` is told apart in one."""
    answers = iter([(0.9, 1.1, 1.02), (1.01, 1.1, 0.98), (0.9, 1.1, 0.97), (0.99, 1.0, 0.99)] * 2)
    seeds = []

    def latency(made, *, seed, **_):
        low, high, more = next(answers)
        seeds.append(seed)
        assert [fn(torch.zeros(1, 32, 4, 4)).shape for fn in made.values()] == [(1, 32, 4, 4)] * 3
        pair = {"again": SimpleNamespace(low=low, high=high), "more": SimpleNamespace(low=more)}
        return SimpleNamespace(ratio=pair.__getitem__, ending="complete")

    monkeypatch.setattr(selftest, "latency", latency)
    monkeypatch.setattr(selftest.time, "sleep", lambda _: None)
    rows = selftest.selftest(trials=4)
    assert [(r["loaded"], r["trials"], r["covered"], r["slower"]) for r in rows] == [(False, 4, 3, 1), (True, 4, 3, 1)]
    assert seeds == [0, 1, 2, 3] * 2
    assert selftest.image().shape == (1, 32, 28, 28)


@pytest.mark.parametrize("section", ["selftest", "star", "rivals"])
def test_ctrl_c_ends_the_benchmark_and_not_only_the_measurement(monkeypatch, tmp_path, section):
    """`latency` answers Ctrl-C with the rounds it has; no benchmark goes on to its next measurement then."""
    calls = []

    def latency(made, **_):
        calls.append(list(made))
        return SimpleNamespace(ending="cancelled")

    monkeypatch.setattr(bench, "latency", latency)
    monkeypatch.setattr(selftest, "latency", latency)
    monkeypatch.setattr(bench, "roofline", lambda **_: SimpleNamespace(measured=None, peak_gflops=1.0))
    monkeypatch.setattr(sys, "argv", ["bench", section, "--out", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    assert len(calls) == 1
    assert not list(tmp_path.iterdir()), "a measurement cut short is not recorded"


# ------------------------------------------------------------------ the plug's


def test_the_plug_is_in_again_after_its_benchmark_and_nothing_of_it_stays():
    from workbench.yolo import bench as plug
    from workbench.yolo import tasks

    r = plug.overhead(rounds=5)
    assert set(tasks._theirs) == {p.name for p in tasks.PATCHES}, "the plug is in again"
    assert 0 < r.low <= r.ratio <= r.high
    assert r.n == 5
    assert plug.building("starnet_s050", rounds=1).ratio > 0
    assert not hasattr(plug.ultralytics_tasks, "FreeMaps")
    maps = plug.FreeMaps([1, 2, 3, 4])(torch.zeros(2, 3, 64, 32))
    assert [tuple(m.shape) for m in maps] == [(2, 1, 16, 8), (2, 2, 8, 4), (2, 3, 4, 2), (2, 4, 2, 1)]


def test_each_goes_first_by_turns_and_the_ratio_is_ours_over_theirs():
    from workbench.yolo import bench as plug

    order = []

    def side(name: str, seconds: float):
        return lambda: order.append(name) or seconds

    r = plug._ratio(side("ours", 3.0), side("theirs", 2.0), rounds=6)
    assert (r.low, r.ratio, r.high, r.n) == (pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5), 6)
    assert order == ["ours", "theirs"] + ["theirs", "ours", "ours", "theirs"] * 3


# ------------------------------------------------------------------ the line that says how long


def test_progress_goes_where_somebody_looks(monkeypatch):
    p = Progress(5, 25, 8.2, "rounds")
    said = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=said.append, flush=lambda: None, isatty=lambda: True))
    show, finish = progress.reporter()
    show(p)
    finish()
    assert said == [f"\r{progress.text(p)}\x1b[K", "\r\x1b[K"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    show, finish = progress.reporter()
    show(p)
    assert len(said) == 2, "a log file gets no progress line"


def test_progress_in_a_notebook_is_one_output_that_changes(monkeypatch):
    import IPython
    from IPython import display

    shown = []

    class Handle:
        def update(self, html) -> None:
            shown.append(("update", html.data))

    def put(html, display_id):
        shown.append(("display", html.data))
        return Handle()

    monkeypatch.setattr(display, "display", put)
    monkeypatch.setattr(IPython, "get_ipython", type("ZMQInteractiveShell", (), {}))
    show, finish = progress.reporter()
    finish()
    assert not shown, "nothing was said, nothing to take away"
    for done in (1, 2):
        show(Progress(done, 2, 1.0, "rounds"))
    finish()
    assert [kind for kind, _ in shown] == ["display", "update", "update"]
    assert shown[0][1] == f"<code>{progress.text(Progress(1, 2, 1.0, 'rounds'))}</code>"
    assert shown[-1][1] == ""


def test_the_stand_ins_have_the_fields_of_the_real_ones():
    made = Made({"a": 1.0, "b": 2.0})
    for stand_in, real in ((made.summary("a"), Summary), (made.ratio("a", "b"), Ratio)):
        known = {field.name for field in dataclasses.fields(real)}
        assert set(vars(stand_in)) <= known | {name for name in dir(real) if isinstance(getattr(real, name), property)}
    assert all(hasattr(Latency, name) for name in ("summary", "ratio", "median_ms", "names"))
