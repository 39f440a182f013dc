"""Train the small networks in this folder: one per family, on drawn shapes, on one CPU thread, a few minutes each.

    python data/weights/make.py                  # all four
    python data/weights/make.py --family starnet
    python data/weights/make.py --check          # only measure the accuracy of the files that are here

Classifiers of single shapes, 64 × 64 RGB in [0, 1] as detectors feed them, eight classes; quarter turns and mirror
images are the only augmentation, since a shape stays what it is. VanillaNet is trained with its activation ramp. Files
are float16; the accuracy in ``weights.json`` is that of the file, on crops drawn from another seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.backbones import create_backbone
from workbench.backbones.ramp import ramp_schedule, set_activation_ramp
from workbench.backbones.weights import load_weights
from workbench.datasets import shape_crops
from workbench.settings import seed_everything, set_threads

HERE = Path(__file__).resolve().parent
TABLE = HERE / "weights.json"
IMGSZ, CLASSES = 64, 8
TRAIN, TEST = {"n": 8000, "seed": 1}, {"n": 2000, "seed": 2}  # crops drawn
BATCH, WARMUP = 64, 0.1  # images; share of the steps over which the learning rate rises
RAMP = 1 / 3  # share of the training after which VanillaNet's activations are the identity (official: 100 of 300)
NETWORKS: dict[str, dict[str, Any]] = {
    "fasternet": {
        "embed_dim": 24, "depths": (1, 1, 3, 1), "feature_dim": 128, "act_layer": "GELU", "drop_path_rate": 0.0
    },
    "starnet": {"base_dim": 16, "depths": (1, 1, 2, 1), "mlp_ratio": 3},
    "mobileone": {
        "num_blocks_per_stage": (1, 2, 3, 1), "width_multipliers": (0.375, 0.375, 0.5, 0.375), "num_conv_branches": 2
    },
    "vanillanet": {"dims": (32, 32, 64, 128, 192), "strides": (1, 2, 2, 2), "act_num": 2},
}  # fmt: skip
EPOCHS = {"fasternet": 30, "starnet": 18, "mobileone": 22, "vanillanet": 26}  # what four minutes allow
LR = 4e-3  # peak


def crops(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, 64, 64) and labels (N,). Channels-last halves the time of a step on a CPU."""
    x, y, _ = shape_crops(n, imgsz=IMGSZ, seed=seed)
    return x.contiguous(memory_format=torch.channels_last), y


def turned(x: Tensor) -> Tensor:
    """Return the batch turned by a random multiple of 90° and mirrored or not, the same for all its images."""
    x = torch.rot90(x, int(torch.randint(4, ())), (2, 3))  # (B, 3, H, W)
    return x.flip(3) if torch.rand(()) < 0.5 else x


def fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int, lr: float) -> None:
    """Train in place: AdamW, one-cycle learning rate, and the ramp where the network has one."""
    steps = len(x) // BATCH
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, epochs * steps, pct_start=WARMUP)
    model.train()
    for epoch in range(epochs):
        total, order = 0.0, torch.randperm(len(x))
        for step in range(steps):
            set_activation_ramp(model, ramp_schedule(epoch + step / steps, RAMP * epochs, "cosine"))
            batch = order[step * BATCH : (step + 1) * BATCH]
            loss = F.cross_entropy(model(turned(x[batch])), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1}/{epochs}  loss {total / steps:.3f}", flush=True)


@torch.inference_mode()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of images classified rightly, eval mode."""
    model.eval()
    right = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(250), y.split(250), strict=True))
    return right / len(x)


@torch.inference_mode()
def probe(model: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """Return the test accuracy of ridge regression on the averages of P5: what the features hold without training.

    Channels are scaled by their own spread, and left out where it is tiny beside the loudest one's: how large numbers
    are says nothing, and an untrained VanillaNet's are about 1e-15.
    """
    model.eval()

    def features(x: Tensor) -> Tensor:
        pooled = torch.cat([model.forward_features(part)[-1].mean((2, 3)) for part in x.split(250)])  # (N, C)
        return pooled.double()

    a, at = features(train[0]), features(test[0])  # (N, C) each
    spread = a.std(0)
    heard = spread > 1e-3 * spread.max()
    a, at = (F.pad(t[:, heard] / spread[heard], (0, 1), value=1.0) for t in (a, at))  # (N, C' + 1)
    target = F.one_hot(train[1], CLASSES).double()  # (N, 8)
    weights = torch.linalg.solve(a.T @ a + 1e-2 * len(a) * torch.eye(a.shape[1], dtype=a.dtype), a.T @ target)
    return float(((at @ weights).argmax(1) == test[1]).double().mean())


def make(family: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Train one network, write its file, and return its row of the table, measured on the file as read back."""
    config = NETWORKS[family]
    seed_everything(0)
    model = create_backbone(family, num_classes=CLASSES, **config).to(memory_format=torch.channels_last)
    untrained = probe(model, train, test)
    start = time.process_time()
    fit(model, *train, EPOCHS[family], LR)
    cpu_s = time.process_time() - start
    path = HERE / f"{family}_shapes.safetensors"
    state = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
    save_file(state, path, metadata={"family": family, "config": json.dumps(config)})
    again = create_backbone(family, num_classes=CLASSES, **config)
    load_weights(again, path)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "config": config,
        "params": sum(p.numel() for p in again.parameters()),
        "accuracy": accuracy(again, *test),
        "probe_trained": probe(again, train, test),
        "probe_untrained": untrained,
        "epochs": EPOCHS[family],
        "cpu_s": round(cpu_s),
        "command": f"python data/weights/make.py --family {family}",
    }


def write_readme(table: dict[str, Any]) -> None:
    """Put the table's numbers between the two markers of README.md."""
    rows = ["| network | parameters | file | accuracy | P5 probe, trained | P5 probe, untrained | CPU time |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    for family, row in table["networks"].items():
        percents = " | ".join(f"{100 * row[k]:.1f} %" for k in ("accuracy", "probe_trained", "probe_untrained"))
        rows.append(f"| {family} | {row['params']:,} | {row['bytes'] / 1e6:.2f} MB | {percents} | {row['cpu_s']} s |")
    readme = HERE / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, _, tail = rest.partition("<!-- /table -->")
    text = head + "<!-- table -->\n" + "\n".join(rows) + "\n<!-- /table -->" + tail
    readme.write_text(text, encoding="utf-8")


def main() -> None:
    """Train what was asked for and update the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=sorted(NETWORKS), nargs="*", default=list(NETWORKS))
    parser.add_argument("--probe", action="store_true", help="measure the two probes of each file anew; train nothing")
    parser.add_argument("--check", action="store_true", help="measure the files that are here; train nothing")
    args = parser.parse_args()
    set_threads(1)
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.is_file() else {"networks": {}}
    test = crops(**TEST)
    if args.check:
        for family, row in table["networks"].items():
            model = create_backbone(family, num_classes=CLASSES, weights=HERE / row["file"], **row["config"])
            print(f"{family}: {accuracy(model, *test):.4f} now, {row['accuracy']:.4f} in the table")
        return
    train = crops(**TRAIN)
    if args.probe:
        for family, row in table["networks"].items():
            seed_everything(0)
            model = create_backbone(family, num_classes=CLASSES, **row["config"])
            row["probe_untrained"] = probe(model, train, test)
            load_weights(model, HERE / row["file"])
            row["probe_trained"] = probe(model, train, test)
        TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_readme(table)
        return
    for family in args.family:
        print(family, flush=True)
        row = make(family, train, test)
        table["networks"][family] = row
        print(
            f"  {row['params']} parameters, {row['bytes']} bytes, accuracy {row['accuracy']:.4f}, {row['cpu_s']} s CPU"
        )
    from workbench.datasets.draw import NAMES

    table |= {
        "task": "one drawn shape per image: which of eight?",
        "classes": list(NAMES),
        "chance": 1 / CLASSES,
        "input": f"RGB in [0, 1], {IMGSZ}×{IMGSZ}, no further normalisation",
        "train": TRAIN,
        "test": TEST,
        "made_with": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "threads": 1,
            "device": "cpu",
        },
    }
    TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_readme(table)


if __name__ == "__main__":
    main()
