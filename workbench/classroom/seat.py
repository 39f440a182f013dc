"""What one student's seat needs: memory and processor time of every lesson and assignment, each in a kernel."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from ..errors import WorkbenchError
from ..settings import data_dir
from .notebook import read_notebook

MIB = 2**20 if sys.platform == "darwin" else 2**10  # of the unit of `ru_maxrss`
CELL_S = 900
USED = """
import json as _json, resource as _resource
print(_json.dumps([[u.ru_maxrss, u.ru_utime + u.ru_stime] for u in
      map(_resource.getrusage, (_resource.RUSAGE_SELF, _resource.RUSAGE_CHILDREN))]))
"""


def seat(run: int, root: Path) -> list[dict[str, Any]]:
    """Return a row per notebook, and one for JupyterLab itself: peak memory, processor seconds, seconds.

    The memory is the kernel's peak and, beside it, its largest child's: a measurement runs in a process of its own.
    """
    home = data_dir().parent
    for file in home.glob("assignments/a?/a?.safetensors"):  # what a student has trained lies beside the notebook
        shutil.copy(file, root)
    rows = [{"run": run, "what": "JupyterLab without a kernel", "kernel_mib": lab_mib(root), "child_mib": 0.0,
             "cpu_s": 0.0, "wall_s": 0.0}]  # fmt: skip
    for path in [*sorted(home.glob("notebooks/[0-9]*.ipynb")), *sorted(home.glob("assignments/a?/a?.ipynb"))]:
        rows.append({"run": run, "what": path.stem, **used(path, root)})
        print(f"run {run}: {path.stem}, {rows[-1]['kernel_mib']:.0f} MiB, {rows[-1]['cpu_s']:.0f} s", flush=True)
    return rows


def used(path: Path, root: Path) -> dict[str, float]:
    """Run a notebook from top to bottom in `root`; return its ``kernel_mib``, ``child_mib``, ``cpu_s``, ``wall_s``.

    Raises:
        WorkbenchError: one of its cells fails.
    """
    import nbformat.v4
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = read_notebook(path)
    notebook.cells.append(nbformat.v4.new_code_cell(USED))
    begun = time.perf_counter()
    try:
        resources = {"metadata": {"path": str(root)}}
        NotebookClient(notebook, timeout=CELL_S, resources=resources).execute(stderr=subprocess.DEVNULL)
    except CellExecutionError as e:
        raise WorkbenchError(f"{path.name} does not run: {e.ename}: {e.evalue}") from None
    seconds = time.perf_counter() - begun
    said = "".join(o.get("text", "") for o in notebook.cells[-1].outputs)
    (own, own_s), (child, child_s) = json.loads(said)
    return {"kernel_mib": own / MIB, "child_mib": child / MIB, "cpu_s": own_s + child_s, "wall_s": seconds}


def lab_mib(root: Path) -> float:
    """Return the memory of a JupyterLab that has just started, in MiB.

    Raises:
        WorkbenchError: it did not start.
    """
    import psutil

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "workbench", "lab", "--no-browser", f"--port={port}",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"]  # fmt: skip
    away = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=away, stderr=away)
    try:
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status?token={token}", timeout=5):
                    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
                    return float(sum(p.memory_info().rss for p in family) / 2**20)
            except OSError:
                if server.poll() is not None:
                    break
                time.sleep(0.5)
        raise WorkbenchError("JupyterLab does not start; see: workbench doctor")
    finally:
        server.terminate()
        server.wait(20)
