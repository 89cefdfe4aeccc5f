"""The daily flow where the computation of one symbol always breaks; deployed by `test_deployment`."""

from collections.abc import Sequence
from typing import Any

from flows.daily import daily
from kline_core.compute.run import Run

__all__ = ["daily"]

_score_batch = Run._score_batch


def _breaking(self: Run, symbols: Sequence[str], chunks: int, alone: bool) -> Any:
    if "S00001" in symbols:
        raise ValueError("bars on fire")
    return _score_batch(self, symbols, chunks, alone)


Run._score_batch = _breaking  # type: ignore[method-assign]
