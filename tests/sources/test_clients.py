"""Each source through its vendor's own client: what comes out of a vendor's answers, and what it asks for."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.members import membership
from kline_core.errors import SourceError
from kline_core.sources import akshare, tushare
from kline_core.sources.fetch_report import FetchReport, NothingFetchedError
from kline_core.sources.registry import SOURCES
from kline_core.store.home import Home
from tests.support.vendors import MAINLAND, TOKEN, US, Vendor, bars_of

Fetch = Callable[..., FetchReport]
Lead = Callable[..., None]
# Loading the clients takes seconds.
pytestmark = pytest.mark.slow
ASKED = {
    "akshare": ("akshare:600519,000001", MAINLAND[:2]),
    "baostock": ("baostock:600519,000001", MAINLAND[:2]),
    "tushare": ("tushare:600519,000001", MAINLAND[:2]),
    "yfinance": ("yfinance:AAPL,BRK-B", [US[0], US[2]]),
}
VOLUME = 1e-9
"""Relative error of a volume that went through lots and back."""


def stored(home: Home) -> pd.DataFrame:
    return home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)


def changes(factor: pd.Series) -> np.ndarray:
    values = factor.to_numpy()
    return values[1:] / values[:-1]


@pytest.fixture(params=ASKED)
def source(request: pytest.FixtureRequest, lead: Lead) -> str:
    lead(request.param)
    return request.param


def test_bars_and_dividends_are_the_vendors(source: str, fetch: Fetch, home: Home, vendor: Vendor) -> None:
    text, names = ASKED[source]
    found = fetch(text)
    assert (found.fetched, found.failed) == (2, {})
    assert vendor.most_at_once <= SOURCES[source]().limits.at_once
    assert found.bars is not None
    assert (found.bars.read, found.bars.stored_new, found.bars.rejected) == (240, 240, 0)
    assert (found.bars.unadjusted, found.bars.notes, found.bars.mended) == ([], {}, {})
    rows = stored(home)
    for name in names:
        own, theirs = rows[rows["symbol"] == name], vendor.bars[name]
        assert own["date"].astype("datetime64[s]").tolist() == theirs["day"].tolist()
        for column in ("open", "high", "low", "close", "volume"):
            np.testing.assert_allclose(own[column], theirs[column], rtol=VOLUME)
        if source != "yfinance":
            np.testing.assert_allclose(own["amount"], theirs["amount"], rtol=1e-6)
        # Each day's change, as the exchange has it; rounding is no dividend.
        paid = np.flatnonzero(changes(theirs["factor"]) != 1)
        assert np.flatnonzero(changes(own["adj_factor"]) != 1).tolist() == paid.tolist()
        np.testing.assert_allclose(changes(own["adj_factor"]), changes(theirs["factor"]), rtol=1e-5)


def test_day_by_day_over_a_dividend_is_as_all_at_once(
    source: str, fetch: Fetch, home: Home, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text, names = ASKED[source]
    for day in vendor.bars[names[0]]["day"].iloc[-4:-1]:
        found = fetch(text, last := str(day.date()))
        assert found.failed == {}
        assert found.bars is not None
        # Nothing that was stored is touched, though Yahoo has adjusted its past anew and hfq prices begin elsewhere.
        assert (found.bars.updated, found.bars.restated, found.whole) == (0, [], [])
    whole = Home(tmp_path_factory.mktemp("whole") / "home", create=True)
    fetch(text, last, home=whole)
    pd.testing.assert_frame_equal(stored(home), stored(whole), check_exact=True)


def test_a_failure_that_passes_leaves_no_trace(source: str, fetch: Fetch, vendor: Vendor) -> None:
    text, names = ASKED[source]
    # A page in the place of data; baostock's server speaks no HTTP.
    vendor.faults[names[0]] = ["hang up" if source == "baostock" else "page", "error"]
    assert fetch(text).failed == {}


def test_as_many_at_once_as_tushare_bears(lead: Lead, fetch: Fetch, vendor: Vendor) -> None:
    import threading

    lead("tushare")
    # Each request waits for three others.
    vendor.gate = threading.Barrier(tushare.Tushare.limits.at_once)
    assert fetch("tushare:" + ",".join(MAINLAND)).fetched == 4
    assert vendor.most_at_once == tushare.Tushare.limits.at_once == 4


def test_a_correction_deep_in_the_past_brings_the_whole_history(
    lead: Lead, fetch: Fetch, home: Home, vendor: Vendor
) -> None:
    lead("tushare")
    fetch("tushare:600519", "2024-06-20")
    frame = vendor.bars["600519.SH"]
    days = frame["day"][frame["day"] <= "2024-06-20"]
    # A split that the vendor had missed, between the first stored day that is asked for again and the next.
    early = frame["day"] <= days.iloc[-10]
    vendor.bars["600519.SH"] = frame.assign(factor=frame["factor"].where(~early, frame["factor"] / 2))
    found = fetch("tushare:600519", "2024-06-28")
    assert (found.whole, found.failed, found.fetched) == (["600519.SH"], {}, 1)
    assert found.bars is not None
    assert found.bars.rejected == 0
    own = stored(home)
    np.testing.assert_allclose(changes(own["adj_factor"]), changes(vendor.bars["600519.SH"]["factor"]), rtol=1e-5)
    assert any(line.startswith("1 symbols were fetched whole, since") for line in found.lines())
    # What is fetched twice is looked at once.
    assert found.bars.quality is not None
    assert (found.bars.quality.symbols, found.bars.quality.rows) == (1, len(own))


def test_a_split_of_yahoos_goes_on_from_what_is_stored(lead: Lead, fetch: Fetch, home: Home, vendor: Vendor) -> None:
    lead("yfinance")
    fetch("yfinance:AAPL", "2024-06-20")
    frame = vendor.bars["AAPL"]
    # Two for one after the 24th: Yahoo halves its whole past.
    before = frame["day"] <= "2024-06-24"
    halved = {name: frame[name].where(~before, frame[name] / 2) for name in ("open", "high", "low", "close")}
    vendor.bars["AAPL"] = frame.assign(**halved)
    found = fetch("yfinance:AAPL", "2024-06-28")
    assert (found.failed, found.fetched) == ({}, 1)
    own = stored(home)
    adjusted = own["close"] * own["adj_factor"]
    theirs = vendor.bars["AAPL"]["close"] * vendor.bars["AAPL"]["factor"]
    np.testing.assert_allclose(changes(adjusted), changes(theirs), rtol=1e-5)


def test_prices_without_their_adjusted_ones_are_refused(
    lead: Lead, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead("akshare")
    real = akshare.client("akshare", "akshare").stock_zh_a_hist

    def without(**asked: object) -> pd.DataFrame:
        return real(**asked) if asked["adjust"] == "" else pd.DataFrame()

    monkeypatch.setattr("akshare.stock_zh_a_hist", without)
    with pytest.raises(NothingFetchedError, match=r"akshare gave raw prices of 600519.SH and no adjusted ones"):
        fetch("akshare:600519")


# Members.


def test_akshare_tells_todays_members_alone(lead: Lead, fetch: Fetch, home: Home) -> None:
    lead("akshare")
    found = fetch("akshare:csi300")
    assert (found.asked, found.fetched) == (3, 3)
    assert membership(home, "csi300").members == [frozenset(MAINLAND[1:])]
    assert found.bias is not None
    assert "survivorship bias: members of csi300 are known from 2024-06-29 on, and akshare does not tell" in found.bias
    with pytest.raises(Exception, match="akshare tells the members of today alone; baostock, tushare tell earlier"):
        fetch("akshare:csi300", members_since=np.datetime64("2024-01-01", "D"))


def test_akshare_tells_all_shares_of_three_exchanges(lead: Lead, fetch: Fetch, vendor: Vendor, home: Home) -> None:
    lead("akshare")
    vendor.bars = {name: vendor.bars[name] for name in MAINLAND} | {"688001.SH": vendor.bars[MAINLAND[0]]}
    found = fetch("akshare:all")
    assert membership(home, "all").members == [frozenset([*MAINLAND, "688001.SH", "920001.BJ"])]
    assert (found.fetched, list(found.failed)) == (5, ["920001.BJ"])
    # It would remember its first answers.
    del vendor.bars["688001.SH"], vendor.bars["000001.SZ"]
    vendor.bars["688002.SH"] = vendor.bars["300750.SZ"]
    assert fetch("akshare:all").asked == 7


def test_tushare_tells_members_by_month(lead: Lead, fetch: Fetch, home: Home) -> None:
    lead("tushare")
    found = fetch("tushare:csi300", members_since=np.datetime64("2024-02-10", "D"))
    kept = membership(home, "csi300")
    assert [str(day) for day in kept.dates] == [
        *("2023-12-01", "2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01"),
        "2024-06-29",
    ]
    assert kept.members[2:4] == [frozenset(MAINLAND[:3]), frozenset(MAINLAND[1:])]
    assert found.asked == 4


def test_tushare_tells_all_that_are_listed(lead: Lead, fetch: Fetch, vendor: Vendor) -> None:
    lead("tushare")
    vendor.bars = {name: vendor.bars[name] for name in MAINLAND}
    assert fetch("tushare:all").fetched == 4


# Tokens.


def test_the_token_is_sent_and_never_said(
    lead: Lead, fetch: Fetch, vendor: Vendor, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    lead("tushare")
    vendor.faults[MAINLAND[0]] = ["error"] * 99
    with caplog.at_level(logging.DEBUG):
        found = fetch("tushare:600519,000001")
    assert vendor.tokens == {TOKEN}
    assert list(found.failed) == [MAINLAND[0]]
    said = caplog.text + "".join(capsys.readouterr()) + str(found.to_dict())
    assert said.count("attempt 4 failed") == 1
    assert TOKEN not in said


def test_a_wrong_token_is_asked_once(lead: Lead, fetch: Fetch, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    lead("tushare")
    monkeypatch.setenv("TUSHARE_TOKEN", "a-token-that-is-wrong")
    with pytest.raises(NothingFetchedError) as caught:
        fetch("tushare:" + ",".join(MAINLAND))
    reasons = caught.value.report.failed.values()
    assert any("tushare refuses daily: 您的token不对" in reason for reason in reasons)
    assert all("check TUSHARE_TOKEN" in reason for reason in reasons)
    assert not any("a-token-that-is-wrong" in reason for reason in reasons)
    assert len(vendor.asked) <= tushare.Tushare.limits.at_once
    with pytest.raises(SourceError, match="tushare refuses index_weight"):
        fetch("tushare:csi300")


def test_a_long_history_is_asked_for_in_pieces(lead: Lead, fetch: Fetch, vendor: Vendor, home: Home) -> None:
    lead("tushare")
    vendor.bars = {"600519.SH": bars_of("600519.SH", 6500, 3)}
    fetch("tushare:600519")
    assert len(stored(home)) == 6500
    # 1990 to 2024 in pieces of twenty years, each of prices and factors.
    assert vendor.count()["600519.SH"] == 4
