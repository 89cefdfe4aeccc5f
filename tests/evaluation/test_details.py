"""The details as a whole: values of any origin, odd markets, nothing lost, and the figures of alphalens."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.synthetic import random_walk
from kline_core.errors import InputError
from kline_core.evaluation.evaluate import evaluate_frame, evaluate_values
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.evaluation.mean_errors import newey_west
from kline_core.settings import Settings
from tests.support.frames import plain
from tests.support.homes import make_home
from tests.support.made_markets import MadeMarket, noise_market, slow_values
from tests.support.values import FINGERPRINT, store, value_rows


@pytest.fixture(scope="module")
def market():
    return noise_market(31, symbols=16, sessions=260)


@pytest.fixture(scope="module")
def rows(market):
    values = slow_values(31, market).round(2)
    values[50:60, 3] = np.nan
    return market.rows(values)


@pytest.fixture(scope="module")
def found(market, rows):
    return evaluate_frame(rows, market.frames, tried=3)


def test_losses_add_up(market, rows, found):
    lost = found.details.losses
    parts = lost.failed + lost.without_bar + lost.across_jumps + lost.not_known_yet + lost.thin + lost.used
    assert lost.samples == parts == len(rows) == found.samples
    assert (lost.failed, lost.not_known_yet, lost.thin) == (10, 16 * 6, 0)
    stray = pd.DataFrame({"symbol": ["GONE", "M0000"], "date": ["2015-01-06", "2015-01-10"], "value": [0.5, 0.5]})
    stray["date"] = stray["date"].astype("datetime64[s]")
    few = rows[(rows["symbol"] < "M0004") | (rows["date"] < market.days[100])]
    both = evaluate_frame(pd.concat([few.assign(date=few["date"].astype("datetime64[s]")), stray]), market.frames)
    lost = both.details.losses
    assert (lost.without_bar, lost.thin > 0) == (2, True)
    assert lost.samples == lost.failed + 2 + lost.across_jumps + lost.not_known_yet + lost.thin + lost.used


def test_errors_are_those_of_the_ic_by_session(market, rows, found):
    returns = market.ahead(5)
    session = np.tile(np.arange(260), 16)
    ic = cross_section_rank_ic(session, rows["value"].to_numpy(), returns.T.ravel(), 6, 5)
    assert found.details.icir == pytest.approx(ic.value / ic.by_session.std(ddof=1))
    assert found.details.newey_west.se == pytest.approx(newey_west(ic.by_session, 6).se)
    assert found.details.tries.tried == 3
    assert found.details.tries.p == found.horizons[1].p


@pytest.mark.slow
def test_the_order_and_the_form_of_rows_say_nothing(market, rows, found):
    mixed = pa.Table.from_pandas(rows.sample(frac=1, random_state=1), preserve_index=False)
    assert evaluate_frame(mixed, market.frames, tried=3).to_dict() == found.to_dict()


def test_without_details_the_rest_is_the_same(market, rows, found):
    plain = evaluate_frame(rows, market.frames, details=False)
    assert plain.details is None
    assert plain.to_dict() == replace(found, details=None).to_dict()
    assert "Beside the verdict" not in plain.markdown()


def test_json_text_and_page_hold_the_details(found):
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    details = document["details"]
    assert details["tries"]["tried"] == 3
    assert details["decay"]["points"][0]["bars"] == 1
    assert details["losses"]["samples"] == found.samples
    for said in (found.text(), found.markdown()):
        assert found.details.tries.warning in said
        for line in found.details.lines():
            assert line in said
        for title, _, _ in found.details.tables():
            assert title in said


@pytest.mark.parametrize("odd", ["one symbol", "constant", "all failed", "a few days", "gaps"])
def test_odd_homes_have_details_that_say_why(odd):
    market = noise_market(32, symbols=1 if odd == "one symbol" else 7, sessions=12 if odd == "a few days" else 90)
    values = slow_values(32, market)
    if odd == "constant":
        values[:] = 0.5
    if odd == "all failed":
        values[:] = np.nan
    frames = dict(market.frames)
    if odd == "gaps":
        first = market.names[0]
        bars = frames[first]
        whole = bars.part(0, 30), bars.part(60, 90)
        cells = [np.concatenate([getattr(part, name) for part in whole]) for name in type(bars).__slots__[1:]]
        frames[first] = type(bars)(bars.symbol, *cells)
    found = evaluate_frame(market.rows(values), frames)
    json.dumps(found.to_dict(), allow_nan=False)
    details = found.details
    lost = details.losses
    parts = lost.failed + lost.without_bar + lost.across_jumps + lost.not_known_yet + lost.thin + lost.used
    assert parts == lost.samples
    assert details.portfolios.reason is not None
    assert details.changes == []
    assert math.isnan(details.permutation_p)
    assert found.text()
    assert found.markdown()


@pytest.mark.slow
def test_settings_tried_are_counted_in_the_home(tmp_path):
    frame = plain(random_walk(6, 60, seed=3))
    home = make_home(tmp_path / "home", frame)
    days = np.unique(frame["date"].to_numpy())
    for fingerprint in (FINGERPRINT, "another", "a third"):
        for symbol in frame["symbol"].unique():
            store(home, value_rows(symbol, days[:50], np.linspace(0, 1, 50)), fingerprint)
    found = evaluate_values(home, fingerprint=FINGERPRINT)
    assert found.details.tries.tried == 3
    assert "3 settings were tried in this home" in found.text()
    # The same figures as for a frame of the same values.
    mine = home.read("factors", ["symbol", "date", "value"], fingerprint=FINGERPRINT)
    same = evaluate_frame(mine, bars_by_symbol(home.read("bars")), Settings(), name=FINGERPRINT, tried=3)
    assert same.to_dict() == found.to_dict()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ic_and_returns_by_quantile_are_those_of_alphalens():
    from alphalens.performance import factor_information_coefficient, mean_return_by_quantile

    rng = np.random.default_rng(5)
    market = MadeMarket(rng.normal(0, 0.01, (150, 20)))
    values = rng.random((150, 20))
    found = evaluate_frame(market.rows(values), market.frames)
    simple = np.expm1(market.ahead(5))
    known = ~np.isnan(simple)
    session, symbol = np.nonzero(known)
    index = pd.MultiIndex.from_arrays([pd.DatetimeIndex(market.days)[session], symbol], names=["date", "asset"])
    fifth = pd.DataFrame(values).rank(axis=1).sub(1).floordiv(4).add(1).to_numpy()
    data = pd.DataFrame(
        {"5D": simple[known], "factor": values[known], "factor_quantile": fifth[known].astype(int)}, index=index
    )
    ic = factor_information_coefficient(data)["5D"]
    main = found.horizons[1]
    assert main.rank_ic.value == pytest.approx(ic.mean(), abs=1e-9)
    assert found.details.icir == pytest.approx(ic.mean() / ic.std(), rel=1e-6)
    means = mean_return_by_quantile(data, by_date=True, demeaned=True)[0]["5D"].groupby(level=0).mean()
    assert [group.mean for group in found.quantiles.groups] == pytest.approx(means.tolist(), abs=1e-8)


def test_values_that_cannot_be_judged_are_refused_by_row(market):
    days = pd.to_datetime(["2020-01-02", "2020-01-03"])
    rows = pd.DataFrame({"symbol": ["A", "A"], "date": days, "value": [0.5, np.inf]})
    with pytest.raises(InputError, match=r"the value of A on 2020-01-03.* is inf; values must lie between"):
        evaluate_frame(rows, market.frames)
    with pytest.raises(InputError, match="there is no row to evaluate"):
        evaluate_frame(rows.iloc[:0], market.frames)
