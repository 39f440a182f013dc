"""Time candidates against each other: in a clean child process by default, or here as the simple path.

A clean process matters because the allocator, the thread pool and what ran before are process-wide: in a notebook that
has trained a network, the same model takes another time than in a fresh interpreter.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .. import settings
from ..errors import WorkbenchError
from .candidates import Factory, Runner, Setting, prepare
from .environment import ALLOCATORS, environment, set_allocator
from .progress import reporter
from .rounds import Plan, Progress, SystemClock, interleave
from .stats import Sample
from .timing import Latency

PROCESSES = ("auto", "child", "here")


@dataclass
class Job:
    """Everything a measurement needs; it can be pickled when its candidates can."""

    candidates: dict[str, Any]
    setting: Setting
    plan: Plan
    x: Any = None
    allocator: str = "kept"
    count: bool = True
    process: str = "this process (simple path)"


@dataclass
class Outcome:
    """What a measurement brings back."""

    samples: dict[str, list[Sample]]
    ending: str
    env: dict[str, Any]
    macs: dict[str, int] = field(default_factory=dict)


def latency(
    candidates: Mapping[str, Any] | Sequence[str],
    x: Any = None,
    *,
    imgsz: int | tuple[int, int] = 224,
    batch: int = 1,
    in_chans: int = 3,
    threads: int = 1,
    device: str = "cpu",
    layout: str = "nchw",
    form: str = "deploy",
    baseline: str | None = None,
    rounds: int = 25,
    budget_s: float = 60.0,
    sample_ms: float = 15.0,
    process: str = "auto",
    allocator: str = "kept",
    count: bool = True,
    seed: int = 0,
    cold_cache: bool = False,
    cuda_graph: bool = False,
    progress: bool | Callable[[Progress], object] = True,
    stop: Callable[[], bool] | None = None,
) -> Latency:
    """Measure latencies in one interleaved run; Ctrl-C (or the notebook's stop button) keeps the finished rounds.

    Args:
        candidates: label → variant's name, `factory`, module, callable on tensors, or a pair (any of these, input);
            or just names of variants.
        x: input of all candidates: a tensor, or a tuple of positional arguments. Default random, of the shape below.
        imgsz: image side in pixels, or (height, width).
        batch: images per run.
        in_chans: image channels.
        threads: intra-op threads. One by default: on a shared machine more are slower and far noisier.
        device: "cpu" or "cuda".
        layout: "nchw" or "channels_last".
        form: "deploy" or "train", of variants given by name; modules are timed as they are, in eval mode.
        baseline: label the ratios refer to; default the first.
        rounds: samples per candidate.
        budget_s: seconds for everything.
        sample_ms: least length of a sample; short candidates are repeated inside it.
        process: "child" (clean process), "here" (the simple path), or "auto": a child when it can be sent there.
        allocator: what becomes of freed memory: "kept", "returned" (shows the page faults), "default"; see
            `set_allocator`.
        count: also count MACs, for achieved GMAC/s.
        seed: of the random input, the order of rounds and the bootstrap.
        cold_cache: CUDA only: overwrite L2 before every run.
        cuda_graph: CUDA only: replay a captured graph, without launch costs.
        progress: show a progress line, or a function that is given each `Progress`.
        stop: asked after each sample; True ends the measurement and keeps the finished rounds.

    Raises:
        WorkbenchError: a candidate cannot be built or run, or returns NaN; or a setting is unusable.
    """
    named = _named(candidates)
    size = (imgsz, imgsz) if isinstance(imgsz, int) else tuple(imgsz)
    if len(size) != 2 or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in (*size, batch, in_chans)):
        raise WorkbenchError(
            f"imgsz={imgsz!r}, batch={batch!r}, in_chans={in_chans!r} given; expected positive integers"
        )
    if baseline is not None and baseline not in named:
        raise WorkbenchError(f"baseline={baseline!r} is not a candidate; candidates: {', '.join(named)}")
    if process not in PROCESSES:
        raise WorkbenchError(f"process={process!r} is unknown; expected one of {', '.join(PROCESSES)}")
    if allocator not in ALLOCATORS:
        raise WorkbenchError(f"allocator={allocator!r} is unknown; expected one of {', '.join(ALLOCATORS)}")
    setting = Setting(batch, size, in_chans, threads, device, layout, form, seed, cold_cache, cuda_graph)
    plan = Plan(rounds, budget_s, sample_ms / 1e3, min(15, rounds), threads, seed)
    job = Job(named, setting, plan, x, allocator, count)
    show: Callable[[Progress], object] = progress if callable(progress) else _silent
    finish: Callable[[], object] = _silent
    if progress is True:
        show, finish = reporter()
    try:
        outcome = _dispatch(job, process, stop, show)
    finally:
        finish()
    return Latency(outcome.samples, outcome.env, baseline or next(iter(named)), outcome.ending, outcome.macs)


def _silent(*_: Any) -> None:
    return None


def _named(candidates: Any) -> dict[str, Any]:
    if isinstance(candidates, str | nn.Module | Factory):
        label = candidates if isinstance(candidates, str) else type(candidates).__name__
        candidates = {label: candidates}
    named = dict(candidates) if isinstance(candidates, Mapping) else {n: n for n in candidates}
    if not named or not all(isinstance(n, str) for n in named):
        raise WorkbenchError("no candidates given; expected names of variants or {label: candidate}")
    return named


def _dispatch(job: Job, process: str, stop: Callable[[], bool] | None, show: Callable[[Progress], object]) -> Outcome:
    from . import child

    if process != "here":
        problem = sendable(job)
        if problem is None:
            return child.measure_in_child(job, stop, show)
        if process == "child":
            raise WorkbenchError(f"{problem} cannot be sent to a clean process; use factory(...), or process='here'")
    return measure_here(job, stop, show)


def sendable(job: Job) -> str | None:
    """Return None when another process can rebuild every candidate, else the label of one it cannot."""
    for label, candidate in job.candidates.items():
        try:
            data = pickle.dumps(candidate)
        except Exception:  # pickle's failures have no common class
            return label
        if b"__main__" in data:  # a class of the notebook: the child could not import it
            return label
    return None


def measure_here(
    job: Job, stop: Callable[[], bool] | None = None, show: Callable[[Progress], object] = _silent
) -> Outcome:
    """Run a job in this process. Threads are set for its duration; the allocator's setting stays."""
    allocator = set_allocator(job.allocator)
    before = settings.set_threads(job.setting.threads)
    clock = SystemClock()
    since = clock.wall()
    samples: dict[str, list[Sample]] = {n: [] for n in job.candidates}
    try:
        with torch.random.fork_rng():
            torch.manual_seed(job.setting.seed)
            runners = {n: prepare(n, c, job.setting, job.x) for n, c in job.candidates.items()}
            macs = _macs(runners) if job.count else {}
            samples, ending = interleave(
                {n: r.run for n, r in runners.items()}, job.plan, clock, stop=stop or (lambda: False), progress=show,
                into=samples, since=since,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not any(samples.values()):
            raise
        ending = "cancelled"
    finally:
        settings.set_threads(before)
    return Outcome(samples, ending, _environment(job, allocator, runners), macs)


def _environment(job: Job, allocator: str, runners: Mapping[str, Runner]) -> dict[str, Any]:
    s, shapes = job.setting, {r.shape for r in runners.values()}
    runtimes = {c.runtime for c in job.candidates.values() if isinstance(c, Factory)} or {"eager"}
    form = s.form if all(isinstance(c, str) for c in job.candidates.values()) else "as given"
    return environment(
        s.device, threads=s.threads, layout=s.layout, form=form, seed=s.seed, dtype="float32", allocator=allocator,
        process=job.process, runtime=", ".join(sorted(runtimes)), rounds=job.plan.rounds, budget_s=job.plan.budget_s,
        sample_ms=1e3 * job.plan.sample_s, cold_cache=s.cold_cache, cuda_graph=s.cuda_graph,
        input=" / ".join("×".join(map(str, shape)) for shape in sorted(shapes)),
    )  # fmt: skip


def _macs(runners: Mapping[str, Runner]) -> dict[str, int]:
    """Count each candidate that PyTorch can look into; a compiled session has no operators to count."""
    from .count import count

    out = {}
    for name, runner in runners.items():
        if runner.source is None:
            continue
        try:
            out[name] = count(runner.source, runner.x).macs
        except WorkbenchError:
            continue
    return {n: m for n, m in out.items() if m}
