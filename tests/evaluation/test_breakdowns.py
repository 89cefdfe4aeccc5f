"""Parts: boards, thirds, states of the market, each as a plain loop has them, and from what was known on the day."""

import math

import numpy as np
import pytest

from kline_core.evaluation.breakdowns import LIQUIDITY_BARS, board_name, breakdowns_of, holm, liquidity, thirds_of
from kline_core.evaluation.evaluate import as_rows
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.regime import TREND, VOLATILITY, market_returns, regimes_of
from kline_core.settings import Settings
from tests.support.made_markets import MadeMarket, noise_market, slow_values

APART = 6


@pytest.fixture(scope="module")
def market():
    market = noise_market(11, symbols=18, sessions=300)
    market.names[:] = [f"{600000 + n}.SH" for n in range(9)] + [f"{300000 + n}.SZ" for n in range(7)] + ["AAPL", "X1"]
    return market


@pytest.fixture(scope="module")
def panel(market):
    return Panel.of(as_rows(market.rows(slow_values(11, market))), market.frames, Settings())


def test_parts_are_the_rank_ics_of_their_rows(market, panel):
    returns = panel.forward[:, 1]
    found = {
        each.by: {part.name: part for part in each.parts}
        for each in breakdowns_of(panel, market.frames, returns, APART)
    }
    assert set(found) == {"year", "trend of the market", "volatility of the market", "board", "liquidity"}
    years = panel.days[panel.sessions].astype("datetime64[Y]").astype(int) + 1970
    boards = np.array([board_name(panel.symbols[at].symbol) for at in panel.symbol])
    masks = [
        ("year", "2015", years == 2015),
        ("board", "main", boards == "main"),
        ("board", "ChiNext", boards == "ChiNext"),
    ]
    for by, name, mask in masks:
        ic = cross_section_rank_ic(panel.sessions[mask], panel.values[mask], returns[mask], APART, 5)
        assert found[by][name].rank_ic.value == ic.value
        assert found[by][name].rank_ic.n == ic.n_independent
    assert sorted(found["board"]) == ["ChiNext", "US", "main", "other"]
    assert not found["board"]["US"].rank_ic.known
    assert math.isnan(found["board"]["other"].p_holm)


def test_thirds_equal_a_plain_loop(market, panel):
    money = liquidity(panel, market.frames)
    for row in (0, LIQUIDITY_BARS - 2, LIQUIDITY_BARS - 1, 400):
        bars = market.frames[panel.symbols[panel.symbol[row]].symbol]
        last = int(np.searchsorted(bars.dates, panel.days[panel.sessions[row]]))
        parts = [bars.close[at] * bars.volume[at] for at in range(max(0, last - LIQUIDITY_BARS + 1), last + 1)]
        expected = sum(parts) / LIQUIDITY_BARS if len(parts) == LIQUIDITY_BARS else math.nan
        assert money[row] == pytest.approx(expected, nan_ok=True)
    thirds = thirds_of(panel.sessions, money, panel.values + panel.forward[:, 1])
    for session in (5, 100, 299):
        mine = np.flatnonzero(panel.sessions == session)
        ranked = sorted(mine, key=lambda row: money[row])
        expected = [at // 6 for at in range(18)] if 19 <= session < 294 else [-1] * 18
        assert thirds[ranked].tolist() == expected


def test_too_few_or_unknown_volumes_have_no_third():
    session = np.zeros(14, dtype=np.int64)
    assert (thirds_of(session, np.arange(14.0), np.zeros(14)) == -1).all()
    assert (thirds_of(np.zeros(20, np.int64), np.full(20, np.nan), np.zeros(20)) == -1).all()
    assert thirds_of(session[:0], np.zeros(0), np.zeros(0)).tolist() == []


def test_holm_equals_its_definition():
    chances = [0.04, math.nan, 0.01, 0.03, 0.9]
    expected, highest = {}, 0.0
    for at, p in enumerate(sorted(p for p in chances if p == p)):
        highest = max(highest, min(1.0, (4 - at) * p))
        expected[p] = highest
    assert holm(chances) == pytest.approx([expected.get(p, math.nan) for p in chances], nan_ok=True)
    assert holm([]) == []


def test_states_equal_plain_loops(market):
    days = market.days
    returns = market_returns(days, market.frames)
    close = np.column_stack([bars.close for bars in market.frames.values()])
    assert np.isnan(returns[0])
    # Some steps of the made market may be jumps that no limit allows, which do not count.
    change = close[1:] / close[:-1] - 1
    jumps = np.column_stack([bars.jumps[1:] for bars in market.frames.values()])
    for session in (1, 50, 299):
        sound = change[session - 1][~jumps[session - 1]]
        assert returns[session] == pytest.approx(sound.mean())
    states = regimes_of(days, market.frames)
    assert set(states.trend[:TREND]) == {None}
    usual = []
    for session in range(1, 300):
        if session >= VOLATILITY:
            spread = np.std(returns[session - VOLATILITY + 1 : session + 1], ddof=1)
            usual.append(spread)
            if len(usual) >= TREND:
                expected = "turbulent" if spread > np.median(usual) else "calm"
                assert states.volatility[session] == expected, session
            else:
                assert states.volatility[session] is None
        if session >= TREND:
            past = returns[session - TREND + 1 : session + 1]
            ratio = past.sum() / (np.std(past, ddof=1) * math.sqrt(TREND))
            assert states.trend[session] == ("bull" if ratio > 1 else "bear" if ratio < -1 else "ranging")


def test_states_are_of_what_was_known(market):
    steps = market.steps.copy()
    steps[200:] = -steps[200:][::-1]
    other = MadeMarket(steps)
    one, two = (regimes_of(each.days, each.frames) for each in (market, other))
    for name in ("trend", "volatility"):
        assert getattr(one, name)[:200].tolist() == getattr(two, name)[:200].tolist()


def test_a_suspension_is_no_return_of_one_session():
    market = noise_market(12, symbols=6, sessions=80)
    frames = dict(market.frames)
    first = market.names[0]
    bars = frames[first]
    frames[first] = type(bars)(bars.symbol, *(np.delete(getattr(bars, name), range(40, 45)) for name in FIELDS))
    returns = market_returns(market.days, frames)
    rest = np.column_stack([frames[name].close for name in market.names[1:]])
    assert returns[45] == pytest.approx((rest[45] / rest[44] - 1).mean())
    few = market_returns(market.days, {name: market.frames[name] for name in market.names[:4]})
    assert np.isnan(few).all()


FIELDS = ("dates", "open", "high", "low", "close", "volume", "adj_factor", "content", "jumps")


def test_one_symbol_has_no_part_with_an_estimate():
    market = noise_market(13, symbols=1, sessions=100)
    alone = Panel.of(as_rows(market.rows(slow_values(13, market))), market.frames, Settings())
    parts = [part for each in breakdowns_of(alone, market.frames, alone.forward[:, 1], APART) for part in each.parts]
    assert parts
    assert not any(part.rank_ic.known for part in parts)
    assert all(math.isnan(part.p) and math.isnan(part.p_holm) for part in parts)
