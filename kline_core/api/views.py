"""Views for a person: a sample with its matches, a symbol's history, and an evaluation; each with its picture."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from kline_core._text import quoted
from kline_core.api.data import as_home, check_settings, symbol_names
from kline_core.compute.request import known_symbols
from kline_core.dates import optional_date
from kline_core.encoder.year_folder import YearFolder, stored_under
from kline_core.errors import SettingError
from kline_core.evaluation.evaluate import evaluate_values
from kline_core.evaluation.portfolios import COST
from kline_core.evaluation.report import Evaluation
from kline_core.factor.explain import explain_sample
from kline_core.factor.explain_stored import explain_stored
from kline_core.factor.explanation import Explanation
from kline_core.factor.sample_dates import usable_dates
from kline_core.factor.symbol_history import SymbolHistory, symbol_history
from kline_core.settings import PatternSettings, Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.plots.style import Figure

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class PicturedExplanation(Explanation):
    """An `Explanation` that a notebook shows as its picture."""

    def plot(self) -> "Figure":
        """The query and its matches with their outcomes, as a matplotlib figure of 1800 x 960 pixels."""
        from kline_core.plots.match_plot import match_figure

        return match_figure(self)

    def plot_attention(self) -> "Figure":
        """The attention map as a matplotlib figure, 1350 pixels wide. Raises `SettingError` if it was not asked for."""
        from kline_core.plots.attention_plot import attention_figure

        if self.attention is None:
            raise SettingError(
                "there is no attention map: explain with attention=True, a sample that has matches",
                parameter="attention",
                value=None,
            )
        return attention_figure(self)

    def _repr_png_(self) -> bytes:
        from kline_core.plots.match_plot import match_png

        return match_png(self)


@dataclass(frozen=True, slots=True, eq=False)
class PicturedHistory(SymbolHistory):
    """A `SymbolHistory` that a notebook shows as its picture."""

    def plot(self) -> "Figure":
        """Closes and values over time, as a matplotlib figure of 1500 x 825 pixels."""
        from kline_core.plots.history_plot import history_figure

        return history_figure(self)

    def _repr_png_(self) -> bytes:
        from kline_core.plots.history_plot import history_png

        return history_png(self)


@dataclass(frozen=True, slots=True)
class PicturedEvaluation(Evaluation):
    """An `Evaluation` that a notebook shows as its picture."""

    def plot(self) -> "Figure":
        """IC by horizon and mean return by quantile, as a matplotlib figure of 1500 x 720 pixels."""
        from kline_core.plots.factor_plots import evaluation_figure

        return evaluation_figure(self)

    def html(self, up: str = "blue") -> str:
        """The whole evaluation as one HTML page with its pictures, which needs no network.

        `up`: colour of what lies above zero: blue, red or green. Raises `SettingError` for another one.
        """
        from kline_core.plots.evaluation_page import evaluation_page

        return evaluation_page(self, up)

    def _repr_png_(self) -> bytes:
        from kline_core.plots.factor_plots import evaluation_picture

        return evaluation_picture(self)


def explain(
    home: Home | str | Path,
    symbol: str,
    date: str | datetime.date | np.datetime64 | None = None,
    *,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    device: str = "auto",
    run: str | None = None,
    attention: bool = False,
) -> PicturedExplanation:
    """One sample with its value, its matches and their outcomes; computed live and not stored, or as a run stored them.

    .. warning::
        Beside the matches it shows the outcome of the sample itself (``.outcome``, ``.after``), as far as its bars are
        stored by now. It was unknown on the day, and no value uses it.

    Args:
        home: A home, or the folder or URL of one.
        symbol: Symbol of the sample, as for `compute_factor`.
        date: Last day of the sample's window; None for the newest usable day.
        settings: As for `compute_factor`.
        encoder: Weights written by ``kline train``; None for the bundled ones. Of a folder of ``kline train --market``,
            the encoder of the date's year.
        device: auto, cpu, cuda, mps or onnx.
        run: Id of a past run, whose value and matches are shown as it stored or re-used them, also after patterns have
            grown or changed, with the bars that it read as far as these are kept (``.notes`` say so). It has settings
            and an encoder of its own. None: compute live, in the newest state.
        attention: Whether to find out as well on which candles the likeness to each match rests, by painting them over
            in turn (`kline_core.factor.attention`): ``.attention``, ``.plot_attention()``. Needs the encoder, so not
            with `run`.

    Returns:
        The explanation: ``.factor`` (the row of the table), ``.matches``, ``.searchable`` (which part of history was
        searchable), ``.to_frame()``, ``.text()``, ``.plot()``.

    Raises:
        UnknownSymbolError, AmbiguousSymbolError: The home has no bars of the symbol, or of several that may be meant.
        DateError: The date cannot be parsed, or the symbol has no bar or no usable window on it, or the run has no such
            sample.
        SettingError: `run` is given together with settings, an encoder or `attention`.
        EncoderError: The encoder was trained through the date, and `allow_seen` is false.
        StaleError, FingerprintError, HomeError: As for `compute_factor`.

    Examples:
        >>> seen = kl.explain(home, "AAPL", "2008-10-10")
        >>> all(match.known_on <= seen.date for match in seen.matches)
        True
        >>> seen.plot().get_size_inches().tolist()
        [12.0, 6.4]
        >>> bool(seen.searchable.last_known_on <= seen.date)
        True
    """
    check_settings(settings, Settings)
    if run is None:
        store = as_home(home)
        if (folder := YearFolder.of(encoder)) is not None:
            day = optional_date(date, "date")
            date = _newest_day(store, symbol, settings.patterns) if day is None else day
            encoder = folder.on(date)
        found = explain_sample(store, symbol, date, settings, encoder, device, attention)
        return _as(PicturedExplanation, found)
    if settings != Settings() or encoder is not None:
        raise SettingError(
            f"run {quoted(run)} has settings and an encoder of its own; leave others away", parameter="run", value=run
        )
    if attention:
        raise SettingError(
            f"what run {quoted(run)} stored is shown without an encoder, which an attention map needs; explain the "
            "sample live, without run",
            parameter="attention",
            value=attention,
        )
    return _as(PicturedExplanation, explain_stored(as_home(home), symbol, date, run))


def _newest_day(home: Home, symbol: str, steps: PatternSettings) -> np.datetime64:
    """Newest usable day of a symbol, datetime64[D]. Raises `DateError` if it has none, and as `known_symbols`."""
    (name,) = known_symbols(home, [symbol])
    newest: np.datetime64 = usable_dates(home, steps, [name])[name][-1]
    return newest


def history(
    home: Home | str | Path,
    symbol: str,
    *,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    fingerprint: str | None = None,
) -> PicturedHistory:
    """A symbol's stored values beside its price. Nothing is computed.

    Args:
        home: A home, or the folder or URL of one.
        symbol: Symbol, as for `compute_factor`.
        first: First sample date; None for the first that is stored.
        last: Last sample date; None for the last that is stored.
        settings: With the encoder, the fingerprint of the values.
        encoder: Weights of the encoder, or a folder with an encoder for each year; None for the bundled ones.
        fingerprint: Fingerprint of the values, instead of that of `settings` and `encoder`.

    Returns:
        The history: ``.rows`` (a DataFrame with a row per sample), ``.dates`` and ``.close``, ``.text()``, ``.plot()``.

    Raises:
        HomeError, FingerprintError, UnknownSymbolError, DateError: No values are stored at all, under this
            fingerprint, of the symbol, or of these dates.
        AmbiguousSymbolError: The symbol may mean several that have values.
        EncoderError: The weights cannot be read.

    Examples:
        >>> past = kl.history(home, "AAPL")
        >>> past.rows.columns[:3].tolist(), len(past.rows)
        (['date', 'close', 'value'], 20)
    """
    check_settings(settings, Settings)
    found = symbol_history(
        as_home(home),
        symbol,
        fingerprint if fingerprint is not None else stored_under(settings, encoder),
        optional_date(first, "first"),
        optional_date(last, "last"),
    )
    return _as(PicturedHistory, found)


def evaluate(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    fingerprint: str | None = None,
    universe: str | None = None,
    details: bool = True,
    cost: float = COST,
    of: str = "value",
) -> PicturedEvaluation:
    """Evaluation of stored values: how well they ranked the forward returns. No value is computed again.

    Standard errors count overlapping returns once (`kline_core.evaluation.information_coefficient`, with sources).

    .. warning::
        Returns run from the close of the bar `entry_lag_bars` after a sample, never from the sample's own close, which
        is part of its chart. A rank IC far from zero is more often a leak than a signal.

    Args:
        home: A home, or the folder or URL of one.
        symbols: One symbol, or several, as for `compute_factor`; None for all with values.
        first: First sample date; None for the first that is stored.
        last: Last sample date; None for the last that is stored.
        settings: Horizons and entry lag of the returns, and with the encoder the fingerprint of the values.
        encoder: Weights of the encoder, or a folder with an encoder for each year; None for the bundled ones.
        fingerprint: Fingerprint of the values, instead of that of `settings` and `encoder`.
        universe: Index such as csi300 whose members `fetch` keeps: only samples of days on which the symbol was a
            member by the newest list not after the day; None for all.
        details: Whether to work out what stands beside the verdict: other errors and tests, decay, parts, calibration,
            portfolios, losses, and how many settings were tried.
        cost: Of what the portfolios buy and of what they sell, as a share of it: 0.001 for ten basis points; at most
            0.1.
        of: What is judged: ``value``, or ``many`` for the second value of settings with `many`, the mean rank of many
            windows (`kline_core.factor.many`).

    Returns:
        The evaluation: ``.verdict`` (one sentence), ``.ic_by_horizon`` (a DataFrame), ``.quantiles``, ``.details``
        (`kline_core.evaluation.details.Details`), ``.text()``, ``.plot()``, ``.html()`` (a page).

    Raises:
        HomeError, FingerprintError, UnknownSymbolError, DateError: No values are stored at all, under this
            fingerprint, of a symbol, or of these dates.
        AmbiguousSymbolError: A symbol may mean several that have values.
        SettingError: `symbols` is empty, `cost` is none, `of` is neither or the values have no second one, or the home
            keeps no members of `universe`.
        EncoderError: The weights cannot be read.

    Examples:
        >>> found = kl.evaluate(home)
        >>> found.ic_by_horizon.index.tolist(), found.ic_by_horizon.columns[:3].tolist()
        ([1, 5, 10, 20], ['pairs', 'rank_ic', 'rank_ic_se'])
    """
    check_settings(settings, Settings)
    found = evaluate_values(
        as_home(home),
        settings,
        encoder,
        fingerprint,
        symbol_names(symbols),
        optional_date(first, "first"),
        optional_date(last, "last"),
        universe,
        details,
        cost,
        of,
    )
    return _as(PicturedEvaluation, found)


def _as(kind: type[Result], value: Any) -> Result:
    """The same value in a subclass that adds nothing but methods."""
    return kind(**{field.name: getattr(value, field.name) for field in fields(value)})
