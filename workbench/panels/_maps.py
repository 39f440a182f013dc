"""What the FeatureMaps panel shows, without any widget: networks and images with their maps, and one view each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..backbones import create_backbone
from ..datasets import coco128, load_photo
from ..errors import WorkbenchError, did_you_mean
from ..features import branches, capture, channel_stats, layers, star, touched_channels
from ..features.capture import resolve
from ..plots.features import limits, to_array
from ._reason import reason

STAGE = "stage output"
SHOW = ("maps", "star", "branches")
MAX_NETWORKS = 3
KEPT = 8  # images per network whose maps stay in memory


@dataclass(frozen=True)
class View:
    """One grid: a map of one network, which channels are on the page, and what is known of all of them."""

    label: str
    module: str
    maps: np.ndarray  # (C, H, W)
    channels: tuple[int, ...]  # on this page, in order
    top: np.ndarray  # (C,), the value drawn in full colour
    energy: np.ndarray  # (C,)
    sparsity: np.ndarray  # (C,)
    dead: tuple[int, ...]
    touched: int | None  # leading channels a PConv computes; None elsewhere

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        c, h, w = self.maps.shape
        return c, h, w


class Network:
    """A network with a label and the maps of the last images it has seen."""

    def __init__(self, label: str, model: nn.Module) -> None:
        self.label, self.model = label, model
        self._cache: OrderedDict[tuple[Any, ...], dict[str, Tensor]] = OrderedDict()
        self.levels = {lv.name: lv.module for lv in getattr(model, "feature_info", ())}

    def maps(self, key: tuple[Any, ...], image: Tensor, name: str) -> Tensor:
        """Return one module's map (1, C, H, W) for an image; all levels are read in the first pass."""
        found = self._cache.setdefault(key, {})
        self._cache.move_to_end(key)
        if name not in found:
            try:
                wanted = {name, *self.levels.values()}
                found.update(capture(self.model, self.fit(image), wanted))
            except WorkbenchError:
                raise
            except Exception as e:  # too small, too large, not enough memory, or whatever a network of one's own does
                self._cache.pop(key)
                raise WorkbenchError(f"{self.label} cannot run on this image: {reason(e)}") from e
        while len(self._cache) > KEPT:
            self._cache.popitem(last=False)
        value = found[name]
        if not isinstance(value, Tensor) or value.ndim != 4:
            raise WorkbenchError(f"{name!r} puts out no map (B, C, H, W); choose a stage or a convolution")
        return value

    def fit(self, image: Tensor) -> Tensor:
        """Return the image (1, 3, H, W) with the channels the first convolution reads, on its device."""
        first = next((m for m in self.model.modules() if isinstance(m, nn.Conv2d)), None)
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        if first is not None and first.in_channels == 1:
            image = image.mean(1, keepdim=True)  # (1, 1, H, W)
        return image.to(device)

    def layers(self, image: Tensor) -> list[str]:
        """Return the names of all modules that put out a map."""
        return list(layers(self.model, self.fit(image)))

    def block(self, module: str, parts: Sequence[str], what: str) -> str:
        """Return the last block inside `module` that has these parts.

        Raises:
            WorkbenchError: there is none.
        """
        inside = [
            n for n, m in self.model.named_modules()
            if (n == module or n.startswith(module + ".")) and all(getattr(m, p, None) is not None for p in parts)
        ]  # fmt: skip
        if not inside:
            raise WorkbenchError(f"{self.label} has no {what} in {module}; show 'maps', or choose another network")
        return inside[-1]


def networks(models: Any) -> list[Network]:
    """Return one to three networks from a name, a module, a list of them, or {label: name or module}.

    A name is built with random weights from seed 0, and its label says so.

    Raises:
        WorkbenchError: none or more than three, or a value that is neither.
    """
    if not isinstance(models, Mapping):
        items = list(models) if isinstance(models, Sequence) and not isinstance(models, str | nn.Module) else [models]
        models = {(m if isinstance(m, str) else f"{type(m).__name__} {i + 1}"): m for i, m in enumerate(items)}
    if not 1 <= len(models) <= MAX_NETWORKS:
        raise WorkbenchError(f"{len(models)} networks given; expected 1 to {MAX_NETWORKS}")
    out = []
    for label, model in models.items():
        if isinstance(model, str):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = create_backbone(model)
            label = f"{label} (random weights)"
        if not isinstance(model, nn.Module):
            raise WorkbenchError(f"{label!r} is a {type(model).__name__}; give a variant's name or a module")
        out.append(Network(str(label), model))
    return out


def read_image(source: str, index: int, uploads: Mapping[str, bytes], imgsz: int) -> Tensor:
    """Return the image the controls name, (1, 3, imgsz, imgsz) in [0, 1].

    Raises:
        WorkbenchError: it is no image, or there is none of that number.
    """
    if source == "coco128":
        files = sorted((coco128(download=False).parent / "images" / "train2017").glob("*.jpg"))
        if not 0 <= index < len(files):
            raise WorkbenchError(f"coco128 image {index} does not exist; expected 0 to {len(files) - 1}")
        return load_photo(files[index], imgsz)
    if source in uploads:
        try:
            return load_photo(uploads[source], imgsz)
        except WorkbenchError as e:
            raise WorkbenchError(f"{source} is not an image that can be read; upload a JPEG or PNG file") from e
    return load_photo(source, imgsz)


def views(
    nets: Sequence[Network], key: tuple[Any, ...], image: Tensor, *, stage: str, layer: str, show: str, sort: str,
    page: int, per_page: int, scale: str, pinned: Sequence[int],
) -> list[View]:  # fmt: skip
    """Return what the panel's controls ask for, one view per network, or one per part in the star and branch modes.

    Raises:
        WorkbenchError: a network has no such stage, layer or block.
    """
    if show == "maps":
        chosen = {}
        for net in nets:
            name = _module(net, stage, layer)
            touched = touched_channels(net.model.get_submodule(name))
            chosen[net.label] = (name, net.maps(key, image, name), touched)
    else:
        chosen = _parts(nets[0], image, _module(nets[0], stage, layer), show)
    leader = list(chosen.values())[-1][1] if show != "maps" else None  # parts share one order, that of their result
    return [
        _view(label, name, maps, touched, leader, sort, page, per_page, scale, pinned)
        for label, (name, maps, touched) in chosen.items()
    ]


def _module(net: Network, stage: str, layer: str) -> str:
    if layer != STAGE:
        return resolve(net.model, layer)
    if stage not in net.levels:
        hint = did_you_mean(stage, net.levels) or f"; it has {', '.join(net.levels) or 'none, choose a layer'}"
        raise WorkbenchError(f"{net.label} has no stage {stage!r}{hint}")
    return net.levels[stage]


def _parts(net: Network, image: Tensor, module: str, show: str) -> dict[str, tuple[str, Tensor, int | None]]:
    x = net.fit(image)
    if show == "star":
        name = net.block(module, ("f1", "f2", "g"), "star block")
        s = star(net.model, x, name)
        maps = {"x1 = act(f1(x))": s.x1, "x2 = f2(x)": s.x2, "x1 · x2": s.product}
    else:
        name = net.block(module, ("rbr_conv",), "block with branches before the merge")
        maps = branches(net.model, x, name)
    return {f"{k} · {name}": (name, v, None) for k, v in maps.items()}


def _view(
    label: str, name: str, maps: Tensor, touched: int | None, leader: Tensor | None, sort: str, page: int,
    per_page: int, scale: str, pinned: Sequence[int],
) -> View:  # fmt: skip
    stats = channel_stats(maps)
    order = (stats if leader is None else channel_stats(leader)).order(sort)
    first = [c for c in pinned if c < len(order)]
    order = first + [c for c in order if c not in first]
    pages = max(1, -(-len(order) // per_page))
    at = min(page, pages) - 1
    a = to_array(maps)
    return View(
        label, name, a, tuple(order[at * per_page : (at + 1) * per_page]), limits(a, scale),
        stats.energy.cpu().numpy(), stats.sparsity.cpu().numpy(),
        tuple(int(c) for c in stats.dead.nonzero().flatten()), touched,
    )  # fmt: skip
