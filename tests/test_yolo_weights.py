"""Weights cross by meaning or not at all, and what was loaded by hand is still there after train()."""

from __future__ import annotations

import logging
import os

import pytest
import torch
from ultralytics.nn import tasks as ultralytics_tasks

import workbench as wb
from workbench import datasets
from workbench.errors import WorkbenchError
from workbench.yolo import freeze_backbone, layer_map, load_backbone
from workbench.yolo.layer import BackboneLayer
from workbench.yolo.weights import keep_hand_loaded


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    before = os.environ.get("WORKBENCH_CACHE")
    os.environ["WORKBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield str(datasets.shapes(n_train=2, n_val=1, imgsz=64, seed=0))
    os.environ.pop("WORKBENCH_CACHE")
    if before is not None:
        os.environ["WORKBENCH_CACHE"] = before


def random_weights(name: str, nc: int = 80, seed: int = 1) -> torch.nn.Module:
    """Return a network whose every floating tensor is random, as after training."""
    torch.manual_seed(seed)
    kind = ultralytics_tasks.RTDETRDetectionModel if name.startswith("rtdetr") else ultralytics_tasks.DetectionModel
    net = kind(name, nc=nc, verbose=False)
    for v in net.state_dict().values():
        if v.is_floating_point():
            v.copy_(torch.rand_like(v))
    return net


@pytest.mark.parametrize(
    ("stock", "target", "backbone_reads"),
    [
        ("yolo11n.yaml", "yolo11n-fasternet_t0.yaml", {5, 6, 9, 12}),
        ("yolov8n.yaml", "yolov8n-starnet_s050.yaml", {5, 8, 11}),
        ("rtdetr-l.yaml", "rtdetr-l-starnet_s050.yaml", {5, 9, 14}),
    ],
)
def test_stock_weights_cross_by_meaning(stock, target, backbone_reads, caplog):
    source, net = random_weights(stock), random_weights(target, seed=2)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with caplog.at_level(logging.INFO, "ultralytics"):
        net.load(source)
    theirs, ours = source.state_dict(), net.state_dict()
    new_to_old = {new: old for old, new in layer_map(net).old_to_new.items()}
    crossed = set()
    for key, value in ours.items():
        _, layer, rest = key.split(".", 2)
        old = theirs.get(f"model.{new_to_old.get(int(layer), -1)}.{rest}")
        if int(layer) >= 5 and old is not None and old.shape == value.shape:
            assert torch.equal(old.to(value.dtype), value), key
            crossed.add(key)
        else:
            assert torch.equal(before[key], value), key
    missed = {int(k.split(".")[1]) for k in ours if k not in crossed and int(k.split(".")[1]) >= 5}
    assert missed <= backbone_reads  # only layers that read the new backbone's channels, and none of the head
    assert len(crossed) > 190
    report = caplog.text
    assert f"from {stock[:-5]} into {target[:-5]}, layer by meaning" in report
    for part in ("backbone", "neck", "head"):
        assert part in report
    assert "the source has another backbone" in report


def test_a_transplants_weights_cross_back_to_the_stock_host_and_to_another_transplant():
    source = random_weights("yolo11n-fasternet_t0.yaml")
    for name in ("yolo11n.yaml", "yolo11n-starnet_s050.yaml"):
        net = random_weights(name, seed=2)
        head = len(net.model) - 1
        net.load(source, verbose=False)
        for key, value in net.model[head].state_dict().items():
            assert torch.equal(value, source.model[19].state_dict()[key])
    again = random_weights("yolo11s-fasternet_t0.yaml", seed=2)
    again.load(source, verbose=False)  # another scale: the backbone is the same network, and crosses whole
    for key, value in again.model[0].state_dict().items():
        assert torch.equal(value, source.model[0].state_dict()[key])


def test_a_checkpoint_with_another_number_of_classes_crosses_but_for_the_class_rows():
    source, net = random_weights("yolo11n.yaml", nc=80), random_weights("yolo11n-starnet_s050.yaml", nc=3, seed=2)
    net.load({"model": source}, verbose=False)
    theirs, ours = source.model[23].state_dict(), net.model[19].state_dict()
    differ = {
        k for k in ours if not torch.equal(ours[k], theirs[k].reshape(-1)[: ours[k].numel()].reshape(ours[k].shape))
    }
    assert differ == {k for k in ours if k.startswith("cv3.") and k.split(".")[2] == "2"}


def test_class_rows_cross_by_the_names_of_the_classes():
    """As in ultralytics: a detector of dogs and cats learns from one of cats, cows and dogs what it knows of both."""
    source, net = random_weights("yolo11n.yaml", nc=3), random_weights("yolo11n-starnet_s050.yaml", nc=2, seed=2)
    source.names, net.names = {0: "cat", 1: "cow", 2: "dog"}, {0: "dog", 1: "cat"}
    net.load(source, verbose=False)
    for theirs, ours in zip(source.model[23].cv3, net.model[19].cv3, strict=True):
        assert torch.equal(ours[2].weight, theirs[2].weight[[2, 0]])
        assert torch.equal(ours[2].bias, theirs[2].bias[[2, 0]])


def test_hand_loaded_weights_are_marked_as_ultralytics_marks_a_loaded_network():
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    keep_hand_loaded(detector, {})
    assert not detector.ckpt, "nothing was loaded: the trainer may draw its own"
    load_backbone(detector, loaded_elsewhere("starnet_s050"))
    keep_hand_loaded(detector, {"pretrained": False})
    assert not detector.ckpt, "the user asked for new weights"
    keep_hand_loaded(detector, {})
    assert detector.ckpt["model"] is detector.model


def test_weights_of_another_host_are_refused_and_nothing_is_written():
    net = random_weights("yolo11n-starnet_s050.yaml")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(WorkbenchError, match=r"layer 9 \(SPPF\) of yolov8n has no counterpart"):
        net.load(random_weights("yolov8n.yaml"))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_the_same_architecture_is_left_to_ultralytics(caplog):
    source, net = random_weights("yolo11n-starnet_s050.yaml"), random_weights("yolo11n-starnet_s050.yaml", seed=2)
    with caplog.at_level(logging.INFO, "ultralytics"):
        net.load(source)
    n = len(net.state_dict())
    assert f"Transferred {n}/{n} items" in caplog.text


def run(detector, data, folder, **arguments):
    settings = {"epochs": 1, "imgsz": 64, "batch": 2, "workers": 0, "device": "cpu", "amp": False, "val": False}
    settings |= {"plots": False, "project": str(folder), "exist_ok": True, "optimizer": "SGD", "lr0": 0.0}
    detector.train(data=data, **{**settings, "warmup_epochs": 0, "weight_decay": 0.0, **arguments})
    return detector.trainer


def loaded_elsewhere(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return wb.create_backbone(name).state_dict()


def test_backbone_weights_loaded_by_hand_survive_train(data, tmp_path):
    weights = loaded_elsewhere("starnet_s050")
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    neck = detector.model.model[9].state_dict()["cv1.conv.weight"].clone()
    assert not detector.model.model[0].touched
    report = load_backbone(detector, weights)
    assert not report.missing
    assert detector.model.model[0].touched
    trainer = run(detector, data, tmp_path)  # at learning rate 0: what is there at the end was there at the start
    trained = trainer.model.model[0].backbone.state_dict()
    for key, value in weights.items():
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(trained[key], value), key
    assert torch.equal(trainer.model.model[9].state_dict()["cv1.conv.weight"], neck)


def test_weights_loaded_with_torch_alone_survive_too(data, tmp_path):
    weights = loaded_elsewhere("starnet_s050")
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    own = detector.model.model[0].backbone.state_dict()
    detector.model.model[0].backbone.load_state_dict(own | weights)
    trainer = run(detector, data, tmp_path)
    key = "stages.3.0.conv.weight"
    assert torch.equal(trainer.model.model[0].backbone.state_dict()[key], weights[key])


def test_a_stock_checkpoint_for_the_rest_does_not_undo_the_hand_loaded_backbone(data, tmp_path):
    stock = wb.YOLO("yolo11n.yaml")
    stock.save(str(tmp_path / "stock.pt"))
    weights = loaded_elsewhere("starnet_s050")
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    load_backbone(detector, weights)
    trainer = run(detector, data, tmp_path, pretrained=str(tmp_path / "stock.pt"))
    key, neck = "stages.3.0.conv.weight", "cv2.conv.weight"
    assert torch.equal(trainer.model.model[0].backbone.state_dict()[key], weights[key])
    assert torch.equal(
        trainer.model.model[9].state_dict()[neck], stock.model.half().float().model[13].state_dict()[neck]
    )


def test_without_hand_loaded_weights_the_seed_decides_as_in_ultralytics(data, tmp_path):
    key = "stages.3.0.conv.weight"
    runs = []
    for noise in (1, 2):
        torch.manual_seed(noise)  # the network that YOLO() draws is not the one that is trained
        detector = wb.YOLO("yolo11n-starnet_s050.yaml")
        runs.append(run(detector, data, tmp_path, seed=3).model.model[0].backbone.state_dict()[key])
    assert torch.equal(*runs)


def test_training_from_weights_merged_by_predict_is_refused(data, tmp_path):
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    detector.fuse()
    assert not detector.model.model[0].touched  # merging is not loading
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    load_backbone(detector, loaded_elsewhere("starnet_s050"))
    detector.fuse()
    with pytest.raises(WorkbenchError, match="merged for inference"):
        run(detector, data, tmp_path)


def test_load_backbone_wants_a_backbone_of_ours():
    with pytest.raises(WorkbenchError, match="0 backbones"):
        load_backbone(wb.YOLO("yolo11n.yaml"), {})


def test_freeze_backbone_says_what_it_froze_and_training_keeps_it_frozen(data, tmp_path):
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    said = freeze_backbone(detector)
    size = sum(p.numel() for p in detector.model.model[0].parameters())
    total = sum(p.numel() for p in detector.model.parameters())
    assert said == f"froze layer 0 (starnet_s050): {size:,} of {total:,} parameters, BN statistics included"
    assert wb.freeze_backbone is freeze_backbone
    seen = {}

    def look(trainer):
        net = trainer.model
        seen["frozen"] = {n.split(".")[1] for n, p in net.named_parameters() if not p.requires_grad and ".dfl" not in n}
        seen["before"] = {k: v.clone() for k, v in net.model[0].state_dict().items()}
        seen["neck"] = net.model[9].cv2.conv.weight.clone()

    detector.add_callback("on_train_start", look)
    trainer = run(detector, data, tmp_path, lr0=0.1)
    assert seen["frozen"] == {"0"}
    for key, value in trainer.model.model[0].state_dict().items():
        assert torch.equal(value, seen["before"][key]), key  # parameters and BN statistics
    assert not torch.equal(trainer.model.model[9].cv2.conv.weight, seen["neck"])


def test_freeze_backbone_adds_to_what_was_frozen_and_serves_stock_models():
    detector = wb.YOLO("yolo11n-starnet_s050.yaml")
    detector.overrides["freeze"] = [7]
    freeze_backbone(detector)
    assert detector.overrides["freeze"] == [0, 7]
    stock = wb.YOLO("yolo11n.yaml")
    assert "layers 0 to 10 (the backbone section of its YAML)" in freeze_backbone(stock)
    assert stock.overrides["freeze"] == list(range(11))
    with pytest.raises(WorkbenchError, match="freeze_backbone expects"):
        freeze_backbone(detector.model)


def test_only_the_backbone_layer_says_whether_it_was_touched():
    layer = BackboneLayer(3, {"name": "starnet_s050"})
    assert not layer.touched
    with torch.no_grad():
        next(layer.parameters()).mul_(1.5)
    assert layer.touched
    layer.fuse_convs()
    assert layer.touched
