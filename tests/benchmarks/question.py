"""What every way is asked: the samples of one symbol, against the patterns of one home."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.symbol_bars import SymbolBars
from kline_core.encoder.encoder import Encoder
from kline_core.factor.checked_samples import symbol_bars
from kline_core.factor.scoring import plan_dates
from kline_core.factor.state import LoadedState, loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from kline_core.settings import FactorSettings, Settings
from kline_core.store.home import Home
from kline_core.typing import Dates, Int64s
from tests.support.homes import make_home, market


@dataclass(frozen=True, slots=True)
class Question:
    """Small enough to be sent to the process of each way."""

    key: StateKey
    symbol: str
    samples: int

    @classmethod
    def of(cls, home: str, symbol: str | None, samples: int, mode: str = "fast") -> Self:
        """About a symbol of a home; without a name, the first of those with the most bars."""
        place = Home(home)
        if symbol is None:
            counts = pc.value_counts(place.read("bars", ["symbol"])["symbol"].cast(pa.string()).combine_chunks())
            symbol = min((-row["counts"], row["values"]) for row in counts.to_pylist())[1]
        return cls(StateKey.newest(place, Settings(factor=FactorSettings.of_mode(mode)), device="cpu"), symbol, samples)

    def load(self) -> "Loaded":
        """Bars, patterns and encoder in this process, and the sample dates.

        FAISS's bound between scans and matrix products, which our index sets for the whole process, is put back: other
        ways' searches are to run as the library comes.
        """
        bound = faiss.cvar.distance_compute_blas_threshold
        state = loaded_state(self.key)
        faiss.cvar.distance_compute_blas_threshold = bound
        bars = symbol_bars(state, self.symbol)
        dates = plan_dates(state, self.symbol, self.samples, None)
        return Loaded(state, bars, dates, np.searchsorted(bars.dates, dates).astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """The question with all that is needed to answer it."""

    state: LoadedState
    bars: SymbolBars
    dates: Dates
    ends: Int64s
    """int64 (samples,): ordinal of each date among the symbol's bars."""

    def some(self, count: int, round_: int) -> list[int]:
        """Positions of about `count` samples, at equal distances over the years, other ones in every round."""
        step = max(1, len(self.dates) // count)
        return list(range(round_ % step, len(self.dates), step))[:count]


def synthetic_home(place: Path | None, symbols: int, bars: int) -> Home:
    """A home with the patterns of a synthetic market, built where `place` does not hold it yet.

    What an update of another version of the code left behind beside the patterns, this one leaves again.
    """
    folder = Path(tempfile.mkdtemp(prefix="kline-bench-")) if place is None else place
    path = folder / f"home-{symbols}x{bars}"
    if not path.exists():
        # Under another name until its bars are whole; patterns that are missing are made below.
        made = folder / f"{path.name}.part{np.random.default_rng().integers(1 << 40)}"
        made.mkdir(parents=True)
        make_home(made, market(symbols, bars, seed=0, start="2010-01-04"))
        made.rename(path)
    update_patterns(Home(path), Settings().patterns, LocalWindowEncoder(Encoder.load(device="cpu")))
    return Home(path)
