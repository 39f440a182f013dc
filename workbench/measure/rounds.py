"""The timing protocol and its statistics, on a clock that can be replaced.

Interleaved rounds: in each round every candidate is timed once, in shuffled order, so that a slow second of the
machine hits all of them alike; ratios are taken inside a round, and their spread is what the interval says. Nothing
here knows what a candidate is, so the whole file is tested on synthetic clocks whose truth is known.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import WorkbenchError

try:
    import resource
except ImportError:  # Windows has none; page faults then read 0
    resource = None  # type: ignore[assignment]

BUSY = 0.93  # a sample with less CPU time per wall time than this was interrupted, and is dropped
MAX_DROPPED = 0.30  # with more than this share dropped the machine is too busy for wall time: CPU time is used


class Clock(Protocol):
    """What the protocol reads. All in seconds but `faults`, a running number of page faults."""

    def wall(self) -> float: ...
    def cpu(self) -> float | None: ...
    def faults(self) -> int: ...


class SystemClock:
    """The machine's own clocks: monotonic wall time and CPU time of this process, all threads."""

    def wall(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.perf_counter()

    def cpu(self) -> float | None:
        """CPU seconds of this process, all threads."""
        return time.process_time()

    def faults(self) -> int:
        """Minor page faults of this process so far."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0


@dataclass(frozen=True)
class Plan:
    """How long and how often to time.

    Raises:
        WorkbenchError: a value with which nothing could be measured.
    """

    rounds: int = 25
    budget_s: float = 60.0  # everything together; the round that is running is finished
    sample_s: float = 0.015  # a sample repeats a candidate until it takes at least this
    min_kept: int = 15  # rounds are added until every candidate has as many kept samples
    threads: int = 1
    seed: int = 0
    agree: float = 0.05  # warm-up ends when three medians in a row lie this close

    def __post_init__(self) -> None:
        for name in ("rounds", "budget_s", "sample_s", "min_kept", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise WorkbenchError(f"{name}={value!r} given; expected a number above 0")


@dataclass(frozen=True)
class Sample:
    """One timed sample of one candidate; times are per run."""

    round: int
    wall_s: float
    cpu_s: float | None  # None where CPU time says nothing, as on a GPU
    runs: int  # runs the sample was averaged over
    faults: float  # page faults per run


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows."""

    done: int
    total: int
    seconds_left: float
    phase: str


Run = Callable[[int], object]  # run(k) runs a candidate k times; a number returned is its time, else the clock's


def timed(run: Run, k: int, clock: Clock, round_: int) -> Sample:
    """Time `k` runs as one sample."""
    faults, cpu, wall = clock.faults(), clock.cpu(), clock.wall()
    own = run(k)
    wall_after, cpu_after, faults_after = clock.wall(), clock.cpu(), clock.faults()
    if isinstance(own, float):  # a GPU candidate times itself with events
        return Sample(round_, own / k, None, k, 0.0)
    spent = None if cpu is None or cpu_after is None else (cpu_after - cpu) / k
    return Sample(round_, (wall_after - wall) / k, spent, k, (faults_after - faults) / k)


def warm_up(run: Run, plan: Plan, clock: Clock, until: float) -> int:
    """Run until three medians in a row agree (or `until`), and return the runs a sample needs to be long enough."""
    k, medians = 1, list[float]()
    while True:
        samples = [timed(run, k, clock, -1).wall_s for _ in range(3)]
        medians.append(statistics.median(samples))
        if min(samples) * k < plan.sample_s:
            k = max(k + 1, min(16 * k, int(1.15 * plan.sample_s / max(min(samples), 1e-9)) + 1))
            medians.clear()
        last = medians[-3:]
        if len(last) == 3 and max(last) <= (1 + plan.agree) * min(last):
            return k
        if clock.wall() > until:
            return k


def interleave(
    runs: Mapping[str, Run],
    plan: Plan,
    clock: Clock,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Progress], object] = lambda p: None,
    into: dict[str, list[Sample]] | None = None,
    since: float | None = None,
) -> tuple[dict[str, list[Sample]], str]:
    """Time all candidates by the protocol.

    Args:
        runs: ``run(k)`` per candidate.
        plan: rounds, budget, sample length.
        clock: the machine's, or a synthetic one.
        stop: asked after every sample; True ends the measurement, finished rounds are kept.
        progress: told after every candidate's warm-up and after every round.
        into: filled with finished rounds as they come, for a caller that may be interrupted.
        since: when the budget began to run on `clock`; default now.

    Returns:
        The samples of every candidate, and why the measurement ended: "complete", "budget" or "cancelled".
    """
    start, rng, names = clock.wall() if since is None else since, random.Random(plan.seed), list(runs)
    samples = {} if into is None else into
    samples.update({n: [] for n in names})
    inner: dict[str, int] = {}
    for i, name in enumerate(names):
        share = max(0.4 * (start + plan.budget_s - clock.wall()), 0.0) / (len(names) - i)
        inner[name] = warm_up(runs[name], plan, clock, clock.wall() + share)
        progress(Progress(i + 1, len(names), plan.budget_s, "warm-up"))
        if stop():
            return samples, "cancelled"
    began = clock.wall()
    for r in range(3 * plan.rounds):
        if r >= plan.rounds and all(_enough(samples[n], plan) for n in names):
            return samples, "complete"
        if r and clock.wall() - start > plan.budget_s:
            return samples, "budget"
        order = rng.sample(names, len(names))
        found: dict[str, Sample] = {}
        for name in order:
            found[name] = timed(runs[name], inner[name], clock, r)
            if stop():
                return samples, "cancelled"
        for name, sample in found.items():
            samples[name].append(sample)
        per_round = (clock.wall() - began) / (r + 1)
        left = min(per_round * max(plan.rounds - r - 1, 0), start + plan.budget_s - clock.wall())
        progress(Progress(r + 1, max(plan.rounds, r + 1), max(left, 0.0), "rounds"))
    return samples, "complete"


def _enough(samples: Sequence[Sample], plan: Plan) -> bool:
    return sum(judge(samples, plan.threads).kept) >= plan.min_kept


@dataclass(frozen=True)
class Judged:
    """The samples after the drop rule: which are kept, and the time of each on the clock that is trusted."""

    kept: tuple[bool, ...]
    times_s: tuple[float, ...]  # of every sample, kept or not
    clock: str  # "wall", or "cpu" when too many samples were interrupted


def judge(samples: Sequence[Sample], threads: int = 1) -> Judged:
    """Drop interrupted samples, or fall back to CPU time when more than 30 % are.

    An undisturbed sample of one thread uses as much CPU time as wall time. With several threads part of the work may
    be serial, so a sample is compared with the candidate's own best instead of with 1.
    """
    walls = tuple(s.wall_s for s in samples)
    if not samples or any(s.cpu_s is None for s in samples):
        return Judged((True,) * len(samples), walls, "wall")
    busy = [min((s.cpu_s or 0.0) / max(s.wall_s * threads, 1e-12), 1.0) for s in samples]
    usual = 1.0 if threads == 1 else max(busy)
    kept = tuple(b >= BUSY * usual for b in busy)
    if kept.count(False) <= MAX_DROPPED * len(samples):
        return Judged(kept, walls, "wall")
    return Judged(
        (True,) * len(samples), tuple((s.cpu_s or 0.0) / (threads * max(usual, 1e-12)) for s in samples), "cpu"
    )


@dataclass(frozen=True)
class Summary:
    """What is printed of one candidate, in seconds per run."""

    median_s: float
    q1_s: float
    q3_s: float
    min_s: float
    p90_s: float
    n: int
    dropped: int
    clock: str

    @property
    def iqr_s(self) -> float:
        """The width of the middle half."""
        return self.q3_s - self.q1_s


def summarise(samples: Sequence[Sample], threads: int = 1) -> Summary:
    """Return median, quartiles, minimum and 90th percentile of the kept samples; NaN when there are none."""
    verdict = judge(samples, threads)
    times = np.array([t for t, k in zip(verdict.times_s, verdict.kept, strict=True) if k])
    dropped = verdict.kept.count(False)
    if not len(times):
        return Summary(*(float("nan"),) * 5, 0, dropped, verdict.clock)
    q1, median, q3, p90 = (float(q) for q in np.quantile(times, (0.25, 0.5, 0.75, 0.9)))
    return Summary(median, q1, q3, float(times.min()), p90, len(times), dropped, verdict.clock)


@dataclass(frozen=True)
class Ratio:
    """How many times slower than the baseline, with an interval that covers the truth `level` of the time."""

    ratio: float
    low: float
    high: float
    level: float
    n: int

    def __str__(self) -> str:
        return f"{self.ratio:.3g} [{self.low:.3g}, {self.high:.3g}]"


def paired_ratio(
    samples: Sequence[Sample],
    baseline: Sequence[Sample],
    *,
    threads: int = 1,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Ratio:
    """Return the median of the per-round ratios and its expanded bootstrap percentile interval.

    Expanded: at 25 rounds the plain percentile interval covers 92 % where it says 95 %; its tails are moved out by
    the factor of Hesterberg, "What Teachers Should Know About the Bootstrap" (2015), section 3.1.

    Both candidates are read on the same clock: CPU time when either of them needs it. Rounds in which either was
    dropped do not count. With fewer than five pairs the interval is unbounded.
    """
    a, b = judge(samples, threads), judge(baseline, threads)
    times: list[dict[int, float]] = []
    for group, verdict in ((samples, a), (baseline, b)):
        mixed = a.clock != b.clock and verdict.clock == "wall"
        values = [s.cpu_s if mixed else t for s, t in zip(group, verdict.times_s, strict=True)]
        rows = zip(group, values, verdict.kept, strict=True)
        times.append({s.round: v for s, v, keep in rows if v is not None and (keep or mixed)})
    rounds = sorted(times[0].keys() & times[1].keys())
    logs = np.array([np.log(times[0][r] / times[1][r]) for r in rounds])
    if not len(logs):
        return Ratio(float("nan"), 0.0, float("inf"), level, 0)
    ratio = float(np.exp(np.median(logs)))
    if len(logs) < 5:
        return Ratio(ratio, 0.0, float("inf"), level, len(logs))
    draws = np.random.default_rng(seed).integers(0, len(logs), (resamples, len(logs)))
    medians = np.median(logs[draws], axis=1)  # (resamples,)
    tail = _expanded_tail(level, len(logs))
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Ratio(ratio, float(np.exp(low)), float(np.exp(high)), level, len(logs))


def _expanded_tail(level: float, n: int) -> float:
    """Return Φ(−√(n/(n−1)) · t), t being Student's quantile for `level` and n − 1 degrees (series to 1/ν²)."""
    normal, v = statistics.NormalDist(), n - 1
    z = normal.inv_cdf((1 + level) / 2)
    t = z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
    return normal.cdf(-((n / v) ** 0.5) * t)
