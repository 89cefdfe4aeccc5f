"""What a person looks at: a sample with its matches, and what values were worth; each with its picture."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from kline_core.api.data import as_home
from kline_core.dates import parse_date
from kline_core.evaluation.evaluate import evaluate_values
from kline_core.evaluation.report import Evaluation
from kline_core.factor.explain import Explanation, explain_sample
from kline_core.settings import Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class PicturedExplanation(Explanation):
    """An `Explanation` that a notebook shows as its picture."""

    def plot(self) -> "Figure":
        """The query and its matches with what followed each, as a matplotlib figure of 1800 x 960 pixels."""
        from kline_core.plots.match_plot import match_figure

        return match_figure(self)

    def _repr_png_(self) -> bytes:
        from kline_core.plots.match_plot import match_png

        return match_png(self)


@dataclass(frozen=True, slots=True)
class PicturedEvaluation(Evaluation):
    """An `Evaluation` that a notebook shows as its picture."""

    def plot(self) -> "Figure":
        """IC by horizon and mean return by quantile, as a matplotlib figure of 1500 x 720 pixels."""
        from kline_core.plots.factor_plots import evaluation_figure

        return evaluation_figure(self)

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
) -> PicturedExplanation:
    """One sample with its value, its matches, and what followed each; computed anew, and not stored.

    .. warning::
        Beside the matches it shows what followed the sample itself (``.outcome``, ``.after``), as far as that is stored
        by now. It was unknown on the day, and no value uses it.

    Args:
        home: A home, or the folder or URL of one.
        symbol: Which symbol.
        date: Last day of the sample's window; the newest usable one where it is None.
        settings: As for `compute_factor`.
        encoder: Weights written by ``kline train``; None for those that come along.
        device: auto, cpu, cuda or mps.

    Returns:
        The explanation: ``.factor`` (the row of the table), ``.matches``, ``.to_frame()``, ``.text()``, ``.plot()``.

    Raises:
        UnknownSymbolError: The home has no bars of the symbol.
        DateError: The date cannot be parsed, or the symbol has no bar or no usable window on it.
        EncoderError: The encoder was trained through the date, and `allow_seen` is false.
        StaleError, FingerprintError, HomeError: As for `compute_factor`.

    Examples:
        >>> seen = kl.explain(home, "AAPL", "2008-10-10")
        >>> all(match.known_on <= seen.date for match in seen.matches)
        True
        >>> seen.plot().get_size_inches().tolist()
        [12.0, 6.4]
    """
    return _as(PicturedExplanation, explain_sample(as_home(home), symbol, date, settings, encoder, device))


def evaluate(
    home: Home | str | Path,
    symbols: Sequence[str] | None = None,
    *,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    fingerprint: str | None = None,
) -> PicturedEvaluation:
    """What stored values were worth: how well they ranked the returns that followed. Nothing is computed anew.

    Standard errors count overlapping returns once (`kline_core.evaluation.information_coefficient`, with sources).

    .. warning::
        Returns run from the close of the bar `entry_lag_bars` after a sample, never from the sample's own close, which
        is part of its chart. A rank IC far from zero is more often a leak than a signal.

    Args:
        home: A home, or the folder or URL of one.
        symbols: Which symbols; None for all with values.
        first: First sample date; None for the first that is stored.
        last: Last sample date.
        settings: Horizons and entry lag of the returns, and with the encoder which values.
        encoder: Weights of the encoder; None for those that come along.
        fingerprint: Which values, in the place of those of `settings` and `encoder`.

    Returns:
        The evaluation: ``.verdict`` (one sentence), ``.ic_by_horizon`` (a DataFrame), ``.quantiles``, ``.text()``,
        ``.plot()``.

    Raises:
        HomeError, FingerprintError, UnknownSymbolError, DateError: No values are stored at all, under this
            fingerprint, of a symbol, or of these dates.

    Examples:
        >>> found = kl.evaluate(home)
        >>> found.ic_by_horizon.index.tolist(), found.ic_by_horizon.columns[:3].tolist()
        ([1, 5, 10, 20], ['pairs', 'rank_ic', 'rank_ic_se'])
    """
    found = evaluate_values(
        as_home(home),
        settings,
        encoder,
        fingerprint,
        symbols,
        None if first is None else parse_date(first, "first"),
        None if last is None else parse_date(last, "last"),
    )
    return _as(PicturedEvaluation, found)


def _as(kind: type[Result], value: Any) -> Result:
    """The same value as one of a class that adds nothing but methods."""
    return kind(**{field.name: getattr(value, field.name) for field in fields(value)})
