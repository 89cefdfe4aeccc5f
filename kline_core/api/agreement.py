"""How far two kinds of stored values agree."""

import datetime
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kline_core.api.data import as_home, check_settings, symbol_names
from kline_core.dates import optional_date
from kline_core.encoder.year_folder import stored_under
from kline_core.evaluation.agreement import Agreement, agreement, other_fingerprint
from kline_core.settings import Settings
from kline_core.store.home import Home


def compare(
    home: Home | str | Path,
    other: str = "full",
    symbols: str | Iterable[str] | None = None,
    *,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    fingerprint: str | None = None,
) -> Agreement:
    """How far stored values agree with those of another mode, or of other settings. No value is computed.

    Only samples that are stored under both are compared: compute the same ones with each.

    Args:
        home: A home, or the folder or URL of one.
        other: A mode, whose own settings are meant with the same patterns, or the fingerprint of other values.
        symbols: One symbol, or several, as for `compute_factor`; None for all.
        first: First sample date; None for the first that is stored.
        last: Last sample date; None for the last that is stored.
        settings: With the encoder the fingerprint of the values that are compared with the other ones.
        encoder: Weights of the encoder, or a folder with an encoder for each year; None for the bundled ones.
        fingerprint: Fingerprint of these values, instead of that of `settings` and `encoder`.

    Returns:
        The agreement: ``.found`` and ``.other_found`` (share of the first k matches found by the other),
        ``.rank_correlation``, ``.text()``.

    Raises:
        SettingError: `other` is neither a mode nor a fingerprint, or no sample is stored under both.
        HomeError, FingerprintError, UnknownSymbolError, AmbiguousSymbolError, DateError, EncoderError: As for
            `evaluate`.

    Examples:
        >>> full = kl.Settings(factor=kl.FactorSettings.of_mode("full"))
        >>> result = kl.compute_factor(home, ["AAPL"], samples=20, settings=full, max_failed_share=0.5)
        >>> kl.compare(home, "full", ["AAPL"]).samples
        20
    """
    check_settings(settings, Settings)
    return agreement(
        as_home(home),
        stored_under(settings, encoder) if fingerprint is None else fingerprint,
        other_fingerprint(other, settings, encoder),
        symbol_names(symbols),
        optional_date(first, "first"),
        optional_date(last, "last"),
    )
