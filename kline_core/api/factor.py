"""Factor values: computed on a cluster and stored, or read as stored."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from kline_core.api.data import as_home, check_settings, symbol_names
from kline_core.by_year import Fingerprint
from kline_core.dates import optional_date
from kline_core.encoder.year_folder import YearFolder, stored_under
from kline_core.errors import RunFailedError, SettingError
from kline_core.factor.alphalens_folder import factor_series
from kline_core.factor.context import context_of
from kline_core.factor.export import stored_values
from kline_core.factor.prices import read_entry_prices, recorded_steps
from kline_core.factor.sample_dates import requested_dates
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.store.schemas import FAILED
from kline_core.typing import Dates

if TYPE_CHECKING:
    from kline_core.compute.cluster import Cluster
    from kline_core.compute.results import Progress
    from kline_core.compute.run import Run
    from kline_core.compute.run_report import RunReport
    from kline_core.compute.standing import SchedulerAt
    from kline_core.compute.year_runs import YearKeys
    from kline_core.factor.state_key import StateKey
    from kline_core.patterns.update import PatternsUpdate

Shown: TypeAlias = "Callable[[Mapping[str, int]], AbstractContextManager[Progress]]"
"""Factory of progress: given the upper bound of each symbol's samples, a context that yields a callback for results."""


@dataclass(frozen=True)
class FactorResult:
    """Factor values at the versions of the tables after a run or at a read; later runs do not change them.

    The tables are read on first access.
    """

    home: Home
    fingerprint: Fingerprint
    """Fingerprint of the settings and the encoder of the values, or of each year's."""
    versions: Mapping[str, int | None]
    """Versions of `factors`, `matches` and `bars` to read."""
    asked: Mapping[str, Dates] | None = None
    """Sample dates by symbol, datetime64[D]; None for all that are stored."""
    report: "RunReport | None" = None
    """Report of the run; None if the values were only read."""
    key: "StateKey | None" = None
    """Key of the state that gave the values, of several years that of the last; None if they were only read."""
    years: "YearKeys | None" = None
    """Keys of the states of all years; None for one encoder, or if the values were only read."""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per symbol and date: symbol, date (datetime64[s]), value (0..1, NaN if the sample failed), status,
        reason, matches (number) and all other columns of the table `factors`; ordered by symbol and date."""
        return self._of_asked(stored_values(self.home, self.fingerprint, self._symbols, self.versions["factors"]))

    @cached_property
    def values(self) -> "pd.Series[float]":
        """The values, float64 0..1, NaN if a sample failed: a Series named factor with the sorted MultiIndex
        (date, asset) that alphalens takes."""
        return factor_series(self.frame)

    @cached_property
    def prices(self) -> pd.DataFrame:
        """Prices at which the values can be traded, for alphalens beside `values`.

        float64 (days, symbols): index date, all days on which any symbol with values traded; columns asset.

        .. warning::
            The row of a day holds each symbol's adjusted close `PatternSettings.entry_lag_bars` traded bars later, the
            next bar's by default, which nobody knew on the day: a value is known at its own close, and traded after it.
            So the change from one row to the row h below is the forward return that `evaluate` measures over h bars;
            for a symbol that was suspended between, alphalens counts days and `evaluate` the symbol's bars.
        """
        steps = self.key.settings.patterns if self.key else recorded_steps(self.home, self.fingerprint)
        return read_entry_prices(self.home, sorted(set(self.frame["symbol"])), steps, self.versions["bars"])

    @cached_property
    def context(self) -> pd.DataFrame:
        """Regime, volume and money flow beside each value, from bars up to its day: one row per row of `frame`, with
        symbol, date and the columns of `kline_core.api.context.context`."""
        return context_of(self.home, self.frame, self.versions["bars"])

    @cached_property
    def failed(self) -> pd.DataFrame:
        """Samples without a value: symbol, date, reason."""
        rows = self.frame[self.frame["status"] == FAILED]
        return rows[["symbol", "date", "reason"]].reset_index(drop=True)

    @cached_property
    def matches(self) -> pd.DataFrame:
        """One row per match: symbol and date of the sample, rank from 1, match_symbol, match_end (its window's last
        day), similarity, weight, r<h> (forward returns, fractions), barrier (+1, -1, 0); ordered by sample and rank."""
        table = self.home.read(
            "matches", version=self.versions["matches"], symbols=self._symbols, fingerprint=self.fingerprint
        )
        frame: pd.DataFrame = table.to_pandas().sort_values(["symbol", "date", "rank"], ignore_index=True)
        for name in ("date", "match_end"):
            frame[name] = pd.to_datetime(frame[name])
        return self._of_asked(frame)

    def key_on(self, date: np.datetime64) -> "StateKey":
        """Key of the state that gave the values of a date, datetime64[D]; the values must have been computed."""
        assert self.key is not None, "they were computed"
        return self.key if self.years is None else self.years.on(date)

    @property
    def _symbols(self) -> list[str] | None:
        return None if self.asked is None else sorted(self.asked)

    def _of_asked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of the samples that were asked for."""
        if self.asked is None:
            return frame
        asked = [(symbol, day) for symbol, days in self.asked.items() for day in days.astype("datetime64[s]").tolist()]
        wanted = pd.MultiIndex.from_tuples(asked, names=["symbol", "date"])
        there = pd.MultiIndex.from_frame(frame[["symbol", "date"]]).isin(wanted)
        return frame[there].reset_index(drop=True)


def compute_factor(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    samples: int = 600,
    as_of: str | datetime.date | np.datetime64 | None = None,
    dates: "pd.MultiIndex | pd.DataFrame | Mapping[str, Any] | None" = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    device: str = "auto",
    scheduler: "SchedulerAt | None" = None,
    threads: int | None = None,
    shards: int | None = None,
    cluster: "Cluster | None" = None,
    patterns: "PatternsUpdate | None" = None,
    max_failed_share: float = 0.2,
    check: bool = True,
    progress: "bool | Shown" = False,
    execute: "Callable[[Run], RunReport] | None" = None,
) -> FactorResult:
    """Compute factor values and store them; stored values that still hold are not computed again.

    The value of a sample is ``barrier_weight * barrier win rate + (1 - barrier_weight) * return win rate`` of its
    matches, each weighing similarity times time decay (`kline_core.factor.weighting`).

    .. warning::
        A match is eligible for a sample on day t only if everything that followed it was known at the close of t, and
        the value itself is known at the close of t: returns that it is compared with must start from the next bar's
        close, as `evaluate` has them. `FactorSettings.allow_seen` scores days on which the encoder was trained: such
        values have seen the future, and carry a mark in ``reason``.

    Args:
        home: A home, or the folder or URL of one.
        symbols: One symbol, or several, as the home has them or as people write them: 600519, sh600519 or 600519.SS
            for 600519.SH. None for all with bars.
        samples: Sample dates per symbol, spread over its years and stable from day to day; all usable dates if there
            are fewer.
        as_of: Newest date that may be a sample; None for the newest bar.
        dates: Samples to compute instead of those that `symbols`, `samples` and `as_of` name: a MultiIndex with the
            levels (date, asset), a frame with the columns symbol (or asset) and date, or dates by symbol.
        settings: What patterns are, and how matches become values.
        encoder: Weights written by ``kline train``; None for the bundled ones. A folder of ``kline train --market``:
            each sample is scored by the encoder of its year (`kline_core.encoder.year_folder`), in one run.
        device: auto, cpu, cuda, mps or onnx.
        scheduler: Address of a standing Dask cluster, or a `distributed.Client` of one, which stays open; None for a
            threaded one inside this process.
        threads: Threads of a cluster inside this process; None for one per core, at most 16.
        shards: Shards that the vectors lie in, over the workers of the standing cluster; None if each of them holds
            all. No value depends on it.
        cluster: A cluster that is open already, instead of `scheduler`, `threads` and `shards`.
        patterns: What `update_patterns` returned: computes from these patterns and the bars that they are of, whatever
            was ingested since. None for the newest ones.
        max_failed_share: Share of samples that may be without a value, 0 to 1.
        check: Raise if more samples failed than `max_failed_share` allows, or a symbol broke.
        progress: True shows a bar on standard error; see `Shown` for a function. With an encoder for each year there is
            one for each.
        execute: Scores the symbols of a run, or of a year's part of it, and finishes it; None for
            `kline_core.compute.run.run_symbols`.

    Raises:
        RunFailedError: See `check`; its ``result`` holds what could be computed, which is stored.
        UnknownSymbolError: The home has no bars of a symbol.
        AmbiguousSymbolError: A symbol may mean several that have bars; it carries the candidates.
        DateError: `as_of` is no trading day of any symbol, or a date cannot be parsed.
        InputError: `dates` lack a column.
        StaleError: The patterns lag behind the bars; call `update_patterns`.
        FingerprintError: The patterns were made with other settings or another encoder.
        SchedulerError: The cluster cannot be reached, or was lost; what was computed until then is stored.
        SettingError, HomeError, EncoderError: A parameter out of bounds, a home or weights that cannot be read.

    Examples:
        >>> result = kl.compute_factor(home, ["AAPL", "MSFT"], samples=20, max_failed_share=0.5)
        >>> result.values.index.names, len(result.values)
        (FrozenList(['date', 'asset']), 40)
        >>> bool(result.values.dropna().between(0, 1).all())
        True
    """
    from kline_core.compute.request import Request
    from kline_core.compute.run import Run, run_symbols
    from kline_core.compute.year_runs import YearKeys, run_by_year
    from kline_core.factor.state_key import StateKey

    store = as_home(home)
    check_settings(settings, Settings)
    if dates is not None and (symbols is not None or as_of is not None):
        raise SettingError("dates names the samples itself; leave symbols and as_of away", parameter="dates")
    request = Request(
        symbols=symbol_names(symbols),
        samples=samples,
        as_of=optional_date(as_of, "as_of"),
        dates=None if dates is None else requested_dates(dates),
        max_failed_share=max_failed_share,
    )
    if patterns is not None and patterns.bars.home != store.uri:
        raise SettingError(
            f"patterns are of home {patterns.bars.home}, not of {store.uri}; update those of this home",
            parameter="patterns",
            value=patterns.bars.home,
            bound=store.uri,
        )
    fingerprint: Fingerprint
    keys = None
    if (folder := YearFolder.of(encoder)) is not None:
        keys = YearKeys.of_home(store, settings, folder, device, patterns)
        key, fingerprint = keys.last, keys.fingerprints
        with _opened(cluster, scheduler, threads, shards) as opened:
            shown = partial(_shown_by_year, progress)
            report, asked = run_by_year(store, opened, keys, request, shown, execute or run_symbols)
    else:
        if patterns is None:
            key = StateKey.newest(store, settings, encoder, device)
        else:
            key = StateKey.of_update(patterns, settings, encoder, device)
        fingerprint = key.fingerprint
        with _opened(cluster, scheduler, threads, shards) as opened:
            run = Run(store, opened, key, request)
            with _shown(progress)(run.workload.expected) as run.results.progress:
                report = (execute or run_symbols)(run)
        asked = run.asked
    versions = _versions(store) | {"bars": key.bars.version}
    result = FactorResult(store, fingerprint, versions, asked, report, key, keys)
    if check:
        try:
            report.check(max_failed_share)
        except RunFailedError as error:
            error.result = result
            raise
    return result


def read_factor(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    fingerprint: str | None = None,
    settings: Settings | None = None,
    encoder: str | Path | None = None,
) -> FactorResult:
    """Factor values as stored; nothing is computed.

    Args:
        home: A home, or the folder or URL of one.
        symbols: One symbol, or several, as for `compute_factor`; None for all with values.
        fingerprint: Fingerprint of the values; None for the only one that the home holds.
        settings: With the encoder, another way to name the values; the default ones if only an encoder is given.
        encoder: As for `compute_factor`, a folder with an encoder for each year too.

    Raises:
        HomeError: The home is missing, or holds no values.
        FingerprintError: No values are stored under this fingerprint, or none is given and there are several.
        UnknownSymbolError, AmbiguousSymbolError: A symbol has no values, or may mean several that have.
        SettingError: Both `fingerprint` and settings or an encoder are given.
        EncoderError: The weights cannot be read.

    Examples:
        >>> kl.read_factor(home, ["AAPL"]).values.groupby("asset").size().to_dict()
        {'AAPL': 20}
    """
    from kline_core.factor.export import only_fingerprint, stored_dates

    store = as_home(home)
    versions = _versions(store)
    wanted = only_fingerprint(store, named_values(fingerprint, settings, encoder))
    names = symbol_names(symbols)
    asked = None if names is None else stored_dates(store, wanted, names)
    return FactorResult(store, wanted, versions, asked)


def named_values(fingerprint: str | None, settings: Settings | None, encoder: str | Path | None) -> Fingerprint | None:
    """What values are stored under that are named by their fingerprint, or by settings and an encoder; None if by none.

    Raises `SettingError` if they are named both ways, and as `stored_under`.
    """
    if settings is None and encoder is None:
        return fingerprint
    if fingerprint is not None:
        raise SettingError(
            f"fingerprint {fingerprint} names the values; leave settings and encoder away",
            parameter="fingerprint",
            value=fingerprint,
        )
    return stored_under(settings or Settings(), encoder)


def _versions(home: Home) -> dict[str, int | None]:
    return {table: home.version(table) for table in ("factors", "matches", "bars")}


@contextmanager
def _opened(
    cluster: "Cluster | None", scheduler: "SchedulerAt | None", threads: int | None, shards: int | None
) -> Iterator["Cluster"]:
    from kline_core.compute.opening import open_cluster

    with nullcontext(cluster) if cluster is not None else open_cluster(scheduler, threads, shards=shards) as opened:
        yield opened


def _shown(progress: "bool | Shown") -> Shown:
    if progress is True:
        from kline_core.compute.progress_bar import sample_bar

        return sample_bar
    if progress is False:
        return lambda expected: nullcontext(lambda result: None)  # noqa: ARG005
    return progress


def _shown_by_year(
    progress: "bool | Shown", year: int, expected: Mapping[str, int]
) -> "AbstractContextManager[Progress]":
    if progress is True:
        from kline_core.compute.progress_bar import sample_bar

        return sample_bar(expected, f"run {year}")
    return _shown(progress)(expected)
