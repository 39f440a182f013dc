"""Properties over drawn configurations: registry, channel arithmetic, folding and merging, transplants into hosts.

The draws are the same in every run (the profile in conftest.py), so a verdict never depends on luck.
"""

from __future__ import annotations

import copy
import string

import pytest
import torch
from families import randomised, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.backbones import FAMILIES, create_backbone, list_backbones
from workbench.backbones.layers import fold_conv_bn, merge_convs
from workbench.backbones.mobileone import MobileOneBlock
from workbench.backbones.reparam import deploy, is_deployed
from workbench.backbones.starnet import round_channels
from workbench.errors import WorkbenchError
from workbench.measure import count

EXACT = 1e-10  # of the largest value, in float64
small = st.integers(1, 3)
depths = st.tuples(small, small, small, small)


def configurations() -> st.SearchStrategy[tuple[str, dict]]:
    """Draw a family with a configuration of its own, small enough for a test."""
    fasternet = st.fixed_dictionaries(
        {
            "embed_dim": st.sampled_from((8, 12, 16, 24)),
            "depths": depths,
            "mlp_ratio": st.sampled_from((1.0, 2.0, 3.0)),
            "n_div": st.sampled_from((2, 4)),
            "layer_scale_init_value": st.sampled_from((0, 0.1)),
            "act_layer": st.sampled_from(("RELU", "GELU")),
        }
    )
    starnet = st.fixed_dictionaries({"base_dim": st.sampled_from((4, 8, 10)), "depths": depths, "mlp_ratio": small})
    mobileone = st.fixed_dictionaries(
        {
            "num_blocks_per_stage": depths,
            "width_multipliers": st.just((0.25,) * 4),
            "num_conv_branches": small,
            "use_se": st.booleans(),
        }
    )
    vanillanet = st.lists(st.sampled_from((1, 2)), min_size=3, max_size=6).filter(lambda s: s.count(2) == 3)
    vanilla = st.builds(
        lambda strides, width, act: {
            "dims": tuple(width * (1 + i // 2) for i in range(len(strides) + 1)),
            "strides": tuple(strides),
            "act_num": act,
        },
        vanillanet,
        st.sampled_from((8, 16)),
        small,
    )
    families = {"fasternet": fasternet, "starnet": starnet, "mobileone": mobileone, "vanillanet": vanilla}
    return st.one_of(*(st.tuples(st.just(name), config) for name, config in families.items()))


def built(family: str, config: dict, **changes) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_backbone(family, **config, **changes).double()


@settings(max_examples=25)
@given(configurations(), st.sampled_from((32, 64, 71)), st.integers(1, 4))
def test_every_network_keeps_the_contract(drawn, size, in_chans):
    net = randomised(built(*drawn, in_chans=in_chans))
    maps = net.forward_features(torch.zeros(1, in_chans, size, size, dtype=torch.float64))
    assert [lv.stride for lv in net.feature_info] == [4, 8, 16, 32]
    for lv, m in zip(net.feature_info, maps, strict=True):
        assert m.shape[1] == lv.channels
        assert {*m.shape[2:]} <= {size // lv.stride, -(-size // lv.stride)}


@settings(max_examples=25)
@given(configurations())
def test_deploying_changes_the_form_and_not_the_function(drawn):
    net = randomised(built(*drawn, num_classes=3))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        thin = deploy(net)
        again = deploy(thin)
        assert relative(thin(x), net(x)) < EXACT
        assert torch.equal(again(x), thin(x)), "deploying twice must change nothing"
    assert is_deployed(thin)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in thin.modules())
    assert count(thin, imgsz=64).params == sum(p.numel() for p in thin.parameters())
    assert count(thin, imgsz=64).macs <= count(net, imgsz=64).macs


@settings(max_examples=40)
@given(
    c1=st.sampled_from((1, 2, 4, 6)), multiple=small, k=st.sampled_from((1, 3, 5)), stride=st.sampled_from((1, 2)),
    dilation=st.sampled_from((1, 2)), groups=st.booleans(), bias=st.booleans(), affine=st.booleans(),
    mode=st.sampled_from(("zeros", "reflect", "replicate", "circular")), seed=st.integers(0, 99),
)  # fmt: skip
def test_folding_is_exact(c1, multiple, k, stride, dilation, groups, bias, affine, mode, seed):
    torch.manual_seed(seed)
    g = c1 if groups else 1
    conv = nn.Conv2d(
        c1, c1 * multiple, k, stride, dilation * (k // 2), dilation, g, bias=bias, padding_mode=mode
    ).double()
    bn = nn.BatchNorm2d(c1 * multiple, affine=affine).double()
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.1, 2)
    if affine:
        nn.init.normal_(bn.weight)
        nn.init.normal_(bn.bias)
    both = nn.Sequential(conv, bn).eval()
    one = fold_conv_bn(conv, bn)
    x = torch.randn(2, c1, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        assert relative(one(x), both(x)) < EXACT
    assert (one.stride, one.dilation, one.groups, one.padding_mode) == (
        conv.stride, conv.dilation, conv.groups, conv.padding_mode,
    )  # fmt: skip


@settings(max_examples=30)
@given(
    c=st.sampled_from((1, 2, 4)), wider=st.booleans(), k=st.sampled_from((1, 3, 5)), stride=st.sampled_from((1, 2)),
    depthwise=st.booleans(), se=st.booleans(), branches=st.integers(1, 4),
    mode=st.sampled_from(("zeros", "reflect", "circular")),
)  # fmt: skip
def test_merging_a_mobileone_block_is_exact(c, wider, k, stride, depthwise, se, branches, mode):
    torch.manual_seed(0)
    c1, c2 = 16 * c, 16 * c * (2 if wider else 1)
    block = MobileOneBlock(
        c1, c2, k, stride, groups=c1 if depthwise else 1, use_se=se, num_conv_branches=branches, padding_mode=mode
    )
    block = randomised(block.double())
    thin = copy.deepcopy(block)
    thin.reparameterize()
    x = torch.randn(1, c1, 10, 10, dtype=torch.float64)
    with torch.no_grad():
        assert relative(thin(x), block(x)) < EXACT
    assert sum(p.numel() for p in thin.parameters()) < sum(p.numel() for p in block.parameters())


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.sampled_from((1, 2)), st.integers(0, 99))
def test_two_convolutions_without_anything_between_are_one(a, b, c, stride, seed):
    torch.manual_seed(seed)
    first, second = nn.Conv2d(a, b, 4, stride).double(), nn.Conv2d(b, c, 1).double()
    x = torch.randn(2, a, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        assert relative(merge_convs(first, second)(x), second(first(x))) < EXACT


@settings(max_examples=100)
@given(st.floats(1, 2000, allow_nan=False), st.sampled_from((8, 16)))
def test_rounded_widths_are_multiples_and_never_far(width, multiple):
    made = round_channels(width, multiple)
    assert made % multiple == 0
    assert made >= multiple
    assert made >= 0.9 * width, "rounding takes at most a tenth away"
    assert made < width + multiple


@settings(max_examples=60)
@given(st.sampled_from(list_backbones()), st.sampled_from(string.ascii_lowercase + "_"), st.data())
def test_a_name_with_one_wrong_letter_is_answered_with_the_right_one(name, letter, data):
    at = data.draw(st.integers(1, len(name) - 2))
    wrong = name[:at] + letter + name[at + 1 :]
    if wrong in list_backbones() or wrong in FAMILIES:
        return
    with pytest.raises(WorkbenchError, match="unknown backbone") as caught:
        create_backbone(wrong)
    assert "did you mean" in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(st.sampled_from(list(FAMILIES)), st.text(string.ascii_lowercase, min_size=3, max_size=12))
def test_an_unknown_keyword_is_a_type_error(family, keyword):
    with pytest.raises(TypeError, match=keyword):
        create_backbone(family, **{f"{keyword}_not_a_setting": 1})


HOSTS = {"yolo11": "nsmlx", "yolov8": "nsmlx", "yolo12": "nsmlx", "yolo26": "nsmlx", "rtdetr-l": "l"}


@settings(max_examples=12)
@given(st.sampled_from(sorted(HOSTS)), st.data(), st.sampled_from([b for b in list_backbones() if "ada" not in b]))
def test_a_transplant_keeps_what_it_does_not_replace(host, data, backbone):
    """Whatever host, scale and backbone: rows refer to earlier rows only, and the kept rows are the host's own."""
    from workbench.yolo import detector_yaml
    from workbench.yolo.hosts import read_host

    scale = data.draw(st.sampled_from(HOSTS[host]))
    made, theirs = detector_yaml(host, backbone, scale), read_host(host).cfg
    assert made["backbone"][0][2] == backbone
    assert made["nc"] == theirs["nc"]
    kept = [row[1:3] for row in made["backbone"][1:] + made["head"]]
    assert kept == [row[1:3] for row in (theirs["backbone"] + theirs["head"])[-len(kept) :]]
    for i, row in enumerate(made["backbone"][1:] + made["head"], start=5):
        sources = [row[0]] if isinstance(row[0], int) else row[0]
        assert all(-i <= s < i for s in sources), f"row {i} reads {sources}"
