"""How far two kinds of stored values agree: their matches, and how they rank the samples.

Two kinds are values under two fingerprints, such as those of fast and of full mode. Only samples that are stored under
both are compared, and nothing is computed again.

1. Matches: of the first k of one, the share that is among the matches of the other, over the samples that have matches
   in both; in both directions, since one may have more matches than the other.
2. Values: Spearman's rank correlation over all samples that have a value in both, and the mean of the correlations
   within each symbol, where no level of the symbol counts.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core._text import table
from kline_core.by_year import Fingerprint
from kline_core.encoder.year_folder import stored_under
from kline_core.errors import SettingError
from kline_core.evaluation.information_coefficient import rank_ic
from kline_core.factor.export import symbols_with_values, why_no_values
from kline_core.settings import MODES, FactorSettings, Settings
from kline_core.store.home import Home
from kline_core.store.schemas import FAILED

FIRST: Final = (1, 5, 10)
"""Numbers of first matches whose share is told."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two kinds of values, the one that was judged and the other that it is compared with."""

    fingerprint: str
    other: str
    """Fingerprint of the other."""
    samples: int
    """Samples stored under both."""
    values: int
    """Samples that have a value in both."""
    only_one: int
    """Samples that have a value in one of them alone."""
    matched: int
    """Samples that have matches in both."""
    matches: float
    """Mean number of matches of such a sample."""
    other_matches: float
    found: dict[int, float]
    """By k: of the other's first k matches (or all, if it has fewer), the share among these values' matches; 0..1."""
    other_found: dict[int, float]
    """By k: of these values' first k matches, the share among the other's."""
    rank_correlation: float
    """Spearman's, over the values of all samples; NaN if it is undefined."""
    within_symbols: float
    """Mean of the correlations within each symbol; NaN if there is none."""
    symbols: int
    """Symbols that this mean is over."""
    mean_difference: float
    """Mean absolute difference of the values; NaN if there are none."""

    def text(self) -> str:
        """The agreement as text for a terminal."""
        head = ["first matches", "of the other's, found here", "of these, found there"]
        rows = [[k, _percent(self.found[k]), _percent(self.other_found[k])] for k in self.found]
        lines = [
            f"Compared with {self.other}: {self.samples} samples are stored under both; {self.values} have a value in "
            f"both, {self.only_one} in one alone",
            f"rank correlation of the values {_figure(self.rank_correlation)}, within a symbol "
            f"{_figure(self.within_symbols)} (mean of {self.symbols} symbols); mean difference "
            f"{_figure(self.mean_difference, '.3f')}",
            f"{self.matched} samples have matches in both, on average {_figure(self.matches, '.1f')} here and "
            f"{_figure(self.other_matches, '.1f')} there",
            "",
            table(head, rows),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The agreement as plain JSON values; null for undefined figures."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {str(key): plain(each) for key, each in value.items()}
            return None if isinstance(value, float) and np.isnan(value) else value

        found: dict[str, Any] = plain(asdict(self))
        return found


def other_fingerprint(named: str, settings: Settings, encoder: str | Path | None) -> Fingerprint:
    """Fingerprint of the values to compare with: those of a mode's own settings, or the ones named themselves.

    Args:
        named: A mode, whose defaults are meant with the patterns of `settings`; or a fingerprint.
        settings: Settings of the values that are judged.
        encoder: Weights of the encoder, or a folder with an encoder for each year; None for the default ones.

    Raises:
        SettingError: It is neither.
        EncoderError: The weights cannot be read.
    """
    if named in MODES:
        factor = FactorSettings.of_mode(named, return_horizon=settings.factor.return_horizon)
        return stored_under(Settings(settings.patterns, factor), encoder)
    if len(named) == 16 and set(named) <= set("0123456789abcdef"):
        return named
    known = ", ".join(MODES)
    raise SettingError(
        f"compare is {named!r}; it must be a mode ({known}) or a fingerprint, 16 hexadecimal digits as "
        "`kline runs` lists them",
        parameter="compare",
        value=named,
    )


def agreement(
    home: Home,
    fingerprint: Fingerprint,
    other: Fingerprint,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
) -> Agreement:
    """Compare the values stored under two fingerprints.

    Args:
        home: Home with the values.
        fingerprint: Fingerprint of the values that are judged.
        other: Fingerprint of those that they are compared with.
        symbols: Only these, as `resolve_symbols` takes them; None for all.
        first: First sample date, datetime64[D]; None for the first that is stored.
        last: Last sample date, datetime64[D]; None for the last that is stored.

    Raises:
        HomeError: The home holds no values.
        FingerprintError: No values are stored under one of the fingerprints.
        SettingError: The two are the same, or no sample is stored under both.
        UnknownSymbolError, AmbiguousSymbolError: As for `evaluate_values`.
    """
    if fingerprint == other:
        raise SettingError(
            f"compare names {other}, the values that are judged themselves; name another mode or fingerprint",
            parameter="compare",
            value=other,
        )
    names = None if symbols is None else symbols_with_values(home, fingerprint, symbols)
    values = [_values(home, each, names, first, last) for each in (fingerprint, other)]
    both = values[0].merge(values[1], on=["symbol", "date"], suffixes=("", "_other"))
    if both.empty:
        raise SettingError(
            f"no sample is stored under {fingerprint} and under {other}; compute the same samples with both",
            parameter="compare",
            value=other,
        )
    shared = both[["symbol", "date"]]
    matches = [_matches(home, each, names, shared) for each in (fingerprint, other)]
    numbers = [each.groupby(["symbol", "date"]).size().rename(str(at)) for at, each in enumerate(matches)]
    counted = pd.concat(numbers, axis=1, join="inner")
    ok = both["value"].notna() & both["value_other"].notna()
    valued = both[ok]
    within = [rank_ic(*_pairs(part)) for _, part in valued.groupby("symbol")]
    within = [each for each in within if not np.isnan(each)]
    apart = (valued["value"] - valued["value_other"]).abs()
    return Agreement(
        fingerprint=str(fingerprint),
        other=str(other),
        samples=len(both),
        values=len(valued),
        only_one=int((both["value"].notna() ^ both["value_other"].notna()).sum()),
        matched=len(counted),
        matches=_mean(counted["0"]),
        other_matches=_mean(counted["1"]),
        found={k: _share(matches[1], matches[0], counted, k) for k in FIRST},
        other_found={k: _share(matches[0], matches[1], counted, k) for k in FIRST},
        rank_correlation=rank_ic(*_pairs(valued)),
        within_symbols=float(np.mean(within)) if within else float("nan"),
        symbols=len(within),
        mean_difference=_mean(apart),
    )


def _values(
    home: Home,
    fingerprint: Fingerprint,
    symbols: list[str] | None,
    first: np.datetime64 | None,
    last: np.datetime64 | None,
) -> pd.DataFrame:
    """Stored samples: symbol, date (datetime64[s]), value, NaN for a failed one."""
    columns = ["symbol", "date", "value", "status"]
    rows = home.read("factors", columns, symbols=symbols, fingerprint=fingerprint).to_pandas()
    if rows.empty:
        raise why_no_values(home, fingerprint)
    rows["date"] = rows["date"].to_numpy().astype("datetime64[s]")
    rows.loc[rows["status"] == FAILED, "value"] = np.nan
    inside = np.ones(len(rows), dtype=bool)
    if first is not None:
        inside &= (rows["date"] >= first).to_numpy()
    if last is not None:
        inside &= (rows["date"] <= last).to_numpy()
    chosen: pd.DataFrame = rows.loc[inside, ["symbol", "date", "value"]]
    return chosen


def _matches(home: Home, fingerprint: Fingerprint, symbols: list[str] | None, shared: pd.DataFrame) -> pd.DataFrame:
    """Matches of the shared samples: symbol, date, rank, match_symbol, match_end."""
    columns = ["symbol", "date", "rank", "match_symbol", "match_end"]
    rows = home.read("matches", columns, symbols=symbols, fingerprint=fingerprint).to_pandas()
    rows["date"] = rows["date"].to_numpy().astype("datetime64[s]")
    chosen: pd.DataFrame = rows.merge(shared, on=["symbol", "date"])
    return chosen


def _share(of: pd.DataFrame, among: pd.DataFrame, counted: pd.DataFrame, k: int) -> float:
    """Share of the first k matches of each sample that is among the other matches of the sample; mean over samples."""
    if counted.empty:
        return float("nan")
    keys = ["symbol", "date", "match_symbol", "match_end"]
    chosen = of[of["rank"] <= k].merge(counted.reset_index()[["symbol", "date"]], on=["symbol", "date"])
    there = chosen.merge(among[keys].assign(found=True), on=keys, how="left")["found"].notna()
    return float(there.groupby([chosen["symbol"], chosen["date"]]).mean().mean())


def _pairs(rows: pd.DataFrame) -> Any:
    return rows["value"].to_numpy(np.float64), rows["value_other"].to_numpy(np.float64)


def _mean(values: "pd.Series[Any]") -> float:
    return float(values.mean()) if len(values) else float("nan")


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def _figure(value: float, form: str = "+.3f") -> str:
    return "-" if np.isnan(value) else format(value, form)
