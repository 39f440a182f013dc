// One line in front of a panel, empty while the panel has a kernel. When the kernel is restarted or gone, ipywidgets
// marks every view of it as disconnected; this says in words what the mark means, and what to do.

const GONE = "jupyter-widgets-disconnected";

function render({ model, el }) {
  const line = document.createElement("div");
  line.className = "workbench-notice";
  line.setAttribute("role", "status");
  line.hidden = true;
  el.append(line);

  function update() {
    const gone = el.closest(`.${GONE}`) !== null;
    if (gone === !line.hidden) return;
    line.hidden = !gone;
    line.textContent = gone ? model.get("text") : "";
    const panel = el.closest(".workbench-panel");
    if (panel) panel.classList.toggle("workbench-without-kernel", gone);
  }

  const observer = new MutationObserver(update);
  observer.observe(el, { attributes: true, attributeFilter: ["class"] });
  update();
  return () => observer.disconnect();
}

export default { render };
