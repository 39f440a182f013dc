"""The panels of lessons 01 to 03, driven as a hand and as a cell drive them; and the figures they share."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.lesson.star_toy import train_toy

mpl.use("agg")
PANELS = {"ConvCost": {"channels": 64, "kernel": 5}, "ChannelReach": {"n_div": 2, "blocks": 3}}
PANELS["StarBoundary"] = {"data": "halves", "steps": 10}


def pixels(panel) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(panel.picture.value)).convert("RGB"))


@pytest.mark.parametrize("name", PANELS)
class TestPanels:
    def test_set_changes_result_and_picture(self, name):
        panel = getattr(wb.panels, name)()
        before, picture = panel.result, pixels(panel)
        assert panel.set(**PANELS[name]) is panel
        assert panel.result is not before
        assert not np.array_equal(pixels(panel), picture)
        assert {k: panel.state[k] for k in PANELS[name]} == PANELS[name]

    def test_a_hand_on_a_control_does_the_same(self, name):
        by_hand, by_code = (getattr(wb.panels, name)() for _ in range(2))
        for control, value in PANELS[name].items():
            by_hand.controls[control].value = value
        by_code.set(**PANELS[name])
        assert by_hand.words.value == by_code.words.value
        assert np.array_equal(pixels(by_hand), pixels(by_code))

    def test_code_restores_the_state(self, name):
        panel = getattr(wb.panels, name)().set(**PANELS[name])
        again = eval(panel.code(), {name: getattr(wb.panels, name)})
        assert again.state == panel.state

    def test_every_control_has_a_label(self, name):
        for control in getattr(wb.panels, name)().controls.values():
            assert control.description

    def test_nonsense_is_named_and_changes_nothing(self, name):
        panel = getattr(wb.panels, name)()
        state, picture = panel.state, panel.picture.value
        for control in state:
            for value in ("nonsense", -1, None):
                with pytest.raises(WorkbenchError, match=control):
                    panel.set(**{control: value})
        with pytest.raises(WorkbenchError, match="no control 'colour'"):
            panel.set(colour="red")
        assert panel.state == state
        assert panel.picture.value == picture

    def test_shows_itself(self, name):
        bundle = getattr(wb.panels, name)()._repr_mimebundle_()
        assert "application/vnd.jupyter.widget-view+json" in str(bundle)


def test_a_choice_that_cannot_be_computed_is_said_inside_the_panel():
    panel = wb.panels.ConvCost()
    good = panel.result
    panel._compute = lambda **_: (_ for _ in ()).throw(WorkbenchError("channels=16 is too few"))
    panel.controls["channels"].value = 16
    assert "channels=16 is too few" in panel.words.value
    assert panel.result is good


class TestFigures:
    def test_operator_cost_bars_are_the_numbers(self):
        from workbench.measure.formulas import operator_costs

        costs = operator_costs(96, 56)
        macs, moved, intensity = wb.plots.operator_cost(costs, figure=Figure())
        assert [b.get_width() for b in macs.patches] == [c.macs for c in costs.values()]
        assert [b.get_width() for b in moved.patches] == [c.bytes_moved for c in costs.values()]
        assert [t.get_text() for t in macs.get_yticklabels()] == list(costs)
        assert "FLOP per byte" in intensity.get_xlabel()

    def test_roofline_never_exceeds_its_roofs(self):
        points = {"conv": (200, 90), "depthwise": (2, 8)}
        ax = wb.plots.roofline(100, {"memory": 10, "cache": 50}, points, Figure().add_subplot())
        memory, cache, *drawn = ax.get_lines()
        assert max(memory.get_ydata()) == max(cache.get_ydata()) == 100
        x, y = memory.get_data()
        assert np.allclose(y[x < 9], 10 * x[x < 9])
        assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in drawn] == list(points.values())

    def test_boundary_is_where_the_probability_is_one_half(self):
        run = train_toy("star", "ring", width=4)
        ax = wb.plots.decision_boundary(run, Figure().add_subplot())
        (contour,) = [c for c in ax.collections if type(c).__name__ == "QuadContourSet"]
        points = np.concatenate([path.vertices for path in contour.get_paths()])
        radius = np.hypot(points[:, 0], points[:, 1])
        assert 0.7 < radius.min() < radius.max() < 1.3  # between disc and ring
        title = "".join(ax.get_title(loc=loc) for loc in ("left", "center"))
        assert title == f"star, no activation: {run.accuracy:.0%}"

    def test_stacked_shares_sum_to_the_whole(self):
        ax = wb.plots.stacked_shares({"a": {"x": 1, "y": 3}, "b": {"y": 2, "z": 2}}, "%", Figure().add_subplot())
        ends = {}
        for bar in ax.patches:
            row = round(bar.get_y() + bar.get_height() / 2)
            ends[row] = max(ends.get(row, 0), bar.get_x() + bar.get_width())
        assert ends == {0: pytest.approx(100), 1: pytest.approx(100)}

    def test_unknown_figure_lists_the_known(self):
        with pytest.raises(AttributeError, match="roofline"):
            _ = wb.plots.rooflines
        for name in wb.plots.__all__:
            assert getattr(wb.plots, name) is not None
