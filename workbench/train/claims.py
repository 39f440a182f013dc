"""The articles' claim, judged by the recorded results: one table, and one sentence computed from it.

An article trains a detector with another backbone from scratch for 100 epochs on coco128, and reports it "a little
better than YOLO11 from scratch, far from the pretrained". The first half is judged where it can be: on images that
were held out, over several seeds. coco128's own number, measured on the training images, stands beside it, and what is
left of it where 32 of the 128 images were held out.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import WorkbenchError
from ..settings import data_dir
from .results import Results, load_results

STOCK = "stock"
NAMES = {
    "fasternet": "FasterNet", "starnet": "StarNet", "mobileone": "MobileOne", "vanillanet": "VanillaNet",
    STOCK: "YOLO11n",
}  # fmt: skip
FAR = 0.5  # less than this share of the pretrained detector's mAP is far from it


@dataclass(frozen=True)
class Standing:
    """One detector of the recorded comparison.

    Attributes:
        family: of its backbone, or "stock".
        model: its name.
        parameters: while training.
        macs: of one image at the side of `trained`, branches merged; None where not recorded.
        trained: mAP50 on the images it was trained on, one seed.
        trained_map50_95: the same, mAP50–95.
        held_out: mAP50 on images no gradient has seen, one number per seed.
        against_stock: "better", "worse" or "undecided", on the held-out images.
        photos: mAP50 after the last epoch of a training like that of `trained`, on the part of its images that was
            held out, one seed; None where not recorded. No epoch is chosen by these few images.
    """

    family: str
    model: str
    parameters: int
    macs: int | None
    trained: float
    trained_map50_95: float
    held_out: tuple[float, ...]
    against_stock: str
    photos: float | None = None

    @property
    def name(self) -> str:
        """The family as its paper writes it."""
        return NAMES.get(self.family, self.family)

    @property
    def mean(self) -> float:
        """Mean mAP50 on held-out images."""
        return statistics.mean(self.held_out)

    @property
    def error(self) -> float:
        """Two standard errors of that mean; nan with a single seed."""
        n = len(self.held_out)
        return 2 * statistics.stdev(self.held_out) / math.sqrt(n) if n > 1 else float("nan")


def compare_seeds(a: Sequence[float], b: Sequence[float]) -> str:
    """Return whether `a` is "better" or "worse" than `b` by more than two standard errors, else "undecided".

    Args:
        a: a score per seed; with a single seed nothing can be decided.
        b: the same.

    >>> compare_seeds([0.50, 0.52, 0.54], [0.40, 0.42, 0.44]), compare_seeds([0.5, 0.6], [0.45, 0.55])
    ('better', 'undecided')
    """
    if min(len(a), len(b)) < 2:
        return "undecided"
    gap = statistics.mean(a) - statistics.mean(b)
    noise = 2 * math.sqrt(sum(statistics.variance(x) / len(x) for x in (a, b)))
    return "undecided" if abs(gap) <= noise else "better" if gap > 0 else "worse"


def standings(
    seen: Results | str = "coco128_320_100epochs",
    unseen: Results | str = "shapes_128_converged",
    photos: Results | str | None = "coco128_320_heldout",
) -> list[Standing]:
    """Return the detectors of the recorded comparison, the stock one first.

    Args:
        seen: recorded results scored on training images, runs called ``<family>-seed<n>``.
        unseen: recorded results scored on held-out images, runs called the same.
        photos: recorded results like `seen`, with a part of the images held out; None for none.

    Raises:
        WorkbenchError: `seen` or `unseen` lacks the stock detector, or `unseen` or `photos` is not held out.

    >>> [s.family for s in standings()]
    ['stock', 'fasternet', 'starnet', 'mobileone', 'vanillanet']
    """
    seen, unseen = (load_results(r) if isinstance(r, str) else r for r in (seen, unseen))
    photos = load_results(photos) if isinstance(photos, str) else photos
    for held_out in (unseen, photos) if photos else (unseen,):
        if leaky := [label for label, run in held_out.runs.items() if not run["data"]["held_out"]]:
            raise WorkbenchError(
                f"{held_out.name}: {leaky[0]} validates on training images; give results that hold images out"
            )
    last = {_family(label): photos.curve(label)[-1]["map50"] for label in photos.runs} if photos else {}
    found = []
    scores: dict[str, list[float]] = {}
    for label, run in unseen.runs.items():
        scores.setdefault(_family(label), []).append(run["metrics"]["map50"])
    runs = {_family(label): run for label, run in reversed(list(seen.runs.items()))}  # the first seed counts
    missing = [r.name for r, has in ((seen, runs), (unseen, scores)) if STOCK not in has]
    if missing:
        raise WorkbenchError(f"{missing[0]} has no run of the stock detector; record it first")
    for family in sorted(scores, key=lambda f: list(NAMES).index(f) if f in NAMES and f != STOCK else -1):
        if family in runs:
            run, held = runs[family], tuple(scores[family])
            m = run["metrics"]
            verdict = "itself" if family == STOCK else compare_seeds(held, scores[STOCK])
            found.append(
                Standing(
                    family,
                    run["model"],
                    run["parameters"],
                    run.get("macs_deploy"),
                    m["map50"],
                    m["map50_95"],
                    held,
                    verdict,
                    last.get(family),
                )
            )
    return found


def pretrained_map50_95(model: str = "yolo11n") -> float:
    """Return the mAP50–95 that ultralytics publishes for a pretrained detector, on COCO val2017."""
    with (data_dir() / "published" / "yolo11_coco.csv").open(newline="", encoding="utf-8") as file:
        return next(float(row["map50_95"]) for row in csv.DictReader(file) if row["model"] == model)


def claim(rows: Sequence[Standing] | None = None, pretrained: float | None = None) -> str:
    """Return one sentence: is the articles' claim true of the recorded results?

    Args:
        rows: as `standings` returns them; default its own.
        pretrained: mAP50–95 of the pretrained detector; default the published one.

    >>> claim().startswith("The claim")
    True
    """
    rows = standings() if rows is None else rows
    pretrained = pretrained_map50_95() if pretrained is None else pretrained
    stock, others = rows[0], rows[1:]
    by = {v: [s.name for s in others if s.against_stock == v] for v in ("better", "worse", "undecided")}
    some = "confirmed in part" if by["better"] else "refuted" if by["worse"] else "neither confirmed nor refuted"
    first = "confirmed" if len(by["better"]) == len(others) else some
    above = sorted((s for s in others if s.trained > stock.trained), key=lambda s: -s.trained)
    seeds = min(len(s.held_out) for s in rows)
    best = max(rows, key=lambda s: s.trained_map50_95)
    share = best.trained_map50_95 / pretrained
    held = "; ".join(f"{what} {_list(by[v])}" for v, what in _WORDS.items() if by[v])
    seen = ", ".join(f"{s.name} {s.trained:.3f}" for s in above) or "none"
    several = f"{seeds} seed{'s' * (seeds != 1)}"
    photos = {s.name: s.photos for s in rows if s.photos is not None}
    left = _list([f"{name} {value:.3f}" for name, value in photos.items()]) if photos else ""
    left = f"; where 32 of these images were held out, they give {left}" if left else ""
    return (
        f"The claim “a little better than {stock.name} from scratch” is {first} on held-out shapes over {several} "
        f"({held}), although on coco128's own training images, with one seed, {len(above)} of {len(others)} are above "
        f"its mAP50 of {stock.trained:.3f} ({seen}{left}), and “far from the pretrained” is "
        f"{'confirmed' if share < FAR else 'not confirmed'}: the best mAP50–95 there, {best.trained_map50_95:.3f} "
        f"({best.name}), is {share:.0%} of the {pretrained:.3f} published for the pretrained one."
    )


_WORDS = {"better": "better:", "worse": "worse:", "undecided": "not to be told apart:"}


def results_table(rows: Sequence[Standing] | None = None) -> str:
    """Return the comparison as a Markdown table, a line per detector."""
    rows = standings() if rows is None else rows
    with_photos = any(s.photos is not None for s in rows)
    head = ["YOLO11n with", "parameters", "MACs at 320", "coco128, mAP50 on its training images (1 seed)"]
    if with_photos:
        head.append("the same where 32 of them were held out, mAP50 on these (1 seed)")
    head += [f"shapes, mAP50 held out ({min(len(s.held_out) for s in rows)} seeds)", "against the stock one"]
    lines = [head, ["---"] * len(head)]
    for s in rows:
        name = "its own backbone" if s.family == STOCK else s.model.removeprefix("yolo11n-")
        macs = "" if s.macs is None else f"{s.macs / 1e9:.2f} G"
        spread = "" if math.isnan(s.error) else f" ± {s.error:.3f}"
        cells = [name, f"{s.parameters / 1e6:.2f} M", macs, f"{s.trained:.3f}"]
        if with_photos:
            cells.append("not recorded" if s.photos is None else f"{s.photos:.3f}")
        lines.append([*cells, f"{s.mean:.3f}{spread}", "" if s.family == STOCK else s.against_stock])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _family(label: str) -> str:
    return label.split("-seed")[0]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
