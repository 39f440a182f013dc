"""Rules of every test run: notebooks are really run and compared, and nothing is left behind.

Four things nbval does not do by itself (with ``--nbval-lax``):

- it waits 5 s for a cell's next output and then gives up on the kernel: we wait 60 s;
- it compares a kept output only where the execution count was kept too: ours are stripped, and compared all the same;
- after a timeout it marks the cells that follow *xfail*, and the run stays green: here an xfail is a failure;
- a notebook that is not found is not missed: here every tracked notebook below the given folders must be collected,
  with every code cell.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent
OUTPUT_TIMEOUT_S = 60
# everything a notebook or test may write goes below one folder that is removed; a caller's own choice is respected
PRIVATE = {"WORKBENCH_CACHE": "cache", "YOLO_CONFIG_DIR": "yolo", "IPYTHONDIR": "ipython"}
_private_dir = pytest.StashKey[Path]()
_notebooks_before = pytest.StashKey[set[str]]()


def _is_nbval(config: pytest.Config) -> bool:
    return bool(config.getoption("nbval", False) or config.getoption("nbval_lax", False))


def _beside_notebooks() -> set[str]:
    """Return the files in notebooks/ that are neither notebooks nor an editor's checkpoints."""
    found = {p for p in (ROOT / "notebooks").rglob("*") if p.suffix != ".ipynb" and ".ipynb_checkpoints" not in p.parts}
    return {str(p.relative_to(ROOT)) for p in found}


def _same_draws_every_time() -> None:
    """Let property tests draw the same examples in every run, as long as a machine needs: no verdict by luck."""
    try:
        from hypothesis import settings
    except ImportError:  # the lessons need no extra
        return
    settings.register_profile("house", derandomize=True, deadline=None, print_blob=True)
    settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    _same_draws_every_time()
    config.stash[_notebooks_before] = _beside_notebooks()
    wanted = [name for name in PRIVATE if name not in os.environ]
    if wanted:
        from workbench.files import scratch_until_exit  # what a killed run leaves goes at the next start

        config.stash[_private_dir] = scratch_until_exit("test")
        for name in wanted:
            folder = config.stash[_private_dir] / PRIVATE[name]
            folder.mkdir()
            os.environ[name] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_private_dir, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        for name in PRIVATE:
            if os.environ.get(name, "").startswith(str(folder)):
                del os.environ[name]


def tracked_notebooks() -> list[Path]:
    """Return the notebooks git tracks; in a folder that is no checkout, all below notebooks/."""
    git = subprocess.run(["git", "ls-files", "-z", "*.ipynb"], cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        return [ROOT / name for name in git.stdout.split("\0") if name and (ROOT / name).exists()]
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not _is_nbval(config):
        return
    cells = [item for item in items if hasattr(item, "cell_num")]
    for item in cells:
        item.output_timeout = OUTPUT_TIMEOUT_S
        if "keep_output" in item.cell.metadata.get("tags", []) and item.cell.outputs:
            item.cell.execution_count = item.cell.execution_count or 1
    folders = [Path(str(a)).resolve() for a in config.args if Path(str(a)).is_dir()]
    found = Counter(Path(item.path).resolve() for item in cells)
    for notebook in tracked_notebooks():
        if any(notebook.is_relative_to(f) for f in folders):
            expected = sum(c.cell_type == "code" for c in nbformat.read(notebook, as_version=4).cells)
            if found[notebook] != expected:
                name = notebook.relative_to(ROOT)
                raise pytest.UsageError(f"{name}: {found[notebook]} of {expected} code cells were collected")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if hasattr(item, "cell_num") and hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: not run properly, because {report.wasxfail}"
        del report.wasxfail
    return report


@pytest.fixture
def bad_input(record_property) -> Callable[[str, str, object], None]:
    """Note what a user gave and what came back, for docs/robustness.md: ``bad_input(area, given, error)``."""

    def note(area: str, given: str, error: object) -> None:
        record_property("bad input", json.dumps([area, given, str(error)], ensure_ascii=False))

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    stray = _beside_notebooks() - session.config.stash.get(_notebooks_before, set())
    if stray and _is_nbval(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"ERROR: the notebooks left files behind: {', '.join(sorted(stray))}", red=True)
