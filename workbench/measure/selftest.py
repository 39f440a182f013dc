"""Do the intervals of this machine hold what they say? Candidates of known ratio, timed as any others.

A candidate against itself must cover 1, also while another process loads a core, and one with a tenth more work must
come out slower: each in at least 34 of 40 measurements.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from typing import Any

from .latency import latency
from .timing import Latency

TRIALS, NEEDED = 40, 34
Row = dict[str, Any]


def work(k: int) -> Any:
    """Return a callable that runs one small convolution k times."""
    import torch

    conv = torch.nn.Conv2d(32, 32, 3, padding=1).eval()

    def run(x: Any) -> Any:
        y = x
        for _ in range(k):
            y = conv(x)
        return y

    return run


def selftest(trials: int = TRIALS) -> list[Row]:
    """Return how often the intervals held what they say, quiet and with a loaded core."""
    rows = []
    for loaded in (False, True):
        burner = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) if loaded else None
        if burner:
            burner.start()
            time.sleep(1)
        try:
            covered = slower = 0
            for trial in range(trials):
                made = {"a": work(20), "again": work(20), "more": work(22)}
                r = whole(latency(
                    made, x=image(), rounds=25, budget_s=10, sample_ms=5, process="here", count=False, progress=False,
                    seed=trial,
                ))  # fmt: skip
                same, more = r.ratio("again"), r.ratio("more")
                covered += same.low <= 1 <= same.high
                slower += more.low > 1
        finally:
            if burner:
                burner.kill()
                burner.join()
        rows.append({"loaded": loaded, "trials": trials, "covered": covered, "slower": slower, "needed": NEEDED})
    return rows


def whole(result: Latency) -> Latency:
    """Return a measurement that came to its end. A benchmark is over where its user pressed Ctrl-C.

    Raises:
        KeyboardInterrupt: the measurement was cancelled, which `latency` itself takes as "show what you have".
    """
    if result.ending == "cancelled":
        raise KeyboardInterrupt
    return result


def image() -> Any:
    """Return what `work` convolves."""
    import torch

    return torch.rand(1, 32, 28, 28)


def _burn() -> None:
    while True:
        math.sqrt(2)
