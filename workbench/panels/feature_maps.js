// One canvas for every network of the FeatureMaps panel: grids of channels on top of one large view each.
// The kernel sends finished pictures (PNG) and the values of the selected channel; tiles, labels, cursor and keys live
// here, so that nothing flickers and nothing waits for the kernel while the pointer moves.

const TOP = 20; // header of a view, CSS pixels
const GAP = 14; // between views
const BIG = 208; // side of the large view
const BLUE = [0, 114, 178], ORANGE = [213, 94, 0], INK = "#333333", MUTED = "#6b6b6b", FOCUS = "#111111";

function colour(value, top) {
  const t = top > 0 ? Math.max(-1, Math.min(1, value / top)) : 0;
  const end = t < 0 ? ORANGE : BLUE, a = Math.abs(t);
  return end.map((c) => Math.round(255 + a * (c - 255)));
}

function floats(view) {
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "workbench-maps";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const says = document.createElement("div");
  says.className = "workbench-maps-says";
  says.setAttribute("aria-live", "polite");
  const tip = document.createElement("div"); // beside the pointer, over a channel
  tip.className = "workbench-maps-tip";
  tip.hidden = true;
  root.append(canvas, says, tip);
  el.append(root);

  let pictures = [], photo = null, drawn = -1, cursor = null, boxes = [], alive = true;

  const scene = () => model.get("scene");
  const views = () => scene().views || [];
  const selected = () => model.get("selected");

  function layout() {
    const n = Math.max(views().length, 1);
    const width = Math.max(320, root.clientWidth || 900);
    const w = Math.floor((width - GAP * (n - 1)) / n);
    let height = 0;
    boxes = views().map((v, i) => {
      const columns = Math.min(scene().columns, Math.max(v.channels.length, 1));
      const tile = Math.max(12, Math.min(88, Math.floor(w / scene().columns) - 2));
      const rows = Math.ceil(v.channels.length / columns);
      const big = Math.min(BIG, w);
      const box = { x: i * (w + GAP), w, tile, step: tile + 2, lift: 12, columns, rows, big, gridY: TOP + big + 26 };
      height = Math.max(height, box.gridY + rows * (tile + 2 + box.lift) + 4);
      return box;
    });
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
    }
    return { ratio, width, height };
  }

  function tileAt(box, k) {
    const row = Math.floor(k / box.columns), column = k % box.columns;
    return { x: box.x + column * box.step, y: box.gridY + row * (box.step + box.lift) + box.lift };
  }

  function drawMark(g, b) {
    const mark = scene().mark;
    if (!mark) return;
    for (const [style, width, dash] of [["#ffffff", 4, []], ["#9C2F78", 2, [3, 3]]]) {
      g.strokeStyle = style;
      g.lineWidth = width;
      g.setLineDash(dash);
      g.strokeRect(b.x + mark[0] * b.w, b.y + mark[1] * b.h, (mark[2] - mark[0]) * b.w, (mark[3] - mark[1]) * b.h);
    }
    g.setLineDash([]);
    g.lineWidth = 1;
  }

  function drawBig(g, view, box) {
    if (!view.values) return;
    const values = floats(view.values), [h, w] = view.size;
    const off = new OffscreenCanvas(w, h), o = off.getContext("2d"), image = o.createImageData(w, h);
    for (let k = 0; k < w * h; k++) image.data.set([...colour(values[k], view.top), 255], 4 * k);
    o.putImageData(image, 0, 0);
    const scale = box.big / Math.max(w, h), bw = w * scale, bh = h * scale;
    box.view = { x: box.x, y: TOP, w: bw, h: bh };
    g.drawImage(off, box.x, TOP, bw, bh);
    g.strokeStyle = "#bbbbbb";
    g.strokeRect(box.x + 0.5, TOP + 0.5, bw - 1, bh - 1);
    g.fillStyle = INK;
    drawMark(g, box.view);
    g.fillText(`channel ${selected()} · blue +, orange −, full colour at ±${view.top.toPrecision(3)}`, box.x, TOP + box.big + 14);
    if (cursor) {
      const i = Math.min(h - 1, Math.floor(cursor.v * h)), j = Math.min(w - 1, Math.floor(cursor.u * w));
      g.strokeStyle = FOCUS;
      g.lineWidth = 1.5;
      g.strokeRect(box.x + (j * bw) / w, TOP + (i * bh) / h, bw / w, bh / h);
      g.lineWidth = 1;
    }
  }

  function drawPhoto(g, box) {
    const x = box.x + box.big + GAP, side = Math.min(box.big, box.w - box.big - GAP);
    box.photo = null;
    if (!photo || side < 80) return;
    box.photo = { x, y: TOP, w: side, h: side };
    g.imageSmoothingEnabled = true;
    g.drawImage(photo, x, TOP, side, side);
    g.imageSmoothingEnabled = false;
    g.strokeStyle = "#bbbbbb";
    g.strokeRect(x + 0.5, TOP + 0.5, side - 1, side - 1);
    drawMark(g, box.photo);
    if (!cursor) return;
    const cx = x + cursor.u * side, cy = TOP + cursor.v * side;
    for (const [style, width] of [["#ffffff", 4], [FOCUS, 1.5]]) {
      g.strokeStyle = style;
      g.lineWidth = width;
      g.beginPath();
      g.arc(cx, cy, 7, 0, 2 * Math.PI);
      g.stroke();
    }
    g.lineWidth = 1;
  }

  function drawGrid(g, view, box, picture) {
    const [th, tw] = view.tile;
    view.channels.forEach((c, k) => {
      const { x, y } = tileAt(box, k), row = Math.floor(k / scene().columns), column = k % scene().columns;
      if (picture) g.drawImage(picture, column * tw, row * th, tw, th, x, y, box.tile, box.tile);
      const touched = view.touched !== null && c < view.touched;
      g.strokeStyle = c === selected() ? FOCUS : touched ? "#009E73" : "#d8d8d8";
      g.lineWidth = c === selected() ? 2.5 : touched ? 2 : 1;
      g.strokeRect(x + 0.5, y + 0.5, box.tile - 1, box.tile - 1);
      g.fillStyle = c === selected() ? FOCUS : MUTED;
      const mark = (view.pinned.includes(c) ? "•" : "") + c + (touched ? "*" : "");
      g.fillText(view.dead.includes(c) && box.tile > 34 ? mark + " dead" : mark, x + 1, y - 2);
      if (view.dead.includes(c)) {
        g.strokeStyle = "#999999";
        g.lineWidth = 1;
        g.beginPath();
        g.moveTo(x, y + box.tile);
        g.lineTo(x + box.tile, y);
        g.stroke();
      }
    });
    g.lineWidth = 1;
  }

  function draw() {
    const { ratio, width, height } = layout(), g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.fillStyle = "#ffffff";
    g.fillRect(0, 0, width, height);
    g.imageSmoothingEnabled = false;
    views().forEach((view, i) => {
      g.font = "bold 12px system-ui, sans-serif";
      g.fillStyle = INK;
      g.fillText(view.label, boxes[i].x, 13, boxes[i].w);
      g.font = "10px system-ui, sans-serif";
      drawBig(g, view, boxes[i]);
      drawPhoto(g, boxes[i]);
      drawGrid(g, view, boxes[i], pictures[i]);
    });
    canvas.setAttribute("aria-label", scene().words || "feature maps");
    canvas.dataset.version = scene().version;
    canvas.dataset.stamp = scene().stamp;
    canvas.dataset.selected = selected();
  }

  async function decode() {
    const version = scene().version;
    const bitmap = (data) => (data ? createImageBitmap(new Blob([data], { type: "image/png" })) : null);
    const made = await Promise.all([bitmap(scene().photo), ...views().map((v) => bitmap(v.png))]);
    if (!alive || version !== scene().version) return; // a newer scene came meanwhile
    [photo, ...pictures] = made;
    drawn = version;
    draw();
  }

  function say() {
    if (!cursor) return;
    const parts = views().filter((v) => v.values).map((v) => {
      const [h, w] = v.size, i = Math.min(h - 1, Math.floor(cursor.v * h)), j = Math.min(w - 1, Math.floor(cursor.u * w));
      return `${v.label}: (${i}, ${j}) = ${floats(v.values)[i * w + j].toPrecision(4)}`;
    });
    says.textContent = `channel ${selected()} — ${parts.join(" · ")}`;
  }

  function hint(found, event) {
    tip.hidden = found.channel === undefined;
    if (tip.hidden) return;
    const v = found.view, c = found.channel, n = (x) => Number(x.toPrecision(3));
    const [mean, low, high] = [...floats(v.stats).slice(3 * found.place, 3 * found.place + 3)].map(n);
    const kind = v.dead.includes(c) ? "\ndead: zero everywhere" : v.touched !== null && c < v.touched ? "\ncomputed by the PConv" : "";
    tip.textContent = `${v.label}, ${v.module}\nchannel ${c}: mean ${mean}, from ${low} to ${high}${kind}`;
    const r = root.getBoundingClientRect(), x = event.clientX - r.left;
    tip.style.left = Math.max(0, Math.min(x + 14, r.width - tip.offsetWidth - 4)) + "px";
    tip.style.top = event.clientY - r.top + 18 + "px";
  }

  function pick(channel) {
    model.set("selected", channel);
    model.save_changes();
  }

  function hit(event) {
    const r = canvas.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
    for (const [i, box] of boxes.entries()) {
      for (const b of [box.view, box.photo])
        if (b && x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + b.h)
          return { cursor: { u: (x - b.x) / b.w, v: (y - b.y) / b.h } };
      const channels = views()[i].channels;
      for (let k = 0; k < channels.length; k++) {
        const t = tileAt(box, k);
        if (x >= t.x && x < t.x + box.tile && y >= t.y - box.lift && y < t.y + box.tile)
          return { channel: channels[k], view: views()[i], place: k };
      }
    }
    return {};
  }

  canvas.addEventListener("click", (e) => {
    const found = hit(e);
    if (found.channel !== undefined) pick(found.channel);
  });
  canvas.addEventListener("mousemove", (e) => {
    const found = hit(e);
    hint(found, e);
    canvas.style.cursor = found.channel !== undefined ? "pointer" : found.cursor ? "crosshair" : "default";
    if (!found.cursor && !cursor) return;
    cursor = found.cursor || null;
    if (cursor) say();
    draw();
  });
  canvas.addEventListener("mouseleave", () => (tip.hidden = true));
  canvas.addEventListener("keydown", (e) => {
    const channels = views()[0] ? views()[0].channels : [], at = channels.indexOf(selected());
    const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: boxes[0]?.columns, ArrowUp: -boxes[0]?.columns }[e.key];
    if (move && channels.length) pick(channels[Math.max(0, Math.min(channels.length - 1, at + move))]);
    else if (e.key === "p") model.send({ pin: selected() });
    else return;
    e.preventDefault();
    e.stopPropagation();
  });

  const changed = () => (drawn === scene().version ? draw() : decode());
  model.on("change:scene", changed);
  model.on("change:selected", draw);
  const observer = new ResizeObserver(() => draw());
  observer.observe(root);
  decode();
  return () => {
    alive = false;
    observer.disconnect();
    model.off("change:scene", changed);
    model.off("change:selected", draw);
  };
}

export default { render };
