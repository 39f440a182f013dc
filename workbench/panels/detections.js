// The picture of the Detections panel: the truth and what each detector makes of it, side by side on one canvas.
// The kernel sends the image once and boxes with their verdicts; pointer, keys and descriptions live here.

const GAP = 12, HEAD = 18, FOOT = 20, LEAST = 210;
const STYLE = {
  truth: { colour: "#333333", dash: [], mark: "" },
  found: { colour: "#333333", dash: [], mark: "" },
  tp: { colour: "#0072B2", dash: [], mark: "✓ " },
  fp: { colour: "#D55E00", dash: [7, 4], mark: "✕ " },
  fn: { colour: "#9C2F78", dash: [2, 3], mark: "? " },
};

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "workbench-detections";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const says = document.createElement("div");
  says.className = "workbench-detections-says";
  says.setAttribute("aria-live", "polite");
  root.append(canvas, says);
  el.append(root);

  let photo = null, tiles = [], chosen = null, alive = true;
  const scene = () => model.get("scene");
  const views = () => scene().views || [];
  const all = () => views().flatMap((v, i) => v.boxes.map((_, j) => [i, j]));

  function layout() {
    const width = Math.max(320, root.clientWidth || 900), n = Math.max(1, views().length);
    const [h, w] = scene().size || [1, 1];
    let columns = Math.min(n, Math.max(1, Math.floor((width + GAP) / (LEAST + GAP))));
    columns = Math.ceil(n / Math.ceil(n / columns));
    const tw = Math.min(360, Math.floor((width - GAP * (columns - 1)) / columns));
    const scale = Math.min(tw / w, 360 / h), th = Math.max(24, Math.round(h * scale));
    tiles = views().map((_, i) => ({
      x: (i % columns) * (tw + GAP), y: Math.floor(i / columns) * (HEAD + th + FOOT), tw, th, scale,
    }));
    const ratio = window.devicePixelRatio || 1, height = Math.ceil(n / columns) * (HEAD + th + FOOT);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
    }
    return { ratio, width, height };
  }

  const place = (t, [x1, y1, x2, y2]) => ({
    x: t.x + x1 * t.scale, y: t.y + HEAD + y1 * t.scale, w: (x2 - x1) * t.scale, h: (y2 - y1) * t.scale,
  });

  function drawBox(g, t, b, on) {
    const p = place(t, b.box), s = STYLE[b.kind];
    g.setLineDash([]);
    g.strokeStyle = "#ffffff";
    g.lineWidth = on ? 7 : 4.5;
    g.strokeRect(p.x, p.y, p.w, p.h);
    g.setLineDash(s.dash);
    g.strokeStyle = s.colour;
    g.lineWidth = on ? 4 : 2.2;
    g.strokeRect(p.x, p.y, p.w, p.h);
    g.setLineDash([]);
    const text = s.mark + b.text, tw = g.measureText(text).width + 6;
    const x = Math.max(t.x, Math.min(p.x - 1, t.x + t.tw - tw)), y = Math.max(t.y + HEAD + 13, p.y);
    g.fillStyle = s.colour;
    g.fillRect(x, y - 13, tw, 13);
    g.fillStyle = "#ffffff";
    g.fillText(text, x + 3, y - 3);
  }

  function draw() {
    if (!alive) return;
    const { ratio, width, height } = layout(), g = canvas.getContext("2d"), [h, w] = scene().size || [1, 1];
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.fillStyle = "#ffffff";
    g.fillRect(0, 0, width, height);
    views().forEach((v, i) => {
      const t = tiles[i];
      g.save();
      g.beginPath();
      g.rect(t.x, t.y, t.tw, HEAD + t.th + FOOT);
      g.clip();
      g.fillStyle = "#222222";
      g.font = "bold 12px system-ui, sans-serif";
      g.fillText(v.label, t.x, t.y + 13, t.tw);
      if (photo) g.drawImage(photo, t.x, t.y + HEAD, w * t.scale, h * t.scale);
      g.font = "10.5px system-ui, sans-serif";
      v.boxes.forEach((b, j) => drawBox(g, t, b, false));
      if (chosen && chosen[0] === i && v.boxes[chosen[1]]) drawBox(g, t, v.boxes[chosen[1]], true);
      g.font = "12px system-ui, sans-serif";
      g.fillStyle = v.error ? "#8a3b00" : "#333333";
      g.fillText(v.error ? "⚠ " + v.error : v.counts, t.x, t.y + HEAD + t.th + 14, t.tw);
      g.restore();
    });
    canvas.setAttribute("aria-label", scene().words || "detections");
    canvas.dataset.stamp = scene().stamp;
  }

  function choose(pair, act) {
    chosen = pair;
    const b = pair && views()[pair[0]].boxes[pair[1]];
    says.textContent = b ? `${views()[pair[0]].label}: ${b.say}` : "";
    if (b && act && b.kind === "fn") model.send({ open: [views()[pair[0]].label, b.number] });
    draw();
  }

  function hit(event) {
    const r = canvas.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
    let best = null, area = Infinity;
    for (const [i, j] of all()) {
      const p = place(tiles[i], views()[i].boxes[j].box);
      const inside = x >= p.x - 3 && x <= p.x + p.w + 3 && y >= p.y - 14 && y <= p.y + p.h + 3;
      const miss = views()[i].boxes[j].kind === "fn" ? 1e-3 : 1; // a miss under other boxes can still be reached
      if (inside && p.w * p.h * miss < area) [best, area] = [[i, j], p.w * p.h * miss];
    }
    return best;
  }

  canvas.addEventListener("click", (e) => choose(hit(e), true));
  canvas.addEventListener("mousemove", (e) => {
    const found = hit(e);
    canvas.style.cursor = found && views()[found[0]].boxes[found[1]].kind === "fn" ? "pointer" : "default";
  });
  canvas.addEventListener("keydown", (e) => {
    const order = all(), at = chosen ? order.findIndex(([i, j]) => i === chosen[0] && j === chosen[1]) : -1;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (step && order.length) choose(order[(at + step + order.length) % order.length], false);
    else if (e.key === "Enter" && chosen) choose(chosen, true);
    else return;
    e.preventDefault();
    e.stopPropagation();
  });

  let turn = 0;
  async function decode() {
    const mine = ++turn, data = model.get("photo");
    const made = data && data.byteLength ? await createImageBitmap(new Blob([data], { type: "image/png" })) : null;
    if (mine !== turn) return;
    photo = made;
    draw();
  }
  const changed = () => {
    chosen = null;
    says.textContent = "";
    draw();
  };
  model.on("change:scene", changed);
  model.on("change:photo", decode);
  const observer = new ResizeObserver(draw);
  observer.observe(root);
  decode();
  return () => {
    alive = false;
    observer.disconnect();
    model.off("change:scene", changed);
    model.off("change:photo", decode);
  };
}

export default { render };
