"""Published tables as data: what to run, what it costs, what should come out, and what did."""

from .results import Outcome, collect, outcomes
from .suite import Row, Scale, Suite, read_suite

__all__ = ["Outcome", "Row", "Scale", "Suite", "collect", "outcomes", "read_suite"]
