"""The sentence about the articles' claim follows the data, whichever way they point."""

from __future__ import annotations

import math

import pytest

from workbench.errors import WorkbenchError
from workbench.train import load_results
from workbench.train.claims import claim, compare_seeds, pretrained_map50_95, results_table, standings
from workbench.train.results import Results


def made(name: str, held_out: bool, scores: dict[str, list[float]]) -> Results:
    runs = {
        f"{family}-seed{i}": {
            "model": f"yolo11n-{family}",
            "parameters": 1_500_000,
            "data": {"held_out": held_out},
            "metrics": {"map50": v, "map50_95": v / 2},
        }
        for family, values in scores.items()
        for i, v in enumerate(values)
    }
    curves = [
        {"run": label, "epoch": epoch, "map50": run["metrics"]["map50"] * share}
        for label, run in runs.items()
        for epoch, share in ((1, 2.0), (2, 0.5))  # the last epoch is not the best
    ]
    return Results(name, "", runs, curves)


SEEN = made("seen", False, {"stock": [0.2], "fasternet": [0.3], "starnet": [0.1]})


def rows(fasternet, starnet):
    stock = [0.5, 0.52, 0.54]
    unseen = made("unseen", True, {"fasternet": fasternet, "stock": stock, "starnet": starnet})
    return standings(SEEN, unseen, photos=None)


@pytest.mark.parametrize(
    ("fasternet", "starnet", "verdicts", "words"),
    [
        ([0.7, 0.71, 0.72], [0.8, 0.81, 0.8], ["better", "better"], "is confirmed on held-out"),
        ([0.7, 0.71, 0.72], [0.3, 0.31, 0.3], ["better", "worse"], "is confirmed in part on held-out"),
        ([0.3, 0.31, 0.3], [0.5, 0.53, 0.54], ["worse", "undecided"], "is refuted on held-out"),
        ([0.5, 0.53, 0.54], [0.9], ["undecided", "undecided"], "is neither confirmed nor refuted on held-out"),
    ],
)
def test_the_verdict_follows_the_seeds(fasternet, starnet, verdicts, words):
    found = rows(fasternet, starnet)
    assert [s.family for s in found] == ["stock", "fasternet", "starnet"]
    assert [s.against_stock for s in found[1:]] == verdicts
    sentence = claim(found, pretrained=0.4)
    assert words in sentence
    assert "1 of 2 are above its mAP50 of 0.200 (FasterNet 0.300)" in sentence
    assert sentence.count(". ") == 0  # one sentence
    assert sentence.endswith(".")


def test_the_held_out_photos_stand_beside_the_training_images_as_far_as_they_were_recorded():
    unseen = made("unseen", True, {"stock": [0.5, 0.6], "fasternet": [0.5, 0.6], "starnet": [0.5, 0.6]})
    photos = made("photos", True, {"starnet": [0.08], "stock": [0.04]})
    found = standings(SEEN, unseen, photos)
    assert [s.photos for s in found] == [0.02, None, 0.04]  # of the last epoch, which no image of them has chosen
    assert (
        "(FasterNet 0.300; where 32 of these images were held out, they give YOLO11n 0.020 and StarNet 0.040)"
        in claim(found, 0.4)
    )
    lines = [line.split(" | ") for line in results_table(found).splitlines()]
    assert {len(line) for line in lines} == {7}
    assert [line[4] for line in lines[2:]] == ["0.020", "not recorded", "0.040"]
    without = standings(SEEN, unseen, None)
    assert "held out, they give" not in claim(without, 0.4)
    assert {len(line.split(" | ")) for line in results_table(without).splitlines()} == {6}


def test_far_is_less_than_half():
    found = rows([0.5, 0.53, 0.54], [0.9, 0.9, 0.9])
    assert "“far from the pretrained” is confirmed: the best mAP50–95 there, 0.150 (FasterNet), is 37%" in claim(
        found, 0.4
    )
    assert "“far from the pretrained” is not confirmed" in claim(found, 0.2)


def test_one_seed_decides_nothing():
    assert compare_seeds([0.9], [0.1, 0.1]) == "undecided"
    assert compare_seeds([0.1, 0.1], [0.9, 0.9]) == "worse"
    assert math.isnan(rows([0.5, 0.5], [0.9])[2].error)


def test_the_recorded_comparison():
    found = standings()
    seen, unseen = load_results("coco128_320_100epochs"), load_results("shapes_128_converged")
    for s in found:
        assert s.trained == seen.runs[f"{s.family}-seed0"]["metrics"]["map50"]
        assert s.held_out == tuple(unseen.scores(s.model))
        assert len(s.held_out) == 3
        assert s.macs > 1e8
    photos = load_results("coco128_320_heldout")
    assert all(run["data"]["held_out"] and run["data"]["val_images"] == 32 for run in photos.runs.values())
    kept = {label.split("-seed")[0]: photos.curve(label)[-1]["map50"] for label in photos.runs}
    assert {s.family: s.photos for s in found if s.photos is not None} == kept
    assert {run["epochs"] for run in photos.runs.values()} == {run["epochs"] for run in seen.runs.values()}
    table = results_table()
    assert len(table.splitlines()) == 2 + len(found)
    assert all(f"{s.trained:.3f}" in table and f"{s.mean:.3f} ± {s.error:.3f}" in table for s in found)
    assert f"{pretrained_map50_95():.3f} published" in claim()


def test_results_that_answer_nothing_are_refused(bad_input):
    with pytest.raises(WorkbenchError, match="validates on training images") as e:
        standings(SEEN, SEEN)
    bad_input("panels", "standings() of results that were not held out", e.value)
    with pytest.raises(WorkbenchError, match="seen: stock-seed0 validates on training images"):
        standings(SEEN, made("unseen", True, {"stock": [0.1]}), SEEN)
    with pytest.raises(WorkbenchError, match="no run of the stock detector"):
        standings(SEEN, made("unseen", True, {"starnet": [0.1]}))
