"""No scale: all prices or all factors of a symbol times one positive constant change nothing, not one bit.

Prices here are in ticks, since those lie on the points at which something is decided: between two rows of pixels, on a
barrier, on a return of 0.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars.ingest import ingest
from kline_core.bars.row_checks import is_suspended
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.settings import PatternSettings
from kline_core.windows.charts import render_charts
from kline_core.windows.outcomes import outcomes
from kline_core.windows.similarity import Shapes, pair_scores
from tests.support.bench import Bench
from tests.support.candles import candles, columns
from tests.support.examples import examples
from tests.support.frames import PRICES, times
from tests.support.homes import market

constant = st.one_of(
    st.floats(1e-5, 1e5),
    st.sampled_from([0.1, 0.01, 1e-4, 10.0, 1000.0, 1 / 3, 1 / 7, 1.1, 113.0]),
)
tick = st.integers(1, 3).map(lambda digits: 10.0**-digits)


@st.composite
def ticks(draw, least=1, most=25):
    """Windows of one symbol with prices of few ticks: (open, high, low, close) by bar."""
    unit, base = draw(tick), draw(st.integers(1, 3000))
    price = st.integers(base, base + draw(st.integers(1, 40))).map(lambda count: count * unit)
    return draw(st.lists(candles(price), min_size=least, max_size=most))


@pytest.mark.slow
@given(ticks(), constant)
@settings(max_examples=examples(150))
def test_no_pixel_depends_on_the_unit(window, times_):
    prices = columns([window])
    np.testing.assert_array_equal(render_charts(*(prices * times_)), render_charts(*prices))


@pytest.mark.slow
@given(ticks(), constant)
@settings(max_examples=examples(150))
def test_no_outcome_depends_on_the_unit(bars, times_):
    steps = PatternSettings(window_bars=2, horizons=(1, 2, 5), barrier_bars=6)
    prices = columns([bars])[:, 0]
    dates = np.datetime64("2020-01-01") + np.arange(len(bars))
    ends = np.arange(len(bars))
    one, other = (outcomes(dates, *(prices * by), ends, steps) for by in (1.0, times_))
    assert one.returns.tobytes() == other.returns.tobytes()
    np.testing.assert_array_equal(one.barrier, other.barrier)


@pytest.mark.slow
@given(ticks(2, 12), constant)
def test_no_score_depends_on_the_unit(window, times_):
    prices = columns([window])
    one, other = (Shapes.of(*(prices * by)) for by in (1.0, times_))
    # Sums of float32 in another order of rounding, but no bar that counts as rising in one and not in the other.
    np.testing.assert_allclose(other.features, one.features, atol=1e-6)
    assert pair_scores(one, other)[0] == pytest.approx(pair_scores(one, one)[0], abs=1e-5)


@pytest.mark.slow
@given(ticks(1, 8), constant)
def test_no_day_is_suspended_by_its_unit(bars, times_):
    frame = market(1, len(bars)).assign(volume=0.0)
    frame[PRICES] = columns([bars])[:, 0].T
    np.testing.assert_array_equal(is_suspended(times(frame, times_)), is_suspended(frame))


@st.composite
def factors(draw):
    """Factors of one symbol, which move on a few days."""
    moves = st.one_of(st.just(1.0), st.sampled_from([2.0, 0.1, 1.05, 1.0345, 10 / 9]), st.floats(0.5, 2.0))
    return np.cumprod(draw(st.lists(moves, min_size=12, max_size=12)))


@pytest.mark.slow
@given(factors(), constant)
def test_no_hash_depends_on_the_base_of_the_factors(factor, times_):
    frame = market(2, 12)
    frame["adj_factor"] = np.tile(factor, 2)
    one, other = bars_by_symbol(frame), bars_by_symbol(frame.assign(adj_factor=frame["adj_factor"] * times_))
    for symbol, bars in one.items():
        np.testing.assert_array_equal(other[symbol].content, bars.content)


def in_ticks(frame):
    """The frame with prices in cents, and with factors that move."""
    rounded = frame.copy()
    rounded[PRICES] = (frame[PRICES] * 100).round() / 100
    day = frame.groupby("symbol").cumcount().to_numpy()
    number = frame["symbol"].str[-1].astype(int).to_numpy()
    rounded["adj_factor"] = np.select([day < 20 + number, day < 45 + number], [1.0, 1.0345], 2.069)
    return rounded


FRAME = in_ticks(market(5, 80, seed=4))
BY_SYMBOL = {f"S{number:05}": by for number, by in enumerate([0.37, 1 / 3, 1e-4, 113.7, 1.1])}


KEYS = {"patterns": ["symbol", "end"], "factors": ["symbol", "date"], "matches": ["symbol", "date", "rank"]}


def everything(bench, without=()):
    """The rows of the tables that come of the bars, with every number as its bits."""
    found = {}
    for table, keys in KEYS.items():
        rows = bench.home.read(table).sort_by([(key, "ascending") for key in keys])
        kept = [name for name in rows.column_names if name not in ("run_id", *without)]
        found[table] = [[*map(repr, row.values())] for row in rows.select(kept).to_pylist()]
    return found


@pytest.fixture(scope="module")
def original(tmp_path_factory, in_process, small_weights):
    bench = Bench.of(tmp_path_factory.mktemp("scale") / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=100)
    return bench


@pytest.mark.slow
def test_a_home_whose_factors_have_other_bases_has_the_same_patterns_values_and_matches(
    original, in_process, tmp_path, small_weights
):
    based = FRAME.assign(adj_factor=FRAME["adj_factor"] * FRAME["symbol"].map(BY_SYMBOL))
    other = Bench.of(tmp_path / "home", based, weights=small_weights)
    other.run(in_process, samples=100)
    assert everything(other) == everything(original)


@pytest.mark.slow
@pytest.mark.parametrize("by", [0.01, 1000.0, 0.3])
def test_a_home_whose_prices_are_in_another_unit_has_the_same_values_and_matches(
    by, original, in_process, tmp_path, small_weights
):
    other = Bench.of(tmp_path / "home", times(FRAME, by), weights=small_weights)
    other.run(in_process, samples=100)
    hashes = ("history", "match_digest", "digest", "content")
    assert everything(other, hashes) == everything(original, hashes)


@pytest.mark.slow
def test_a_history_that_is_delivered_on_another_base_costs_nothing(original, in_process, tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=100)
    based = FRAME.assign(adj_factor=FRAME["adj_factor"] * FRAME["symbol"].map(BY_SYMBOL))
    based.drop(columns="suspended").to_csv(tmp_path / "based.csv", index=False)
    assert ingest([tmp_path / "based.csv"], bench.home).restated == sorted(BY_SYMBOL)
    update = bench.extend()
    assert (update.added, update.removed, update.restated) == (0, 0, [])
    report = bench.run(in_process, samples=100)
    assert (report.count("done"), report.count("refreshed")) == (0, 0)
    assert everything(bench) == everything(original)


@pytest.mark.slow
def test_days_that_come_one_by_one_have_the_hashes_of_all_together():
    whole = bars_by_symbol(FRAME)
    days = np.unique(FRAME["date"].to_numpy())
    so_far = bars_by_symbol(FRAME[FRAME["date"] <= days[10]])
    for day in days[11:]:
        newer = bars_by_symbol(FRAME[FRAME["date"] == day], after=so_far)
        for symbol, bars in newer.items():
            at = slice(len(so_far[symbol]), len(so_far[symbol]) + 1)
            for name in ("close", "content"):
                np.testing.assert_array_equal(getattr(bars, name), getattr(whole[symbol], name)[at])
        so_far = bars_by_symbol(FRAME[FRAME["date"] <= day])
