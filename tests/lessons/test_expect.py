"""The comparisons that checks are written with."""

from __future__ import annotations

import pytest
import torch

from workbench.lesson import exercises as ex


def test_tensors():
    t = torch.tensor([1.0, 2.0])
    ex.expect_tensor(t + 1e-6, t)
    with pytest.raises(AssertionError, match=r"expected shape \(2,\), came \(1, 2\)"):
        ex.expect_tensor(t[None], t)
    with pytest.raises(AssertionError, match=r"off by 50\.0%"):
        ex.expect_tensor(t + 1, t)
    with pytest.raises(AssertionError, match=r"farthest at \[0, 1\]: expected 2, came 5"):
        ex.expect_tensor(torch.tensor([[1.0, 5.0]]), t[None])
    with pytest.raises(AssertionError, match="expected a tensor, came list"):
        ex.expect_tensor([1.0, 2.0], t)
    with pytest.raises(AssertionError):
        ex.expect_tensor(t * float("nan"), t)


def test_sequences_and_numbers():
    ex.expect_equal((1, 2.0), [1, 2])
    ex.expect_equal(torch.tensor(3), 3)
    for came, expected, message in (
        ([1], [1, 2], "expected 2 items"),
        ([1, 3], [1, 2], "item 1: expected 2, came 3"),
        (True, 1, "expected a number"),
        (float("inf"), 1, "finite"),
        ("1", 1, "expected a number"),
        (4_000_000, 12_345_678, "expected 12,345,678, came 4,000,000, 3.09 times too small"),
    ):
        with pytest.raises(AssertionError, match=message):
            ex.expect_equal(came, expected)
