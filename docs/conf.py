"""Sphinx configuration of the book. ``docs/build.py`` calls it on a folder where pages and lessons lie together."""

import os

import workbench

project = "Backbone Workbench"
author = "The Backbone Workbench developers"
copyright = "The Backbone Workbench developers, AGPL-3.0-or-later"
version = release = workbench.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",  # formulas without a CDN
]
exclude_patterns = ["**/.ipynb_checkpoints", "jupyter_execute"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header", "misc.highlighting_failure"]

# Lessons run in the fast budget; a page is only built of cells that ran without an error.
nb_execution_mode = os.environ.get("BOOK_EXECUTE", "cache")
nb_execution_cache_path = os.environ.get("BOOK_CACHE", "")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
# A panel needs a kernel: the page shows the picture that stands for it, and loads no widget code from a CDN.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [("*", "application/vnd.jupyter.widget-view+json", None)]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the signature says them already
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_rtype = False
add_module_names = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "Backbone Workbench"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["book.css"]
