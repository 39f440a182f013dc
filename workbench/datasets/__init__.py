"""Data to learn on: ``shapes()`` drawn on the spot, ``coco128()`` found or fetched, photos, and checks of your own."""

from __future__ import annotations

from .shapes import shape_crops, shapes, shapes_scene

__all__ = ["shape_crops", "shapes", "shapes_scene"]
