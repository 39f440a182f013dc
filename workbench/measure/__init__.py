"""The ruler: count what a network costs, and time it so that a reviewer would believe the number."""

from .candidates import Factory, factory
from .cost import Count, Part, Uncounted
from .count import count
from .environment import environment, set_allocator
from .latency import latency
from .operators import OperatorTable, operator_table
from .published import published
from .roofline import Placement, Roofline, roofline
from .rounds import Plan, interleave
from .runtimes import RUNTIMES, runtimes
from .stats import Ratio, Summary, paired_ratio
from .timing import Latency

__all__ = [
    "RUNTIMES",
    "Count",
    "Factory",
    "Latency",
    "OperatorTable",
    "Part",
    "Placement",
    "Plan",
    "Ratio",
    "Roofline",
    "Summary",
    "Uncounted",
    "count",
    "environment",
    "factory",
    "interleave",
    "latency",
    "operator_table",
    "paired_ratio",
    "published",
    "roofline",
    "runtimes",
    "set_allocator",
]
