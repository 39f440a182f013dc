"""What samples of time are worth: which to keep, their summary, and ratios with intervals that hold what they say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BUSY = 0.93  # a sample with less CPU time per wall time than this was interrupted, and is dropped
MAX_DROPPED = 0.30  # with more than this share dropped the machine is too busy for wall time: CPU time is used
LEAST = 5  # paired rounds that an interval needs


@dataclass(frozen=True)
class Sample:
    """One timed sample of one candidate; times are per run."""

    round: int
    wall_s: float
    cpu_s: float | None  # None where CPU time says nothing, as on a GPU
    runs: int  # runs the sample was averaged over
    faults: float  # page faults per run


@dataclass(frozen=True)
class Judged:
    """The samples after the drop rule: which are kept, and the time of each on the clock that is trusted."""

    kept: tuple[bool, ...]
    times_s: tuple[float, ...]  # of every sample, kept or not
    clock: str  # "wall", or "cpu" when too many samples were interrupted
    cpu_times_s: tuple[float, ...] | None = None  # CPU time as the wall time of an undisturbed run; None on a GPU


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
    cpu = tuple((s.cpu_s or 0.0) / (threads * max(usual, 1e-12)) for s in samples)
    kept = tuple(b >= BUSY * usual for b in busy)
    if kept.count(False) <= MAX_DROPPED * len(samples):
        return Judged(kept, walls, "wall", cpu)
    return Judged((True,) * len(samples), cpu, "cpu", cpu)


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
    """How many times slower than the baseline, with an interval that covers the truth `level` of the time.

    >>> str(Ratio(1.5, 1.42, 1.61, 0.95, 20)), str(Ratio(1.5, 0.0, float("inf"), 0.95, 3))
    ('1.5 [1.42, 1.61]', '1.5 [no interval]')
    """

    ratio: float
    low: float
    high: float
    level: float
    n: int

    def __str__(self) -> str:
        interval = f"{self.low:.3g}, {self.high:.3g}" if self.bounded else "no interval"
        return f"{self.ratio:.3g} [{interval}]"

    @property
    def bounded(self) -> bool:
        """Whether there were rounds enough for an interval."""
        return math.isfinite(self.high)


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
    dropped do not count. With fewer than `LEAST` pairs the interval is unbounded.
    """
    a, b = judge(samples, threads), judge(baseline, threads)
    times: list[dict[int, float]] = []
    for group, verdict in ((samples, a), (baseline, b)):
        mixed = a.clock != b.clock and verdict.clock == "wall"
        values = (verdict.cpu_times_s or ()) if mixed else verdict.times_s
        rows = zip(group, values, verdict.kept, strict=bool(values))
        times.append({s.round: v for s, v, keep in rows if keep or mixed})
    rounds = sorted(times[0].keys() & times[1].keys())
    logs = np.array([np.log(times[0][r] / times[1][r]) for r in rounds])
    if not len(logs):
        return Ratio(float("nan"), 0.0, float("inf"), level, 0)
    ratio = float(np.exp(np.median(logs)))
    if len(logs) < LEAST:
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
