"""The result of timing: every sample, summaries, paired ratios, the environment; a table, a tidy CSV, a JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError
from ..files import replace_text, replacing
from .environment import describe
from .stats import LEAST, Ratio, Sample, Summary, judge, paired_ratio, summarise
from .tables import html_table, text_table

COLUMNS = ("candidate", "round", "wall_s", "cpu_s", "runs", "faults", "kept")
SCHEMA = dict(zip(COLUMNS, (str, int, float, float, int, float, int), strict=True))
ENDINGS = {"budget": "the budget was spent before all rounds", "cancelled": "cancelled; finished rounds are kept"}


@dataclass(frozen=True)
class Latency:
    """Latencies of several candidates from one interleaved measurement. Prints as a table."""

    samples: Mapping[str, list[Sample]] = field(repr=False)
    env: Mapping[str, Any] = field(repr=False)
    baseline: str
    ending: str = "complete"  # "complete", "budget" or "cancelled"
    macs: Mapping[str, int] = field(default_factory=dict, repr=False)  # per run, where known

    @property
    def names(self) -> list[str]:
        """The candidates, in the order given."""
        return list(self.samples)

    @property
    def threads(self) -> int:
        """Threads each candidate ran on."""
        return int(self.env.get("threads", 1))

    def summary(self, name: str) -> Summary:
        """Return median, quartiles, minimum, p90, n and dropped of one candidate, in seconds."""
        return summarise(self._of(name), self.threads)

    def median_ms(self, name: str) -> float:
        """Return the median latency in milliseconds, for arithmetic; print the result itself, not this number."""
        return 1e3 * self.summary(name).median_s

    def ratio(self, name: str, to: str | None = None, level: float = 0.95) -> Ratio:
        """Return how many times slower `name` is than `to` (default the baseline), with its interval."""
        return paired_ratio(self._of(name), self._of(to or self.baseline), threads=self.threads, level=level)

    def faults(self, name: str) -> float:
        """Return the median page faults per run."""
        values = sorted(s.faults for s in self._of(name))
        return values[len(values) // 2] if values else float("nan")

    def gmacs_per_s(self, name: str) -> float:
        """Return achieved 10⁹ multiply-adds per second (what the papers call GFLOPS)."""
        return self.macs[name] / self.summary(name).median_s / 1e9

    def ranking(self) -> list[str]:
        """Return the candidates, fastest first."""
        return sorted(self.names, key=lambda n: self.summary(n).median_s)

    def _of(self, name: str) -> list[Sample]:
        if name not in self.samples:
            raise WorkbenchError(f"{name!r} was not measured; measured: {', '.join(self.samples)}")
        return self.samples[name]

    def rows(self) -> list[dict[str, Any]]:
        """Return one tidy row per candidate: milliseconds, counts, the ratio to the baseline and its interval."""
        out = []
        for name in self.names:
            s, r = self.summary(name), self.ratio(name)
            row = {
                "candidate": name, "median_ms": 1e3 * s.median_s, "iqr_ms": 1e3 * s.iqr_s, "min_ms": 1e3 * s.min_s,
                "p90_ms": 1e3 * s.p90_s, "n": s.n, "dropped": s.dropped, "clock": s.clock, "faults": self.faults(name),
                "ratio": r.ratio, "ratio_low": r.low, "ratio_high": r.high,
            }  # fmt: skip
            if name in self.macs:
                row["gmacs_per_s"] = self.gmacs_per_s(name)
            out.append(row)
        return out

    def _table(self) -> tuple[list[str], list[list[Any]], str, list[str]]:
        header = ["candidate", "median ms", "IQR", "min", "p90", "n", "dropped", "clock", f"× {self.baseline}"]
        header += ["GMAC/s"] if self.macs else []
        body: list[list[Any]] = []
        for r in self.rows():
            shown = Ratio(r["ratio"], r["ratio_low"], r["ratio_high"], 0.95, r["n"])
            line = [r[k] for k in ("candidate", "median_ms", "iqr_ms", "min_ms", "p90_ms", "n", "dropped", "clock")]
            line.append("1 (baseline)" if r["candidate"] == self.baseline else str(shown))
            body.append(line + ([r.get("gmacs_per_s")] if self.macs else []))
        e = self.env
        title = f"input {e.get('input', '?')}, {e.get('layout', 'nchw')}, {e.get('runtime', 'eager')}"
        return header, body, title, self.notes()

    def notes(self) -> list[str]:
        """Return what stands below every table of these numbers: machine and versions, method, what went wrong."""
        lines = [describe(dict(self.env)), "one interleaved run; ratios are paired per round, 95 % bootstrap interval"]
        if any(self.summary(name).clock == "cpu" for name in self.names):
            lines.append("clock cpu: over 30 % of the samples were interrupted, so CPU time is shown")
        if not all(self.ratio(name).bounded for name in self.names):
            lines.append(f"no interval: fewer than {LEAST} rounds in which both were measured undisturbed")
        return lines + ([ENDINGS[self.ending]] if self.ending in ENDINGS else [])

    def __str__(self) -> str:
        return text_table(*self._table())

    def _repr_html_(self) -> str:
        return html_table(*self._table())

    def save(self, path: str | Path) -> Path:
        """Write every sample as a tidy table, and environment and counts as JSON beside it; return the table's path.

        Args:
            path: ending in ``.parquet`` for Parquet (written by polars); anything else is CSV.
        """
        file = _table_file(path)
        rows = [
            dict(zip(COLUMNS, (name, s.round, s.wall_s, s.cpu_s, s.runs, s.faults, int(kept)), strict=True))
            for name, samples in self.samples.items()
            for s, kept in zip(samples, judge(samples, self.threads).kept, strict=True)
        ]
        if file.suffix == ".parquet":
            with replacing(file) as part:
                _polars().DataFrame(rows, schema=SCHEMA).write_parquet(part)
        else:
            with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as f:
                writer = csv.DictWriter(f, COLUMNS)
                writer.writeheader()
                writer.writerows({k: repr(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        meta = {
            "environment": dict(self.env),
            "baseline": self.baseline,
            "ending": self.ending,
            "macs": dict(self.macs),
        }
        meta["candidates"] = self.names
        replace_text(file.with_suffix(".json"), json.dumps(meta, indent=2))
        return file

    @classmethod
    def load(cls, path: str | Path) -> Latency:
        """Read back what `save` wrote.

        Raises:
            WorkbenchError: a file is missing or is not one of ours.
        """
        file = _table_file(path)
        try:
            meta = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            samples: dict[str, list[Sample]] = {n: [] for n in meta["candidates"]}
            for row in _read_table(file):
                cpu = None if row["cpu_s"] in ("", None) else float(row["cpu_s"])
                samples[row["candidate"]].append(
                    Sample(int(row["round"]), float(row["wall_s"]), cpu, int(row["runs"]), float(row["faults"]))
                )
            return cls(samples, meta["environment"], meta["baseline"], meta["ending"], meta["macs"])
        except (OSError, KeyError, TypeError, ValueError) as e:
            raise WorkbenchError(f"{file} is not a saved latency result with its JSON beside it ({e})") from e


def _table_file(path: str | Path) -> Path:
    file = Path(path)
    return file if file.suffix == ".parquet" else file.with_suffix(".csv")


def _read_table(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        try:
            return list(_polars().read_parquet(file).to_dicts())
        except _polars().exceptions.PolarsError as e:
            raise ValueError(f"no readable Parquet file: {e}") from e
    with file.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def _polars() -> Any:
    import polars  # comes with ultralytics

    return polars
