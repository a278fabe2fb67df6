"""The smallest and largest values of what goes into and out of each operator that may be rounded."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The smallest and the largest value that was seen."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRanges:
    """Of what goes into an operator, and of what comes out, its bias included."""

    input: Range
    output: Range


Ranges = Mapping[str, OperatorRanges]
"""Path of an operator in the deploy graph -> its ranges, in the order of the graph."""
