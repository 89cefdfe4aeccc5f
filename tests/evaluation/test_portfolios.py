"""Portfolios equal a plain ledger, find foresight, pay for turnover, and are refused on thin sessions."""

import math

import numpy as np
import pytest

from kline_core.errors import SettingError
from kline_core.evaluation.evaluate import as_rows
from kline_core.evaluation.mean_errors import newey_west
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.portfolios import check_cost, portfolios_of, session_returns
from kline_core.settings import Settings
from tests.support.made_markets import LAG, MadeMarket, noise_market, slow_values

HELD = 5


def panel_of(market, values):
    return Panel.of(as_rows(market.rows(values)), market.frames, Settings())


def ledger(returns, cohorts):
    """Money in each share, session by session: for cohorts by session a dict of gross returns, trades and worth."""
    first, last = min(cohorts) + LAG + 1, min(max(cohorts) + LAG + HELD + 1, len(returns) - 1)
    shares, gross, traded = {}, [], []
    for session in range(first, last + 1):
        wanted = {}
        for formed in range(session - LAG - HELD, session - LAG):
            for symbol in cohorts.get(formed, []):
                wanted[symbol] = wanted.get(symbol, 0.0) + 1 / HELD / len(cohorts[formed])
        traded.append(sum(abs(wanted.get(name, 0) - shares.get(name, 0)) for name in wanted | shares))
        earned = sum(weight * returns[session, name] for name, weight in wanted.items())
        shares = {name: weight * (1 + returns[session, name]) / (1 + earned) for name, weight in wanted.items()}
        gross.append(earned)
    return np.array(gross), np.array(traded), first, last


def fifth_of(row, which):
    """Symbols whose average rank lies in a fifth."""
    known = [at for at in range(len(row)) if not math.isnan(row[at])]
    if len(known) < 10:
        return None
    found = []
    for at in known:
        below, same = sum(row[o] < row[at] for o in known), sum(row[o] == row[at] for o in known)
        if math.floor(5 * (below + same / 2) / len(known)) == which:
            found.append(at)
    return found


@pytest.mark.slow
def test_equal_to_a_plain_ledger():
    market = noise_market(21, symbols=13, sessions=120)
    values = slow_values(21, market).round(2)
    values[30:34], values[60, 4:], values[:, 3] = np.nan, np.nan, np.nan
    panel = panel_of(market, values)
    found = portfolios_of(panel, market.frames, Settings(), cost=0.002)
    returns = session_returns(panel, market.frames)
    sides = []
    for which in (0, 4):
        cohorts = {s: named for s in range(120) if (named := fifth_of(values[s], which)) is not None}
        gross, traded, first, last = ledger(returns, cohorts)
        sides.append((gross, traded))
        mine = found.portfolios[which]
        net = gross - 0.002 * traded
        worth, highest, deepest = 1.0, 1.0, 0.0
        for each in net:
            worth *= 1 + each
            highest = max(highest, worth)
            deepest = max(deepest, 1 - worth / highest)
        assert (mine.gross, mine.net, mine.traded) == pytest.approx((gross.mean(), net.mean(), traded.mean()))
        assert mine.drawdown == pytest.approx(deepest)
        assert found.worth[-1].worth[which] == pytest.approx(worth)
        years = int((market.days[last] - market.days[first]).astype(int)) / 365.25
        assert mine.net_year == pytest.approx(net.mean() * (len(net) - 1) / years)
        assert found.sessions == len(net)
    spread = found.portfolios[5]
    (low, sold), (high, bought) = sides
    assert (spread.name, spread.gross) == ("highest less lowest", pytest.approx((high - low).mean()))
    assert spread.traded == pytest.approx((sold + bought).mean())
    assert found.spread_error.se == pytest.approx(newey_west(high - low, 2).se)
    assert 0.9 < found.invested < 1


@pytest.mark.parametrize("cost", [-0.001, 0.11, float("nan"), True, "0.001"])
def test_a_cost_is_a_share(cost):
    with pytest.raises(SettingError, match=r"must be a share of what is bought or sold from 0 to 0\.1"):
        check_cost(cost)
    check_cost(0)


def test_foresight_pays_and_its_inverse_loses():
    market = noise_market(22, symbols=15, sessions=300)
    ahead = np.nan_to_num(market.ahead(HELD))
    for sign in (1, -1):
        found = portfolios_of(panel_of(market, sign * ahead), market.frames, Settings())
        means = [each.gross for each in found.portfolios[:5]]
        assert means == sorted(means, reverse=sign < 0)
        assert sign * found.portfolios[5].gross > 0
        assert found.spread_error.significant
        assert all(each.net == pytest.approx(each.gross - 0.001 * each.traded) for each in found.portfolios)


def test_constant_values_hold_everything_and_trade_little():
    market = noise_market(23, symbols=12, sessions=100)
    found = portfolios_of(panel_of(market, np.ones((100, 12))), market.frames, Settings())
    # All values share the middle fifth.
    empty = [found.portfolios[at].traded for at in (0, 1, 3, 4)]
    assert empty == [0.0] * 4
    middle, everything = found.portfolios[2], found.portfolios[6]
    assert middle.gross == everything.gross
    assert middle.traded < 0.05
    assert math.isnan(found.spread_error.se)


def test_what_does_not_trade_earns_nothing_and_jumps_do_not_count():
    market = noise_market(24, symbols=12, sessions=100)
    steps = np.clip(market.steps, -0.03, 0.03)
    steps[50, 0] = math.log(3)
    market = MadeMarket(steps)
    market.names[0] = "600000.SH"
    frames = dict(market.frames)
    assert frames["600000.SH"].jumps[50]
    second = market.names[1]
    frames[second] = frames[second].part(0, 70)
    panel = Panel.of(as_rows(market.rows(slow_values(24, market))), frames, Settings())
    returns = session_returns(panel, frames)
    column = [part.symbol for part in panel.symbols].index
    assert returns[50, column("600000.SH")] == 0
    assert (returns[70:, column(second)] == 0).all()
    assert returns[69, column(second)] == pytest.approx(math.expm1(steps[69, 1]))


@pytest.mark.parametrize("thin", ["symbols", "sessions", "gaps", "nothing"])
def test_thin_sessions_are_refused_with_a_reason(thin):
    market = noise_market(25, symbols=9 if thin == "symbols" else 12, sessions=200)
    values = slow_values(25, market)
    if thin == "sessions":
        values[59:] = np.nan
    if thin == "gaps":
        values[np.arange(200) % 3 > 0] = np.nan
    if thin == "nothing":
        values[:] = np.nan
    found = portfolios_of(panel_of(market, values), market.frames, Settings())
    assert (found.portfolios, found.worth) == ([], [])
    ranked, span = {"symbols": (0, 0), "sessions": (59, 59), "gaps": (67, 199), "nothing": (0, 0)}[thin]
    assert found.reason.startswith(f"{ranked} of {span} sessions have 10 or more values")
