"""Members by date: nobody knows tomorrow's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kline_core.bars.members import keep_members, known_membership, membership
from kline_core.errors import SettingError
from kline_core.store.home import Home


def day(text: str) -> np.datetime64:
    return np.datetime64(text, "D")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", create=True)
    lists = {day("2024-03-01"): ["600519.SH", "000001.SZ"], day("2024-01-02"): ["600519.SH", "300750.SZ"]}
    assert keep_members(home, "csi300", "baostock", lists) == 2
    return home


def test_the_newest_list_not_after_a_day_counts(home: Home) -> None:
    kept = membership(home, "csi300")
    assert [str(each) for each in kept.dates] == ["2024-01-02", "2024-03-01"]
    assert kept.ever == ["000001.SZ", "300750.SZ", "600519.SH"]
    asked = [
        ("600519.SH", "2024-01-01", False),
        ("600519.SH", "2024-01-02", True),
        ("000001.SZ", "2024-02-29", False),
        ("000001.SZ", "2024-03-01", True),
        ("300750.SZ", "2024-02-29", True),
        ("300750.SZ", "2024-03-01", False),
        ("600519.SH", "2030-01-01", True),
        # As a home from before has it.
        ("sh600519", "2024-02-01", True),
        ("601318.SH", "2024-02-01", False),
    ]
    symbols = np.array([symbol for symbol, _, _ in asked], dtype=object)
    days = np.array([date for _, date, _ in asked], dtype="datetime64[D]")
    assert kept.holds(symbols, days).tolist() == [inside for _, _, inside in asked]


def test_what_was_known_on_a_day_does_not_change(home: Home) -> None:
    version = home.version("members")
    again = {day("2024-03-01"): ["601318.SH"], day("2024-05-01"): []}
    assert keep_members(home, "csi300", "akshare", again) == 0
    assert home.version("members") == version
    assert keep_members(home, "csi500", "akshare", {day("2024-03-01"): ["601318.SH", "601318.SH"]}) == 1
    assert membership(home, "csi500").members == [frozenset(["601318.SH"])]
    assert len(membership(home, "csi300").dates) == 2


def test_two_writers_make_one_list(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    lists = {day("2024-03-01"): ["600519.SH"]}
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: keep_members(home, "csi300", "baostock", lists), range(4)))
    assert sorted(made) == [0, 0, 0, 1]
    assert home.read("members").num_rows == 1


def test_a_universe_that_is_not_kept_is_named_with_those_that_are(home: Home, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"keeps no members \(it keeps those of csi300\); `kline fetch SOURCE:csi5"):
        known_membership(home, "csi500")
    bare = Home(tmp_path / "bare", create=True)
    with pytest.raises(SettingError, match="it keeps none"):
        known_membership(bare, "csi300")
    assert bare.version("members") is None
