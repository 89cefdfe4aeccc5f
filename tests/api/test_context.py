"""Context beside values: as a frame, in a file, and on the command line."""

import json

import numpy as np
import pandas as pd
import pytest

import kline_core as kl
from kline_core.errors import SettingError, UnknownSymbolError
from kline_core.factor.context import CONTEXT
from tests.support.command import ask, refused
from tests.support.homes import make_home, market


@pytest.fixture(scope="module")
def amounts(tmp_path_factory):
    """A home with amounts, a suspended day, and a symbol that has too few bars."""
    frame = market(3, 100).assign(amount=np.arange(300.0))
    frame.loc[50, "suspended"] = True
    frame.loc[60, "amount"] = np.nan
    frame = frame[(frame["symbol"] != "S00002") | (frame.groupby("symbol").cumcount() >= 90)]
    return make_home(tmp_path_factory.mktemp("context") / "home", frame), frame


def test_one_row_for_each_day_that_is_asked_for(amounts):
    home, frame = amounts
    days = frame["date"].to_numpy()
    seen = kl.context(home, dates={"S00000": [days[50], days[60], days[99], "1999-01-04"], "S00001": [days[99]]})
    assert seen.columns.tolist() == ["symbol", "date", *CONTEXT]
    assert seen["symbol"].tolist() == ["S00000"] * 4 + ["S00001"]
    assert seen["date"].dt.strftime("%Y").tolist()[0] == "1999"
    # Before all bars, on a suspended day, without an amount, and on the last day.
    assert seen["turnover"].isna().tolist() == [True, True, True, False, False]
    assert seen["turnover"].tolist()[3:] == [99.0, 199.0]
    assert seen.iloc[0][list(CONTEXT)].isna().all()
    assert seen.iloc[1][["regime", "cmf", "mfi", "obv_slope", "volume_ratio"]].isna().all()
    assert seen.iloc[3][list(CONTEXT)].notna().all()
    assert seen["market_regime"].nunique() <= 3


def test_all_days_of_a_symbol(amounts):
    home, frame = amounts
    few = kl.context(home, "S00002")
    assert len(few) == 10
    assert few["regime"].isna().all()
    assert few["market_regime"].iloc[-1] in ("bull", "bear", "ranging")
    assert len(kl.context(home)) == len(frame) - 1


def test_what_is_no_symbol_or_named_twice_is_refused(amounts):
    home, _ = amounts
    with pytest.raises(UnknownSymbolError, match="'NOPE' has no bars"):
        kl.context(home, "NOPE")
    with pytest.raises(UnknownSymbolError, match="'NOPE' has no bars"):
        kl.context(home, dates={"NOPE": ["2020-01-06"]})
    with pytest.raises(SettingError, match="leave symbols away"):
        kl.context(home, "S00000", dates={"S00000": ["2020-01-06"]})


@pytest.mark.slow
@pytest.mark.long
def test_values_carry_their_context_on_request(home, tmp_path, capsys):
    result = kl.read_factor(home)
    beside = result.context
    assert beside[["symbol", "date"]].equals(result.frame[["symbol", "date"]])
    alone = kl.context(home, dates=result.frame)
    pd.testing.assert_frame_equal(beside, alone)

    place = ["--home", home.uri, "export"]
    plain, more = tmp_path / "plain.parquet", tmp_path / "more.parquet"
    assert ask(capsys, *place, str(plain))[0] == 0
    assert ask(capsys, *place, str(more), "--context")[0] == 0
    without, with_context = pd.read_parquet(plain), pd.read_parquet(more)
    assert with_context.columns.tolist() == [*without.columns, *CONTEXT]
    pd.testing.assert_frame_equal(with_context[without.columns], without)
    pd.testing.assert_frame_equal(with_context[list(CONTEXT)], beside[list(CONTEXT)], check_dtype=False)
    line = refused(capsys, *place, str(more), "--context", "--format", "wide")
    assert "--context adds columns to rows, and --format is wide; use --format long" in line


@pytest.mark.slow
def test_a_match_says_it_too(home, capsys):
    words = ["--home", home.uri, "match", "AAPL", "2008-10-10"]
    plain = json.loads(ask(capsys, "--json", *words)[1])
    more = json.loads(ask(capsys, "--json", *words, "--context")[1])
    found = more.pop("context")
    assert more == plain
    assert tuple(found) == CONTEXT
    assert (found["regime"], found["market_regime"]) == ("bear", "bear")
    text = ask(capsys, *words, "--context")[1]
    assert "context, on which no value depends: symbol bear (60 bars: -" in text
    assert f"MFI {found['mfi']:.0f}, turnover -" in text
