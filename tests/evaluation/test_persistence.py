"""Autocorrelation of values, beside alphalens and an autoregression whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest

from kline_core.evaluation.persistence import LAGS, autocorrelations


def drawn(keep, sessions=200, symbols=30, seed=0):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(sessions, symbols))
    for at in range(1, sessions):
        table[at] = keep * table[at - 1] + math.sqrt(1 - keep**2) * table[at]
    return table


def rows(table):
    sessions, symbols = table.shape
    return np.repeat(np.arange(symbols), sessions), np.tile(np.arange(sessions), symbols), table.T.ravel()


def test_an_autoregression_is_seen_as_one():
    for each in autocorrelations(*rows(drawn(0.9, symbols=300))):
        # Spearman's of normal numbers whose Pearson's is known.
        assert each.value == pytest.approx(6 / math.pi * math.asin(0.9**each.lag / 2), abs=0.03)
        assert each.sessions == 200 - each.lag


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_equal_to_alphalens():
    from alphalens.performance import factor_rank_autocorrelation

    table = drawn(0.7, sessions=60)
    symbol, session, values = rows(table)
    days = pd.bdate_range("2020-01-06", periods=60)
    index = pd.MultiIndex.from_arrays([days[session], symbol], names=["date", "asset"])
    data = pd.DataFrame({"factor": values, "factor_quantile": 1}, index=index).sort_index()
    for each in autocorrelations(symbol, session, values):
        assert each.value == pytest.approx(factor_rank_autocorrelation(data, each.lag).mean())


def test_gaps_constants_and_nothing():
    symbol, session, values = rows(drawn(0.9, sessions=40, symbols=6))
    values[session == 20] = np.nan
    first = autocorrelations(symbol, session, values)[0]
    assert first.sessions == 37
    few = autocorrelations(*rows(drawn(0.9, symbols=4)))
    nothing = autocorrelations(symbol[:0], session[:0], values[:0])
    constant = autocorrelations(symbol, session, np.ones(len(values)))
    for found in (few, nothing, constant):
        assert [(each.lag, each.sessions) for each in found] == [(lag, 0) for lag in LAGS]
        assert all(math.isnan(each.value) for each in found)


def test_the_symbol_before_is_no_session_before():
    """The first session of a symbol has none before it, even where the last of another would fit."""
    symbol = np.repeat(np.arange(6), 30)
    session = np.tile(np.arange(30), 6)
    order = np.random.default_rng(1).permutation(len(symbol))
    values = np.random.default_rng(2).random(len(symbol))
    one = autocorrelations(symbol, session, values)
    assert one[0].sessions == 29
    assert autocorrelations(symbol[order], session[order], values[order]) == one
