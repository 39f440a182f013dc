"""torchvision imports on every torch, and its NMS is right whoever supplies it."""

import subprocess
import sys

import pytest
import torch

from workbench import _torchvision

STATE = _torchvision.ensure()
pytestmark = pytest.mark.skipif(STATE == "absent", reason="torchvision is not installed")


def random_boxes(n: int, seed: int, size: float = 100.0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    corner, extent = torch.rand(n, 2, generator=g) * size, torch.rand(n, 2, generator=g) * size / 3 + 1
    return torch.cat((corner, corner + extent), 1), torch.rand(n, generator=g)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("n", [0, 1, 2, 10, 128, 129, 700])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_ultralytics(n, threshold):
    from ultralytics.utils.nms import TorchNMS

    boxes, scores = random_boxes(n, seed=n)
    expected = TorchNMS.nms(boxes, scores, threshold)
    import torchvision

    for ours in (_torchvision.nms, torchvision.ops.nms, torch.ops.torchvision.nms):
        kept = ours(boxes, scores, threshold)
        assert kept.dtype == torch.int64
        assert torch.equal(kept, expected)


def test_nms_against_the_definition():
    boxes, scores = random_boxes(60, seed=3)
    kept = set(_torchvision.nms(boxes, scores, 0.4).tolist())

    def iou(a, b):
        w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)

    rows = boxes.tolist()
    for i in range(60):  # a box is dropped exactly when a better kept box overlaps it
        rivals = [j for j in kept if scores[j] > scores[i] and iou(rows[i], rows[j]) > 0.4]
        assert (i in kept) == (not rivals)
    assert 1 < len(kept) < 60


def test_a_long_chain_is_resolved():
    """Each box overlaps only its neighbours, so every second one stays: the worst case for deciding at once."""
    n = 300
    x = torch.arange(n, dtype=torch.float32)
    boxes = torch.stack((x, torch.zeros(n), x + 2, torch.ones(n)), 1)  # IoU with the next one is 1/3
    assert _torchvision.nms(boxes, -x, 0.2).tolist() == list(range(0, n, 2))


def test_boxes_without_area_and_ties():
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10], [0, 0, 10, 10]])
    kept = _torchvision.nms(boxes, torch.tensor([0.9, 0.9, 0.5, 0.5]), 0.5)
    assert kept.tolist() == [0, 1, 2]  # nothing overlaps an empty box; of equals the first stays


@pytest.mark.parametrize("n", [0, 40, 1500])  # torchvision takes another way above 1000 boxes
def test_batched_nms_keeps_classes_apart(n):
    from torchvision.ops import batched_nms

    boxes, scores = random_boxes(n, seed=7)
    classes = torch.arange(n) % 3
    kept = batched_nms(boxes, scores, classes, 0.3)
    expected = []
    for c in range(3):
        index = torch.where(classes == c)[0]
        expected += index[_torchvision.nms(boxes[index], scores[index], 0.3)].tolist()
    assert sorted(kept.tolist()) == sorted(expected)
    assert torch.equal(scores[kept], scores[kept].sort(descending=True).values)


@pytest.mark.skipif(STATE != "repaired", reason="the compiled operators load here")
@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning")
def test_quantised_boxes():
    boxes, scores = random_boxes(50, seed=1)
    q_boxes = torch.quantize_per_tensor(boxes, 1.0, 0, torch.quint8)
    q_scores = torch.quantize_per_tensor(scores, 1 / 255, 0, torch.quint8)
    from torchvision.ops import nms

    assert torch.equal(nms(q_boxes, q_scores, 0.4), nms(q_boxes.dequantize(), q_scores.dequantize(), 0.4))


@pytest.mark.filterwarnings("ignore:.*create_unbacked_symint.*:FutureWarning")
def test_operator_is_well_formed():
    boxes, scores = random_boxes(8, seed=2)
    torch.library.opcheck(torch.ops.torchvision.nms.default, (boxes, scores, 0.5))


def test_repeatable_and_torchvision_believes_it():
    import torchvision

    before = torchvision.extension._has_ops
    assert _torchvision.ensure() == STATE
    assert torchvision.extension._has_ops is before
    assert before()


def test_many_threads_at_once():
    code = (
        "import threading; from workbench import _torchvision as t\n"
        "out = []; ts = [threading.Thread(target=lambda: out.append(t.ensure())) for _ in range(8)]\n"
        "[x.start() for x in ts]; [x.join() for x in ts]; import torchvision\n"
        "print(len(out), len(set(out)), torchvision.extension._has_ops())"
    )
    assert run_python(code) == "8 1 True"


def test_after_a_failed_import():
    """A learner's first cell was a bare ``import torchvision``; the workbench still repairs the session."""
    code = (
        "try:\n    import torchvision\nexcept RuntimeError: pass\n"
        "from workbench import _torchvision as t; t.ensure()\n"
        "import torch, torchvision\n"
        "print(torchvision.ops.nms(torch.tensor([[0., 0, 1, 1]]), torch.ones(1), 0.5).tolist())"
    )
    assert run_python(code) == "[0]"


def test_needs_no_more_than_torch():
    code = (
        "import sys; import workbench._torchvision\n"
        "print([m for m in ('torchvision', 'ultralytics', 'timm', 'numpy.testing') if m in sys.modules])"
    )
    assert run_python(code) == "[]"
