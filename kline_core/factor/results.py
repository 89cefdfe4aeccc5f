"""What a worker sends back. Loads nothing, since whoever receives it imports this module."""

from dataclasses import dataclass

import pyarrow as pa

from kline_core.typing import Dates, Int64s

Asked = tuple[str, Dates, Int64s]
"""A symbol, its sample dates, and the history under which the value of each is stored."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Samples of one symbol after their computation."""

    factors: pa.Table
    """Rows of the `factors` table for the samples that were computed, without fingerprint and run_id."""
    matches: pa.Table
    """Rows of the `matches` table for these, likewise."""
    reused: Dates
    """datetime64[D]: samples whose stored values hold."""
    seconds: dict[str, float]
    """Time by stage: render, encode, search, factor."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTogether:
    """Samples of several symbols after their computation in one piece; as `Scored` otherwise."""

    factors: pa.Table
    """Rows of all symbols."""
    matches: pa.Table
    reused: list[Dates]
    """Of each symbol that was asked for, in that order."""
    seconds: dict[str, float]
