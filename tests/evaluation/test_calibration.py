"""Calibration: calibrated values have slope 1, inverted ones -1, noise 0; errors equal a slow sum."""

import math

import numpy as np
import pytest

from kline_core.evaluation.calibration import calibration_of, realised_wins
from kline_core.evaluation.evaluate import as_rows
from kline_core.evaluation.mean_errors import window_of
from kline_core.evaluation.panel import Panel
from kline_core.settings import FactorSettings, PatternSettings, Settings
from tests import naive
from tests.support.made_markets import noise_market, slow_values

SESSIONS, SYMBOLS, APART = 300, 12, 3


def made(seed=0):
    rng = np.random.default_rng(seed)
    sessions = np.tile(np.arange(SESSIONS), SYMBOLS)
    values = rng.random(len(sessions))
    return rng, sessions, values


def test_calibrated_inverted_and_empty_values():
    rng, sessions, values = made()
    chance = rng.random(len(values))
    told = {
        "calibrated": ((chance < values).astype(float), 1.0),
        "inverted": ((chance < 1 - values).astype(float), -1.0),
        "nothing": ((chance < 0.4).astype(float), 0.0),
    }
    for name, (wins, slope) in told.items():
        found = calibration_of(sessions, values, wins, APART)
        assert abs(found.slope - slope) <= found.critical * found.slope_se, name
        assert found.slope_se < 0.05
        assert [each.samples for each in found.bins] == np.histogram(values, 10, (0, 1))[0].tolist()
        better = found.brier < found.brier_constant
        assert better is (name == "calibrated")
    calibrated = calibration_of(sessions, values, told["calibrated"][0], APART)
    for each in calibrated.bins:
        assert abs(each.win - each.value) <= 3.5 * each.se


def test_figures_equal_plain_ones():
    rng, sessions, values = made(1)
    values = values.round(1)
    common = rng.normal(size=SESSIONS)[sessions]
    wins = 0.7 * (rng.normal(size=len(values)) + common > 0.2) + 0.3 * (rng.random(len(values)) < 0.5)
    values[5], wins[9] = np.nan, np.nan
    found = calibration_of(sessions, values, wins, APART)
    use = ~np.isnan(values + wins)
    day, x, y = sessions[use], values[use], wins[use]
    slope, intercept = np.polyfit(x, y, 1)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    assert found.brier == pytest.approx(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x))
    assert found.brier_constant == pytest.approx(sum((b - y.mean()) ** 2 for b in y) / len(y))
    # Driscoll and Kraay: the sandwich with Bartlett's weights between the scores of sessions.
    design = np.column_stack([np.ones(len(x)), x])
    scores = np.zeros((SESSIONS, 2))
    for row, left in zip(range(len(x)), y - intercept - slope * x, strict=True):
        scores[day[row]] += design[row] * left
    window = window_of(SESSIONS, APART)
    middle = np.zeros((2, 2))
    for one in range(SESSIONS):
        for other in range(max(0, one - window), min(SESSIONS, one + window + 1)):
            middle += (1 - abs(one - other) / (window + 1)) * np.outer(scores[one], scores[other])
    bread = np.linalg.inv(design.T @ design)
    assert found.slope_se == pytest.approx(math.sqrt((bread @ middle @ bread)[1, 1]))
    assert found.samples == len(x)
    for at, each in enumerate(found.bins):
        mine = [row for row in range(len(x)) if min(9, int(x[row] * 10 + 1e-9)) == at]
        assert each.samples == len(mine)
        assert each.win == pytest.approx(np.mean(y[mine]))
        kept, last = 0, -APART
        for session in sorted(set(day[mine].tolist())):
            if session - last >= APART:
                kept, last = kept + 1, session
        assert each.se == pytest.approx(np.std(y[mine], ddof=1) / math.sqrt(kept))


def test_what_has_no_calibration_says_why():
    _, sessions, values = made(2)
    wins = (values > 0.5).astype(float)
    assert "not within 0 to 1" in calibration_of(sessions, values - 0.5, wins, APART).reason
    assert "the same" in calibration_of(sessions, np.full(len(values), 0.5), wins, APART).reason
    assert "the same" in calibration_of(sessions, values, np.ones(len(values)), APART).reason
    assert "outcomes of 15 sessions do not overlap" in calibration_of(sessions, values, wins, 20).reason
    empty = calibration_of(sessions, np.full(len(values), np.nan), wins, APART)
    assert (empty.samples, math.isnan(empty.brier)) == (0, True)
    assert "0 sessions" in empty.reason


def test_the_realised_win_is_the_hybrid_of_the_oracle():
    market = noise_market(3, symbols=5, sessions=120)
    settings = Settings(PatternSettings(barrier_up=0.02, barrier_down=0.015), FactorSettings(barrier_weight=0.6))
    panel = Panel.of(as_rows(market.rows(slow_values(3, market))), market.frames, settings)
    wins = realised_wins(panel, market.frames, settings)
    assert len(set(wins[~np.isnan(wins)].round(6))) == 4
    for row in range(0, len(wins), 7):
        bars = market.frames[panel.symbols[panel.symbol[row]].symbol]
        end = int(panel.sessions[row])
        told = naive.outcome(bars.dates, bars.open, bars.high, bars.low, bars.close, end, settings.patterns)
        returns, label = told[0][1], told[1]
        jumps = bars.jumps[end + 1 : end + 22].any()
        if label == -128 or math.isnan(returns) or jumps:
            assert math.isnan(wins[row])
        else:
            assert wins[row] == pytest.approx(0.6 * (label == 1) + 0.4 * (returns > 0))
