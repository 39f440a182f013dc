"""The panels as pages without code: ``workbench app`` writes a notebook per panel and serves them with Voilà."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from ..errors import MissingExtraError
from ..settings import own_dir

PAGES = {  # file → heading, what it is for, code
    "1-compare": (
        "Which backbone, and for what?",
        "Tick networks, choose conditions, press measure. The leftmost column is the baseline.",
        "wb.panels.Compare()",
    ),
    "2-feature-maps": (
        "What does each channel see?",
        "Choose an image, a stage and an order; click a channel for its large view.",
        'wb.panels.FeatureMaps(["fasternet_t0", "starnet_s1"], "cat")',
    ),
    "3-detections": (
        "What do five trained detectors find, and miss?",
        "Move the thresholds; every box says whether it is a hit, a false alarm or a miss.",
        'wb.panels.Detections("shapes_128_converged")',
    ),
}


# Voilà's pages ask a CDN for icons that the panels do not use; this keeps a reader's browser to this server.
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'self'"
)


def app(context: typer.Context) -> None:
    """Serve the panels as pages without code (takes Voilà's options)."""
    try:
        from traitlets.config import Config
        from voila.app import Voila
    except ImportError:
        raise MissingExtraError("Voilà", "app") from None
    folder = write_pages(own_dir() / "app")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, not one registered for the user
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    headers = {"headers": {"Content-Security-Policy": CSP}}
    Voila.launch_instance(argv=app_arguments(folder, context.args), config=Config(Voila={"tornado_settings": headers}))


def write_pages(folder: Path) -> Path:
    """Write a notebook per panel into `folder`, and return it."""
    from ..panels import __all__ as known
    from ..panels.pages import write_page

    folder.mkdir(parents=True, exist_ok=True)
    for name, (heading, text, code) in PAGES.items():
        if code.split("(")[0].rsplit(".", 1)[-1] not in known:
            continue
        write_page(folder / f"{name}.ipynb", heading, text, code)
    return folder


def app_arguments(folder: Path, given: list[str]) -> list[str]:
    """Return Voilà's arguments: the pages, loopback only, a token, and what the user gave.

    >>> app_arguments(Path("/pages"), ["--port=8899"])
    ['/pages', '--Voila.ip=127.0.0.1', '--token', '--port=8899']
    """
    chosen = {argument.partition("=")[0] for argument in given}
    arguments = [str(folder)]
    if not chosen & {"--Voila.ip", "--ip"}:
        arguments.append("--Voila.ip=127.0.0.1")
    if not chosen & {"--token", "--Voila.token", "--Voila.auto_token"}:
        arguments.append("--token")
    return [*arguments, *given]
