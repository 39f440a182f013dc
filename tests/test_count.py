"""The counter: exact against the table of truths, and honest about what it does not count."""

import csv
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import workbench as wb
from workbench.errors import WorkbenchError
from workbench.measure import count
from workbench.measure._trace import record, track_modules
from workbench.measure.formulas import operator_costs
from workbench.settings import data_dir

ROWS = list(csv.DictReader((data_dir() / "backbones.csv").open()))
EXACT_MILLIONS = {"fasternet_t0": 335.42, "starnet_s1": 421.88, "mobileone_s0": 1051.94}  # truth in counter tables


@pytest.mark.parametrize("row", ROWS, ids=[r["variant"] for r in ROWS])
def test_every_variant_has_the_table_s_parameters_and_macs(row):
    c = count(row["variant"])
    assert (c.params, c.macs) == (int(row["params_train"]), int(row["macs_train"]))
    assert c.flops == 2 * c.macs


DEPLOYED = [r for r in ROWS if r["macs_deploy"]]


@pytest.mark.parametrize("row", DEPLOYED, ids=[r["variant"] for r in DEPLOYED])
def test_deploy_forms_have_the_table_s_parameters_and_macs(row):
    with torch.device("meta"):
        m = wb.create_backbone(row["variant"], num_classes=1000, deploy=True)
    c = count(m, imgsz=224)
    assert (c.params, c.macs, c.form) == (int(row["params_deploy"]), int(row["macs_deploy"]), "deploy")


@pytest.mark.parametrize("name", ["fasternet_t0", "starnet_s050", "mobileone_s0", "vanillanet_5"])
def test_the_form_is_named(name):
    assert count(wb.create_backbone(name), imgsz=64).form == "train"
    assert "train form" in str(count(wb.create_backbone(name), imgsz=64))
    assert count(wb.create_backbone(name, deploy=True), imgsz=64).form == "deploy"
    assert count(lambda x: x, torch.zeros(1)).form == ""


@pytest.mark.parametrize("name", EXACT_MILLIONS)
def test_counter_table_of_truths(name):
    assert round(count(name).macs / 1e6, 2) == EXACT_MILLIONS[name]


def test_conv_by_hand():
    c = count(nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=4), imgsz=20, batch=2)
    out = 2 * 32 * 10 * 10
    assert c.params == 32 * 4 * 9 + 32
    assert c.macs == out * 4 * 9
    assert c.elements == c.activations == out
    assert c.bytes_moved == 4 * (2 * 16 * 20 * 20 + 32 * 4 * 9 + 32 + out)
    assert c.non_contraction_elements == 0
    assert c.uncounted == []


def test_transposed_linear_and_dot_by_hand():
    c = count(nn.ConvTranspose2d(8, 4, 2, stride=2, bias=False), imgsz=10)
    assert c.macs == 10 * 10 * 8 * 4 * 4
    assert count(nn.Linear(64, 10), torch.zeros(3, 64)).macs == 3 * 64 * 10
    assert count(lambda a, b: a.mv(b), (torch.ones(5, 7), torch.ones(7))).macs == 35
    assert count(lambda a: a.dot(a), torch.ones(9)).macs == 9
    assert count(torch.addmv, (torch.ones(5), torch.ones(5, 7), torch.ones(7))).macs == 35


@pytest.mark.parametrize(("channels", "size", "kernel"), [(16, 20, 3), (24, 7, 5)])
def test_the_formulas_by_hand_agree_with_the_counter(channels, size, kernel):
    pad = kernel // 2
    convs = {
        "conv": nn.Conv2d(channels, channels, kernel, padding=pad, bias=False),
        "depthwise": nn.Conv2d(channels, channels, kernel, padding=pad, bias=False, groups=channels),
        "pointwise": nn.Conv2d(channels, channels, 1, bias=False),
        "pconv": nn.Conv2d(channels // 4, channels // 4, kernel, padding=pad, bias=False),
    }
    for name, cost in operator_costs(channels, size, kernel).items():
        c = count(convs[name], imgsz=size)
        assert (cost.name, cost.params, cost.macs, cost.bytes_moved) == (name, c.params, c.macs, c.bytes_moved)
        assert (cost.flops, cost.intensity) == (c.flops, pytest.approx(c.intensity))


def test_attention_is_counted_and_equal_on_both_paths():
    q = torch.randn(2, 4, 50, 16)
    attention = count(lambda a: F.scaled_dot_product_attention(a, a, a), q)
    assert attention.macs == 2 * 2 * 4 * 50 * 50 * 16
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    x = torch.randn(1, 9, 32)
    real, ghost = (sum(o.macs for o in record(layer, (x,), d)[0]) for d in (None, "meta"))
    assert real == ghost == 9 * 32 * 96 + 2 * 9 * 9 * 32 + 9 * 32 * 32 + 2 * 9 * 32 * 64


def test_fused_cpu_attention_operator_has_a_formula():
    q = torch.randn(1, 2, 10, 8)
    op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    assert count(lambda a: op(a, a, a)[0], q).macs == 2 * 2 * 10 * 10 * 8


def test_meta_and_real_runs_agree_on_every_number():
    m = wb.create_backbone("fasternet_t1", num_classes=10)
    x = torch.zeros(2, 3, 96, 64)
    real, ghost = (record(m, (x,), d)[0] for d in (None, "meta"))
    assert [(o.module, o.macs, o.elements) for o in real] == [(o.module, o.macs, o.elements) for o in ghost]


def test_same_total_as_the_library_counter():
    m = wb.create_backbone("fasternet_t0").eval()
    x = torch.zeros(1, 3, 64, 96)
    with FlopCounterMode(display=False) as reference, torch.no_grad():
        m(x)
    assert count(m, x).flops == reference.get_total_flops()


def test_parts_add_up_and_stages_carry_their_share():
    c = count("fasternet_t0")
    parts = c.parts()
    for key in ("params", "macs", "elements", "non_contraction_elements", "bytes_moved"):
        assert sum(getattr(p, key) for p in parts) == getattr(c, key), key
    assert c.parts(["stages.2"])[0].out_shape == (1, 80, 28, 28)
    assert {p.name for p in c.parts(depth=1)} == {"patch_embed", "stages", "avgpool_pre_head", "head"}
    with pytest.raises(WorkbenchError, match=r"stages\.9.*not a module"):
        c.parts(["stages.9"])


def test_what_no_counter_counts_is_listed():
    block = wb.create_backbone("fasternet_t0").stages[0]
    c = count(block, torch.zeros(1, 40, 56, 56))
    calls = {u.op: (u.kind, u.calls, u.elements) for u in c.uncounted}
    one_map = 40 * 56 * 56
    assert calls["cat"] == ("copy", 1, one_map)
    assert calls["add"] == ("elementwise", 1, one_map)
    assert calls["gelu"] == ("elementwise", 1, 2 * one_map)
    assert c.non_contraction_elements == 6 * one_map  # cat, add, gelu × 2, batch norm × 2
    whole = count("fasternet_t0")
    assert sum(u.calls for u in whole.uncounted) == sum(o.kind != "contraction" for o in whole.ops)
    assert sum(u.elements for u in whole.uncounted) == whole.non_contraction_elements
    rows = whole.by_operator()
    totals = {key: sum(row[key] for row in rows.values()) for key in ("calls", "macs", "elements", "bytes_moved")}
    assert totals == {
        "calls": len(whole.ops), "macs": whole.macs, "elements": whole.elements, "bytes_moved": whole.bytes_moved,
    }  # fmt: skip
    assert {u.op: u.calls for u in whole.uncounted}["gelu"] == 14  # one a block (1 + 2 + 8 + 2), one in the head


def test_nothing_stays_on_a_module_that_was_watched():
    net, where = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), [""]
    seen = []
    net[1].register_forward_hook(lambda *_: seen.append(where[-1]))
    with track_modules(net, where):
        net(torch.zeros(1, 3, 4, 4))
    net(torch.zeros(1, 3, 4, 4))
    assert seen == ["1", ""]
    assert where == [""]


class Star(nn.Module):
    def __init__(self):
        super().__init__()
        self.f1, self.f2 = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1)
        self.act = nn.ReLU6()

    def forward(self, x):
        return self.act(self.f1(x)) * self.f2(x)


def test_star_product_is_seen():
    c = count(Star(), imgsz=10)
    assert {u.op: u.elements for u in c.uncounted}["mul"] == 8 * 10 * 10
    assert c.macs == 2 * 4 * 8 * 100


def test_shared_module_is_attributed_to_its_caller():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            act = nn.SiLU()
            self.a, self.b = nn.Sequential(nn.Conv2d(3, 4, 1), act), nn.Sequential(nn.Conv2d(4, 2, 1), act)

        def forward(self, x):
            return self.b(self.a(x))

    c = count(Two(), imgsz=8)
    assert [(o.module, o.elements) for o in c.ops if o.op == "silu"] == [("a.1", 256), ("b.1", 128)]


def test_the_model_itself_is_neither_run_nor_changed():
    class Notebook(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn, self.seen = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), None

        def forward(self, x):
            self.seen = self.bn(self.conv(x))
            return self.seen

    m = Notebook().train()
    count(m, imgsz=8)
    assert m.training
    assert m.seen is None
    assert int(m.bn.num_batches_tracked) == 0
    assert not m._forward_hooks
    assert not m.conv._forward_hooks


def test_control_flow_that_reads_values_still_counts():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.wide = nn.Linear(4, 3_000_000)  # large enough to be tried on shapes alone first

        def forward(self, x):
            y = self.conv(x)
            return y if float(y.sum()) == float("inf") else y + 1

    assert count(Gate(), imgsz=64).macs == 3 * 4 * 64 * 64


def test_channels_and_dtype_follow_the_model():
    m = wb.create_backbone("fasternet_t0", in_chans=1)
    assert count(m, imgsz=(64, 32)).input_shape == ((1, 1, 64, 32),)
    assert count(nn.Conv2d(3, 4, 1).double(), imgsz=8).dtype == "float64"


def test_table_json_and_html_hold_the_exact_numbers():
    c = count("fasternet_t0")
    text, html, data = str(c), c._repr_html_(), json.loads(c.to_json())
    for shown in ("335,422,720", "670,845,440", "3,905,500", "without MACs", "gelu"):
        assert shown in text
        assert shown in html
    assert data["macs"] == 335422720
    assert data["flops"] == 670845440
    assert data["parts"][0]["name"] == "patch_embed"
    header, rows, *_ = c._table()
    shares = [row[header.index("% MACs")] for row in rows]
    assert sum(shares[:-1]) == pytest.approx(100)
    assert (rows[-1][0], shares[-1]) == ("total", 100)
    assert shares[0] == pytest.approx(100 * rows[0][header.index("MACs")] / c.macs)


def test_cells_are_escaped():
    assert "<script>" not in count(nn.Conv2d(3, 1, 1), imgsz=4, name="<script>")._repr_html_()


def _refuses(x):
    raise AssertionError  # without a word, as a bare assert


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count("fasternet_t9"), "did you mean"),
        (lambda: count(nn.Conv2d(3, 4, 3), imgsz=2), "cannot run on input"),
        (lambda: count(nn.Conv2d(3, 4, 3), imgsz=0), "positive integers"),
        (lambda: count(nn.Conv2d(3, 4, 3), torch.zeros(1, 5, 8, 8)), "cannot run on input"),
        (lambda: count(lambda a, k: a @ a, (torch.zeros(2, 3), 1)), r"cannot run on input \(2, 3\): "),
        (lambda: count(_refuses, torch.zeros(1, 3)), r"_refuses cannot run on input \(1, 3\): AssertionError"),
        (lambda: count(lambda x: x), "needs its input"),
        (lambda: count(3), "cannot count a int"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(WorkbenchError, match=message) as e:
        call()
    assert "\n" not in str(e.value)


def test_yolo11n_and_rtdetr_at_640():
    """Counter table: 3271.3 million MACs, 2.62 M parameters; RT-DETR runs though its forward is its own."""
    pytest.importorskip("ultralytics")
    yolo = pytest.importorskip("workbench.yolo")
    c = count(yolo.YOLO("yolo11n.yaml").model, imgsz=640)
    assert (c.params, round(c.macs / 1e6, 1)) == (2624080, 3271.3)
    assert sum(p.elements for p in c.parts()) == c.elements
    assert c.parts(["model.0"])[0].out_shape == (1, 16, 320, 320)
    stock = yolo.YOLO("yolo11n.yaml")
    assert (c.form, count(stock.model.fuse(verbose=False), imgsz=64).form) == ("train", "deploy"), "it says so itself"
    assert count(yolo.YOLO("yolo11n.yaml"), imgsz=640).macs == c.macs  # the wrapper's call is predict(): unwrapped
