"""The pure functions behind lessons 01 to 03 and their panels, against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.backbones.fasternet import VARIANTS, Block, FasterNetConfig, PConv
from workbench.errors import WorkbenchError
from workbench.lesson.reach import channel_reach, compose
from workbench.lesson.star_toy import ACTIVATIONS, DATASETS, OPS, ToyNet, toy_data, train_toy
from workbench.measure import count
from workbench.measure.formulas import OPERATORS, operator_costs


class TestOperatorCosts:
    @settings(max_examples=15, deadline=None)
    @given(
        st.integers(2, 12).map(lambda n: 8 * n),
        st.integers(3, 20),
        st.sampled_from([1, 3, 5]),
        st.sampled_from([2, 4, 8]),
    )
    def test_equals_the_counter(self, c, h, k, n_div):
        costs, x = operator_costs(c, h, k, n_div), torch.zeros(1, c, h, h)
        layers = {
            "conv": nn.Conv2d(c, c, k, padding=k // 2, bias=False),
            "depthwise": nn.Conv2d(c, c, k, padding=k // 2, groups=c, bias=False),
            "pointwise": nn.Conv2d(c, c, 1, bias=False),
        }
        for name, layer in layers.items():
            counted = count(layer, x)
            came = (costs[name].params, costs[name].macs, costs[name].bytes_moved)
            assert came == (counted.params, counted.macs, counted.bytes_moved)
            assert costs[name].intensity == counted.intensity
        assert tuple(costs) == OPERATORS

    def test_pconv_is_the_dense_convolution_of_its_quarter(self):
        costs, counted = operator_costs(64, 14), count(PConv(64), torch.zeros(1, 64, 14, 14))
        assert (costs["pconv"].params, costs["pconv"].macs) == (counted.params, counted.macs)
        copied = 2 * 4 * 64 * 14 * 14  # every channel read and written once more by cat
        assert counted.bytes_moved == costs["pconv"].bytes_moved + copied

    @pytest.mark.parametrize("bad", [{"channels": 0}, {"size": 0}, {"kernel": 2}, {"n_div": 0}, {"n_div": 65}])
    def test_bad_input(self, bad):
        with pytest.raises(WorkbenchError, match="expected positive integers"):
            operator_costs(**{"channels": 64, "size": 8} | bad)


def gradient_radius(stack: nn.Module, channels: int, side: int) -> np.ndarray:
    """The reach matrix of a real network: which input pixels move the middle of each output channel."""
    x = torch.randn(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    middle = stack(x)[0, :, side // 2, side // 2]  # (C,)
    distance = (torch.arange(side) - side // 2).abs()
    distance = torch.maximum(distance[:, None], distance)  # (side, side)
    rows = []
    for value in middle:
        moved = torch.autograd.grad(value, x, retain_graph=True)[0][0] != 0  # (C, side, side)
        radius = torch.where(moved, distance, -1).amax(dim=(1, 2))  # (C,)
        rows.append(radius.numpy())
    return np.stack(rows)


class TestReach:
    @pytest.mark.parametrize("blocks", [1, 2, 3])
    @pytest.mark.parametrize("n_div", [1, 2, 4])
    def test_equals_the_gradients_of_real_blocks(self, blocks, n_div):
        cfg = FasterNetConfig(act_layer="GELU", n_div=n_div)
        stack = nn.Sequential(*(Block(8, cfg, 0.0) for _ in range(blocks))).double().eval()
        assert (gradient_radius(stack, 8, 2 * blocks + 5) == channel_reach(8, n_div, blocks).radius).all()

    def test_without_pointwise_it_equals_pconv_with_shortcut(self):
        class Only(nn.Module):
            def __init__(self):
                super().__init__()
                self.pconv = PConv(8)

            def forward(self, x):
                return x + self.pconv(x)

        stack = nn.Sequential(Only(), Only()).double()
        expected = channel_reach(8, 4, 2, pointwise=False)
        assert (gradient_radius(stack, 8, 9) == expected.radius).all()
        assert (expected.seeing, expected.field) == (0.25, 5)
        assert expected.connected == (2 * 2 + 6) / 64

    def test_t0_sees_everything_after_two_blocks(self):
        assert VARIANTS["fasternet_t0"].depths[1] == 2
        two = channel_reach(16, 4, 2)
        assert two.connected == two.seeing == 1.0
        assert two.radius.min() == 1

    def test_composition_is_associative(self):
        rng = np.random.default_rng(0)
        a, b, c = (rng.integers(-1, 3, (5, 5)) for _ in range(3))
        assert (compose(compose(a, b), c) == compose(a, compose(b, c))).all()

    def test_bad_input(self):
        with pytest.raises(WorkbenchError, match="n_div ≤ channels"):
            channel_reach(4, n_div=8)


class TestStarToy:
    @pytest.mark.parametrize("name", DATASETS)
    def test_data_is_balanced_repeatable_and_seeded_apart(self, name):
        x, y = toy_data(name)
        assert x.shape == (400, 2)
        assert 0.4 < y.float().mean() < 0.6
        assert torch.equal(x, toy_data(name)[0])
        assert not torch.equal(x, toy_data(name, seed=1)[0])
        assert x.abs().max() < 2

    def test_sum_without_activation_is_linear_and_star_quadratic(self):
        points = torch.randn(200, 2, dtype=torch.float64)
        a, b = points[:, :1], points[:, 1:]
        linear = torch.cat((torch.ones_like(a), a, b), 1)
        quadratic = torch.cat((linear, a * a, a * b, b * b), 1)
        quartic = torch.stack([points[:, 0] ** i * points[:, 1] ** j for i in range(5) for j in range(5 - i)], 1)
        cases = [("sum", 1, linear), ("sum", 3, linear), ("star", 1, quadratic), ("star", 2, quartic)]
        for op, layers, basis in cases:
            torch.manual_seed(3)
            out = ToyNet(op, 8, layers=layers).double()(points).detach()  # (200,)
            rest = out - basis @ torch.linalg.lstsq(basis, out[:, None]).solution[:, 0]
            assert rest.abs().max() < 1e-9, (op, layers)
        assert basis.shape[1] == math.comb(4 + 2, 2)

    def test_the_claims_of_the_lesson(self):
        accuracy = {op: train_toy(op, "ring", width=4).accuracy for op in OPS}
        assert accuracy["star"] > 0.95 > 0.7 > accuracy["sum"]
        assert train_toy("star", "checks", width=1).accuracy > 0.9
        one, two = (train_toy("star", "moons", width=4, layers=n).accuracy for n in (1, 2))
        assert one < 0.95 < two

    def test_equal_parameters_and_repeatable(self):
        before = torch.get_rng_state()
        runs = [train_toy(op, "halves", width=3, steps=5, act=act) for op in OPS for act in ACTIVATIONS]
        assert len({r.params for r in runs}) == 1
        train_toy.cache_clear()
        again = train_toy("sum", "halves", width=3, steps=5, act="none")
        assert torch.equal(again.surface, runs[0].surface)
        assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"

    @pytest.mark.parametrize("bad", [{"op": "product"}, {"data": "rings"}, {"act": "gelu"}])
    def test_bad_input(self, bad):
        with pytest.raises(WorkbenchError):
            train_toy(**{"op": "star", "data": "ring"} | bad)
