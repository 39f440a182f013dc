"""The timing protocol on synthetic clocks whose truth is known, and the plumbing around it on the real one.

No test here compares wall-clock times: speed is measured by `make bench`, never asserted.
"""

import dataclasses
import functools
import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.measure import Latency, Plan, factory, interleave, latency, paired_ratio
from workbench.measure.candidates import Setting, prepare
from workbench.measure.rounds import warm_up
from workbench.measure.stats import Sample, judge, summarise


class Machine:
    """A synthetic machine: right-skewed noise, slow drift, contention (wall time only), outliers (both clocks)."""

    def __init__(self, seed, noise=0.02, drift=0.0, ramp=0.0, contention=0.0, outliers=0.0, cold=0):
        self.rng, self.t, self.c = np.random.default_rng(seed), 0.0, 0.0
        self.noise, self.drift, self.ramp = noise, drift, ramp
        self.contention, self.outliers, self.cold = contention, outliers, cold

    def wall(self):
        return self.t

    def cpu(self):
        return self.c

    def faults(self):
        return 0

    def candidate(self, base_s):
        calls = [0]

        def run(k):
            speed = 1 + self.drift * np.sin(self.t / 0.7) + self.ramp * self.t
            own = k * base_s * speed * np.exp(abs(self.rng.normal(0, self.noise)))
            own *= 1 + 4 * max(0, self.cold - calls[0]) / max(self.cold, 1)
            calls[0] += k
            if self.rng.random() < self.outliers:
                own *= self.rng.uniform(1.5, 6)
            stolen = own * self.rng.uniform(0.15, 3) if self.rng.random() < self.contention else 0.0
            self.t, self.c = self.t + own + stolen, self.c + own

        return run


def measure(machine, bases, **plan):
    runs = {str(i): machine.candidate(b) for i, b in enumerate(bases)}
    return interleave(runs, Plan(budget_s=1e6, **plan), machine)


SCENARIOS = {
    "noise": {"noise": 0.05},
    "drift": {"drift": 0.15},
    "contention": {"contention": 0.15},
    "heavy contention": {"contention": 0.6},
    "outliers": {"outliers": 0.1},
    "everything": {"noise": 0.03, "drift": 0.1, "contention": 0.2, "outliers": 0.05},
}


REPEATS = 100


@functools.cache
def coverage(scenario, truth):
    """Return in how many of REPEATS measurements the interval held the truth, and in how many it lay above 1."""
    covered = slower = 0
    for seed in range(5000, 5000 + REPEATS):
        samples, _ = measure(Machine(seed, **SCENARIOS[scenario]), (0.004, 0.004 * truth), seed=seed)
        r = paired_ratio(samples["1"], samples["0"], seed=seed, resamples=800)
        covered += r.low <= truth <= r.high
        slower += r.low > 1
    return covered, slower


def at_least(share, n, errors):
    """Return the hits of n below which a true `share` would be `errors` standard errors away."""
    return n * share - errors * math.sqrt(share * (1 - share) * n)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("truth", [1.0, 1.1])
def test_intervals_cover_the_truth_and_find_ten_percent(scenario, truth):
    covered, slower = coverage(scenario, truth)
    assert covered >= at_least(0.95, REPEATS, 2.6)
    assert slower <= 0.07 * REPEATS if truth == 1.0 else slower >= 0.85 * REPEATS  # 34 of 40


def test_all_scenarios_together_cover_as_often_as_stated():
    hits = sum(coverage(s, truth)[0] for s in SCENARIOS for truth in (1.0, 1.1))
    assert hits >= at_least(0.95, 2 * len(SCENARIOS) * REPEATS, 2)


def test_unpaired_blocks_would_be_fooled_by_drift_and_pairing_is_not():
    """The reason for interleaving: the same two candidates, measured one after the other under drift."""
    machine = Machine(0, ramp=0.5)
    first, _ = measure(machine, (0.004,))
    second, _ = measure(machine, (0.004,))
    assert np.median([s.wall_s for s in second["0"]]) > 1.1 * np.median([s.wall_s for s in first["0"]])
    both, _ = measure(Machine(0, ramp=0.5), (0.004, 0.004))
    r = paired_ratio(both["1"], both["0"])
    assert r.low <= 1 <= r.high


def test_rounds_are_shuffled_and_complete():
    order, machine = [], Machine(1)
    run = machine.candidate(0.02)
    runs = {n: (lambda k, n=n: (order.append(n), run(k))[1]) for n in "abc"}
    samples, ending = interleave(runs, Plan(rounds=20, budget_s=1e6), machine)
    rounds = ["".join(order[-60:][i : i + 3]) for i in range(0, 60, 3)]
    assert ending == "complete"
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len(set(rounds)) > 3
    assert all([s.round for s in v] == list(range(20)) for v in samples.values())


def test_samples_are_long_enough_and_warm():
    machine = Machine(2, cold=500)
    run = machine.candidate(0.0002)
    k = warm_up(run, Plan(), machine, until=1e6)
    assert 0.0002 * k >= 0.015
    samples, _ = measure(Machine(2, cold=500), (0.0002,))
    assert max(s.wall_s for s in samples["0"]) < 0.0003  # none of the cold runs (up to five times slower) is left


def fixed(walls, cpus):
    return [Sample(i, w, c, 1, 0) for i, (w, c) in enumerate(zip(walls, cpus, strict=True))]


def test_interrupted_samples_are_dropped():
    s = summarise(fixed([1.0] * 18 + [2.0, 3.0], [1.0] * 20))
    assert (s.n, s.dropped, s.clock, s.median_s, s.p90_s) == (18, 2, "wall", 1.0, 1.0)


def test_too_many_interruptions_fall_back_to_cpu_time_with_a_label():
    s = summarise(fixed([2.0] * 12 + [1.0] * 8, [1.0] * 20))
    assert (s.n, s.dropped, s.clock, s.median_s) == (20, 0, "cpu", 1.0)


def test_the_limit_is_ninety_three_percent():
    assert judge(fixed([1.0] * 10, [1.0] * 8 + [0.94, 0.92])).kept == (True,) * 9 + (False,)


def test_serial_work_of_several_threads_is_no_contention():
    """Two threads on work that is 40 % serial use 1.4 of 2 CPUs in every sample: nothing was interrupted."""
    verdict = judge(fixed([1.0] * 20, [1.4] * 20), threads=2)
    assert verdict.clock == "wall"
    assert all(verdict.kept)
    assert not judge(fixed([1.0] * 19 + [1.5], [1.4] * 20), threads=2).kept[-1]


def test_quartiles_by_hand():
    s = summarise(fixed([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (s.median_s, s.q1_s, s.q3_s, s.iqr_s, s.min_s) == (3.0, 2.0, 4.0, 2.0, 1.0)
    assert s.p90_s == pytest.approx(4.6)


def test_ratio_uses_only_rounds_kept_on_both_sides():
    a = fixed([2.0] * 20, [2.0] * 19 + [1.0])
    b = fixed([1.0] * 20, [0.5] + [1.0] * 19)
    r = paired_ratio(a, b)
    assert (r.ratio, r.low, r.high, r.n) == (2.0, 2.0, 2.0, 18)


def test_ratio_compares_like_with_like_when_one_side_fell_back():
    a = fixed([2.0] * 20, [2.0] * 20)
    b = fixed([3.0] * 20, [1.0] * 20)
    assert paired_ratio(a, b).ratio == 2.0


@pytest.mark.parametrize(("threads", "busy"), [(1, 1.0), (2, 1.0), (2, 0.7), (4, 0.5)])
def test_equal_candidates_are_equal_when_only_one_fell_back(threads, busy):
    """CPU time of several threads counts as wall time on both sides, not only on the side that fell back."""
    cpu = [threads * busy] * 20
    calm, disturbed = fixed([1.0] * 20, cpu), fixed([1.0, 1.8] * 10, cpu)
    assert (judge(calm, threads).clock, judge(disturbed, threads).clock) == ("wall", "cpu")
    for pair in ((calm, disturbed), (disturbed, calm)):
        r = paired_ratio(*pair, threads=threads)
        assert (r.ratio, r.low, r.high, r.n) == (pytest.approx(1), pytest.approx(1), pytest.approx(1), 20)


def test_few_pairs_promise_nothing():
    r = paired_ratio(fixed([2.0] * 4, [2.0] * 4), fixed([1.0] * 4, [1.0] * 4))
    assert (r.low, r.high) == (0.0, math.inf)
    assert str(r) == "2 [no interval]"


@pytest.mark.parametrize(("rounds", "said"), [(4, True), (5, False)])
def test_a_table_without_intervals_says_why(rounds, said):
    samples = {name: fixed([t] * rounds, [t] * rounds) for name, t in (("a", 1.0), ("b", 2.0))}
    text = str(Latency(samples, {"threads": 1}, "a"))
    assert ("2 [no interval]" in text, "no interval: fewer than 5 rounds" in text) == (said, said)
    assert ("2 [2, 2]" in text) is not said


def test_budget_ends_the_run_and_says_so():
    machine = Machine(3)
    samples, ending = interleave({"a": machine.candidate(1.0)}, Plan(rounds=50, budget_s=20), machine)
    assert ending == "budget"
    assert 1 <= len(samples["a"]) < 25
    assert machine.wall() < 25


def test_rounds_are_added_until_enough_samples_are_kept():
    samples, ending = measure(Machine(4, contention=0.28), (0.02,), rounds=16, min_kept=15)
    assert ending == "complete"
    assert summarise(samples["0"]).n >= 15


def test_cancel_keeps_finished_rounds():
    machine, asked = Machine(5), [0]

    def stop():
        asked[0] += 1
        return asked[0] > 9

    samples, ending = interleave({n: machine.candidate(0.02) for n in "ab"}, Plan(), machine, stop=stop)
    assert ending == "cancelled"
    assert [len(v) for v in samples.values()] == [3, 3]


def test_progress_tells_time_left():
    seen, machine = [], Machine(6)
    interleave({"a": machine.candidate(0.02)}, Plan(rounds=15), machine, progress=seen.append)
    rounds = [p for p in seen if p.phase == "rounds"]
    assert [p.done for p in rounds] == list(range(1, 16))
    assert rounds[-1].seconds_left == 0 < rounds[0].seconds_left


@pytest.mark.parametrize("bad", [{"budget_s": 0}, {"rounds": 0}, {"budget_s": -1}, {"budget_s": float("nan")}])
def test_a_plan_that_measures_nothing_is_refused(bad):
    with pytest.raises(WorkbenchError, match="above 0"):
        Plan(**bad)


# --- on the real machine: plumbing only ---

TINY = {"budget_s": 20.0, "rounds": 3, "sample_ms": 0.5, "progress": False}


@pytest.fixture(scope="module")
def tiny():
    two = {"a": factory("torch.nn:Conv2d", 4, 4, 3), "b": factory("torch.nn:Conv2d", 4, 8, 3)}
    return latency(two, torch.rand(1, 4, 16, 16), **TINY)


def test_child_process_is_the_default_and_is_named(tiny):
    assert tiny.env["process"] == "clean process"
    assert tiny.env["threads"] == 1
    assert {n: len(s) >= 3 for n, s in tiny.samples.items()} == {"a": True, "b": True}
    assert tiny.macs == {"a": 4 * 4 * 9 * 14 * 14, "b": 4 * 8 * 9 * 14 * 14}


def test_no_number_travels_alone(tiny):
    text = str(tiny)
    for part in ("median ms", "IQR", "p90", "dropped", "GMAC/s", "thread", "torch", "oneDNN", "bootstrap", "allocator"):
        assert part in text
        assert part in tiny._repr_html_()


@pytest.mark.parametrize("name", ["run", "run.csv", "run.parquet"])
def test_save_and_load(tiny, tmp_path, name):
    file = tiny.save(tmp_path / name)
    again = Latency.load(file)
    assert again.samples == dict(tiny.samples)
    assert str(again) == str(tiny)
    if file.suffix == ".csv":
        assert file.read_text().splitlines()[0] == "candidate,round,wall_s,cpu_s,runs,faults,kept"
    else:
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(WorkbenchError, match="not a saved latency"):
            Latency.load(file)
    (tmp_path / "run.json").unlink()
    with pytest.raises(WorkbenchError, match="not a saved latency"):
        Latency.load(file)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_returned_memory_is_faulted_in_again_and_kept_memory_is_not():
    stack = factory("workbench.measure.operators:stack", "depthwise", 96, 3)
    runs = {m: latency({"d": stack}, torch.zeros(1, 96, 56, 56), allocator=m, **TINY) for m in ("returned", "kept")}
    pages = 3 * 4 * 96 * 56 * 56 / 4096  # the three outputs
    assert runs["returned"].faults("d") > pages / 2 > runs["kept"].faults("d")
    assert [r.env["allocator"] for r in runs.values()] == ["glibc, memory returned", "glibc, memory kept"]
    assert "allocator glibc, memory returned" in str(runs["returned"])


def test_callables_and_notebook_classes_stay_here_and_say_so():
    r = latency({"double": (lambda x: x * 2, torch.rand(64))}, **TINY)
    assert "simple path" in r.env["process"]
    with pytest.raises(WorkbenchError, match="cannot be sent"):
        latency({"double": lambda x: x}, process="child", **TINY)


def test_a_module_is_timed_in_eval_mode_and_left_alone():
    m = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    threads = torch.get_num_threads()
    latency({"m": m}, imgsz=16, process="here", **TINY)
    assert m.training
    assert int(m[1].num_batches_tracked) == 0
    assert torch.get_num_threads() == threads


def test_variants_by_name_in_both_forms():
    deploy, train = (prepare("s", "mobileone_s0", Setting(imgsz=(64, 64), form=f)) for f in ("deploy", "train"))
    assert any("rbr" in n or isinstance(m, nn.BatchNorm2d) for n, m in train.source.named_modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deploy.source.modules())


def test_channels_last_and_input_shape():
    x = prepare("c", factory("torch.nn:Conv2d", 5, 4, 1, shape=(2, 5, 8, 8)), Setting(layout="channels_last")).x
    assert x.shape == (2, 5, 8, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)


class Broken(nn.Module):
    def forward(self, x):
        return x * float("nan")


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        ({"n": Broken()}, {}, "NaN or infinity"),
        (["starnet_s9"], {}, "did you mean"),
        ({}, {}, "no candidates"),
        ({"a": 3}, {}, "cannot time a int"),
        (["starnet_s1"], {"device": "tpu"}, "expected 'cpu' or 'cuda'"),
        (["starnet_s1"], {"layout": "nhcw"}, "expected one of nchw"),
        (["starnet_s1"], {"imgsz": 0}, "positive integers"),
        (["starnet_s1"], {"budget_s": 0}, "above 0"),
        (["starnet_s1"], {"baseline": "x"}, "not a candidate"),
        (["starnet_s1"], {"allocator": "freed"}, "expected one of kept"),
        ({"a": factory("torch.nn:Nothing")}, {}, "cannot import"),
        ({"a": nn.Conv2d(5, 3, 1)}, {}, "a cannot run"),
    ],
)
@pytest.mark.parametrize("process", ["here", "auto"])
def test_bad_input_is_one_line(candidates, options, message, process):
    with pytest.raises(WorkbenchError, match=message) as e:
        latency(candidates, process=process, **{**TINY, **options})
    assert "\n" not in str(e.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_cuda_without_a_gpu_says_so():
    with pytest.raises(WorkbenchError, match="sees no GPU"):
        latency(["starnet_s1"], device="cuda", **TINY)


def test_interrupt_in_this_process_keeps_finished_rounds():
    def interrupt(p):
        if p.phase == "rounds" and p.done == 3:
            raise KeyboardInterrupt

    r = latency(
        {"s": (lambda x: x + 1, torch.rand(8))}, process="here", **{**TINY, "progress": interrupt, "rounds": 99}
    )
    assert r.ending == "cancelled"
    assert "cancelled" in str(r)
    assert len(r.samples["s"]) == 3


def test_stop_reaches_the_child():
    asked = [0]

    def stop():
        asked[0] += 1
        return asked[0] > 4

    job = {"a": factory("torch.nn:Conv2d", 4, 4, 3)}
    r = latency(job, torch.rand(1, 4, 16, 16), stop=stop, **{**TINY, "rounds": 10**6, "budget_s": 300})
    assert r.ending == "cancelled"
    assert len(r.samples["a"]) > 0


def test_a_child_that_dies_is_reported_in_one_line():
    with pytest.raises(WorkbenchError, match="ended with code 7"):
        latency({"a": factory("os:_exit", 7)}, torch.rand(1), **TINY)


def test_measuring_needs_no_importable_main(tmp_path):
    """A script that measures at top level must not be run again by the child."""
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, workbench as wb\nprint('top level')\n"
        "r = wb.measure.latency({'a': torch.nn.Conv2d(3, 3, 1)}, imgsz=8, rounds=1, sample_ms=0.1, progress=False)\n"
        "print(r.env['process'])\n"
    )
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert out.stdout.splitlines() == ["top level", "clean process"], out.stderr


def test_summary_of_nothing_is_not_a_number():
    assert math.isnan(summarise([]).median_s)
    assert dataclasses.asdict(summarise([]))["n"] == 0


def test_measure_is_public():
    assert wb.measure.latency is latency
