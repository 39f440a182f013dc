"""What is not needed is not loaded: importing the package and listing backbones cost milliseconds and no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workbench

HEAVY = ("torch", "numpy", "ultralytics", "matplotlib", "IPython", "ipywidgets", "torchvision", "PIL", "yaml")
MODULES = 120  # what `import workbench` may load beyond a bare interpreter; torch alone is over a thousand


def loaded_after(code: str) -> tuple[list[str], int]:
    """Return the heavy packages a fresh process has loaded after `code`, and how many modules came with it."""
    probe = (
        f"import sys; before = len(sys.modules)\n{code}\n"
        f"print('\\n' + ' '.join(m for m in {HEAVY} if m in sys.modules), len(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *names, count = done.stdout.splitlines()[-1].split()
    return names, int(count)


def test_import_workbench():
    names, modules = loaded_after("import workbench")
    assert names == []
    assert modules <= MODULES


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "starnet*", "--json"], ["measure", "--help"]])
def test_light_commands(arguments):
    names, _ = loaded_after(f"from workbench.cli import main\nassert main({arguments}) == 0")
    assert "torch" not in names
    assert "ultralytics" not in names


def test_the_ruler_needs_no_detectors():
    names, _ = loaded_after("import workbench as wb\nwb.list_backbones('fasternet*'); wb.measure")
    assert "ultralytics" not in names


@pytest.mark.parametrize("name", sorted(workbench._PUBLIC))
def test_public_names_resolve(name):
    assert getattr(workbench, name) is getattr(workbench, name)
    assert name in dir(workbench)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="create_backbones"):
        workbench.create_backbones  # noqa: B018
