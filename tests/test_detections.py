"""Matching of detections with the truth, and the Detections panel driven in the kernel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.yolo.matching import WHY, box_iou, match

A, B, FAR = [0, 0, 10, 10], [20, 20, 30, 30], [60, 60, 70, 70]


def test_each_kind_of_verdict_by_hand():
    found = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [22, 22, 34, 34], FAR]
    m = match(found, [0, 0, 2, 1, 1], [0.9, 0.8, 0.7, 0.6, 0.5], [A, B], [0, 1])
    assert m.claims.tolist() == [0, -1, -1, -1, -1]
    assert m.why == ("", "duplicate", "wrong class", "loose box", "background")
    assert set(m.why) <= {"", *WHY}
    assert (m.tp, m.fp, m.fn, m.missed.tolist()) == (1, 4, 1, [1])
    assert (m.precision, m.recall) == (1 / 5, 1 / 2)
    assert m.overlaps.round(3).tolist() == [1.0, 0.9, 0.0, 0.356, 0.0]


def test_the_surer_detection_has_the_first_choice():
    """The second fits the object better and comes too late; a looser threshold gives it the neighbour."""
    true = [[0, 0, 10, 10], [0, 6, 10, 16]]
    found = [[0, 2, 10, 12], [0, 0, 10, 10]]
    m = match(found, [0, 0], [0.9, 0.8], true, [0, 0], iou=0.5)
    assert m.claims.tolist() == [0, -1]
    assert match(found, [0, 0], [0.8, 0.9], true, [0, 0], iou=0.4).claims.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("found", "true", "counts"),
    [([], [], (0, 0, 0)), ([], [A, B], (0, 0, 2)), ([A], [], (0, 1, 0)), ([A], [A], (1, 0, 0))],
)
def test_nothing_found_or_nothing_there(found, true, counts):
    m = match(found, [0] * len(found), [0.5] * len(found), true, [0] * len(true))
    assert (m.tp, m.fp, m.fn) == counts
    assert np.isnan(m.precision) == (not found)
    assert np.isnan(m.recall) == (not true)


def test_thresholds_are_reached_by_equality():
    assert match([A], [0], [0.25], [A], [0], iou=1.0, confidence=0.25).tp == 1
    assert match([A], [0], [0.2499], [A], [0], confidence=0.25).kept.size == 0


side = st.integers(0, 12)
box = st.tuples(side, side, st.integers(0, 8), st.integers(0, 8)).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
scene = st.lists(st.tuples(box, st.integers(0, 1), st.integers(1, 9)), max_size=6)
truth = st.lists(st.tuples(box, st.integers(0, 1)), max_size=5)


def slowly(found, true, iou, confidence):
    """The rule as a person would follow it, one detection after the other, with pixels counted one by one."""

    def pixels(b):
        return {(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])}

    def overlap(a, b):
        return len(pixels(a) & pixels(b)) / max(len(pixels(a) | pixels(b)), 1)

    free, claims = list(range(len(true))), []
    for b, label, score in sorted(found, key=lambda f: -f[2]):
        if score / 10 < confidence:
            continue
        fits = [t for t in free if true[t][1] == label and overlap(b, true[t][0]) >= iou]
        best = max(fits, key=lambda t: overlap(b, true[t][0]), default=-1)
        claims.append(best)
        free = [t for t in free if t != best]
    return claims, free


@given(scene, truth, st.sampled_from([0.3, 0.5, 0.75]), st.sampled_from([0.0, 0.3, 0.6]))
def test_it_is_the_rule_followed_by_hand(found, true, iou, confidence):
    b, labels, scores = (list(x) for x in zip(*found, strict=True)) if found else ([], [], [])
    tb, tl = (list(x) for x in zip(*true, strict=True)) if true else ([], [])
    m = match(b, labels, [s / 10 for s in scores], tb, tl, iou=iou, confidence=confidence)
    claims, free = slowly(found, true, iou, confidence)
    assert m.claims.tolist() == claims
    assert m.missed.tolist() == free
    assert m.tp + m.fn == len(true)
    assert m.tp + m.fp == len(m.kept)
    stricter = match(b, labels, [s / 10 for s in scores], tb, tl, iou=iou, confidence=min(1, confidence + 0.2))
    assert stricter.claims.tolist() == m.claims.tolist()[: len(stricter.kept)]  # verdicts that stay do not change


def test_true_positives_are_those_ultralytics_counts():
    from ultralytics.engine.validator import BaseValidator
    from ultralytics.utils.metrics import box_iou as their_iou

    judge = object.__new__(BaseValidator)
    judge.iouv = torch.linspace(0.5, 0.95, 10)
    rng = np.random.default_rng(7)
    right = 0
    for _ in range(40):
        true = rng.uniform(0, 80, (6, 2))
        true = np.hstack([true, true + rng.uniform(8, 30, (6, 2))])
        found = np.repeat(true, 3, 0) + rng.normal(0, 2.5, (18, 4))
        labels, true_labels = rng.integers(0, 2, 18), rng.integers(0, 2, 6)
        scores = np.sort(rng.random(18))[::-1].copy()
        theirs = judge.match_predictions(
            torch.tensor(labels), torch.tensor(true_labels), their_iou(torch.tensor(true), torch.tensor(found))
        )
        for t, threshold in enumerate(judge.iouv.tolist()):
            ours = match(found, labels, scores, true, true_labels, iou=threshold, confidence=0)
            assert (ours.claims >= 0).tolist() == theirs[:, t].tolist()
            right += ours.tp
    assert right > 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iou": 0}, "no IoU threshold"),
        ({"confidence": 1.5}, "no confidence"),
        ({"boxes": [[0, 0, 1]]}, r"expected \(N, 4\)"),
        ({"labels": [0, 0]}, "2 labels given for 1"),
        ({"scores": [float("nan")]}, "one finite number"),
    ],
)
def test_matching_refuses_in_one_line(change, message, bad_input):
    given = {"boxes": [A], "labels": [0], "scores": [0.5], "true_boxes": [A], "true_labels": [0]} | change
    with pytest.raises(WorkbenchError, match=message) as e:
        match(**given)
    bad_input("panels", f"match({', '.join(f'{k}={v!r}' for k, v in change.items())})", e.value)


def test_boxes_without_area_overlap_nothing():
    assert box_iou([[3, 3, 3, 9]], [[3, 3, 3, 9], [0, 0, 9, 9]]).tolist() == [[0, 0]]
