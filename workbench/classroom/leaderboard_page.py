"""The leaderboard as one HTML file: a table that sorts, two figures, nothing that is fetched from anywhere."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { margin-bottom: .2rem; } p { max-width: 46rem; } small, caption { color: #595959; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.figures svg { flex: 1 1 24rem; max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; }
th:nth-child(2), td:nth-child(2) { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
thead th { border-bottom: 2px solid #333; vertical-align: bottom; } tbody td { border-bottom: 1px solid #ddd; }
thead button { font: inherit; font-weight: 600; border: 0; background: none; padding: .2rem; cursor: pointer; }
thead button:focus-visible, tbody tr:focus-visible { outline: 3px solid #0072b2; outline-offset: 1px; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
tbody tr:hover, tbody tr.on { background: #fff3d6; } td small { display: block; line-height: 1.1; }
.ring { fill: none; stroke: #d55e00; stroke-width: 2.5; }
"""
SCRIPT = """
const table = document.querySelector('table'), body = table.tBodies[0];
const value = (row, i) => { const v = row.cells[i].dataset.value; return v === '' ? null : isNaN(v) ? v : Number(v); };
table.querySelectorAll('thead button').forEach(button => button.addEventListener('click', () => {
  const head = button.closest('th'), i = head.cellIndex, text = head.dataset.kind === 'text';
  const down = head.getAttribute('aria-sort') === (head.dataset.first || 'ascending')
    ? head.dataset.first !== 'descending' : head.dataset.first === 'descending';
  const order = (a, b) => {
    const x = text ? a.cells[i].dataset.value : value(a, i), y = text ? b.cells[i].dataset.value : value(b, i);
    if (x === null || y === null) return (x === null) - (y === null);
    return (text ? x.localeCompare(y) : x - y) * (down ? -1 : 1);
  };
  table.querySelectorAll('th').forEach(th => th.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  [...body.rows].sort(order).forEach(row => body.append(row));
}));
const show = (row, on) => ['macs', 'latency_ratio'].forEach(cost => {
  const point = document.querySelector(`#entry-${cost}-${row.dataset.rank} use`);
  if (!point) return;
  const ring = point.parentNode.querySelector('.ring')
    || document.createElementNS(point.namespaceURI, 'circle');
  if (!on) return ring.remove();
  Object.entries({ cx: point.getAttribute('x'), cy: point.getAttribute('y'), r: 10, class: 'ring' })
    .forEach(([name, value]) => ring.setAttribute(name, value));
  point.parentNode.append(ring);
});
[...body.rows].forEach(row => [['mouseenter', true], ['mouseleave', false], ['focus', true], ['blur', false]]
  .forEach(([event, on]) => row.addEventListener(event, () => show(row, on))));
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
<p>{about}</p>
<div class="figures">{figures}</div>
<div class="wide"><table><caption>Press a heading to sort. Point at a row, or go to it with the Tab key, to find it in
the figures. ★ is on the front: no other detector finds more for fewer MACs.</caption>
<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>
<p><small>{notes}</small></p>
<script>{script}</script></body></html>
"""
COLUMNS = (  # heading, key, first direction
    ("rank", "rank", "ascending"), ("detector", "name", "ascending"), ("mAP50", "map50", "descending"),
    ("mAP50-95", "map50_95", "descending"), ("MACs, M", "macs", "ascending"), ("parameters, M", "params", "ascending"),
    ("latency / stock", "latency_ratio", "ascending"),
)  # fmt: skip


def page(assignment: str, rows: Rows, waiting: int = 0) -> str:
    """Return the page; names and all other text that came from outside are escaped."""
    from ..plots.leaderboard import front_of

    first = rows[0]
    front = front_of(rows)
    heads = "".join(
        f'<th scope="col" data-first="{way}" data-kind="{"text" if key == "name" else "number"}"'
        f"{' aria-sort=' + chr(34) + way + chr(34) if key == 'rank' else ''}>"
        f'<button type="button">{html.escape(head)}</button></th>'
        for head, key, way in COLUMNS
    )
    size, n = first.get("imgsz"), sorted({r["images"] for r in rows if r.get("images")})
    about = (
        f"{len(rows)} detectors, each measured outside its notebook from the ONNX file it was exported to: mAP on "
        f"{' or '.join(f'{i:g}' for i in n) or 'held-out'} images"
        f"{f' of {size:g} × {size:g} pixels' if size else ''} that were drawn for the grading."
    )
    notes = (
        "Small numbers: 95 % interval, of mAP50 over the draw of the images, of latency over the rounds of one "
        "interleaved run with a stock YOLO11n. Two detectors whose intervals overlap cannot be told apart by these "
        "images; groups graded at different times were measured on different images. Latency decides no points."
    )
    if waiting:
        notes += f" {waiting} more handed in a file that could not be measured."
    return PAGE.format(
        title=html.escape(f"{assignment}: leaderboard"), style=STYLE, about=html.escape(about), figures=figures(rows),
        heads=heads, rows="".join(_row(r, r["rank"] in front) for r in rows), notes=html.escape(notes), script=SCRIPT,
    )  # fmt: skip


def _row(r: Mapping[str, Any], on_front: bool) -> str:
    cells = []
    for _, key, _ in COLUMNS:
        value = r.get(key)
        shown = {"macs": "{:.1f}", "params": "{:.2f}", "rank": "{}", "name": "{}", "latency_ratio": "{:.2f}"}.get(
            key, "{:.3f}"
        )
        text = "–" if value is None else shown.format(value / 1e6 if key in ("macs", "params") else value)
        text = html.escape(text) + (" ★" if key == "name" and on_front else "")
        stem = {"map50": "map50", "latency_ratio": "latency"}.get(key)
        low, high = r.get(f"{stem}_low"), r.get(f"{stem}_high")
        if low is not None and high is not None:
            digits = 2 if stem == "latency" else 3
            text += f"<small>{low:.{digits}f} – {high:.{digits}f}</small>"
        raw = "" if value is None else html.escape(str(value))
        cells.append(f'<td data-value="{raw}">{text}</td>')
    return f'<tr tabindex="0" data-rank="{r["rank"]:d}">{"".join(cells)}</tr>'


def figures(rows: Rows) -> str:
    """Return two inline SVGs: mAP50 against MACs, and against the latency ratio where it was measured."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure

    from ..plots.leaderboard import leaderboard_scatter
    from ..plots.style import HOUSE

    found = []
    for cost in ("macs", "latency_ratio"):
        if not any(r.get(cost) is not None for r in rows):
            continue
        with style.context(HOUSE), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"board-{cost}"}):
            figure = Figure(figsize=(5.6, 4.0), layout="constrained")
            leaderboard_scatter(rows, cost, ax=figure.add_subplot())
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        found.append(_inline(buffer.getvalue(), cost))
    return "".join(found)


def _inline(svg: str, cost: str) -> str:
    """Return an SVG that can stand in a page: no prologue, no fixed size, a name for those who do not see it."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.S)
    head, _, rest = body.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    what = "MACs" if cost == "macs" else "latency relative to a stock YOLO11n"
    return f'{head} role="img" aria-label="mAP50 against {what}; the numbers are ranks">{rest}'
