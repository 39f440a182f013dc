"""Make the README's picture, its list of lessons and its table of backbones, from our own runs, notebooks and tables.

``python assets/readme.py`` trains first if there is no run yet (minutes on a CPU); ``--table`` only fills in the text.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "runs" / "readme"
PICTURE = ROOT / "assets" / "readme.png"
PAGES = (ROOT / "README.md", ROOT / "docs" / "instructor.md", ROOT / "docs" / "cluster.md")
MODEL = {"host": "yolo11", "scale": "n", "backbone": "fasternet_t0"}
SCENE = 11  # of the validation split, which is not trained on
LEVELS = ("P2", "P3", "P4", "P5")
PAPERS = {
    "fasternet": "[FasterNet](https://arxiv.org/abs/2303.03667)",
    "starnet": "[StarNet](https://arxiv.org/abs/2403.19967)",
    "mobileone": "[MobileOne](https://arxiv.org/abs/2206.04040)",
    "vanillanet": "[VanillaNet](https://arxiv.org/abs/2305.12972)",
}
IDEA = {
    "fasternet": "convolve a quarter of the channels, leave the rest alone",
    "starnet": "multiply two branches, element by element",
    "mobileone": "many branches in training, one convolution in use",
    "vanillanet": "no shortcuts, no branches, few layers",
}


def backbones() -> list[dict[str, str]]:
    """Return the rows of data/backbones.csv, which a test holds against the code."""
    with (ROOT / "data" / "backbones.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def deployed(row: dict[str, str], what: str) -> int:
    """Return params or macs in the form that is used: the deploy form where there is one."""
    return int(row[f"{what}_deploy"] or row[f"{what}_train"])


def table() -> str:
    """Return the README's table as Markdown: one row per family, ranges over its variants."""
    lines = ["| family | idea | variants | parameters | MACs at 224 |", "| --- | --- | --- | --- | --- |"]
    for family, paper in PAPERS.items():
        rows = [r for r in backbones() if r["variant"].startswith(family)]
        params = sorted(deployed(r, "params") / 1e6 for r in rows)
        macs = sorted(deployed(r, "macs") / 1e9 for r in rows)
        names = f"`{rows[0]['variant']}` … `{rows[-1]['variant']}` ({len(rows)})"
        span = f"{params[0]:.1f}–{params[-1]:.1f} M | {macs[0]:.2f}–{macs[-1]:.2f} G"
        lines.append(f"| {paper} | {IDEA[family]} | {names} | {span} |")
    return "\n".join(lines)


def lessons() -> str:
    """Return the README's list of lessons as Markdown: titles and questions out of the notebooks themselves."""
    lines = ["| lesson | the question it answers |", "| --- | --- |"]
    listed = subprocess.run(["git", "ls-files", "notebooks/[0-9]*.ipynb"], cwd=ROOT, capture_output=True, text=True)
    tracked = [ROOT / name for name in listed.stdout.split()] or (ROOT / "notebooks").glob("[0-9]*.ipynb")
    for path in sorted(tracked):
        cell = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
        text = "".join(cell["source"])
        title = text.splitlines()[0].lstrip("# ").strip()
        question = next(line for line in text.splitlines()[1:] if "?" in line)
        question = re.sub(r"\*\*(The (one )?question\.?)?\*\*|\*\*", "", question).strip()
        lines.append(f"| [{title}](notebooks/{path.name}) | {question[: question.index('?') + 1]} |")
    return "\n".join(lines)


def speed() -> str:
    """Return our speed against timm's as Markdown, from the recorded benchmark: geometric means, each run by itself."""
    with (ROOT / "data" / "results" / "bench_rivals.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    runs = sorted({r["run"] for r in rows})
    lines = ["| ours against timm's | " + " | ".join(f"run {r}" for r in runs) + " |", "| --- |" + " --- |" * len(runs)]
    kinds = {
        "train form, eager": ("ours train",),
        "deploy form, eager, each in its better layout": ("ours deploy nchw", "ours deploy channels_last"),
        "deploy form in the better of two runtimes": ("ours deploy onnxruntime", "ours deploy openvino"),
    }
    for what, candidates in kinds.items():
        lines.append(f"| {what} | " + " | ".join(f"{_faster(rows, run, candidates):.2f} ×" for run in runs) + " |")
    return "\n".join(lines)


def _faster(rows: list[dict[str, str]], run: str, candidates: tuple[str, ...]) -> float:
    best: dict[tuple[str, ...], float] = {}
    for r in rows:
        if r["run"] == run and r["candidate"] in candidates:
            setting = (r["network"], r["batch"], r["threads"])
            best[setting] = max(best.get(setting, 0.0), float(r["ratio_to_timm"]))
    return math.exp(sum(map(math.log, best.values())) / len(best))


def results() -> str:
    """Return the recorded comparison of five detectors as Markdown, and what it says of the articles' claim."""
    from workbench.train.claims import claim, results_table

    return f"{results_table()}\n\n{claim()}"


def costs() -> str:
    """Return what grading costs, for the instructor's guide."""
    from workbench.classroom.costs import costs as recorded

    return recorded()


def seat() -> str:
    """Return what a student's seat needs, for the instructor's guide."""
    from workbench.classroom.costs import seats

    return seats()


def second_worker() -> str:
    """Return what a second worker on Ray gains, for the page on clusters: of the last recorded benchmark."""
    with (ROOT / "data" / "results" / "bench_sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    last = {r["measure"]: r for r in rows if r["run"] == rows[-1]["run"] and r["engine"] == "ray"}
    gain = last["speed-up of two workers"]
    return (
        f"With two workers the grid of `python -m workbench.sweep.bench` is {float(gain['value']):.2f} × as fast as "
        f"with one ({float(gain['low']):.2f} to {float(gain['high']):.2f} in {gain['n']} pairs of whole "
        f"sweeps, on two cores, one thread a run), {float(last['starting']['value']):.0f} s for starting Ray included."
    )


def fill_in(text: str) -> str:
    """Return a page with what stands between its marks made anew."""
    for make in (lessons, table, speed, results, costs, seat, second_worker):
        mark = make.__name__
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        if start in text:
            before, rest = text.split(start, 1)
            text = f"{before}{start}{make()}\n{end}{rest.split(end, 1)[1]}"
    return text


def trained() -> Any:
    """Return the training run behind the picture, training it first where it is missing."""
    import workbench as wb

    if not (RUN / "run.json").exists():
        return wb.train(**MODEL, data=wb.datasets.shapes(), preset="class", seed=0, out=RUN)
    return wb.train.Run(RUN)


def draw(run: Any) -> None:
    """Draw what the detector finds on an image it never saw, what each level sees, and where the families stand."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from workbench.plots.style import HOUSE

    plt.style.use(HOUSE)
    figure = plt.figure(figsize=(12, 4.4), layout="constrained")
    grid = figure.add_gridspec(2, 5, width_ratios=(2.1, 1, 1, 0.08, 2.6))
    maps = _detections(figure.add_subplot(grid[:, 0]), run)
    cells = [figure.add_subplot(grid[i, j]) for i in (0, 1) for j in (1, 2)]
    for ax, level, value in zip(cells, LEVELS, maps, strict=True):
        ax.imshow(value, cmap="viridis")
        ax.set_title(f"{level}  {value.shape[0]}×{value.shape[1]}", fontsize=9)
        ax.set_axis_off()
    _families(figure.add_subplot(grid[:, 4]))
    figure.savefig(PICTURE, dpi=110)
    print(f"{PICTURE}  {PICTURE.stat().st_size // 1024} KB, from {run.folder}: mAP50 {run.map50:.3f}")


def _detections(ax: Any, run: Any) -> list[Any]:
    """Show the predicted boxes; return the mean magnitude over channels of P2 to P5, each (H, W)."""
    import workbench as wb
    from workbench.datasets.draw import NAMES
    from workbench.yolo import backbone_layers

    size = int(run.record["imgsz"])
    scene = wb.datasets.shapes_scene(SCENE, "val", imgsz=160)
    detector = run.detector()
    seen: list[Any] = []
    hook = backbone_layers(detector.model)[0].register_forward_hook(lambda m, x, y: seen.append(y))
    found = detector.predict(scene.image[..., ::-1].copy(), imgsz=size, conf=0.4, verbose=False)[0].boxes
    hook.remove()
    ax.imshow(scene.image)
    for corners, label, score in zip(found.xyxy.tolist(), found.cls.tolist(), found.conf.tolist(), strict=True):
        ax.add_patch(_box(*corners))
        text = f"{NAMES[int(label)]} {score:.2f}"
        ax.text(corners[0] + 1, corners[1] - 2, text, fontsize=8, color="white", backgroundcolor="#0072B2")
    epochs, quality = run.record["epochs"], f"mAP50 {run.map50:.2f}, held out"
    ax.set_title(f"YOLO11n + FasterNet-T0, {epochs} epochs on\ndrawn shapes: {quality}", fontsize=9)
    ax.set_axis_off()
    return [level[0].abs().mean(0).cpu().numpy() for level in seen[-1]]  # four (H, W)


def _box(x1: float, y1: float, x2: float, y2: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="#0072B2", linewidth=2)


def _families(ax: Any) -> None:
    from workbench.plots.style import FAMILY_COLOUR, FAMILY_MARKER

    for family in PAPERS:
        rows = [r for r in backbones() if r["variant"].startswith(family)]
        x, y = ([deployed(r, what) / unit for r in rows] for what, unit in (("macs", 1e9), ("params", 1e6)))
        name = PAPERS[family].split("]")[0].strip("[")
        ax.scatter(x, y, s=48, color=FAMILY_COLOUR[family], marker=FAMILY_MARKER[family], label=name)
    ax.set(xscale="log", yscale="log", xlabel="10⁹ MACs at 224 × 224, deploy form", ylabel="million parameters")
    ax.set_title("Every variant, counted exactly", fontsize=9)
    ax.legend(frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the README's picture and table.")
    parser.add_argument("--table", action="store_true", help="only fill in the table")
    args = parser.parse_args()
    for page in PAGES:
        page.write_text(fill_in(page.read_text(encoding="utf-8")), encoding="utf-8")
    if not args.table:
        draw(trained())


if __name__ == "__main__":
    main()
