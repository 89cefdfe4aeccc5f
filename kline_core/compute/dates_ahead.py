"""Sample dates planned for several groups of symbols at once: the way to a worker and back takes longer than a plan."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kline_core.compute.patience import WorkerLostError
from kline_core.errors import SchedulerError
from kline_core.typing import Dates

_MOST_SYMBOLS: Final = 512
_MOST_DATES: Final = 20_000
"""Dates of groups that are planned together; a group with more is planned by itself."""


class DatesAhead:
    """What was planned of some symbols, until it is asked for. Thread-safe."""

    def __init__(self) -> None:
        self._blocks: dict[str, _Block] = {}

    def expect(self, groups: Sequence[Sequence[str]], dates: Mapping[str, int]) -> None:
        """These groups of symbols will be asked for, one after the other; `dates`: about how many each symbol has."""
        block, count = _Block(), 0
        for group in groups:
            more = sum(dates[symbol] for symbol in group)
            if block.symbols and (count + more > _MOST_DATES or len(block.symbols) + len(group) > _MOST_SYMBOLS):
                block, count = _Block(), 0
            block.symbols += group
            count += more
            self._blocks.update(dict.fromkeys(group, block))

    def take(self, symbols: Sequence[str], plan: Callable[[Sequence[str]], list[Dates]]) -> list[Dates]:
        """Sample dates of each of these symbols; `plan` makes those of any symbols. Raises what it raises.

        A symbol that was taken before is planned by itself, and so is each group where a plan of several broke.
        """
        block = self._blocks.get(symbols[0]) if symbols else None
        if block is None:
            return plan(symbols)
        with block.lock:
            if block.planned is None and len(block.symbols) > len(symbols):
                try:
                    block.planned = dict(zip(block.symbols, plan(block.symbols), strict=True))
                except Exception as error:
                    if isinstance(error, SchedulerError) and not isinstance(error, WorkerLostError):
                        raise
                    # Which group it is, or whose work took the worker, shows where each is planned by itself.
                    block.planned = {}
            held = {} if block.planned is None else block.planned
            found = [held.pop(symbol, None) for symbol in symbols]
        dates = [each for each in found if each is not None]
        return dates if len(dates) == len(symbols) else plan(symbols)


class _Block:
    """Symbols whose dates are planned together, when those of the first are asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.symbols: list[str] = []
        self.planned: dict[str, Dates] | None = None
