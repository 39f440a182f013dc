"""Checks of lesson 06, feature maps: a hook that keeps what it saw, dead channels, blocks until a unit sees enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .exercises import exercise, expect, expect_equal, expect_function, expect_tensor, fresh
from .quiz import Question, questions


def _no_clone(model: nn.Module, name: str, x: Tensor) -> Tensor:
    kept: dict[str, Tensor] = {}
    handle = model.get_submodule(name).register_forward_hook(lambda m, a, out: kept.update(out=out))
    with torch.no_grad():
        model(x)
    handle.remove()
    return kept["out"]


def _left_behind(model: nn.Module, name: str, x: Tensor) -> Tensor:
    kept: dict[str, Tensor] = {}
    model.get_submodule(name).register_forward_hook(lambda m, a, out: kept.update(out=out.detach().clone()))
    with torch.no_grad():
        model(x)
    return kept["out"]


def _the_input(model: nn.Module, name: str, x: Tensor) -> Tensor:
    kept: dict[str, Tensor] = {}
    handle = model.get_submodule(name).register_forward_hook(lambda m, a, out: kept.update(out=a[0].clone()))
    with torch.no_grad():
        model(x)
    handle.remove()
    return kept["out"]


@exercise(
    "ex-hook",
    hint="a hook gets (module, inputs, output); keep output.detach().clone(), and call handle.remove() at the end.",
    ok="Without the clone an in-place ReLU rewrites what you kept; without remove() the hook stays for ever.",
    wrong={
        "keeps a reference that ReLU overwrites": _no_clone,
        "leaves the hook in the network": _left_behind,
        "keeps the module's input": _the_input,
        "returns the network's output": lambda model, name, x: model(x).detach(),
    },
)
def _hook(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 4, 1), nn.ReLU(inplace=True)).eval()
    for name in ("0", "2"):
        x = torch.randn(2, 3, 7, 6, generator=g)  # (B, 3, H, W)
        with torch.no_grad():
            expected = model[: int(name)](x) if int(name) else x
            expected = model[int(name)](expected)  # (B, C, H', W'), before the ReLU
        expect_tensor(answer(model, name, x), expected, f"output of module {name!r}", rel=1e-6)
        left = [n for n, m in model.named_modules() if m._forward_hooks]
        for module in model.modules():
            module._forward_hooks.clear()
        expect(
            not left, f"the hook is still registered on module {left[0] if left else ''!r} after your function returned"
        )


@exercise(
    "ex-dead",
    hint="take absolute values first: a channel with mean 0 may be very much alive; then the largest over B, H and W.",
    ok="Dead on these images; on others the channel may speak. That is why the panel says so per image.",
    wrong={
        "mean instead of every value": lambda maps: [
            c for c in range(maps.shape[1]) if abs(float(maps[:, c].mean())) < 1e-6
        ],
        "dead in one image is enough": lambda maps: [
            c for c in range(maps.shape[1]) if (maps[:, c].abs().amax((1, 2)) == 0).any()
        ],
        "negative counts as dead": lambda maps: [c for c in range(maps.shape[1]) if float(maps[:, c].max()) <= 0],
        "alive channels": lambda maps: [c for c in range(maps.shape[1]) if float(maps[:, c].abs().max()) > 0],
    },
)
def _dead(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    g = fresh()
    for _ in range(3):
        maps = torch.randn(3, 9, 4, 4, generator=g)  # (B, C, H, W)
        dead = sorted(torch.randperm(9, generator=g)[:3].tolist())
        maps[:, dead] = 0
        sly = next(c for c in range(9) if c not in dead)
        maps[:, sly] -= maps[:, sly].mean()  # its mean is zero, it is alive
        quiet, negative = [c for c in range(9) if c not in dead and c != sly][:2]
        maps[0, quiet] = 0  # silent in one image only
        maps[:, negative] = maps[:, negative].clamp(max=0)  # its largest value is 0, it is alive
        came = answer(maps)
        came = came.tolist() if isinstance(came, Tensor) else came
        expect_equal(sorted(came), dead, "channels that are zero everywhere, in every image")


def _blocks(side: int, field: int, jump: int) -> int:
    return -(-max(0, side - field) // (2 * jump))


@exercise(
    "ex-field",
    hint="each block adds (3 − 1) · jump px to the field; count whole blocks, and none when nothing is missing.",
    ok="Late blocks are cheap reach: at stride 32 one of them adds 64 px, at stride 4 only 8.",
    wrong={
        "one step a block": lambda side, field, jump: -(-max(0, side - field) // jump),
        "three steps a block": lambda side, field, jump: -(-max(0, side - field) // (3 * jump)),
        "rounded down": lambda side, field, jump: max(0, side - field) // (2 * jump),
        "always one more": lambda side, field, jump: max(0, side - field) // (2 * jump) + 1,
        "forgot the field that is there": lambda side, field, jump: -(-side // (2 * jump)),
        "fewer than none": lambda side, field, jump: -((field - side) // (2 * jump)),
        "forgot the jump": lambda side, field, jump: -(-max(0, side - field) // 2),
    },
)
def _field_check(answer: Callable[..., Any]) -> None:
    expect_function(answer)
    picks = torch.randint(1, 60, (4,), generator=fresh()).tolist()
    cases = [(224, 48, 8), (224, 192, 16), (640, 56, 16), (224, 312, 16), (200 + picks[0], picks[1], 4)]
    cases.append((300 + picks[2], picks[3], 32))
    for side, field, jump in cases:
        expect_equal(answer(side, field, jump), _blocks(side, field, jump), f"blocks_to_see({side}, {field}, {jump})")


def _most_energetic() -> int:
    from ..backbones import create_backbone
    from ..features import capture, channel_stats

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        net, x = create_backbone("fasternet_t0"), torch.rand(1, 3, 224, 224)
    return channel_stats(capture(net, x, "P4")["P4"]).order("energy")[0]


questions(
    Question(
        "q1", "c", why="An in-place operator writes into the very tensor the hook was handed.", see="ex-hook"
    ),
    Question("q2", 8, why="Each level has a quarter of the positions and twice the channels: half the numbers.",
             see="section 1"),
    Question("q3", "b", why="Random convolutions mix, but they forget little; training decides what to forget.",
             see="section 2"),
    Question("q4", 20, why="1 + 3·1 for the embedding, + 2·4 and + 2·4 for two 3×3 layers on the stride-4 map.",
             see="section 3"),
    Question("q5", _most_energetic, why="channel_stats(maps).order('energy') lists the strongest first.",
             see="section 1", code=True),
)  # fmt: skip
