"""The ruler: count what a network costs, and time it so that a reviewer would believe the number."""

from .cost import Count, Part, Uncounted
from .count import count

__all__ = ["Count", "Part", "Uncounted", "count"]
