"""Colours that mean something stay apart for readers who see two of the three primaries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workbench.plots.features import SIGNED
from workbench.plots.style import FAMILY_COLOUR, FAMILY_MARKER, OPERATOR_COLOUR, PALETTE

# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1.0, on linear RGB
SIGHT = {
    "all three": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
APART = 15.0  # in CIELAB; about 2 is the least that a trained eye sees side by side


def lab(colour: str | np.ndarray, sight: str) -> np.ndarray:
    """Return CIELAB of a colour (``"#rrggbb"`` or three numbers up to 255), as seen."""
    given = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] if isinstance(colour, str) else colour
    c = np.asarray(given) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / TO_XYZ.sum(1)  # relative to white
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours: dict[str, str], sight: str) -> tuple[float, tuple[str, str]]:
    pairs = itertools.combinations(colours, 2)
    return min((float(np.linalg.norm(lab(colours[a], sight) - lab(colours[b], sight))), (a, b)) for a, b in pairs)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("colours", [FAMILY_COLOUR, OPERATOR_COLOUR], ids=["families", "operators"])
def test_what_a_legend_names_stays_apart(colours, sight):
    distance, pair = nearest(colours, sight)
    assert distance > APART, (pair, distance)


@pytest.mark.parametrize("sight", SIGHT)
def test_positive_and_negative_stay_apart_at_equal_strength(sight):
    for strength in (40, 80, 127):
        minus, plus = (lab(SIGNED[127 + side * strength], sight) for side in (-1, 1))
        assert np.linalg.norm(plus - minus) > APART, strength


def test_the_measure_itself_finds_red_and_green():
    poor = {"red": "#c0392b", "green": "#6b8e23"}
    assert nearest(poor, "all three")[0] > 2 * APART
    assert nearest(poor, "deuteranopia")[0] < nearest(poor, "all three")[0] / 2


def test_no_family_rests_on_colour_alone():
    assert len(set(FAMILY_MARKER.values())) == len(FAMILY_MARKER) == len(FAMILY_COLOUR)
    assert set(FAMILY_COLOUR.values()) <= set(PALETTE.values())
