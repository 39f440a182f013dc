"""A grid file and the runs it stands for."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataNotFoundError, WorkbenchError, did_you_mean, one_line
from ..train import get_preset
from ..train.models import model_name

STOCK = ("stock", "none", "None", None)  # how a grid may name the host's own backbone
AXES = {"backbones": [None], "hosts": ["yolo11"], "scales": ["n"], "seeds": [0], "data": None}
OTHER = ("preset", "settings")


@dataclass(frozen=True)
class Job:
    """One run of a grid.

    Attributes:
        label: unique in the grid; the name of its run folder.
        arguments: of ``wb.train``, all of them plain values.
    """

    label: str
    arguments: dict[str, Any]

    def to_json(self) -> str:
        """Return the job as one line, for a worker."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Grid:
    """A checked grid: the product of its axes."""

    backbones: list[str | None]
    hosts: list[str]
    scales: list[str]
    seeds: list[int]
    data: list[str]
    preset: str = "class"
    settings: dict[str, Any] = field(default_factory=dict)

    def jobs(self) -> list[Job]:
        """Return the runs, seeds outermost: a sweep that is stopped early has each configuration once."""
        found = []
        for seed, data, host, scale, backbone in itertools.product(
            self.seeds, self.data, self.hosts, self.scales, self.backbones
        ):
            model = Path(model_name(host, scale, backbone)).stem
            label = f"{model}-{Path(data).stem}-seed{seed}"
            arguments = {"host": host, "scale": scale, "backbone": backbone, "data": data, "preset": self.preset}
            found.append(Job(label, {**arguments, "seed": seed, **self.settings}))
        return found


def read_grid(source: str | Path | Mapping[str, Any], resolve: Callable[[str], Any] | None = None) -> Grid:
    """Read and check a grid: every name is looked up before anything is trained.

    Args:
        source: a YAML file, or its contents as a mapping: lists under ``backbones`` (``stock`` is the host as it is),
            ``hosts``, ``scales``, ``seeds``, ``data``; ``preset``; ``settings`` of ``wb.train`` for all runs.
        resolve: turns an entry of ``data`` into the path of a dataset YAML, where it may be a name.

    Raises:
        WorkbenchError: an unknown key, name or value, an empty axis, or two runs of the same label.

    >>> grid = read_grid({"backbones": ["stock", "starnet_s1"], "seeds": [0, 1], "data": ["my.yaml"]})
    >>> [job.label for job in grid.jobs()][:2]
    ['yolo11n-my-seed0', 'yolo11n-starnet_s1-my-seed0']
    """
    given = _load(source)
    for key in given:
        if key not in (*AXES, *OTHER):
            hint = did_you_mean(str(key), (*AXES, *OTHER)) or f"; expected some of {', '.join((*AXES, *OTHER))}"
            raise WorkbenchError(f"a grid has no {key!r}{hint}")
    axes = {}
    for name, default in AXES.items():
        value = given.get(name, default)
        value = value if isinstance(value, list | tuple) else [value]
        if not value or (name == "data" and value == [None]):
            raise WorkbenchError(f"the grid's {name} are empty; give a list, such as {_EXAMPLES[name]}")
        axes[name] = list(value)
    axes["backbones"] = [None if b in STOCK else b for b in axes["backbones"]]
    axes["data"] = [str(resolve(str(d)) if resolve else d) for d in axes["data"]]
    if not all(isinstance(s, int) and not isinstance(s, bool) for s in axes["seeds"]):
        raise WorkbenchError(f"seeds={axes['seeds']!r} given; expected integers")
    settings = given.get("settings") or {}
    if not isinstance(settings, Mapping):
        raise WorkbenchError(f"settings={settings!r} given; expected a mapping, such as {{epochs: 10, imgsz: 128}}")
    grid = Grid(**axes, preset=get_preset(given.get("preset", "class")).name, settings=dict(settings))
    _check(grid)
    return grid


_EXAMPLES = {
    "backbones": "[stock, fasternet_t0]", "hosts": "[yolo11]", "scales": "[n]", "seeds": "[0, 1]", "data": "[shapes]",
}  # fmt: skip


def _load(source: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    if not path.is_file():
        raise DataNotFoundError(f"no grid at {path}; give a YAML file with backbones, seeds and data")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise WorkbenchError(f"{path} is not readable YAML ({one_line(e)})") from e
    if not isinstance(given, Mapping):
        raise WorkbenchError(f"{path} holds no mapping; a grid has lists under backbones, hosts, scales, seeds, data")
    return given


def _check(grid: Grid) -> None:
    from ..backbones.registry import is_backbone, unknown

    for name in grid.backbones:
        if name is not None and not is_backbone(name):
            raise unknown(name)
    labels = [job.label for job in grid.jobs()]  # unknown hosts and scales are named here
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice:
        raise WorkbenchError(f"two runs of the grid would be {twice}; take out the repeated entry, or rename a dataset")
