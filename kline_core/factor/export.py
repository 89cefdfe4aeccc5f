"""Stored values as frames, long or wide, and as one file of them for other programs."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from kline_core._logging import logger
from kline_core._text import abbreviated
from kline_core.by_year import Fingerprint
from kline_core.errors import FingerprintError, HomeError, KlineError, UnknownSymbolError
from kline_core.factor.context import context_of
from kline_core.factor.frame_files import check_file, write_frame
from kline_core.store.home import Home
from kline_core.store.schemas import MANY
from kline_core.symbol_lookup import did_you_mean, resolve_symbols
from kline_core.typing import Dates

_LOG = logger(__name__)
LONG_FIRST = ["symbol", "date", "value", "status", "reason", "matches"]


def stored_values(
    home: Home, fingerprint: Fingerprint, symbols: Sequence[str] | None = None, version: int | None = None
) -> pd.DataFrame:
    """Stored values under one fingerprint, ordered by symbol and date, `LONG_FIRST` first; `date` is datetime64[s].

    Without the columns `MANY` where none has a second value, or a reason why not.

    `symbols`: None for all. `version`: version of the table `factors`, None for the newest. Raises what `Home` raises.
    """
    table = home.read("factors", version=version, symbols=symbols, fingerprint=fingerprint)
    frame: pd.DataFrame = table.to_pandas().sort_values(["symbol", "date"], ignore_index=True)
    frame = frame.assign(date=pd.to_datetime(frame["date"]))
    if frame[list(MANY)].isna().all(axis=None):
        frame = frame.drop(columns=list(MANY))
    return frame[LONG_FIRST + [name for name in frame.columns if name not in LONG_FIRST]]


def only_fingerprint(home: Home, fingerprint: Fingerprint | None) -> Fingerprint:
    """`fingerprint` if values are stored under it; for None, the only fingerprint that has values.

    Raises `HomeError` if no values are stored, and `FingerprintError` if the fingerprint is unknown, or is None
    although there are several.
    """
    stored = pc.value_counts(home.read("factors", ["fingerprint"], fingerprint=fingerprint)["fingerprint"]).to_pylist()
    if not stored:
        raise why_no_values(home, fingerprint)
    if fingerprint is not None:
        _tell_empty_years(fingerprint, _fingerprints(stored))
        return fingerprint
    if len(stored) > 1:
        raise FingerprintError(
            f"values are stored under several fingerprints, {_listed(stored)}; name one of them",
            home=home.uri,
            stored=_fingerprints(stored),
        )
    return str(stored[0]["values"])


def tell_empty_years(home: Home, fingerprint: Fingerprint) -> None:
    """Log a warning that names the years of a series whose encoder has no values stored, if there are any."""
    if not isinstance(fingerprint, str):
        rows = home.read("factors", ["fingerprint"], fingerprint=fingerprint)
        _tell_empty_years(fingerprint, rows["fingerprint"].unique().to_pylist())


def _tell_empty_years(fingerprint: Fingerprint, stored: Collection[str]) -> None:
    """As `tell_empty_years`; `stored`: fingerprints of the values of the series."""
    if isinstance(fingerprint, str):
        return
    if empty := [str(year) for year, each in fingerprint.by_year if each not in stored]:
        _LOG.warning(
            "no values are stored that the encoder of %s made, and none of its dates are in the series; `kline run` "
            "with the same --encoder computes them",
            abbreviated(empty),
        )


def symbols_with_values(home: Home, fingerprint: Fingerprint, asked: Sequence[str]) -> list[str]:
    """The symbols with stored values that are asked for, as the home knows them: `resolve_symbols`.

    Raises `AmbiguousSymbolError` if one may mean several of them, `UnknownSymbolError` if one means none, and as
    `why_no_values` if no values are stored under this fingerprint.
    """
    known = home.read("factors", ["symbol"], fingerprint=fingerprint)["symbol"].unique().to_pylist()
    if not known:
        raise why_no_values(home, fingerprint)
    meant = resolve_symbols(asked, known)
    if unknown := sorted(set(meant) - set(known)):
        raise UnknownSymbolError(
            f"no values are stored of {abbreviated(list(map(repr, unknown)))}; compute them first"
            f"{did_you_mean(unknown, known)}",
            symbols=unknown,
            home=home.uri,
        )
    return meant


def stored_dates(home: Home, fingerprint: Fingerprint, symbols: Sequence[str]) -> dict[str, Dates]:
    """Dates with a stored sample of symbols that are asked for, by symbol: datetime64[D], increasing.

    Raises as `symbols_with_values`.
    """
    names = symbols_with_values(home, fingerprint, symbols)
    rows = home.read("factors", ["symbol", "date"], symbols=names, fingerprint=fingerprint)
    groups = pd.Series(rows["date"].to_numpy()).groupby(rows["symbol"].to_numpy(zero_copy_only=False))
    return {str(symbol): np.sort(days.to_numpy().astype("datetime64[D]")) for symbol, days in groups}


def why_no_values(home: Home, fingerprint: Fingerprint | None) -> KlineError:
    """The error for a fingerprint without values: the home holds none at all, or only under other fingerprints."""
    stored = pc.value_counts(home.read("factors", ["fingerprint"])["fingerprint"]).to_pylist()
    if not stored:
        return HomeError(f"home {home.uri} holds no values yet; run `kline run`", home=home.uri, table="factors")
    named = repr(fingerprint) if isinstance(fingerprint, str) else str(fingerprint)
    return FingerprintError(
        f"no values are stored under fingerprint {named}; there are {_listed(stored)}; name one of them, "
        "or compute values of these settings with `kline run`",
        home=home.uri,
        fingerprint=str(fingerprint),
        stored=_fingerprints(stored),
    )


def export_values(
    home: Home, path: Path, layout: str = "long", fingerprint: Fingerprint | None = None, context: bool = False
) -> int:
    """Write stored values to a file whose ending `write_frame` knows; returns the number of rows written.

    `long`: one row per symbol and date with all columns, `LONG_FIRST` first, and with `context` those of
    `kline_core.factor.context.CONTEXT`. `wide`: one row per date, one column per
    symbol, values only; the dates come first, and pandas reads them as the index from all but CSV. The file appears
    under its name only once it is complete.

    Raises as `only_fingerprint` and `write_frame`.
    """
    check_file(path)
    frame = stored_values(home, only_fingerprint(home, fingerprint))
    wide = layout == "wide"
    if wide:
        # The dates stay the index: as a column they would clash with a symbol of the same name.
        frame = frame.pivot(index="date", columns="symbol", values="value").rename_axis(columns=None)
    elif context:
        frame = with_context(home, frame)
    write_frame(frame, path, index=wide)
    return len(frame)


def with_context(home: Home, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of values with the columns of their context, from the newest bars. Raises what `Home` raises."""
    return frame.merge(context_of(home, frame), on=["symbol", "date"], how="left", validate="one_to_one")


def _fingerprints(counts: list[dict[str, object]]) -> list[str]:
    return [str(entry["values"]) for entry in counts]


def _listed(counts: list[dict[str, object]]) -> str:
    return ", ".join(f"{entry['values']} ({entry['counts']} rows)" for entry in counts)
