"""Quality of bars: each kind of finding, alone, from bars that are otherwise sound."""

import json

import numpy as np
import pandas as pd
import pytest

from kline_core.api.data import ingest
from kline_core.api.quality import check
from kline_core.bars.quality_report import KINDS
from kline_core.bars.sessions import sessions_until
from kline_core.errors import InputError, UnknownSymbolError
from kline_core.store.home import Home
from tests.support.homes import make_home

DAYS = 40
SYMBOLS = [f"60{number:04d}.SH" for number in range(8)]


def sound(symbols=SYMBOLS, days=DAYS, last="2024-06-28") -> pd.DataFrame:
    sessions = sessions_until(np.datetime64(last, "D"), days, "XSHG")
    parts = []
    for number, symbol in enumerate(symbols):
        close = 10 + 0.1 * ((np.arange(days) * (number + 3)) % 7)
        part = pd.DataFrame({"symbol": symbol, "date": sessions.astype("datetime64[s]"), "close": close})
        volume = 1e6 + 1000.0 * np.arange(days)
        parts.append(part.assign(open=close, high=close + 0.05, low=close - 0.05, volume=volume, amount=close * volume))
    return pd.concat(parts, ignore_index=True).assign(adj_factor=1.0, suspended=False)


def checked(tmp_path, frame, **options):
    home = make_home(tmp_path / "home", frame)
    home.set_note("market", "CN")
    report = check(home, **options)
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.headline in report.text()
    assert report.headline in report.markdown()
    # Words are read from the left, and a long one is not cut off at its beginning.
    assert "---:|" not in report.markdown()
    return report


def only(report, kind) -> list[dict]:
    assert set(report.findings["kind"]) == {kind}
    return report.findings.to_dict("records")


def test_sound_bars_have_no_findings(tmp_path):
    report = checked(tmp_path, sound())
    assert (len(report.findings), report.problems) == (0, 0)
    assert (report.symbols, report.rows, report.suspended) == (8, 8 * DAYS, 0)
    assert (report.expected, report.present) == (8 * DAYS, 8 * DAYS)
    assert "coverage 100.00 %" in report.text()
    assert set(report.findings["kind"]) <= set(KINDS)


def test_a_hole_is_named_with_its_sessions(tmp_path):
    frame = sound()
    days = frame["date"].unique()
    gone = (frame["symbol"] == SYMBOLS[2]) & frame["date"].isin(days[10:13])
    report = checked(tmp_path, frame[~gone])
    (found,) = only(report, "hole")
    assert (found["symbol"], found["value"]) == (SYMBOLS[2], 3)
    assert (found["first"], found["last"]) == (str(days[10])[:10], str(days[12])[:10])
    assert (report.expected, report.present) == (8 * DAYS, 8 * DAYS - 3)
    assert report.problems == 0


def test_a_day_that_many_symbols_lack_is_a_problem(tmp_path):
    frame = sound()
    day = frame["date"].unique()[20]
    gone = (frame["date"] == day) & frame["symbol"].isin(SYMBOLS[:6])
    report = checked(tmp_path, frame[~gone])
    lost = report.findings[report.findings["kind"] == "lost day"]
    assert lost[["first", "value"]].to_numpy().tolist() == [[str(day)[:10], 6]]
    assert report.counts == {"lost day": 1, "hole": 6}
    assert report.problems == 1


def test_days_on_which_many_are_suspended_for_long_are_no_lost_days(tmp_path):
    frame = sound()
    days = frame["date"].unique()
    gone = frame["date"].isin(days[8:30]) & frame["symbol"].isin(SYMBOLS[:4])
    assert checked(tmp_path, frame[~gone]).counts == {"hole": 4}


def test_a_symbol_without_newer_bars_is_stale(tmp_path):
    frame = sound()
    days = frame["date"].unique()
    gone = (frame["symbol"] == SYMBOLS[0]) & (frame["date"] > days[DAYS - 12])
    (found,) = only(checked(tmp_path, frame[~gone]), "stale")
    assert (found["symbol"], found["first"], found["value"]) == (SYMBOLS[0], str(days[DAYS - 12])[:10], 11)


@pytest.mark.slow
def test_equal_bars_are_reported_from_three_on(tmp_path):
    frame = sound()
    columns = ["open", "high", "low", "close", "volume", "amount"]
    frame.loc[11:12, columns] = frame.loc[10, columns].to_numpy()
    frame.loc[DAYS + 11, columns] = frame.loc[DAYS + 10, columns].to_numpy()
    (found,) = only(checked(tmp_path, frame), "repeated")
    assert (found["symbol"], found["value"]) == (SYMBOLS[0], 3)


@pytest.mark.parametrize("times", [0.01, 100.0, 10_000.0])
def test_amounts_tell_a_volume_in_another_unit(tmp_path, times):
    frame = sound()
    part = frame.index[frame["symbol"] == SYMBOLS[1]][5:]
    frame.loc[part, "volume"] /= times
    (found,) = only(checked(tmp_path, frame), "unit")
    assert (found["symbol"], found["value"]) == (SYMBOLS[1], times)
    assert f"on {DAYS - 5} of {DAYS} days" in found["what"]


def test_without_amounts_a_step_of_a_hundred_tells(tmp_path):
    frame = sound(days=80).assign(amount=np.nan)
    frame.loc[(frame["symbol"] == SYMBOLS[1]) & (frame["date"] >= "2024-05-01"), "volume"] *= 100
    (found,) = only(checked(tmp_path, frame), "unit")
    assert (found["symbol"], found["first"]) == (SYMBOLS[1], "2024-05-01")


def test_jumps_and_what_looks_like_a_split(tmp_path):
    frame = sound([*SYMBOLS, "AAPL"])
    days = [str(day)[:10] for day in frame["date"].unique()]
    prices = ["open", "high", "low", "close", "amount"]
    for symbol in (SYMBOLS[3], "AAPL"):
        rows = frame.index[(frame["symbol"] == symbol) & (frame["date"] >= days[15])]
        frame.loc[rows, prices] /= 2
    report = checked(tmp_path, frame)
    assert report.counts == {"jump": 1, "split": 1}
    jump, split = report.findings.to_dict("records")
    assert (jump["symbol"], jump["first"]) == (SYMBOLS[3], days[15])
    assert "beyond the limit of 10 %" in jump["what"]
    assert (split["symbol"], split["first"]) == ("AAPL", days[15])
    assert "like a split 2 for 1" in split["what"]


@pytest.mark.slow
def test_a_part_of_the_days_shows_what_the_whole_shows_of_them(tmp_path):
    frame = sound(days=120)
    days = [str(day)[:10] for day in frame["date"].unique()]
    prices = ["open", "high", "low", "close", "amount"]
    for at, symbol in ((3, SYMBOLS[1]), (20, SYMBOLS[2]), (100, SYMBOLS[3])):
        frame.loc[(frame["symbol"] == symbol) & (frame["date"] >= days[at]), prices] *= 2
    new = (frame["symbol"] == SYMBOLS[4]) & (frame["date"] < days[98])
    frame = frame[~new]
    frame.loc[(frame["symbol"] == SYMBOLS[4]) & (frame["date"] >= days[101]), prices] *= 2
    home = make_home(tmp_path / "home", frame)
    home.set_note("market", "CN")
    whole = check(home).findings
    assert whole["kind"].tolist() == ["jump", "jump"]
    for first in (days[0], days[20], days[21], days[99], days[101]):
        part = check(home, first=first).findings
        expected = whole[whole["first"] >= first].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, expected, check_dtype=False)


def test_days_that_are_no_session(tmp_path):
    frame = sound()
    extra = frame.iloc[[5]].assign(date=pd.Timestamp("2024-05-04"))
    (found,) = only(checked(tmp_path, pd.concat([frame, extra])), "off session")
    assert (found["first"], found["what"]) == ("2024-05-04", "a Saturday, no session of XSHG: rows of 1 symbol")


@pytest.mark.slow
def test_another_vendor_beside_the_stored_bars(tmp_path):
    frame = sound()
    other = frame.drop(columns=["suspended"]).assign(volume=frame["volume"].round(-2))
    assert checked(tmp_path / "same", frame, against=other).counts == {}
    other.loc[7, ["high", "close"]] = [10.9, 10.8]
    other.loc[other["symbol"] == SYMBOLS[1], "volume"] /= 100
    other.loc[(other["symbol"] == SYMBOLS[2]) & (other["date"] >= "2024-06-03"), "adj_factor"] = 1.25
    other.loc[other["symbol"] == SYMBOLS[5], "symbol"] = "605000.SH"
    report = checked(tmp_path / "other", frame, against=other)
    found = {(row["symbol"], row["what"].split(":")[0]): row for row in only(report, "difference")}
    assert set(found) == {
        (SYMBOLS[0], "high"),
        (SYMBOLS[0], "close"),
        (SYMBOLS[1], "volume"),
        (SYMBOLS[2], "adjustment"),
        ("605000.SH", f"{DAYS} bars there, none of these days here"),
    }
    assert found[SYMBOLS[2], "adjustment"]["value"] == pytest.approx(0.25)
    assert "1 of 40 days" in found[SYMBOLS[0], "close"]["what"]
    assert report.against == 8 * DAYS
    with pytest.raises(InputError, match="other vendor's bars cannot be read"):
        check(tmp_path / "other" / "home", against=frame[["symbol", "date"]])


@pytest.mark.slow
def test_an_ingest_reports_on_its_days_and_again_on_none(tmp_path):
    frame = sound()
    home = Home(tmp_path / "home", create=True)
    days = frame["date"].unique()
    first, second = (
        frame[rows].drop(columns="suspended") for rows in (frame["date"] < days[30], frame["date"] >= days[30])
    )
    report = ingest(home, [first])
    assert report.quality is not None
    assert (report.quality.rows, report.quality.problems, report.quality.calendar) == (8 * 30, 0, "XSHG")
    second = second.copy()
    second.loc[second["symbol"] == SYMBOLS[0], ["open", "high", "low", "close", "amount"]] *= 2
    quality = ingest(home, [second]).quality
    assert quality is not None
    assert (quality.rows, quality.counts) == (8 * 10, {"jump": 1})
    assert ingest(home, [second]).quality is None


@pytest.mark.slow
def test_unknown_symbols_and_empty_homes(tmp_path):
    home = make_home(tmp_path / "home", sound())
    with pytest.raises(UnknownSymbolError, match="600519"):
        check(home, "600519")
    assert check(home, "600003").symbols == 1
    empty = check(Home(tmp_path / "empty", create=True))
    assert (empty.symbols, empty.rows, empty.first, empty.problems) == (0, 0, None, 0)
    assert empty.text()
