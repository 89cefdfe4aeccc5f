"""The daily flow where the computation of one symbol always breaks; deployed by `test_deployment`."""

from typing import Any

from flows.daily import daily
from kline_core.compute.run import Run

__all__ = ["daily"]

_score = Run.score


def _breaking(self: Run, symbol: str, chunks: int = 1) -> Any:
    if symbol == "S00001":
        raise ValueError("bars on fire")
    return _score(self, symbol, chunks)


Run.score = _breaking  # type: ignore[method-assign]
