"""Your own backbone: what `register` accepts and refuses, notebook classes, timm's networks, a fresh process."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from workbench import _torchvision
from workbench.backbones import create_backbone, list_backbones, registry
from workbench.backbones import custom as wb_custom
from workbench.backbones.contract import RESERVED, check_contract, import_problem
from workbench.backbones.custom import FourMaps, import_path, register, restore, save_class, unregister
from workbench.backbones.layers import Level
from workbench.backbones.weights import load_weights
from workbench.errors import WorkbenchError

WIDTHS = (8, 16, 24, 32)


class Tiny(nn.Module):
    """The smallest backbone that keeps the contract without help."""

    def __init__(self, in_chans: int = 3, width: float = 1.0) -> None:
        super().__init__()
        dims = [int(w * width) for w in WIDTHS]
        self.feature_info = [Level(f"P{i + 2}", d, 2 ** (i + 2), f"stages.{i}") for i, d in enumerate(dims)]
        inputs = [in_chans, *dims]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs[i], d, 3, 4 if i == 0 else 2, 1), nn.BatchNorm2d(d), nn.ReLU())
            for i, d in enumerate(dims)
        )

    def forward_features(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.forward_features(x)


class Bare(Tiny):
    """Returns four maps and says nothing about them, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        del self.feature_info

    forward_features = None

    def forward(self, x):
        return tuple(Tiny.forward_features(self, x))


class Classifier(Tiny):
    def __init__(self, num_classes: int = 0, in_chans: int = 3) -> None:
        super().__init__(in_chans)
        self.head = nn.Linear(32, num_classes) if num_classes else None

    def forward(self, x):
        maps = self.forward_features(x)
        return maps if self.head is None else self.head(maps[-1].mean((2, 3)))


class DictRows(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info = [
            {"num_chs": d, "reduction": 2 ** (i + 2), "module": f"stages.{i}"} for i, d in enumerate(WIDTHS)
        ]


class NeedsArgument(Tiny):
    def __init__(self, width: float) -> None:
        super().__init__(width=width)


def tiny_factory(**config) -> nn.Module:
    return Tiny(**config)


@pytest.fixture(autouse=True)
def _clean_registry():
    before = set(list_backbones())
    yield
    for name in set(list_backbones()) - before:
        unregister(name)


def maps_of(name: str, **kwargs) -> list[tuple[int, ...]]:
    torch.manual_seed(0)
    model = create_backbone(name, **kwargs).eval()
    return [tuple(m.shape) for m in model.forward_features(torch.zeros(1, kwargs.get("in_chans", 3), 64, 96))]


EXPECTED = [(1, 8, 16, 24), (1, 16, 8, 12), (1, 24, 4, 6), (1, 32, 2, 3)]

# ------------------------------------------------------------------ what is accepted


@pytest.mark.parametrize("target", [Tiny, Bare, Classifier, DictRows, tiny_factory])
def test_a_registered_backbone_is_created_by_name(target):
    assert register(target) is target
    assert target.__name__ in list_backbones()
    assert maps_of(target.__name__) == EXPECTED
    info = create_backbone(target.__name__).feature_info
    assert [(lv.name, lv.channels, lv.stride) for lv in info] == [
        (f"P{i + 2}", w, 2 ** (i + 2)) for i, w in enumerate(WIDTHS)
    ]
    assert all(isinstance(lv, Level) for lv in info)


def test_a_complete_backbone_stays_the_users_own_class():
    register(Tiny)
    assert type(create_backbone("Tiny")) is Tiny
    register(Bare)
    assert type(create_backbone("Bare")) is FourMaps


def test_arguments_reach_who_takes_them():
    register(Tiny, "wide")
    assert maps_of("wide", width=2.0, in_chans=1)[0] == (1, 16, 16, 24)
    register(Classifier)
    assert create_backbone("Classifier", num_classes=5).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    register(tiny_factory)
    assert create_backbone("tiny_factory", in_chans=1).stages[0][0].in_channels == 1
    register(NeedsArgument)
    assert maps_of("NeedsArgument", width=1.0) == EXPECTED


def test_the_same_class_may_be_registered_again_and_another_may_not():
    register(Tiny)
    register(Tiny)
    with pytest.raises(WorkbenchError, match="'Tiny' is registered already, as test_custom:Tiny"):
        register(Bare, "Tiny")
    assert maps_of("Tiny") == EXPECTED


def test_registering_and_creating_leave_the_random_state_and_the_statistics_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    register(Tiny)
    assert torch.equal(torch.get_rng_state(), state)
    model = create_backbone("Tiny")
    torch.manual_seed(3)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), Tiny().state_dict().values(), strict=True)
    )
    assert model.training
    assert model.stages[0][1].num_batches_tracked == 0


def test_deploy_and_weights_work_on_your_own_backbone_too():
    register(Bare)
    source = create_backbone("Bare")
    assert load_weights(create_backbone("Bare"), source.state_dict()).loaded
    # a file that was saved from the bare class has no "body." before its names
    report = load_weights(create_backbone("Bare"), source.body.state_dict())
    assert set(report.loaded) == set(source.state_dict())
    x = torch.rand(1, 3, 64, 64)
    merged = create_backbone("Bare", deploy=True)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in merged.modules())
    register(Tiny)
    report = load_weights(create_backbone("Tiny", in_chans=1), create_backbone("Tiny").state_dict())
    assert report.adapted == {"stages.0.0.weight": "filters of 3 image channels summed to 1"}
    assert merged.eval()(x)[3].shape == (1, 32, 2, 2)


def test_it_is_pickled_with_its_import_path():
    register(Bare)
    model = create_backbone("Bare").eval()
    again = pickle.loads(pickle.dumps(model))
    x = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(model.forward_features(x), again.forward_features(x), strict=True))
    assert again.import_path == import_path("Bare") == "test_custom:Bare"
    data = pickle.dumps(model)
    unregister("Bare")
    pickle.loads(data)  # as another process would
    restore("Bare", again.import_path)
    assert maps_of("Bare") == EXPECTED
    with pytest.raises(WorkbenchError, match="comes from no_such_file:Net, which cannot be imported here"):
        restore("Other", "no_such_file:Net")


# ------------------------------------------------------------------ what is refused


class ThreeMaps(Tiny):
    def forward_features(self, x):
        return super().forward_features(x)[1:]


class KeyedByShape(Tiny):
    def forward_features(self, x):
        return {m.shape[2:]: m for m in super().forward_features(x)}


class WrongChannels(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info[2] = Level("P4", 25, 16, "stages.2")


class WrongStride(Bare):
    def __init__(self) -> None:
        super().__init__()
        self.stages[1][0].stride = (1, 1)


class WrongStrideSaid(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info[3] = Level("P5", 32, 16, "stages.3")


class FixedSize(Tiny):
    def forward_features(self, x):
        return super().forward_features(x.view(x.shape[0], x.shape[1], 64, 64))


class Pooled(Tiny):
    def forward_features(self, x):
        *maps, last = super().forward_features(x)
        return [*maps, nn.functional.adaptive_avg_pool2d(last, (2, 2))]


class RandomInEval(Tiny):
    def forward_features(self, x):
        return [nn.functional.dropout(m) for m in super().forward_features(x)]


class NotFinite(Tiny):
    def forward_features(self, x):
        maps = super().forward_features(x)
        return [*maps[:2], maps[2] / 0, maps[3]]


class Flat(Tiny):
    def forward_features(self, x):
        maps = super().forward_features(x)
        return [*maps[:3], maps[3].flatten(1)]


class OneMap(Bare):
    def forward(self, x):
        return super().forward(x)[-1]


class ThreeRows(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info.pop()


class RowWithoutStride(Tiny):
    def __init__(self) -> None:
        super().__init__()
        self.feature_info[1] = {"channels": 16}


class Fails(Tiny):
    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError("boom")


class RandomStatistics(Tiny):
    """Counts its calls."""

    def forward_features(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return [m + self.calls for m in super().forward_features(x)]


def not_a_module():
    return "text"


BREACHES = {
    ThreeMaps: "returns 3 maps; expected four: P2, P3, P4, P5",
    KeyedByShape: "returns dict; expected the list .* loses levels",
    OneMap: "returns Tensor; expected the list",
    WrongChannels: r"P4 has 24 channels, feature_info says 25; correct feature_info\[2\]",
    WrongStride: "P3 must be at stride 8, 8×8 for an image of 64×64; got 16×16",
    WrongStrideSaid: "P5 says stride 16; a detector's P5 is 32",
    FixedSize: r"fails on an image of shape \(1, 3, 64, 96\) .* any height and width",
    Pooled: "P5 must be at stride 32, 2×3 for an image of 64×96; got 2×2",
    RandomInEval: "P2 differs between two calls with one image in eval mode",
    RandomStatistics: "P2 differs between two calls",
    NotFinite: "P4 has values that are not finite",
    Flat: r"P5 is shape \(1, 128\); expected a map of shape \(B, C, H, W\)",
    ThreeRows: "feature_info has 3 rows; expected a list of four",
    RowWithoutStride: r"feature_info\[1\] \(P3\) has no stride",
    not_a_module: "returned str; a backbone must be a torch.nn.Module",
}


@pytest.mark.parametrize("target", BREACHES, ids=lambda t: t.__name__)
def test_a_breach_is_named_with_its_level_and_nothing_is_registered(target):
    with pytest.raises(WorkbenchError, match=BREACHES[target]) as caught:
        register(target)
    assert "\n" not in str(caught.value)
    assert target.__name__ not in list_backbones()


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_ultralytics_writes_are_refused(name):
    model = Tiny()
    setattr(model, name, nn.Identity() if name == "f" else 3)
    with pytest.raises(WorkbenchError, match=f"Tiny has an attribute '{name}'.*rename self.{name}"):
        check_contract(model)


def test_classes_that_no_other_process_finds_are_refused():
    class Local(Tiny):
        pass

    with pytest.raises(WorkbenchError, match="Local is defined inside a function"):
        register(Local)
    hidden = Tiny()
    hidden.stages[1] = nn.Sequential(*hidden.stages[1])
    hidden.stages[1].append(type("Made", (nn.Identity,), {})())
    with pytest.raises(WorkbenchError, match=r"test_custom\.Made cannot be imported"):
        check_contract(hidden)
    with pytest.raises(WorkbenchError, match="has no import path; write it as a class or a def"):
        register(lambda: Tiny(), "made_by_lambda")
    old = type("Tiny", (Tiny,), {"__module__": __name__, "__qualname__": "Tiny"})
    assert "redefined since" in import_problem(old)
    in_cell = type("Net", (Tiny,), {"__module__": "__main__", "__qualname__": "Net"})
    assert "import save_class; Net = save_class(Net, 'net.py')" in import_problem(in_cell)


@pytest.mark.parametrize(
    ("target", "name", "match"),
    [
        (Tiny, "fasternet_t0", "name of one of our backbones"),
        (Tiny, "starnet", "name of one of our backbones"),
        (Tiny, "timm:resnet18", "cannot be a backbone's name"),
        (Tiny, "my net", "cannot be a backbone's name"),
        (3, "three", "takes a class or a function, not int"),
        (nn.Identity(), "built", "takes a class or a function, not Identity"),
    ],
)
def test_names_that_cannot_be(target, name, match):
    with pytest.raises(WorkbenchError, match=match):
        register(target, name)


def test_what_the_factory_does_not_take_is_refused():
    register(Bare)
    with pytest.raises(WorkbenchError, match="Bare takes no in_chans, so in_chans=1 cannot be built"):
        create_backbone("Bare", in_chans=1)
    with pytest.raises(WorkbenchError, match="Bare takes no num_classes"):
        create_backbone("Bare", num_classes=2)
    register(Tiny)
    with pytest.raises(TypeError, match="no configuration keyword 'widht'; did you mean 'width'"):
        create_backbone("Tiny", widht=2)
    with pytest.raises(TypeError, match="out_norm is FasterNet's"):
        create_backbone("Tiny", out_norm=True)
    with pytest.raises(WorkbenchError, match="unknown backbone 'Tinny'; did you mean 'Tiny'"):
        create_backbone("Tinny")
    with pytest.raises(RuntimeError, match="boom"):
        register(Fails)


# ------------------------------------------------------------------ notebooks and fresh processes


CELLS = [
    """
    import torch
    import torch.nn.functional as F
    from torch import nn, Tensor
    import workbench as wb
    """,
    """
    WIDTHS = (8, 16, 24, 32)
    x = torch.rand(3)  # a global that a parameter hides

    def block(c1, c2, stride):
        return nn.Sequential(nn.Conv2d(c1, c2, 3, stride, 1), nn.BatchNorm2d(c2), Act())

    class Act(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.silu(x)
    """,
    """\
    %%time
    class Base(nn.Module):
        pass

    class MyNet(Base):
        def __init__(self, in_chans=3):
            super().__init__()
            inputs = [in_chans, *WIDTHS]
            self.stages = nn.ModuleList(block(inputs[i], c, 4 if i == 0 else 2) for i, c in enumerate(WIDTHS))

        def forward(self, x):
            maps = []
            for stage in self.stages:
                x = stage(x)
                maps.append(x)
            return maps
    """,
    """
    try:
        wb.register(MyNet)
    except ValueError as e:
        print("REFUSED", e)
    from workbench.backbones.custom import save_class
    MyNet = save_class(MyNet, "my_net.py")
    MyNet = save_class(MyNet, "my_net.py")
    wb.register(MyNet)
    print("FIRST", wb.create_backbone("MyNet").feature_info[3].channels)
    """,
    """
    class MyNet(Base):
        def __init__(self, in_chans=3):
            super().__init__()
            inputs = [in_chans, *WIDTHS]
            self.stages = nn.ModuleList(block(inputs[i], c, 4 if i == 0 else 2) for i, c in enumerate(WIDTHS))
            self.stages[3].append(nn.Conv2d(32, 48, 1))

        def forward(self, x):
            return [x := stage(x) for stage in self.stages]

    MyNet = save_class(MyNet, "my_net.py")
    wb.register(MyNet)
    net = wb.create_backbone("MyNet").eval()
    print("SECOND", net.feature_info[3].channels)
    torch.save(net, "net.pt")
    torch.save(net(torch.ones(1, 3, 64, 64)), "maps.pt")
    """,
]
KERNEL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in eval(sys.stdin.read()):
    shell.run_cell(cell, store_history=True).raise_error()
"""


def python(code: str, cwd: Path, stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_class_from_a_cell_becomes_a_file_that_a_fresh_process_opens(tmp_path):
    pytest.importorskip("IPython")
    out = python(KERNEL, tmp_path, repr([textwrap.dedent(c) for c in CELLS]))
    assert "REFUSED MyNet is defined in a notebook, not in a file" in out
    assert "FIRST 32" in out
    assert "SECOND 48" in out, "a cell that ran again replaces the file and the class"
    opened = python(
        "import torch; net = torch.load('net.pt', weights_only=False); maps = torch.load('maps.pt');"
        "print(net.import_path, all(torch.equal(a, b) for a, b in zip(net(torch.ones(1, 3, 64, 64)), maps)));"
        "import workbench as wb; print(wb.create_backbone('MyNet', in_chans=1).feature_info[3].channels)",
        tmp_path,
    )
    assert opened.split() == ["my_net:MyNet", "True", "48"]


def test_a_file_of_the_readers_own_is_never_overwritten(tmp_path, monkeypatch):
    cell = type("Cell", (nn.Module,), {"__module__": "__main__", "__qualname__": "Cell"})
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("precious = 1\n")
    for name, match in {
        "mine.py": "was not written by save_class",
        "torch.py": "name of another module",
        "random.py": "name of another module",
        "my-net.py": "cannot be imported",
        "net.txt": "cannot be imported",
        "fine.py": "source of Cell is not to be found",
    }.items():
        with pytest.raises(WorkbenchError, match=match):
            save_class(cell, name)
    assert Path("mine.py").read_text() == "precious = 1\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.py"]
    with pytest.raises(WorkbenchError, match="takes a class, not Tiny"):
        save_class(Tiny(), "tiny.py")


def test_a_class_that_uses_live_objects_says_which(tmp_path):
    pytest.importorskip("IPython")
    cell = """
    import torch
    from torch import nn
    mean = torch.rand(3)
    class Net(nn.Module):
        def forward(self, x):
            return x - mean
    from workbench.backbones.custom import save_class
    try:
        save_class(Net, "net.py")
    except ValueError as e:
        print(e)
    """
    out = python(KERNEL, tmp_path, repr([textwrap.dedent(cell)]))
    assert "Net uses 'mean', a Tensor of the notebook that cannot be written into a file" in out
    assert not (tmp_path / "net.py").exists()


def test_a_decorator_in_a_module_registers_when_it_is_imported(tmp_path, monkeypatch):
    source = "import workbench as wb\nfrom test_custom import Tiny\n@wb.register\nclass Decorated(Tiny):\n    pass\n"
    (tmp_path / "decorated.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("decorated")
    assert list_backbones("Deco*") == ["Decorated"]
    assert create_backbone("Decorated").import_path == "decorated:Decorated"


# ------------------------------------------------------------------ timm


@pytest.fixture(scope="module")
def timm():
    if _torchvision.ensure() == "absent":
        pytest.skip("torchvision, which timm needs, is not installed")
    return pytest.importorskip("timm", reason="the extra 'reference' is not installed")


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", (64, 128, 256, 512)),
        ("mobilenetv3_small_050", (8, 16, 24, 288)),
        ("starnet_s050", (16, 32, 64, 128)),
        pytest.param("mobileone_s0", (48, 128, 256, 1024), marks=pytest.mark.long),
        pytest.param("swin_tiny_patch4_window7_224", (96, 192, 384, 768), marks=pytest.mark.long),
    ],
)
def test_timms_networks_keep_the_contract_by_name(timm, name, channels):
    if name.startswith("swin"):  # built for one image size: the contract says so
        with pytest.raises(WorkbenchError, match="any height and width"):
            create_backbone(f"timm:{name}")
        return
    model = create_backbone(f"timm:{name}", in_chans=1).eval()
    assert [lv.channels for lv in model.feature_info] == list(channels)
    x = torch.rand(1, 1, 64, 96)
    maps = model.forward_features(x)
    assert [m.shape[2:] for m in maps] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]
    modules = dict(model.named_modules())
    assert all(lv.module in modules for lv in model.feature_info)
    again = pickle.loads(pickle.dumps(model))
    assert all(torch.equal(a, b) for a, b in zip(maps, again(x), strict=True))


def test_timms_classifier_weights_load_into_its_backbone(timm):
    for name in ("resnet18", "fasternet_t0"):
        theirs = timm.create_model(name, pretrained=False).eval()
        model = create_backbone(f"timm:{name}").eval()
        report = load_weights(model, theirs.state_dict())
        assert not report.missing
        assert set(report.skipped) <= {
            k for k in theirs.state_dict() if k.startswith(("fc.", "conv_head.", "classifier."))
        }
        with pytest.raises(WorkbenchError, match=r"pretrained=True"):
            load_weights(model, "imagenet")
        x = torch.rand(1, 3, 64, 64)
        assert torch.allclose(model(x)[3], theirs.forward_features(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "config", "match"),
    [
        ("resnet81", {}, "timm has no network 'resnet81'; did you mean 'resnet18'"),
        ("vit_tiny_patch16_224", {}, "timm:vit_tiny_patch16_224 has maps at strides 16"),
        ("resnet18", {"num_classes": 10}, "comes without a classifier"),
        ("resnet18", {"no_such_option": 1}, "cannot be built to return its maps"),
    ],
)
def test_timms_limits_are_said_in_one_line(timm, name, config, match):
    with pytest.raises(WorkbenchError, match=match) as caught:
        create_backbone(f"timm:{name}", **config)
    assert "\n" not in str(caught.value)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "workbench.backbones.timm", raising=False)
    with pytest.raises(ImportError, match=r"extra 'reference'.*\[reference\]"):
        create_backbone("timm:resnet18")


def test_checkpoints_with_foreign_backbones_open_and_rebuild_in_a_fresh_process(timm, tmp_path):
    pytest.importorskip("ultralytics")
    import workbench as wb

    register(Bare)
    wb.YOLO("yolo11n-Bare.yaml").save(tmp_path / "own.pt")
    torch.save(create_backbone("timm:resnet10t"), tmp_path / "timm.pt")
    opened = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import torch;"
        "print(len(torch.load('timm.pt', weights_only=False).feature_info));"
        "from ultralytics import YOLO; y = YOLO('own.pt'); z = YOLO('yolo11n-Bare.yaml');"
        "print(sum(p.numel() for p in y.model.parameters()) == sum(p.numel() for p in z.model.parameters()))"
    )
    out = python(opened, tmp_path).split()
    assert (out[0], out[-1]) == ("4", "True")


def test_the_module_of_your_own_offers_its_tools():
    for name in wb_custom.__all__:
        assert callable(getattr(wb_custom, name))


def test_a_backbone_without_a_classifier_is_measured_without_one(monkeypatch):
    monkeypatch.setitem(registry._custom, "headless", lambda width=8: None)
    monkeypatch.setitem(registry._custom, "either", lambda num_classes=0: None)
    names = ("fasternet_t0", "headless", "either", "timm:resnet18")
    assert [registry.classes_for(n) for n in names] == [1000, 0, 1000, 0]
