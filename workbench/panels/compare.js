// The Compare panel's picture: a scatter of networks and a table of the same networks, linked. The kernel sends numbers
// and finished texts (`scene`); axes, labels, pointer and keys live here, so that nothing waits for the kernel.

const W = 920, H = 420, LEFT = 66, RIGHT = 24, TOP = 14, BOTTOM = 48;
const SVG = "http://www.w3.org/2000/svg";
const SHAPES = {
  o: "M 5.2 0 A 5.2 5.2 0 1 1 -5.2 0 A 5.2 5.2 0 1 1 5.2 0 Z",
  s: "M -4.8 -4.8 H 4.8 V 4.8 H -4.8 Z",
  "^": "M 0 -6 L 5.8 4.6 H -5.8 Z",
  D: "M 0 -6 L 6 0 L 0 6 L -6 0 Z",
  "*": "M 0 -7.4 L 1.9 -2.4 L 7 -2.3 L 3 1 L 4.4 6.1 L 0 3.2 L -4.4 6.1 L -3 1 L -7 -2.3 L -1.9 -2.4 Z",
};

function make(tag, attributes = {}, parent = null, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  if (text !== null) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function html(tag, className, parent, text = null) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
}

function tidy(v) {
  return Number(v.toPrecision(6)).toLocaleString("en-US", { maximumSignificantDigits: 6 });
}

// An axis: from numbers to pixels, and where its ticks are.
function axis(values, log, from, to) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low <= 0 || high < 2 * low) log = false; // so short a stretch is as good as straight
  if (log) {
    const pad = Math.max(Math.log10(high / low) * 0.07, 0.06);
    const a = Math.log10(low) - pad, b = Math.log10(high) + pad, ticks = [];
    const steps = b - a > 2.2 ? [1] : b - a > 1.1 ? [1, 3] : [1, 1.5, 2, 3, 5, 7];
    for (let e = Math.floor(a); e <= b; e++)
      for (const s of steps) if (Math.log10(s) + e >= a && Math.log10(s) + e <= b) ticks.push(s * 10 ** e);
    return { at: (v) => from + ((Math.log10(v) - a) / (b - a)) * (to - from), ticks };
  }
  const pad = (high - low || Math.abs(high) || 1) * 0.07, a = low - pad, b = high + pad;
  const raw = (b - a) / 6, unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((s) => s * unit >= raw), ticks = [];
  for (let v = Math.ceil(a / step) * step; v <= b; v += step) ticks.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return { at: (v) => from + ((v - a) / (b - a)) * (to - from), ticks };
}

// Where a point's name can stand without touching another name or point; null where it cannot.
function place(x, y, width, taken) {
  const h = 12, spots = [[9, 4], [-9 - width, 4], [-width / 2, -10], [-width / 2, 19], [8, -8], [8, 15], [-8 - width, -8], [-8 - width, 15]];
  for (const [dx, dy] of spots) {
    const box = [x + dx, y + dy - h + 2, x + dx + width, y + dy + 2];
    if (box[0] < LEFT || box[2] > W - 2 || box[1] < 0 || box[3] > H - BOTTOM) continue;
    if (taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1])) continue;
    taken.push(box);
    return [dx, dy];
  }
  return null;
}

function render({ model, el }) {
  const root = html("div", "workbench-compare", el);
  const picture = html("div", "", root), scroll = html("div", "scroll", root);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "table of the networks, the baseline leftmost");

  const scene = () => model.get("scene");
  const pick = (name) => { model.set("selected", name); model.save_changes(); };
  const parts = (name) => root.querySelectorAll(`[data-network="${CSS.escape(name)}"]`);
  const near = (name, on) => parts(name).forEach((n) => n.classList.toggle("near", on));

  function link(node, name) {
    node.dataset.network = name;
    node.addEventListener("pointerenter", () => near(name, true));
    node.addEventListener("pointerleave", () => near(name, false));
  }

  function marks() {
    root.querySelectorAll(".chosen").forEach((n) => n.classList.remove("chosen"));
    const name = model.get("selected");
    if (name) parts(name).forEach((n) => n.classList.add("chosen"));
  }

  function axes(svg, s, x, y) {
    for (const v of x.ticks) {
      make("line", { class: "grid", x1: x.at(v), x2: x.at(v), y1: TOP, y2: H - BOTTOM }, svg);
      make("text", { x: x.at(v), y: H - BOTTOM + 16, "text-anchor": "middle" }, svg, tidy(v));
    }
    for (const v of y.ticks) {
      make("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y.at(v), y2: y.at(v) }, svg);
      make("text", { x: LEFT - 7, y: y.at(v) + 4, "text-anchor": "end" }, svg, tidy(v));
    }
    make("path", { class: "axis", fill: "none", d: `M ${LEFT} ${TOP} V ${H - BOTTOM} H ${W - RIGHT}` }, svg);
    make("text", { class: "title", x: (LEFT + W - RIGHT) / 2, y: H - 8, "text-anchor": "middle" }, svg, s.xlabel);
    const title = { class: "title", transform: `translate(14 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" };
    make("text", title, svg, s.ylabel);
  }

  function bars(g, p, x, y) {
    const style = { class: "bar", stroke: p.colour };
    if (p.ye) make("line", { ...style, x1: 0, x2: 0, y1: y.at(p.ye[0]) - y.at(p.y), y2: y.at(p.ye[1]) - y.at(p.y) }, g);
    if (p.xe) make("line", { ...style, y1: 0, y2: 0, x1: x.at(p.xe[0]) - x.at(p.x), x2: x.at(p.xe[1]) - x.at(p.x) }, g);
  }

  function scatter() {
    const s = scene(), points = s.points || [];
    picture.replaceChildren();
    if (!points.length) return html("div", "empty", picture, s.empty || "");
    const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, width: W, role: "group", "aria-label": s.words });
    const x = axis(points.flatMap((p) => [p.x, ...(p.xe || [])]), s.xlog, LEFT, W - RIGHT);
    const y = axis(points.flatMap((p) => [p.y, ...(p.ye || [])]), s.ylog, H - BOTTOM, TOP);
    axes(svg, s, x, y);
    const best = s.front.map((name) => points.find((p) => p.name === name)).filter(Boolean);
    if (best.length > 1) make("path", { class: "front", d: "M" + best.map((p) => `${x.at(p.x)} ${y.at(p.y)}`).join("L") }, svg);
    const taken = points.map((p) => [x.at(p.x) - 7, y.at(p.y) - 7, x.at(p.x) + 7, y.at(p.y) + 7]);
    const important = [...points].sort((a, b) => (b.base - a.base) || (s.front.includes(b.name) - s.front.includes(a.name)));
    const spots = new Map(important.map((p) => [p.name, place(x.at(p.x), y.at(p.y), 6.1 * p.name.length + 4, taken)]));
    for (const p of points) {
      const label = `${p.name}${p.base ? ", the baseline" : ""}: ${p.says}`;
      const g = make("g", { class: p.base ? "point base" : "point", tabindex: 0, role: "button", "aria-label": label,
        transform: `translate(${x.at(p.x)} ${y.at(p.y)})` }, svg);
      bars(g, p, x, y);
      make("circle", { class: "ring", r: 10 }, g);
      make("path", { d: SHAPES[p.marker], fill: p.colour, stroke: "#ffffff", "stroke-width": 0.8 }, g);
      const [dx, dy] = spots.get(p.name) || [9, -7];
      make("text", { x: dx, y: dy, ...(spots.get(p.name) ? {} : { visibility: "hidden" }) }, g, p.name);
      make("title", {}, g, label);
      link(g, p.name);
      g.addEventListener("click", () => pick(p.name));
      g.addEventListener("keydown", (e) => keys(e, p.name, points));
    }
    picture.append(svg);
  }

  function keys(e, name, points) {
    const order = [...points].sort((a, b) => a.x - b.x || a.y - b.y), at = order.findIndex((p) => p.name === name);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[e.key];
    if (step) picture.querySelector(`[data-network="${CSS.escape(order[Math.max(0, Math.min(order.length - 1, at + step))].name)}"]`).focus();
    else if (e.key === "Enter" || e.key === " ") pick(name);
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  function table() {
    const s = scene(), node = document.createElement("table"), head = html("tr", "", html("thead", "", node));
    html("th", "label", head, s.corner || "").scope = "col";
    s.columns.forEach((name, i) => {
      const th = html("th", "", head);
      th.scope = "col";
      const button = html("button", "", th, name);
      button.title = i ? `make ${name} the baseline` : "the baseline";
      button.setAttribute("aria-label", i ? `${name}: make it the baseline` : `${name}, the baseline`);
      button.addEventListener("click", () => (i ? model.send({ baseline: name }) : pick(name)));
      html("small", "", th, i ? "" : "baseline");
      link(th, name);
    });
    const body = html("tbody", "", node);
    for (const line of s.table) {
      const tr = html("tr", "", body);
      html("th", "label", tr, line.label).scope = "row";
      line.cells.forEach((c, i) => {
        const td = html("td", "", tr, c.text);
        if (c.range) td.title = c.range;
        if (c.ratio !== null) {
          const good = line.better === "less" ? c.ratio < 1 : line.better === "more" ? c.ratio > 1 : null;
          html("small", c.ratio === 1 || good === null ? "" : good ? "good" : "bad", td, `×${c.ratio.toPrecision(3)}`);
        }
        link(td, s.columns[i]);
      });
    }
    scroll.replaceChildren(node);
  }

  function draw() {
    scatter();
    table();
    marks();
    root.dataset.stamp = scene().stamp;
    root.dataset.points = (scene().points || []).length;
  }

  function save(content) {
    if (!content.download) return;
    const a = document.createElement("a");
    a.href = content.url;
    a.download = content.download;
    a.click();
  }

  model.on("change:scene", draw);
  model.on("change:selected", marks);
  model.on("msg:custom", save);
  draw();
  return () => {
    model.off("change:scene", draw);
    model.off("change:selected", marks);
    model.off("msg:custom", save);
  };
}

export default { render };
