"""The Leaderboard panel: the capstone's detectors, any quality against any cost, one of them pointed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ..errors import DataNotFoundError, WorkbenchError
from ..plots.leaderboard import COSTS, QUALITIES, front_of, leaderboard_scatter
from ._lesson import LessonPanel
from ._scene import escape

NEEDED = ("rank", "name", "macs", "params", "map50", "map50_95")
NOBODY = "nobody"


class Leaderboard(LessonPanel):
    """What ``workbench class leaderboard`` wrote, as a figure and a table.

    Controls: ``cost`` (MACs, parameters, latency ratio), ``quality`` (mAP50, mAP50-95), ``point_out`` (a detector).
    Result: ``front``, the ranks that nobody beats in both, and ``rows``.

    Args:
        file: ``leaderboard/a5.json``.
        **state: controls to start with.

    Raises:
        WorkbenchError: the file is not there, or is no leaderboard.
    """

    def __init__(self, file: str | Path, **state: Any) -> None:
        self.file = Path(file)
        self._rows = read_rows(self.file)
        costs = [
            (label, key) for key, (label, _, _) in COSTS.items() if any(r.get(key) is not None for r in self._rows)
        ]
        names = [
            (f"{r['rank']}  {r['name'] if len(r['name']) <= 40 else r['name'][:39] + '…'}", r["rank"])
            for r in self._rows
        ]
        controls: dict[str, Any] = {
            "cost": widgets.Dropdown(options=costs),
            "quality": widgets.Dropdown(options=[(label, key) for key, label in QUALITIES.items()]),
            "point_out": widgets.Dropdown(options=[(NOBODY, 0), *names], value=0, description="point out"),
        }

        def draw(r: dict[str, Any], figure: Any) -> None:
            figure.set_layout_engine("constrained")
            leaderboard_scatter(r["rows"], r["cost"], r["quality"], mark=r["point_out"], ax=figure.add_subplot())

        super().__init__(controls, self._state, draw, _say, (8.0, 4.0))
        if state:
            self.set(**state)

    def _state(self, cost: str, quality: str, point_out: int) -> dict[str, Any]:
        return {
            "cost": cost, "quality": quality, "point_out": point_out, "rows": self._rows,
            "front": front_of(self._rows, cost, quality),
        }  # fmt: skip

    def code(self) -> str:
        """Return the line of code that makes this panel again in this state."""
        return f"Leaderboard({str(self.file)!r}, {', '.join(f'{k}={v!r}' for k, v in self.state.items())})"


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a leaderboard's JSON.

    Raises:
        DataNotFoundError: there is no such file.
        WorkbenchError: it is no leaderboard.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
        found = [{**r, "name": str(r["name"])} for r in rows if all(r[k] is not None for k in NEEDED)]
        assert all(isinstance(r[k], int | float) for r in found for k in NEEDED if k != "name")
    except FileNotFoundError:
        raise DataNotFoundError(f"{file} is not there; in the course: workbench class leaderboard a5") from None
    except (OSError, ValueError, TypeError, KeyError, AssertionError):
        raise WorkbenchError(
            f"{file} is no leaderboard; give the .json that workbench class leaderboard wrote"
        ) from None
    if not found:
        raise WorkbenchError(f"{file} holds no detector that was measured; grade the capstone first")
    return found


def _say(r: dict[str, Any]) -> str:
    name = {row["rank"]: escape(row["name"]) for row in r["rows"]}
    front = ", ".join(f"{rank} {name[rank]}" for rank in r["front"])
    text = f"{len(r['rows'])} detectors; nobody beats {front} in both."
    chosen = next((row for row in r["rows"] if row["rank"] == r["point_out"]), None)
    if chosen is not None:
        ratio = chosen.get("latency_ratio")
        speed = "" if ratio is None else f", {ratio:.2f} × the latency of a stock YOLO11n"
        text += (
            f"<br><b>{chosen['rank']} {name[chosen['rank']]}</b>: mAP50 {chosen['map50']:.3f}, mAP50-95 "
            f"{chosen['map50_95']:.3f}, {chosen['macs'] / 1e6:.1f} million MACs, {chosen['params'] / 1e6:.2f} million "
            f"parameters{speed}."
        )
    return text
