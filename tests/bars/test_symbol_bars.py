import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import InputError
from tests import naive
from tests.support.rows import validate_bars


def bars(*rows: tuple[object, ...], **columns: object) -> pd.DataFrame:
    names = ["symbol", "date", "open", "high", "low", "close", "volume"]
    return pd.DataFrame(list(rows), columns=names).assign(**columns)


GOOD = ("AAPL", "2020-01-02", 10.0, 11.0, 9.0, 10.5, 1000.0)


def market(seed: int = 0, symbols: int = 4, days: int = 30) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = symbols * days
    close = np.exp(rng.normal(size=n))
    first = np.datetime64("1969-12-20")
    dates = np.arange(first, first + days).astype("datetime64[s]")
    return pd.DataFrame(
        {
            "symbol": np.repeat([f"S{i}" for i in range(symbols)], days),
            "date": np.tile(dates, symbols),
            "open": close,
            "high": close * 1.1,
            "low": close * 0.9,
            "close": close,
            "volume": rng.choice([0.0, np.nan, 5.0], n),
            "adj_factor": rng.choice([1.0, 2.5], n),
            "suspended": rng.random(n) < 0.2,
        }
    )


def test_frame_cache_equals_a_plain_loop_in_any_order() -> None:
    frame = market()
    expected = naive.traded_bars(frame)
    for given_frame in (frame, frame.sample(frac=1, random_state=1)):
        for source in (given_frame, pa.Table.from_pandas(given_frame, preserve_index=False)):
            cache = bars_by_symbol(source)
            assert list(cache) == sorted(expected)
            for symbol, rows in expected.items():
                found = cache[symbol]
                assert found.symbol == symbol
                assert found.dates.dtype == np.dtype("datetime64[D]")
                np.testing.assert_array_equal(found.dates, np.array([row[0] for row in rows], "datetime64[D]"))
                for number, name in enumerate(("open", "high", "low", "close", "volume"), start=1):
                    np.testing.assert_array_equal(getattr(found, name), [row[number] for row in rows])


def test_frame_cache_keeps_only_the_symbols_asked_for() -> None:
    assert list(bars_by_symbol(market(), ["S2", "S0", "NONE"])) == ["S0", "S2"]
    assert bars_by_symbol(market(), []) == {}
    assert bars_by_symbol(market().iloc[:0]) == {}


def test_arrays_are_read_only() -> None:
    found = bars_by_symbol(market())["S1"]
    with pytest.raises(ValueError, match="read-only"):
        found.close[0] = 1.0


def test_two_bars_of_one_date_are_refused() -> None:
    frame = market()
    with pytest.raises(InputError, match=r"symbol S0 twice on 1969-12-20; restore the home from a copy"):
        bars_by_symbol(pd.concat([frame, frame.iloc[:1]]))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_content_changes_with_its_own_bar_only(column: str) -> None:
    frame = market().assign(suspended=False)
    before = bars_by_symbol(frame)
    frame.loc[5, column] = np.nextafter(frame.loc[5, column], 1e9)
    after = bars_by_symbol(frame)
    assert np.flatnonzero(before["S0"].content != after["S0"].content).tolist() == [5]
    for symbol in ("S1", "S2", "S3"):
        np.testing.assert_array_equal(before[symbol].content, after[symbol].content)


def test_content_changes_where_the_factor_moves_otherwise_than_before() -> None:
    frame = market().assign(suspended=False)
    before = bars_by_symbol(frame)["S0"].content
    for row, times, moved in ((5, 1 + 1e-8, [5, 6]), (0, 2.0, [1]), (29, 0.5, [29]), (5, 1 + 1e-15, [])):
        other = frame.copy()
        other.loc[row, "adj_factor"] *= times
        assert np.flatnonzero(before != bars_by_symbol(other)["S0"].content).tolist() == moved


def test_content_tells_symbols_and_dates_apart_and_ignores_volume() -> None:
    frame = market().assign(suspended=False)
    frame[["open", "high", "low", "close", "adj_factor"]] = 1.0
    cache = bars_by_symbol(frame)
    assert len(np.unique(np.concatenate([found.content for found in cache.values()]))) == len(frame)
    np.testing.assert_array_equal(bars_by_symbol(frame.assign(volume=1.0))["S0"].content, cache["S0"].content)


def test_no_factor_counts_as_one_in_prices_and_content() -> None:
    frame = market().assign(suspended=False, adj_factor=1.0)
    bare = pa.Table.from_pandas(frame.assign(adj_factor=np.nan), preserve_index=False)
    assert bare["adj_factor"].null_count == len(frame)
    for symbol, found in bars_by_symbol(bare).items():
        expected = bars_by_symbol(frame)[symbol]
        np.testing.assert_array_equal(found.close, expected.close)
        np.testing.assert_array_equal(found.content, expected.content)


def test_content_is_the_same_in_every_version_of_the_code() -> None:
    frame = validate_bars(bars(GOOD, adj_factor=2.0), "a.csv").bars
    # Written once: stored patterns carry these numbers.
    assert bars_by_symbol(frame)["AAPL"].content.tolist() == [12360580147670720117]
