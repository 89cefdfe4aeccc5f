"""The market that a home keeps from its first bars, and old homes that have none."""

import pandas as pd
import pytest

from kline_core.bars.home_market import market_of_all, named_market, noted_market, of_another_market
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.errors import SettingError
from kline_core.markets import MARKETS
from kline_core.store.home import Home
from tests.support.homes import market
from tests.support.reads import reads_of_files
from tests.support.tables import bar_rows

FRAME = market(1, 5).drop(columns=["amount", "adj_factor", "suspended"], errors="ignore")


def rows(*symbols):
    frames = [FRAME.assign(symbol=symbol) for symbol in symbols]
    return frames


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home", create=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("symbols", "name"),
    [
        (["600519.SH", "000001.SZ", "430047.BJ"], "CN"),
        (["AAPL", "BRK.B", "^GSPC"], "US"),
        (["7203.T"], "JP"),
        (["AAPL", "600519.SH"], None),
        (["^GSPC"], None),
    ],
)
def test_the_market_follows_from_the_first_symbols(home, symbols, name):
    report = ingest(rows(*symbols), home)
    assert report.market == name == (noted_market(home.notes()).name if noted_market(home.notes()) else None)
    assert report.stored_new == 5 * len(symbols)


@pytest.mark.parametrize(
    ("market", "calendar", "other"),
    [
        ("CN", "XSHG", False),
        ("CN", "XNYS", True),
        ("US", "XSHG", True),
        ("US", None, False),
        # Of no market that is known, or of none at all: their bars tell.
        ("US", "CMES", False),
        (None, "XNYS", False),
    ],
)
def test_calendars_of_other_markets(market, calendar, other):
    why = of_another_market(MARKETS.get(market), calendar)
    assert why == (
        f"this home is of the market {market} ({MARKETS[market].calendar}) and holds no bars of {calendar}"
        if other
        else None
    )


@pytest.mark.slow
def test_symbols_of_another_market_are_rejected_and_the_others_go_in(home):
    ingest(rows("AAPL"), home)
    report = ingest(rows("600519.SH", "MSFT", "^GSPC"), home)
    assert (report.stored_new, report.rejected) == (10, 5)
    assert set(report.rejections["reason"]) == {
        "symbol is of the market CN, and this home is of US; keep each market in a home of its own"
    }
    with pytest.raises(NothingUsableError, match="symbol is of the market JP"):
        ingest(rows("7203.T"), home)


@pytest.mark.slow
def test_a_named_market_holds_from_then_on(home):
    ingest(rows("AAPL", "600519.SH"), home)
    assert ingest(rows("MSFT"), home, market=MARKETS["US"]).market == "US"
    assert noted_market(home.notes()) == MARKETS["US"]
    with pytest.raises(SettingError, match=r"market is CN, and home .* is of US"):
        ingest(rows("600519.SH"), home, market=MARKETS["CN"])


@pytest.mark.slow
def test_the_first_bars_of_a_named_market_must_be_of_it(home):
    report = ingest(rows("AAPL", "0700.HK"), home, market=MARKETS["HK"])
    assert (report.stored_new, report.rejected, report.market) == (5, 5, "HK")


def test_names_of_markets():
    assert named_market(" cn ") == MARKETS["CN"]
    with pytest.raises(SettingError, match="market is 'XX'; it must be one of AT, AU"):
        named_market("XX")
    assert market_of_all([]) is None


@pytest.mark.slow
def test_an_old_home_goes_on_under_its_own_names(home):
    """It stored symbols as they were written; another name would begin a second history."""
    for name in ("600519", "sh601006", "AAPL"):
        home.append("bars", bar_rows(name, 2))
    report = ingest(rows("600519", "601006.SH", "AAPL", "000001"), home)
    assert set(home.read("bars")["symbol"].to_pylist()) == {"600519", "sh601006", "AAPL", "000001.SZ"}
    assert report.market is None


@pytest.mark.slow
def test_an_old_home_goes_on_under_its_own_names_when_it_gets_a_market(home):
    home.append("bars", bar_rows("600519", 2))
    for _ in range(2):
        ingest([FRAME.assign(symbol="600519.SH", adj_factor=1.0)], home, market=MARKETS["CN"])
    assert set(home.read("bars")["symbol"].to_pylist()) == {"600519"}


@pytest.mark.slow
def test_an_old_name_is_found_in_whichever_file(home):
    """A name that is stored as it comes stays, though it is stored under an old one as well."""
    for name in ("600519", "601006"):
        home.append("bars", bar_rows(name, 300))
    for name in ("601006.SH", "AAPL"):
        home.append("bars", bar_rows(name, 1))
    delivered = rows("600519.SH", "601006.SH", "AAPL")
    report = ingest([frame.assign(adj_factor=1.0) for frame in delivered], home)
    assert report.symbols == ["600519", "601006.SH", "AAPL"]


@pytest.mark.slow
def test_a_day_of_symbols_that_the_home_knows_reads_no_history(home, monkeypatch):
    """Whose symbols are told by the file of the day before, whatever lies in the others."""
    names = ["AAPL", "600519.SH", "X1"]
    frames = [market(1, 300).drop(columns="suspended").assign(symbol=name) for name in names]
    (history,) = _files_of(home, [frame[:-2] for frame in frames])
    before = _files_of(home, [frame[-2:-1] for frame in frames])
    read = reads_of_files(monkeypatch)
    (new,) = _files_of(home, [frame[-1:] for frame in frames])
    assert history not in read
    assert read == dict.fromkeys((*before, new), 1)
    # A symbol that no file holds may be stored under another name in each of them.
    read.clear()
    ingest([frames[0][-1:].assign(symbol="X2")], home)
    assert read[history] == 1


def _files_of(home, frames):
    """The files that an ingest of frames adds."""
    held = home.files("bars")
    assert ingest(frames, home).market is None
    return home.files("bars").keys() - held.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("market", "code", "symbol"),
    [("HK", "00700", "0700.HK"), ("HK", "9988", "9988.HK"), ("JP", "7203", "7203.T"), ("US", "7203", "7203")],
)
def test_digits_alone_are_of_the_homes_exchange(home, market, code, symbol):
    ingest(rows(symbol), home, market=MARKETS[market])
    report = ingest(rows(code), home)
    assert (report.unchanged, report.rejected) == (5, 0)
    assert home.read("bars")["symbol"].unique().to_pylist() == [symbol]


@pytest.mark.slow
def test_the_market_of_the_same_delivery_tells_digits_too(home):
    report = ingest([rows("0700.HK")[0][:3], rows("00700")[0][2:]], home)
    assert (report.stored_new, report.rejected) == (5, 1)


@pytest.mark.long
def test_digits_that_several_exchanges_may_have_are_rejected(home):
    with pytest.raises(NothingUsableError) as error:
        ingest(rows("005930"), home, market=MARKETS["KR"])
    assert error.value.report.rejections["reason"].unique().tolist() == [
        "symbol is digits alone, and the market KR has several exchanges; write 005930.KS or 005930.KQ"
    ]
    assert ingest(rows("005930.KS"), home, market=MARKETS["KR"]).stored_new == 5


@pytest.mark.slow
def test_a_home_that_holds_digits_goes_on_with_them(home):
    ingest(rows("7203"), home)
    ingest(rows("7203"), home, market=MARKETS["JP"])
    assert ingest(rows("7203"), home).unchanged == 5
    assert home.read("bars")["symbol"].unique().to_pylist() == ["7203"]


@pytest.mark.slow
@pytest.mark.parametrize("market", [None, "US"])
def test_moments_of_an_index_are_days_of_the_homes_exchange(home, market):
    frame = pd.DataFrame(
        {
            "symbol": "^GSPC",
            "date": pd.to_datetime(["2024-01-02 21:00", "2024-01-04 01:00"]).tz_localize("UTC"),
            **dict.fromkeys(["open", "high", "low", "close"], 10.0),
            "volume": 5,
        }
    )
    if market is None:
        with pytest.raises(NothingUsableError, match="has a time zone, and the market of its symbol is not known"):
            ingest([frame], home)
        return
    ingest([frame], home, market=MARKETS[market])
    assert [str(day) for day in home.read("bars")["date"].to_pylist()] == ["2024-01-02", "2024-01-03"]
