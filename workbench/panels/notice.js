// One line in front of a panel, empty while the panel has a kernel. When the kernel is restarted or gone, ipywidgets
// marks every view of it as disconnected; this says in words what the mark means, and what to do.

const GONE = "jupyter-widgets-disconnected";

function render({ model, el }) {
  const line = document.createElement("div");
  line.className = "workbench-notice";
  line.setAttribute("role", "status");
  line.hidden = true;
  el.append(line);

  let panel = null;
  let ended = false;
  const observer = new MutationObserver(update);

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
    update();
  }

  begin();
  return () => {
    ended = true;
    observer.disconnect();
  };
}

export default { render };
