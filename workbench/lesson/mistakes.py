"""What a wrong answer is told: the mistake it was made with, where that is one of those its exercise names.

A check draws its input at random. So that the named wrong answers can be tried on the very input that the learner's
answer failed on, the draws of one check can be repeated.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PATIENCE_S = 3.0  # of trying named mistakes; a learner waits for the answer
_draws = random.Random(secrets.randbits(64))


def fresh() -> torch.Generator:
    """Return a random generator with a new seed, so that a check sees other input each time and global seeds stay."""
    import torch

    return torch.Generator().manual_seed(_draws.getrandbits(31))


@contextlib.contextmanager
def draws(seed: int) -> Iterator[None]:
    """Let `fresh`, and torch's global generator, give what this seed gives; afterwards both go on as before."""
    import torch

    before = _draws.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _draws.seed(seed)
        try:
            yield
        finally:
            _draws.setstate(before)


def recognise(complaint: str, attempt: Callable[[Any], str], wrong: Mapping[str, Any]) -> str:
    """Return the name of the one wrong answer that meets the same complaint, word by word; "" for none or several.

    Args:
        complaint: what the check said of the learner's answer.
        attempt: answer → the complaint about it, on the same input.
        wrong: name → an answer with that mistake.

    >>> say = lambda answer: f"expected 6, came {answer(3)}"
    >>> recognise("expected 6, came 9", say, {"squared": lambda n: n * n, "unchanged": lambda n: n})
    'squared'
    >>> recognise("expected 6, came 7", say, {"squared": lambda n: n * n})
    ''
    """
    found, start = [], time.monotonic()
    for name, answer in wrong.items():
        if time.monotonic() - start > PATIENCE_S:
            return ""
        if attempt(answer) == complaint:
            found.append(name)
    return found[0] if len(found) == 1 else ""


def as_text(number: float) -> str:
    """Return a number as a reader compares it: a whole one digit by digit.

    >>> as_text(10838016), as_text(0.1234567)
    ('10,838,016', '0.123457')
    """
    return f"{int(number):,}" if float(number).is_integer() and abs(number) < 1e15 else f"{number:,.6g}"


def times(came: float, expected: float) -> str:
    """Return how many times too large or too small, where that says something.

    >>> times(2.0, 1.0), times(1.0, 4.0), times(1.1, 1.0), times(-1.0, 1.0)
    (', 2 times too large', ', 4 times too small', '', '')
    """
    if min(came, expected) <= 0:
        return ""
    ratio, size = max((came / expected, "large"), (expected / came, "small"))
    return f", {ratio:.3g} times too {size}" if ratio >= 1.5 else ""
