"""The ruler: count what a network costs, and time it so that a reviewer would believe the number."""

from .backbones import BackboneLab, backbone_lab, costs
from .candidates import Factory, factory
from .correlation import published_correlation, rank_correlation
from .cost import Count, Part, Uncounted
from .count import count
from .environment import environment, set_allocator
from .latency import latency
from .memory import Memory, peak_memory
from .operators import OperatorTable, operator_table
from .published import published
from .roofline import Placement, Roofline, roofline
from .rounds import Plan, interleave
from .runtimes import RUNTIMES, runtimes
from .stats import Ratio, Summary, paired_ratio
from .timing import Latency

__all__ = [
    "RUNTIMES",
    "BackboneLab",
    "Count",
    "Factory",
    "Latency",
    "Memory",
    "OperatorTable",
    "Part",
    "Placement",
    "Plan",
    "Ratio",
    "Roofline",
    "Summary",
    "Uncounted",
    "backbone_lab",
    "costs",
    "count",
    "environment",
    "factory",
    "interleave",
    "latency",
    "operator_table",
    "paired_ratio",
    "peak_memory",
    "published",
    "published_correlation",
    "rank_correlation",
    "roofline",
    "runtimes",
    "set_allocator",
]
