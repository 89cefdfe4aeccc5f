import numpy as np
import pytest

from kline_core.encoder.synthetic import random_walk, synthetic_market


def prices(bars):
    return np.stack([bars.open, bars.high, bars.low, bars.close])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [synthetic_market, random_walk])
def test_bars_are_consistent_and_in_cents(draw, seed):
    bars = draw(40, 300, seed)
    assert prices(bars).shape == (4, 40, 300)
    assert np.isfinite(prices(bars)).all()
    assert (bars.low > 0).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    np.testing.assert_allclose(prices(bars) * 100, np.round(prices(bars) * 100), rtol=0, atol=1e-6)


@pytest.mark.parametrize("draw", [synthetic_market, random_walk])
def test_the_seed_decides(draw):
    np.testing.assert_array_equal(prices(draw(5, 80, 7)), prices(draw(5, 80, 7)))
    assert (prices(draw(5, 80, 7)) != prices(draw(5, 80, 8))).any()


def test_limits_bind_opens_and_closes():
    bars = synthetic_market(300, 400, 1)
    before, price = bars.close[:, :-1], bars.close[:, 1:]
    # Half a cent of rounding on either price.
    rounding = 0.011 / before
    move, gap = price / before - 1, bars.open[:, 1:] / before - 1
    # Of a dear share alone: cheap ones have days of one price because prices are rounded to cents.
    one_price = (bars.high == bars.low)[:, 1:] & (before > 50)
    assert one_price.sum() > 50
    limits = np.array([-0.2, -0.1, 0.1, 0.2])
    off = np.abs(move[..., None] - limits).min(axis=-1)
    assert (off[one_price] <= rounding[one_price]).all()

    bound = [
        ((np.abs(move) <= limit + rounding) & (np.abs(gap) <= limit + rounding)).all(axis=1) for limit in (0.1, 0.2)
    ]
    hits = [(np.abs(np.abs(move) - limit) <= rounding).sum(axis=1) >= 3 for limit in (0.1, 0.2)]
    assert 0.05 < (bound[0] & hits[0]).mean() < 0.5
    assert (bound[1] & hits[1] & ~bound[0]).any()
    assert (~bound[1]).any()


def test_volatility_clusters_and_tails_are_heavy():
    bars = synthetic_market(200, 500, 2)
    returns = np.diff(np.log(bars.close), axis=1)[np.median(bars.close, axis=1) > 5]
    returns /= returns.std(axis=1, keepdims=True)
    size = np.abs(returns)
    size -= size.mean(axis=1, keepdims=True)
    clustering = (size[:, 1:] * size[:, :-1]).mean() / (size**2).mean()
    assert clustering > 0.05
    assert (returns**4).mean() > 4


def test_a_random_walk_is_one():
    bars = random_walk(200, 500, 3, sigma=0.01)
    returns = np.diff(np.log(bars.close), axis=1)
    assert returns.std() == pytest.approx(0.01, rel=0.02)
    assert abs((returns[:, 1:] * returns[:, :-1]).mean() / returns.var()) < 0.01
    np.testing.assert_array_equal(bars.open[:, 1:], bars.close[:, :-1])


def test_the_frame_has_a_row_for_every_bar():
    bars = random_walk(3, 10, 0)
    frame = bars.to_frame("2020-01-01", "T")
    assert frame["symbol"].unique().tolist() == ["T00000", "T00001", "T00002"]
    assert (frame.groupby("symbol").size() == 10).all()
    assert (frame["date"].dt.day_of_week < 5).all()
    np.testing.assert_array_equal(frame["close"].to_numpy().reshape(3, 10), bars.close)
    np.testing.assert_array_equal(frame["low"].to_numpy().reshape(3, 10), bars.low)
