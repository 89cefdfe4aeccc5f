"""The factor beside simple methods on the same samples."""

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kline_core.api.data import as_home, check_settings, symbol_names
from kline_core.dates import optional_date
from kline_core.encoder.year_folder import one_encoder
from kline_core.settings import Settings
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.baselines.compare import Comparison


def compare_baselines(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    first: str | datetime.date | np.datetime64 | None = None,
    last: str | datetime.date | np.datetime64 | None = None,
    only: Iterable[str] | None = None,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder: str | Path | None = None,
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
) -> "Comparison":
    """The stored values beside simple methods, which answer the same samples under the same rules.

    Nearest neighbours by closes, by all four prices, by pixels and by an untrained network; the encoder itself; the
    last 5 and 20 bars; and a gradient-boosted model on the same bars, trained on the past alone (needs scikit-learn).

    .. warning::
        Baselines are computed now, from the present bars: each uses only what was known on a sample's date.

    Args:
        home: A home, or the folder or URL of one.
        symbols: One symbol, or several, as for `compute_factor`; None for all with values.
        first: First sample date; None for the first that is stored.
        last: Last sample date; None for the last that is stored.
        only: Names of baselines (``closes``, ``ohlc``, ``pixels``, ``untrained``, ``encoder``, ``reversal_5``,
            ``momentum_20``, ``boosting``); None for all.
        settings: Settings of the values.
        encoder: Weights of the encoder; None for the bundled ones.
        device: auto, cpu, cuda, mps or onnx.
        progress: Called with the name of each baseline before it begins.

    Returns:
        The comparison: ``.verdict`` (one sentence), ``.to_frame()``, ``.text()``, ``.markdown()``.

    Raises:
        HomeError, FingerprintError, UnknownSymbolError, DateError: No values are stored at all, of these settings, of a
            symbol, or of these dates.
        SettingError: A baseline is not known.
        StaleError, EncoderError: As for `compute_factor`.

    Examples:
        >>> found = kl.compare_baselines(home, only=["closes", "reversal_5"])
        >>> found.to_frame().index.tolist()
        ['factor', 'closes', 'reversal_5']
    """
    from kline_core.baselines.compare import chosen, compare
    from kline_core.evaluation.evaluate import stored_rows
    from kline_core.factor.state import loaded_state
    from kline_core.factor.state_key import StateKey

    check_settings(settings, Settings)
    methods = chosen(None if only is None else list(only))
    store = as_home(home)
    key = StateKey.newest(store, settings, one_encoder(encoder, "a comparison with baselines"), device)
    rows = stored_rows(
        store,
        key.fingerprint,
        symbol_names(symbols),
        optional_date(first, "first"),
        optional_date(last, "last"),
    )
    return compare(loaded_state(key), rows.to_pandas(), settings, key.fingerprint, methods, progress)
