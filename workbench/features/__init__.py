"""The eye: look inside any module. Tensors in, tensors out; nothing here draws, and nothing knows of detectors."""

from .cam import layer_cam
from .capture import capture, layers
from .channels import ChannelStats, channel_stats, touched_channels
from .families import Star, branches, star
from .receptive import ReceptiveField, effective_receptive_field
from .similarity import cka, cka_matrix

__all__ = [
    "ChannelStats",
    "ReceptiveField",
    "Star",
    "branches",
    "capture",
    "channel_stats",
    "cka",
    "cka_matrix",
    "effective_receptive_field",
    "layer_cam",
    "layers",
    "star",
    "touched_channels",
]
