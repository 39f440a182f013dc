"""Figures draw the numbers they are given: positions, labels, units and meanings, not pixels."""

from __future__ import annotations

import dataclasses

import matplotlib
import numpy as np
import pytest
import torch

from workbench import plots
from workbench.errors import WorkbenchError
from workbench.features.receptive import ReceptiveField
from workbench.plots.style import FAMILY_COLOUR, PALETTE

matplotlib.use("Agg")
import itertools

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(ax) -> list[str]:
    return [t.get_text() for t in ax.texts]


def legend(ax) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def shown(ax) -> np.ndarray:
    return np.ma.filled(ax.images[0].get_array().astype(float), np.nan)


# ------------------------------------------------------------------ re-parameterisation


def test_branches_and_what_they_merge_into_share_one_signed_scale():
    three, one = torch.tensor([[0.0, 1, 0], [1, -2, 1], [0, 1, 0]]), torch.tensor([[3.0]])
    axs = plots.branch_kernels([three, three, one], 2 * three + torch.nn.functional.pad(one, [1] * 4))
    assert [ax.get_title() for ax in axs] == ["conv 1", "conv 2", "1×1", "merged"]
    assert {ax.images[0].get_clim() for ax in axs} == {(-3.0, 3.0)}, "the largest of all kernels, both signs alike"
    alone = shown(axs[2])
    assert alone[1, 1] == 3
    assert np.isnan(np.delete(alone.ravel(), 4)).all(), "nothing is there, which is not zero"
    np.testing.assert_array_equal(shown(axs[3]), np.array([[0, 2, 0], [2, -1, 2], [0, 2, 0]]))
    assert texts(axs[3])[4] == "-1.0"
    assert "-0.0" not in texts(axs[0])
    assert [s.get_linewidth() for s in axs[3].spines.values()] == [2.5] * 4
    assert [ax.get_title() for ax in plots.branch_kernels([three, one], three, names=["a", "b"])] == [
        "a",
        "b",
        "merged",
    ]


def test_the_ramp_s_last_value_stands_out():
    curves = {0.0: ([-1, 1], [0, 1]), 1.0: ([-1, 1], [-1, 1]), 0.5: ([-1, 1], [-0.5, 1])}
    ax = plots.activation_ramp(curves)
    assert legend(ax) == ["a = 0", "a = 0.5", "a = 1"]
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["a = 0.5"].get_ydata().tolist() == [-0.5, 1]
    assert drawn["a = 1"].get_color() == PALETTE["orange"]
    assert drawn["a = 1"].get_linewidth() > drawn["a = 0"].get_linewidth()


def test_runs_with_and_without_a_ramp():
    run = {"ramp": [0, 0.5, 1], "accuracy": [0.2, 0.4, 0.6], "merged": [0.1, 0.3, 0.6]}
    left, right = plots.ramp_runs({"with": run, "without": {**run, "ramp": [1, 1, 1]}})
    assert [line.get_ydata()[0] for line in left.lines] == [0, 1]
    assert left.lines[0].get_xdata()[0] == 1, "epochs count from one"
    assert legend(right) == ["with: as trained", "with: merged", "without: as trained", "without: merged"]
    assert right.lines[1].get_linestyle() == "--"
    assert right.get_ylim() == (0, 1)


def test_the_error_of_merging_too_early_ends_at_the_exact_point():
    ax = plots.merge_error([0, 0.5, 1], [0.8, 0.3, 1e-7])
    assert ax.lines[0].get_ydata().tolist() == [0.8, 0.3, 1e-7]
    assert ax.lines[1].get_xdata().tolist() == [1]
    assert texts(ax) == ["exact"]
    assert ax.get_ylim()[0] < 0, "zero is not on the frame"


def test_images_in_rows_under_their_titles():
    axs = plots.image_grid(torch.rand(5, 3, 8, 8) * 2 - 0.5, list("abcde"), columns=3)
    assert len(axs) == 6
    assert [ax.get_title() for ax in axs] == ["a", "b", "c", "d", "e", ""]
    assert 0 <= shown(axs[0]).min() <= shown(axs[0]).max() <= 1
    assert not axs[5].images


# ------------------------------------------------------------------ measured time

LAB = [
    {"backbone": "fasternet_t0", "form": "deploy", "macs": 3e8, "gmacs_per_s": 30.0, "latency_ms": 10.0, "low_ms": 9.0,
     "high_ms": 12.0},
    {"backbone": "starnet_s1", "form": "train", "macs": 4e8, "gmacs_per_s": 20.0, "latency_ms": 20.0, "low_ms": 19.0,
     "high_ms": 21.0},
]  # fmt: skip


def test_rates_against_macs_have_lines_of_equal_latency():
    ax = plots.rate_against_macs(LAB)
    points = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(3e8, 30.0), (4e8, 20.0)]
    assert [p.get_color() for p in points] == [FAMILY_COLOUR["fasternet"], FAMILY_COLOUR["starnet"]]
    for line in ax.lines:
        if line.get_linestyle() == ":":
            x, y = np.array(line.get_xdata()), np.array(line.get_ydata())
            ms = x / y / 1e6
            assert ms[0] == pytest.approx(ms[1])
            assert round(ms[0]) in (1, 3, 10, 30, 100, 300)
    assert {"fasternet_t0", "starnet_s1, train", "10 ms ", "30 ms "} <= set(texts(ax))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_cost_against_latency_draws_the_front_and_refuses_rows_without_numbers():
    ax = plots.cost_against_latency([*LAB, {"backbone": "vanillanet_5", "macs": 5e9, "form": "deploy"}])
    front = next(line for line in ax.lines if line.get_label() == "nobody beats these")
    assert front.get_xydata().tolist() == [[3e8, 10.0]]
    assert set(texts(ax)) == {"fasternet_t0", "starnet_s1, train"}, "no latency, no point"
    assert ax.get_xlabel() == "MACs"
    with pytest.raises(WorkbenchError, match="no row has both 'params'"):
        plots.cost_against_latency(LAB, "params")


def test_a_waterfall_adds_up():
    @dataclasses.dataclass
    class Part:
        name: str
        macs: int

    ax = plots.waterfall([Part("stem", 10), Part("stage", 30)])
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 10), (10, 30)]
    assert texts(ax) == [" 25.0 %", " 75.0 %"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["stem", "stage"]


# ------------------------------------------------------------------ training


def test_losses_pair_training_with_validation():
    rows = [{"epoch": e, "train_box_loss": 2 / e, "val_box_loss": 3 / e, "train_cls_loss": 1 / e} for e in (1, 2)]
    ax = plots.losses(rows)
    assert legend(ax) == ["box, training", "box, validation", "cls, training"]
    box, validation, cls = ax.lines
    assert box.get_ydata().tolist() == [2, 1]
    assert validation.get_ydata().tolist() == [3, 1.5]
    assert (box.get_color(), validation.get_linestyle()) == (validation.get_color(), "--")
    assert cls.get_color() != box.get_color()
    assert ax.get_ylim()[0] == 0


def test_seen_beside_unseen():
    ax = plots.seen_and_unseen({"a": (0.9, 0.4), "b": (0.5, 0.45)})
    assert [bar.get_width() for bar in ax.patches] == [0.9, 0.4, 0.5, 0.45]
    assert texts(ax) == ["0.90", "0.40", "0.50", "0.45"]
    assert legend(ax) == ["seen in training", "held out"]
    assert len({bar.get_hatch() for bar in ax.patches}) == 2, "not by colour alone"


def test_boxes_have_names_scores_and_their_corners():
    image = np.zeros((20, 30, 3), np.uint8)
    ax = plots.boxes_on(image, [[1, 2, 11, 12], [5, 5, 6, 6]], [0, 8], {0: "cat", 8: "dog"}, [0.9, 0.25], "found")
    assert texts(ax) == ["cat 0.90", "dog 0.25"]
    outline = ax.lines[1]
    assert set(map(tuple, outline.get_xydata())) == {(1, 2), (11, 2), (11, 12), (1, 12)}
    assert ax.get_ylim() == (19.5, -0.5), "rows go down, as in the image"
    assert texts(plots.boxes_on(image, [[1, 2, 3, 4]], [1], ["cat", "dog"])) == ["dog"]


def test_curves_name_each_run_once_and_apart():
    runs = {"starnet_s1": [{"epoch": 1, "map50": 0.5}], "yolo11n": [{"epoch": 1, "map50": 0.5}], "empty": []}
    ax = plots.training_curves(runs)
    assert texts(ax) == ["starnet_s1", "yolo11n"]
    assert ax.texts[0].get_position()[1] < ax.texts[1].get_position()[1], "two names at one height would overlap"
    assert ax.texts[0].get_color() == FAMILY_COLOUR["starnet"]
    with pytest.raises(WorkbenchError, match="no curve to draw"):
        plots.training_curves({"empty": []})


def test_runs_that_differ_in_the_seed_share_a_name_and_have_a_mean():
    def curve(*values):
        return [{"epoch": i, "seconds": 3.0 * i, "map50": v} for i, v in enumerate(values, 1)]

    runs = {"stock-seed0": curve(0.1, 0.5), "starnet-seed0": curve(0.2), "stock-seed1": curve(0.3, 0.7, 0.9)}
    ax = plots.training_curves(runs)
    assert texts(ax) == ["starnet-seed0", "stock, 2 seeds"], "one run of its kind keeps its whole name"
    mean = max(ax.lines, key=lambda line: line.get_linewidth())
    assert mean.get_xydata().tolist() == [[1, pytest.approx(0.2)], [2, pytest.approx(0.6)]], "as far as both got"
    assert len(ax.lines) == 4
    assert len(plots.training_curves(runs, x="seconds").lines) == 3, "no common seconds, so no mean over them"


def test_many_names_stay_beside_the_plot():
    ax = plots.training_curves({f"run {i}": [{"epoch": 1, "map50": 0.9}] for i in range(30)})
    heights = [t.get_position()[1] for t in ax.texts]
    assert heights == sorted(heights)
    assert min(heights) >= 0
    assert max(heights) <= 1
    assert min(b - a for a, b in itertools.pairwise(heights)) > 0.03


# ------------------------------------------------------------------ features


def test_receptive_fields_mark_the_square_that_holds_most():
    influence = torch.zeros(21, 21)
    influence[8:13, 8:13] = 1
    influence[10, 10] = 4
    field = ReceptiveField(influence=influence, centre=(10, 10), unit=(1, 1))
    (ax,) = plots.receptive_fields({"P3": field}, crop=11)
    side = field.side(0.95)
    assert ax.get_title() == f"P3: 95 % in {side} of 5 px"
    theory, square = ax.patches
    assert (square.get_width(), square.get_x() + side / 2) == (side, 0), "measured from the centre"
    assert (theory.get_width(), theory.get_height(), *theory.get_xy()) == (5, 5, -2.5, -2.5)
    assert shown(ax)[10, 10] == 1
    assert shown(ax)[8, 8] == pytest.approx(0.5), "square roots: a quarter of the influence is half the shade"
    assert ax.get_xlim() == (-5.5, 5.5)


def test_a_cka_matrix_shows_its_numbers():
    ax = plots.cka_heatmap(np.array([[1.0, 0.25], [0.5, 0.75]]), ["P2", "P3"], ["a", "a long name"])
    assert texts(ax) == ["1.00", "0.25", "0.50", "0.75"]
    assert [t.get_color() for t in ax.texts] == ["white", "black", "black", "white"]
    assert ax.get_title() == "unbiased CKA"
    assert ax.get_xticklabels()[0].get_rotation() == 20, "long names would run into each other"


def test_what_survives_has_a_line_per_network():
    ax = plots.survival({"starnet_s1": {"P2": 80, "P5": 20}, "mine": {"P2": 70, "P5": 10}}, "read correctly, %")
    assert legend(ax) == ["starnet_s1", "mine"]
    assert ax.lines[0].get_ydata().tolist() == [80, 20]
    assert to_hex(ax.lines[0].get_color()).upper() == FAMILY_COLOUR["starnet"]
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
    assert ax.get_ylabel() == "read correctly, %"


def test_channels_a_block_leaves_alone():
    ax = plots.channel_change([0.5, 0.25, 0.0, 0.0], touched=2)
    assert texts(ax) == ["touched: 2", "untouched: 2"]
    assert [bar.get_height() for bar in ax.patches[1:]] == [0.5, 0.25, 0, 0]


def test_shares_of_each_row_add_up_to_a_hundred():
    ax = plots.stacked_shares({"PConv": {"conv": 3, "rest": 1}, "conv": {"conv": 2}}, "share, %")
    ends = {}
    for bar in ax.patches:
        ends[bar.get_y()] = max(ends.get(bar.get_y(), 0), bar.get_x() + bar.get_width())
    assert list(ends.values()) == [100, 100]
    assert "75 %" in texts(ax)


# ------------------------------------------------------------------ stars


def test_rank_grows_to_its_limit():
    ax = plots.rank_growth([1, 2, 3], {"sum": [1, 2, 2], "star": [1, 2, 3]}, {"sum": 2, "star": 6})
    assert legend(ax) == ["sum", "star"]
    assert texts(ax) == ["2 terms", "6 terms", "one per neuron"]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [2, 6]
    assert ax.get_ylim() == (0, 7.5)


def test_an_ablation_stands_in_groups():
    ax = plots.ablation({"moons": {"sum": 80.0, "star": 95.5}, "ring": {"sum": 50.0, "star": 99.0}}, "right, %")
    assert [bar.get_height() for bar in ax.patches] == [80, 50, 95.5, 99]
    assert texts(ax) == ["80.0", "50.0", "95.5", "99.0"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["moons", "ring"]
    assert ax.patches[0].get_x() < ax.patches[2].get_x() < ax.patches[1].get_x(), "operations side by side in a group"


def test_every_figure_has_a_name_and_an_unknown_one_is_answered():
    assert all(callable(getattr(plots, name)) for name in plots.__all__ if name != "PALETTE")
    assert set(plots.__all__) <= set(dir(plots))
    with pytest.raises(AttributeError, match=r"no figure 'pie'; it has PALETTE, ablation"):
        plots.pie  # noqa: B018


def test_labels_of_neighbours_do_not_cover_each_other():
    names = ["mobileone_s0", "fasternet_t0", "starnet_s1"]
    _, ax = plt.subplots(figsize=(6, 4))
    ax.set(xlim=(0, 10), ylim=(0, 10))
    plots.label_points(ax, [9.6, 9.7, 9.65], [5.0, 5.1, 6.0], names)  # near each other, and at the right edge
    renderer = ax.figure.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in ax.texts]
    assert [t.get_text() for t in ax.texts] == names
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 for box in boxes)  # no label leaves the picture
