"""How a fetch goes: increments, failures, kills, members. Through baostock's own client, which loads within moments."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.bars.expected_rows import OTHER_SYMBOL, TOO_EARLY
from kline_core.bars.members import membership
from kline_core.errors import SettingError, SourceError
from kline_core.sources import by_symbol
from kline_core.sources import fetch as fetching
from kline_core.sources.fetch import last_closed
from kline_core.sources.fetch_report import FetchReport, NothingFetchedError
from kline_core.sources.line import ATTEMPTS
from kline_core.sources.registry import SOURCES
from kline_core.store.home import Home
from tests.support.vendors import MAINLAND, NOW, Vendor, bars_of

Fetch = Callable[..., FetchReport]
LIST = "baostock:" + ",".join(name[:6] for name in MAINLAND)


@pytest.fixture(autouse=True)
def _led(lead: Callable[..., None]) -> None:
    lead("baostock")


def stored(home: Home) -> pd.DataFrame:
    return home.read("bars").to_pandas().sort_values(["symbol", "date"], ignore_index=True)


@pytest.mark.slow
def test_every_symbol_and_every_row_is_accounted_for(fetch: Fetch, home: Home) -> None:
    found = fetch(LIST)
    assert (found.asked, found.fetched, found.up_to_date, found.failed) == (4, 4, 0, {})
    assert found.bars is not None
    assert (found.bars.read, found.bars.stored_new, found.bars.rejected) == (480, 480, 0)
    assert [file.path for file in found.bars.files] == MAINLAND
    assert {file.layout for file in found.bars.files} == {"baostock"}
    assert found.bars.market == "CN"
    assert json.loads(json.dumps(found.to_dict()))["bars"]["read"] == 480
    assert found.lines()[0] == f"4 symbols of {LIST} until 2024-06-28 = 4 fetched + 0 up to date + 0 failed"
    assert found.bias is not None
    assert found.bias.startswith("survivorship bias: ")
    assert home.notes()["market"] == "CN"


def test_the_quality_of_all_batches_is_told_as_one(
    fetch: Fetch, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = ["open", "high", "low", "close", "amount"]
    for name in (MAINLAND[0], MAINLAND[3]):
        frame = vendor.bars[name]
        frame.loc[60:, prices] *= 2
        frame.loc[61:, "previous"] *= 2
    monkeypatch.setattr(by_symbol, "BATCH", 2)
    found = fetch(LIST).bars
    assert found is not None
    assert found.quality is not None
    quality = found.quality
    assert (quality.symbols, quality.rows, quality.expected, quality.present) == (4, 480, 480, 480)
    assert quality.counts == {"jump": 2}
    assert sorted(quality.findings["symbol"]) == sorted((MAINLAND[0], MAINLAND[3]))


@pytest.mark.slow
def test_later_days_are_asked_for_from_some_stored_ones_on(fetch: Fetch, vendor: Vendor) -> None:
    fetch(LIST, "2024-06-20")
    vendor.began.clear()
    found = fetch(LIST, "2024-06-28")
    days = vendor.bars[MAINLAND[0]]["day"]
    before = days[days <= pd.Timestamp("2024-06-20")].iloc[-by_symbol.OVERLAP]
    assert vendor.began == {name: [str(before.date())] for name in MAINLAND}
    assert found.bars is not None
    assert (found.bars.stored_new, found.bars.unchanged) == (6 * 4, by_symbol.OVERLAP * 4)
    assert (found.bars.updated, found.bars.restated, found.bars.rebased) == (0, [], [])


@pytest.mark.slow
def test_what_is_up_to_date_is_not_asked_for(fetch: Fetch, vendor: Vendor) -> None:
    fetch("baostock:600519,000001")
    vendor.asked.clear()
    found = fetch(LIST)
    assert (found.asked, found.fetched, found.up_to_date) == (4, 2, 2)
    assert set(vendor.count("bars")) == set(MAINLAND[2:])
    vendor.asked.clear()
    again = fetch(LIST)
    assert (again.up_to_date, again.bars, vendor.count("bars")) == (4, None, {})


@pytest.mark.slow
def test_new_symbols_begin_where_it_is_said(fetch: Fetch, home: Home) -> None:
    fetch(LIST, first=np.datetime64("2024-06-03", "D"))
    assert str(stored(home)["date"].min()) == "2024-06-03"


@pytest.mark.slow
def test_a_symbol_that_fails_keeps_out_no_other(fetch: Fetch, vendor: Vendor, home: Home) -> None:
    vendor.faults["000001.SZ"] = ["error"] * 99
    found = fetch(f"{LIST},688001")
    assert (found.asked, found.fetched) == (5, 3)
    assert list(found.failed) == ["000001.SZ", "688001.SH"]
    assert "baostock failed 5 times, at last with ConnectionError: 10001006: refused" in found.failed["000001.SZ"]
    assert "baostock has no bars of 688001.SH from 1990-01-01 to 2024-06-28" in found.failed["688001.SH"]
    assert vendor.count("bars")["000001.SZ"] == ATTEMPTS
    assert set(stored(home)["symbol"]) == {*MAINLAND} - {"000001.SZ"}
    assert any(line.startswith("failed: 1 x baostock has no bars of SYMBOL from") for line in found.lines())
    # The next time it comes, and only it is asked for.
    vendor.faults.clear()
    vendor.asked.clear()
    assert fetch(LIST).fetched == 1
    assert set(vendor.count("bars")) == {"000001.SZ"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "hang up"])
def test_a_failure_that_passes_leaves_no_trace(fetch: Fetch, vendor: Vendor, fault: str) -> None:
    vendor.faults["600519.SH"] = [fault] * 2
    found = fetch(LIST)
    assert (found.fetched, found.failed) == (4, {})
    assert vendor.count("bars")["600519.SH"] == 3


@pytest.mark.slow
def test_an_answer_that_is_cut_off_between_its_pages_is_not_taken_for_whole(
    fetch: Fetch, vendor: Vendor, home: Home
) -> None:
    vendor.bars = {"600519.SH": bars_of("600519.SH", 2100, 1)}
    vendor.faults["600519.SH"] = ["", "hang up"]
    assert fetch("baostock:600519").failed == {}
    assert len(stored(home)) == 2100


@pytest.mark.slow
def test_a_session_that_is_not_over_has_no_bar_whatever_the_vendor_gives(
    fetch: Fetch, vendor: Vendor, home: Home
) -> None:
    vendor.heeds_last_day = False
    found = fetch("baostock:600519", "2024-06-20")
    assert str(stored(home)["date"].max()) == "2024-06-20"
    assert found.bars is not None
    assert found.bars.rejections["reason"].unique().tolist() == [TOO_EARLY]
    assert found.bars.read == found.bars.stored_new + found.bars.rejected
    vendor.heeds_last_day = True
    assert fetch("baostock:600519", "2024-06-28").fetched == 1
    assert str(stored(home)["date"].max()) == "2024-06-28"


@pytest.mark.slow
def test_bars_of_another_symbol_are_none_of_the_one_that_was_asked_for(
    fetch: Fetch, vendor: Vendor, home: Home
) -> None:
    one, other = MAINLAND[:2]
    vendor.confused[one] = other
    found = fetch(f"baostock:{one[:6]},{MAINLAND[2][:6]}")
    assert (found.fetched, list(found.failed)) == (1, [one])
    assert OTHER_SYMBOL in found.failed[one]
    assert set(stored(home)["symbol"]) == {MAINLAND[2]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([MAINLAND[0]], "tells 1 members of csi300 on 2024-06-28, where the list before has 3; nothing was kept"),
        ([*MAINLAND, None], "tells None among the members of csi300 on 2024-06-2.*, which is no symbol"),
        ([*MAINLAND, " "], "tells ' ' among the members"),
        ([], "tells no members of csi300 on 2024-06-28; nothing was kept"),
    ],
)
def test_a_list_that_cannot_be_right_is_not_kept(
    fetch: Fetch, home: Home, monkeypatch: pytest.MonkeyPatch, told: list[str], said: str
) -> None:
    fetch("baostock:csi300", "2024-06-20")
    before = home.version("members")
    monkeypatch.setattr(SOURCES["baostock"], "members", lambda *_: told)
    with pytest.raises(SourceError, match=said):
        fetch("baostock:csi300")
    assert home.version("members") == before


@pytest.mark.slow
def test_where_the_vendor_answers_nobody_the_rest_is_not_asked(fetch: Fetch, vendor: Vendor) -> None:
    names = [f"600{number:03}" for number in range(15)]
    vendor.faults |= {f"{name}.SH": ["error"] * 99 for name in names}
    with pytest.raises(NothingFetchedError, match=r"nothing could be fetched: .*\(and 14 other symbols\)") as caught:
        fetch("baostock:" + ",".join(names))
    report = caught.value.report
    assert caught.value.source == "baostock"
    assert len(report.failed) == 15
    assert sum("not asked, since 10 symbols in a row were not answered" in why for why in report.failed.values()) == 5
    assert vendor.count("bars").total() == by_symbol.GIVE_UP * ATTEMPTS


@pytest.mark.slow
def test_an_empty_answer_for_a_stored_symbol_is_a_failure(fetch: Fetch, vendor: Vendor) -> None:
    fetch(LIST, "2024-06-20")
    del vendor.bars["600519.SH"]
    found = fetch(LIST, "2024-06-28")
    assert found.failed == {
        "600519.SH": "baostock gives no bars of 600519.SH any more, not even stored ones; try again later"
    }


@pytest.mark.slow
def test_a_session_that_is_not_over_has_no_bar(fetch: Fetch, home: Home) -> None:
    # 14:59 in Shanghai, where the vendor has a bar of the day already.
    fetching.fetch_universe(home, LIST, now=pd.Timestamp("2024-06-28 06:59", tz="UTC").to_pydatetime())
    assert str(stored(home)["date"].max()) == "2024-06-27"
    assert fetch(LIST).bars.stored_new == 4  # type: ignore[union-attr]


def test_the_last_closed_session() -> None:
    assert str(last_closed(None, NOW)) == "2024-06-28"


def test_a_home_of_another_market_is_refused_before_anybody_is_asked(fetch: Fetch, home: Home, vendor: Vendor) -> None:
    home.set_note("market", "US")
    with pytest.raises(SettingError, match=r"market is CN, and home .* is of US"):
        fetch(LIST)
    assert vendor.asked == []


@pytest.mark.slow
def test_a_batch_that_was_stored_survives_what_comes_after(
    fetch: Fetch, home: Home, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_symbol, "BATCH", 1)
    take_in, count = by_symbol.ingest, 0

    def stopped(*given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return take_in(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(by_symbol, "ingest", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch(LIST)
    assert set(stored(home)["symbol"]) == {*MAINLAND[:2]}
    vendor.asked.clear()
    found = fetch(LIST)
    assert (found.up_to_date, found.fetched) == (2, 2)
    assert set(vendor.count("bars")) == {*MAINLAND[2:]}


@pytest.mark.slow
def test_a_fetch_that_is_killed_goes_on_where_it_was(fetch: Fetch, home: Home, vendor: Vendor, tmp_path: Path) -> None:
    from baostock.common import contants

    code = (
        "import sys\n"
        "from datetime import datetime\n"
        "from baostock.common import contants\n"
        "from kline_core.sources import by_symbol, fetch\n"
        "from kline_core.store.home import Home\n"
        "contants.BAOSTOCK_SERVER_IP, contants.BAOSTOCK_SERVER_PORT = '127.0.0.1', int(sys.argv[1])\n"
        "by_symbol.BATCH = 1\n"
        "told = lambda done, total: print(done, flush=True)\n"
        "now = datetime.fromisoformat('2024-06-29T12:00:00+00:00')\n"
        "fetch.fetch_universe(Home(sys.argv[2]), sys.argv[3], progress=told, now=now)\n"
    )
    # The third answer never comes.
    vendor.faults["300750.SZ"] = ["wait"]
    words = [sys.executable, "-c", code, str(contants.BAOSTOCK_SERVER_PORT), home.uri, LIST]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().strip() for _ in range(2)]
        os.kill(child.pid, signal.SIGKILL)
    vendor.released.set()
    assert lines == ["1", "2"]
    assert set(stored(home)["symbol"]) == {*MAINLAND[:2]}
    vendor.asked.clear()
    found = fetch(LIST)
    assert (found.up_to_date, found.fetched, found.failed) == (2, 2, {})
    whole = Home(tmp_path / "whole", create=True)
    fetch(LIST, home=whole)
    pd.testing.assert_frame_equal(stored(home), stored(whole))


# Members.


@pytest.mark.slow
def test_members_are_kept_with_the_day_and_former_ones_are_fetched_too(fetch: Fetch, home: Home) -> None:
    found = fetch("baostock:csi300", "2024-02-28")
    assert (found.asked, found.snapshots) == (3, 1)
    assert found.bias is not None
    assert "survivorship bias: members of csi300 are known from 2024-02-29 on; --members-since DATE" in found.bias
    again = fetch("baostock:csi300", "2024-03-28")
    kept = membership(home, "csi300")
    # In Shanghai it is the next day already.
    assert [str(day) for day in kept.dates] == ["2024-02-29", "2024-03-29"]
    assert kept.members == [frozenset(MAINLAND[:3]), frozenset(MAINLAND[1:])]
    assert (again.asked, again.fetched) == (4, 4)
    assert str(stored(home).groupby("symbol")["date"].max()["600519.SH"]) == "2024-03-28"
    assert set(home.read("members", ["source"])["source"].to_pylist()) == {"baostock"}
    # The same day again changes nothing.
    assert fetch("baostock:csi300", "2024-03-28").snapshots == 0


@pytest.mark.slow
def test_members_of_past_days_are_asked_for_by_month(fetch: Fetch, home: Home) -> None:
    found = fetch("baostock:csi300", members_since=np.datetime64("2023-11-15", "D"))
    kept = membership(home, "csi300")
    assert [str(day) for day in kept.dates] == [
        *("2023-11-15", "2023-12-01", "2024-01-01", "2024-02-01", "2024-03-01"),
        *("2024-04-01", "2024-05-01", "2024-06-01", "2024-06-29"),
    ]
    assert kept.members[3] == frozenset(MAINLAND[:3])
    assert kept.members[4] == frozenset(MAINLAND[1:])
    assert found.asked == 4
    # They are known before the first bar, so that nothing is to be said.
    assert found.bias is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LIST, "is no index; name one, such as baostock:csi300"),
        ("baostock:all", "is no index"),
    ],
)
def test_past_members_of_what_is_no_index_are_refused(fetch: Fetch, vendor: Vendor, text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        fetch(text, members_since=np.datetime64("2023-11-15", "D"))
    assert vendor.asked == []


@pytest.mark.slow
def test_all_are_the_shares_and_not_the_indices(fetch: Fetch, vendor: Vendor, home: Home) -> None:
    vendor.bars = {name: vendor.bars[name] for name in MAINLAND}
    found = fetch("baostock:all")
    assert (found.asked, found.fetched) == (4, 4)
    assert membership(home, "all").ever == sorted(MAINLAND)


def test_an_index_without_members_is_no_index(fetch: Fetch, vendor: Vendor, home: Home) -> None:
    vendor.members.clear()
    with pytest.raises(SourceError, match="baostock tells no members of csi300 on 2024-06-28"):
        fetch("baostock:csi300")
    assert home.version("members") is None
