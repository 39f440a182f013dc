// One line in front of a panel, empty while the panel has a kernel. When the kernel is restarted or gone, ipywidgets
// marks every view of it as disconnected; this says in words what the mark means, and what to do. It also gives the
// handle of every slider in the panel its name: ipywidgets ties a slider's label to nothing a screen reader can find.

const GONE = "jupyter-widgets-disconnected";

function nameSliders(panel) {
  for (const handle of panel.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label")?.textContent.trim();
    if (label) handle.setAttribute("aria-label", label);
  }
}

function render({ model, el }) {
  const line = document.createElement("div");
  line.className = "workbench-notice";
  line.setAttribute("role", "status");
  line.hidden = true;
  el.append(line);

  let panel = null;
  let ended = false;
  const observer = new MutationObserver(update);
  const sliders = new MutationObserver(() => nameSliders(panel));

  function update() {
    const gone = panel.classList.contains(GONE);
    if (gone === !line.hidden) return;
    line.hidden = !gone;
    line.textContent = gone ? model.get("text") : "";
    panel.classList.toggle("workbench-without-kernel", gone);
  }

  function begin() { // a view is made before it stands in its panel
    panel = el.closest(".workbench-panel");
    if (ended) return;
    if (panel === null) return void requestAnimationFrame(begin);
    observer.observe(panel, { attributes: true, attributeFilter: ["class"] });
    sliders.observe(panel, { childList: true, subtree: true });
    nameSliders(panel);
    update();
  }

  begin();
  return () => {
    ended = true;
    observer.disconnect();
    sliders.disconnect();
  };
}

export default { render };
