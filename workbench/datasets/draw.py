"""Scenes of simple shapes, drawn from a random generator: masks, textures, shading, occlusion.

Colour, fill, size, rotation and background are drawn independently of the class, so form is the only cue a network
can use. Everything is a pure function of the generator it is given.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

NAMES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart")
RADIUS = (0.07, 0.24)  # of the image side, log-uniform: diameters from 1/7 to 1/2 of the image
MIN_VISIBLE = 0.4  # a shape with less of its area in view keeps its pixels and loses its label
SUPERSAMPLE = 4  # masks are drawn this much larger and averaged down: smooth edges
CONTRAST = 0.4  # least RGB distance between a shape's colour and both colours of its background

Array = NDArray[Any]


@dataclass(frozen=True)
class Scene:
    """One drawn image with its annotation.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4) float, ``x1 y1 x2 y2`` in pixels, tight around the visible part, inside the image.
        labels: (N,) int, index into ``NAMES``.
    """

    image: Array
    boxes: Array
    labels: Array


def polygons(name: str) -> tuple[Array, Array | None]:
    """Return outline and hole (or None) of a shape inside the unit circle, each (V, 2).

    >>> polygons("star")[0].shape, polygons("ring")[1].shape
    ((10, 2), (72, 2))
    """
    if name == "square":
        return _regular(4), None
    if name == "triangle":
        return _regular(3), None
    if name == "star":
        radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
        return _regular(10) * radii[:, None], None
    if name == "cross":
        a, b = 0.94, 0.32
        corners = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b), (-a, -b)]
        return np.array([*corners, (-b, -b)]), None
    if name == "heart":
        t = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, -y - 2.5], 1) / 17, None
    disc = _regular(72)
    holes = {"circle": None, "ring": disc * 0.55, "crescent": disc * 0.82 + np.array([0.42, 0.0])}
    return disc, holes[name]


def _regular(n: int) -> Array:
    angle = np.arange(n) * 2 * math.pi / n - math.pi / 2
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def shape_mask(name: str, radius: float, angle: float = 0.0, squash: float = 1.0) -> Array:
    """Return the antialiased coverage of a shape, (S, S) float in [0, 1]; S leaves a margin for its shadow.

    Args:
        name: one of ``NAMES``.
        radius: of the circle around the shape, pixels.
        angle: rotation, radians.
        squash: the shape's own height is multiplied by this before it is rotated.
    """
    side = 2 * math.ceil(1.1 * radius) + 4
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    canvas = Image.new("L", (side * SUPERSAMPLE, side * SUPERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for outline, value in zip(polygons(name), (255, 0), strict=True):
        if outline is not None:
            points = (outline * (1, squash)) @ turn * radius + side / 2
            draw.polygon([(float(x), float(y)) for x, y in points * SUPERSAMPLE], fill=value)
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255  # (S, S)


def colour(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Array:
    """Return a random colour, (3,) float RGB in [0, 1], with saturation and value from the given ranges."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)))


def clouds(rng: Generator, size: int, cells: int) -> Array:
    """Return smooth noise, (size, size) in [0, 1]: random grids of `cells` and 2·`cells` values, interpolated."""
    total = np.zeros((size, size), dtype=np.float32)
    for octave, weight in ((cells, 1.0), (2 * cells, 0.5)):
        grid = Image.fromarray(rng.random((octave, octave), dtype=np.float32))
        total += weight * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
    return np.clip(total / 1.5, 0, 1)


def texture(rng: Generator, size: int) -> Array:
    """Return one of five patterns, (size, size) in [0, 1]: clouds, stripes, checks, dots, wood grain."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle, waves = rng.uniform(0, math.pi), rng.uniform(4, 12)
    u = x * math.cos(angle) + y * math.sin(angle)
    v = y * math.cos(angle) - x * math.sin(angle)
    warp = clouds(rng, size, int(rng.integers(2, 7)))
    kind = int(rng.integers(5))
    if kind == 0:
        return warp
    if kind == 1:
        return 0.5 + 0.5 * np.sin(2 * math.pi * waves * (u + 0.1 * warp))
    if kind == 2:
        return 0.5 + 0.5 * np.tanh(4 * np.sin(math.pi * waves * u) * np.sin(math.pi * waves * v))
    if kind == 3:
        return 0.5 + 0.5 * np.tanh(6 * (np.cos(2 * math.pi * waves * u) * np.cos(2 * math.pi * waves * v) - 0.5))
    return 0.5 + 0.5 * np.sin(2 * math.pi * (2 * u + waves / 2 * warp))


def background(rng: Generator, size: int) -> tuple[Array, Array]:
    """Return a muted textured background, (size, size, 3) in [0, 1], and its two colours, (2, 3)."""
    first = colour(rng, (0.05, 0.45), (0.25, 0.95))
    second = np.clip(first + rng.uniform(-0.22, 0.22) + rng.uniform(-0.06, 0.06, 3), 0.08, 1)
    pattern = texture(rng, size)[..., None]  # (H, W, 1)
    grain = rng.normal(0, 0.015, (size, size, 1))
    light = 1 + 0.18 * (clouds(rng, size, 2)[..., None] - 0.5)
    return np.clip((first + (second - first) * pattern + grain) * light, 0, 1), np.stack([first, second])


def fill(rng: Generator, side: int, avoid: Array) -> Array:
    """Return what a shape is painted with, (side, side, 3): plain, striped or spotted, in colours unlike `avoid`."""
    paint = colour(rng, (0.45, 1.0), (0.35, 1.0))
    for _ in range(20):
        if np.linalg.norm(avoid - paint, axis=1).min() >= CONTRAST:
            break
        paint = colour(rng, (0.45, 1.0), (0.2, 1.0))
    second = np.clip(paint * rng.uniform(0.65, 1.35), 0, 1) if rng.random() < 0.4 else paint
    pattern = texture(rng, side)[..., None] if second is not paint else np.zeros((side, side, 1))
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    light = 1 + 0.25 * (x * math.cos(angle) + y * math.sin(angle))[..., None]
    return np.clip((paint + (second - paint) * pattern) * light, 0, 1)  # (side, side, 3)


def paste(canvas: Array, mask: Array, paint: Array, top: int, left: int) -> tuple[slice, slice]:
    """Paint a shape with bevel and drop shadow onto `canvas` (H, W, 3), in place; parts outside are cut off.

    Returns:
        rows and columns of the canvas that the mask covers.
    """
    side, (height, width) = mask.shape[0], canvas.shape[:2]
    soft = Image.fromarray((mask * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(max(side / 30, 0.8)))
    blurred = np.asarray(soft, dtype=np.float32)[..., None] / 255  # (S, S, 1)
    rows, cols = slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
    inner = slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left)
    drop = max(side // 24, 1)
    shadow = np.pad(blurred, ((drop, 0), (drop, 0), (0, 0)))[:side, :side][inner]
    alpha = mask[inner][..., None]
    bevel = 0.72 + 0.28 * np.clip(2 * blurred[inner] - 1, 0, 1)  # darker towards the edge
    canvas[rows, cols] = canvas[rows, cols] * (1 - 0.4 * shadow) * (1 - alpha) + paint[inner] * bevel * alpha
    return rows, cols


def draw_scene(rng: Generator, size: int, count: int) -> Scene:
    """Draw `count` shapes, later ones over earlier ones, and annotate those that stay in view.

    Args:
        rng: source of every random choice.
        size: image side, pixels.
        count: shapes to draw; the annotation may hold fewer.

    >>> scene = draw_scene(np.random.default_rng(0), size=96, count=3)
    >>> scene.image.shape, scene.boxes.shape, [NAMES[i] for i in scene.labels]
    ((96, 96, 3), (3, 4), ['triangle', 'circle', 'heart'])
    """
    canvas, avoid = background(rng, size)
    owner = np.full((size, size), -1)  # index of the topmost shape at each pixel
    areas: list[int] = []
    labels = rng.integers(len(NAMES), size=count)
    for index, label in enumerate(labels):
        radius = size * math.exp(rng.uniform(*np.log(RADIUS)))
        mask = shape_mask(NAMES[label], radius, rng.uniform(0, 2 * math.pi), rng.uniform(0.85, 1))
        solid, paint = mask > 0.5, fill(rng, mask.shape[0], avoid)
        for _ in range(8):  # look for a place that hides nobody; after eight tries accept the last
            centre = rng.uniform(0.5 * radius, size - 0.5 * radius, size=2)
            top, left = (int(c) - mask.shape[0] // 2 for c in centre)
            rows, cols = slice(max(top, 0), top + mask.shape[0]), slice(max(left, 0), left + mask.shape[0])
            trial = owner.copy()
            inside = solid[max(-top, 0) :, max(-left, 0) :][: size - rows.start, : size - cols.start]
            trial[rows, cols][inside] = index
            if _in_view(trial, [*areas, int(solid.sum())]).all():
                break
        owner = trial
        areas.append(int(solid.sum()))
        paste(canvas, mask, paint, top, left)
    kept = np.flatnonzero(_in_view(owner, areas))
    boxes = np.array([_tight_box(owner == index) for index in kept], dtype=np.float64).reshape(-1, 4)
    return Scene((canvas * 255).round().astype(np.uint8), boxes, labels[kept])


def _in_view(owner: Array, areas: list[int]) -> Array:
    visible = np.bincount(owner.ravel() + 1, minlength=len(areas) + 1)[1:]
    return visible >= MIN_VISIBLE * np.array(areas)


def _tight_box(mask: Array) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return cols[0], rows[0], cols[-1] + 1, rows[-1] + 1
