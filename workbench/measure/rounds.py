"""The timing protocol, on a clock that can be replaced.

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

from ..errors import WorkbenchError
from .stats import Sample, judge

try:
    import resource
except ImportError:  # Windows has none; page faults then read 0
    resource = None  # type: ignore[assignment]


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
