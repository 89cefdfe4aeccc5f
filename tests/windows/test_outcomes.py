import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.settings import PatternSettings
from kline_core.windows.outcomes import UNDECIDED, outcomes
from tests import naive

SHORT = PatternSettings(window_bars=2, horizons=(1, 3), barrier_bars=4)


def make_bars(rows, gaps=None):
    """(open, high, low, close) rows as the arrays that `outcomes` takes, one calendar day apart unless told."""
    steps = np.cumsum([0, *(gaps or [1] * (len(rows) - 1))])
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return np.datetime64("2020-01-01") + steps.astype("timedelta64[D]"), *table.T.copy()


def random_walk(bars, seed, daily=0.03):
    rng = np.random.default_rng(seed)
    close = 10.0 * np.exp(np.cumsum(rng.normal(0.0, daily, bars)))
    open_ = np.r_[10.0, close[:-1]] * np.exp(rng.normal(0.0, daily / 2, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0.0, daily / 2, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0.0, daily / 2, bars)))
    dates = np.datetime64("2015-01-05") + np.cumsum(rng.integers(1, 30, bars)).astype("timedelta64[D]")
    return dates, open_, high, low, close


def assert_equal_to_oracle(bars, ends, settings):
    got = outcomes(*bars, ends, settings)
    assert (got.returns.dtype, got.barrier.dtype, got.known_on.dtype) == (np.float32, np.int8, "datetime64[D]")
    assert got.returns.shape == (len(ends), len(settings.horizons))
    assert got.barrier.shape == got.known_on.shape == (len(ends),)
    for row, end in enumerate(ends.tolist()):
        returns, barrier, known_on = naive.outcome(*bars, end, settings)
        assert got.returns[row].tobytes() == np.array(returns, dtype=np.float32).tobytes()
        assert got.barrier[row] == barrier
        assert np.array_equal(got.known_on[row], known_on, equal_nan=True)


@pytest.mark.slow
@given(
    bars=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
    daily=st.sampled_from([0.001, 0.01, 0.03]),
    settings=st.builds(
        PatternSettings,
        entry_lag_bars=st.integers(1, 3),
        horizons=st.sampled_from([(1, 5, 10, 20), (2,), (1, 30)]),
        barrier_bars=st.integers(1, 25),
    ),
)
def test_random_bars_equal_the_plain_loop(bars, seed, daily, settings):
    assert_equal_to_oracle(random_walk(bars, seed, daily), np.arange(bars), settings)


@st.composite
def touching_bars(draw):
    """Bars on a grid of few prices, on which closes of 100 have their barriers: exact touches, both at once, gaps."""
    price = st.sampled_from([96.0, 97.0, 98.0, 100.0, 100.0, 104.0, 105.0, 106.0])
    rows = []
    for _ in range(draw(st.integers(1, 25))):
        low, *middle, high = sorted(draw(st.lists(price, min_size=4, max_size=4)))
        open_, close = draw(st.permutations(middle))
        rows.append((open_, high, low, close))
    return make_bars(rows, draw(st.lists(st.integers(1, 400), min_size=len(rows) - 1, max_size=len(rows) - 1)))


@pytest.mark.slow
@given(bars=touching_bars(), data=st.data())
def test_adversarial_bars_equal_the_plain_loop(bars, data):
    ends = data.draw(st.lists(st.integers(0, len(bars[0]) - 1), max_size=30))
    assert_equal_to_oracle(bars, np.array(ends, dtype=np.int64), SHORT)


QUIET = (100, 101, 99, 100)


@pytest.mark.parametrize(
    ("after", "label"),
    [
        pytest.param([(100, 105, 100, 104)], 1, id="exact touch above"),
        pytest.param([(100, 100, 97, 99)], -1, id="exact touch below"),
        pytest.param([(100, 106, 96, 105)], -1, id="both in one bar: the pessimist's"),
        pytest.param([(105, 107, 90, 91)], 1, id="gap above at the open, then a crash"),
        pytest.param([(97, 120, 96, 119)], -1, id="gap below at the open, then a rally"),
        pytest.param([QUIET, QUIET, QUIET, (100, 105, 99, 100)], 1, id="last bar held"),
        pytest.param([QUIET, QUIET, QUIET, QUIET, (100, 105, 99, 100)], 0, id="one bar too late"),
        pytest.param([(100, 104.99, 97.01, 100)] * 4, 0, id="nothing touched"),
        pytest.param([QUIET, (100, 105, 99, 100)], 1, id="settled although the history ends"),
        pytest.param([QUIET, QUIET, QUIET], UNDECIDED, id="history ends first"),
        pytest.param([], UNDECIDED, id="entry is the last bar"),
    ],
)
def test_barrier_label(after, label):
    # Window end, entry at 100 (whose own range does not count), and what follows.
    bars = make_bars([QUIET, (100, 200, 50, 100), *after])
    got = outcomes(*bars, np.array([0]), SHORT)
    assert got.barrier.tolist() == [label]
    assert_equal_to_oracle(bars, np.arange(len(bars[0])), SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 1.234567, 1 / 3, 7e-7, 113.0])
def test_a_price_in_cents_that_is_exactly_on_a_barrier_touches_it(factor):
    # Entries whose +5 % and -3 % are whole cents; every way of rounding occurs among them.
    for cents in range(100, 50_000, 100):
        entry, up, down = (price / 100 * factor for price in (cents, cents * 105 // 100, cents * 97 // 100))
        near = entry * 1.0499, entry * 0.9701
        for high, low, label in ((up, entry, 1), (entry, down, -1), (*near, 0)):
            bars = make_bars([(entry,) * 4, (entry,) * 4, *[(entry, high, low, entry)] * 4])
            assert outcomes(*bars, np.array([0]), SHORT).barrier[0] == label, cents
        for open_, label in ((up, 1), (down, -1)):
            bars = make_bars([(entry,) * 4, (entry,) * 4, (open_, max(up, open_), min(down, open_), entry)])
            assert outcomes(*bars, np.array([0]), SHORT).barrier[0] == label, cents


@pytest.mark.parametrize(("away", "label"), [(0.9e-9, -1), (1.1e-9, 0)])
def test_a_barrier_is_touched_from_a_billionth_away(away, label):
    low = 97.0 * (1 + away)
    bars = make_bars([(100.0,) * 4] * 2 + [(100.0, 100.0, low, 100.0)] * 4)
    assert outcomes(*bars, np.array([0]), SHORT).barrier.tolist() == [label]
    high = 105.0 * (1 - away)
    bars = make_bars([(100.0,) * 4] * 2 + [(100.0, high, 100.0, 100.0)] * 4)
    assert outcomes(*bars, np.array([0]), SHORT).barrier.tolist() == [-label]


def test_returns_start_at_the_next_bars_close_and_known_on_is_after_the_last_bar_looked_at():
    bars = make_bars([(c, c, c, c) for c in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)], gaps=[1, 1, 1, 1, 90, 1])
    got = outcomes(*bars, np.array([0, 1, 2, 3, 5, 6]), SHORT)
    nan = np.float32("nan")
    expected = np.array(
        [[0.5, 1.5], [round(2**26 / 3) / 2**26, 1.0], [0.25, 0.75], [0.2, nan], [nan, nan], [nan, nan]],
        dtype=np.float32,
    )
    np.testing.assert_array_equal(got.returns, expected)
    known = [str(date) for date in got.known_on]
    assert known == ["2020-04-04", "2020-04-05", "NaT", "NaT", "NaT", "NaT"]


def test_one_bar_only():
    got = outcomes(*make_bars([QUIET]), np.array([0]), SHORT)
    assert np.isnan(got.returns).all()
    assert got.barrier.tolist() == [UNDECIDED]
    assert np.isnat(got.known_on).all()


def test_no_windows():
    got = outcomes(*make_bars([QUIET]), np.array([], dtype=np.int64), SHORT)
    assert got.returns.shape == (0, 2)


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(30, 100))
def test_an_outcome_known_at_a_date_does_not_depend_on_later_bars(seed, cut):
    bars, other = random_walk(120, seed), random_walk(120, seed + 1)
    changed = [np.r_[a[: cut + 1], b[cut + 1 :]] for a, b in zip(bars[1:], other[1:], strict=True)]
    ends = np.arange(120)
    settings = PatternSettings()
    first, second = outcomes(*bars, ends, settings), outcomes(bars[0], *changed, ends, settings)
    known = first.known_on <= bars[0][cut]
    assert known.sum() == cut + 1 - settings.outcome_bars if cut >= settings.outcome_bars else not known.any()
    assert first.returns[known].tobytes() == second.returns[known].tobytes()
    assert (first.barrier[known] == second.barrier[known]).all()
    assert not (first.barrier[known] == UNDECIDED).any()


@pytest.mark.parametrize("end", [-1, 1])
def test_an_end_that_is_no_bar_is_refused(end):
    with pytest.raises(IndexError, match="0 to 0"):
        outcomes(*make_bars([QUIET]), np.array([end]), SHORT)
