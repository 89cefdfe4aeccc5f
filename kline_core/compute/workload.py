"""The workload of a run: its symbols, how many samples of each are to be computed, and groups of them worth a batch."""

from collections.abc import Mapping, Sequence

import numpy as np

from kline_core.compute.request import Request
from kline_core.compute.tasks import Overview
from kline_core.factor.batch import Batch, Choice, SymbolSamples
from kline_core.factor.state_key import StateKey
from kline_core.factor.stored_values import Stored, StoredValues
from kline_core.store.home import Home
from kline_core.typing import Dates

GROUP_SAMPLES = 2048
"""New samples that are worth a batch: each encodes charts in whole batches of the network, and searches all rows.
Measured with 600 samples a symbol on an Intel Xeon of the fifth generation with AVX2: three symbols a batch
take 8 % less time than one, four no less than three."""
GROUP_CANDIDATES = 2**20
"""Candidates of a group's new samples, at most: modes that compare bars hold some hundred bytes of each."""
GROUP_DATES = 320_000
"""Most sample dates of a group, new or stored: whether the stored values hold is looked at together."""


class Workload:
    """What a run has to compute of a loaded state."""

    def __init__(self, home: Home, key: StateKey, request: Request, overview: Overview) -> None:
        """`request` names its symbols as the home knows them: see `Request.resolved`."""
        self._key, self._request, self._overview = key, request, overview
        self.symbols = self._symbols()
        self.expected = self._expected()
        """Upper bound of each symbol's samples; holes in its bars may leave fewer windows."""
        self.stored = StoredValues(home, self.symbols, key.fingerprint)
        """What is stored of these symbols."""

    @property
    def new_samples(self) -> int:
        """Estimated number of samples to compute."""
        return sum(map(self._new_samples, self.symbols))

    def groups(self, symbols: Sequence[str], at_most: int) -> list[list[str]]:
        """Symbols in the same order, cut into groups for `Run.score`; a symbol with much to compute is alone.

        Several symbols share a group up to `GROUP_SAMPLES` new samples with `GROUP_CANDIDATES` candidates,
        `GROUP_DATES` dates and `at_most` symbols.
        """
        most = min(GROUP_SAMPLES, GROUP_CANDIDATES // self._key.settings.factor.candidates)
        groups: list[list[str]] = [[]]
        new = asked = 0
        for symbol in symbols:
            symbol_new = self._new_samples(symbol)
            symbol_asked = max(self.expected[symbol], self.stored.count(symbol))
            new, asked = new + symbol_new, asked + symbol_asked
            if groups[-1] and (new > most or asked > GROUP_DATES or len(groups[-1]) == at_most):
                groups.append([])
                new, asked = symbol_new, symbol_asked
            groups[-1].append(symbol)
        return [group for group in groups if group]

    def named(self, symbols: Sequence[str]) -> dict[str, Dates]:
        """Sample dates of symbols that were asked for, datetime64[D]; empty if workers choose them."""
        if self._request.dates is None:
            return {}
        return {symbol: np.unique(self._request.dates[symbol]) for symbol in symbols}

    def batch(self, stored: Mapping[str, Stored], named: Mapping[str, Dates]) -> Batch:
        """The samples of symbols, and those of earlier runs, so that no value of outdated lineage stays.

        `stored`: what is stored of each symbol. `named`: as `named` has it.
        """
        parts = tuple(SymbolSamples(symbol, each.dates, each.history) for symbol, each in stored.items())
        if self._request.dates is None:
            return Batch(parts, Choice(self._request.samples, self._request.as_of))
        return Batch(parts).with_dates([named[symbol] for symbol in stored])

    def why_no_dates(self) -> str:
        """Problem of a symbol without sample dates."""
        if self._request.dates is not None:
            return "no dates were asked for"
        return no_window(self._key, self._request)

    def _symbols(self) -> list[str]:
        if self._request.dates is not None:
            return sorted(self._request.dates)
        if self._request.symbols is None:
            return self._overview.symbols
        return sorted(set(self._request.symbols))

    def _expected(self) -> dict[str, int]:
        if self._request.dates is not None:
            return {symbol: len(np.unique(self._request.dates[symbol])) for symbol in self.symbols}
        windows = dict(zip(self._overview.symbols, self._overview.windows, strict=True))
        return {symbol: min(self._request.samples, windows[symbol]) for symbol in self.symbols}

    def _new_samples(self, symbol: str) -> int:
        # At least 1, since the stored samples may be of other dates, such as those of the day before.
        return max(1, self.expected[symbol] - self.stored.count(symbol))


def no_window(key: StateKey, request: Request) -> str:
    """Problem of a symbol without a usable date up to the day that is asked about."""
    until = "" if request.as_of is None else f" up to {request.as_of}"
    return f"too few bars: no window of {key.settings.patterns.span_bars} consecutive bars{until}"
