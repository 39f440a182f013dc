"""A panel as a page: the notebook that Voilà serves without its code."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import replace_text


def write_page(file: Path, heading: str, text: str, code: str) -> None:
    """Write a notebook of a heading and one cell, by rename: a server may be reading the old one."""
    cells = [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": f"# {heading}\n\n{text}"},
        {"cell_type": "code", "id": "panel", "metadata": {}, "execution_count": None, "outputs": [],
         "source": f"import workbench as wb\n\n{code}"},
    ]  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    page = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    replace_text(file, json.dumps(page, indent=1) + "\n")
