"""`kline fetch` as it is typed, through baostock's own client on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kline_core.sources import line
from tests.support.command import ask, refused
from tests.support.vendors import Vendor, bars_of, led

NAMES = ["600519.SH", "000001.SZ"]


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.setattr(line, "FIRST_WAIT", 0.0)
    found = Vendor({name: bars_of(name, 60, 1) for name in NAMES}, members={"2020-01": NAMES})
    with led(monkeypatch, found, tmp_path / "cache") as lead:
        lead("baostock")
        yield found


@pytest.mark.slow
def test_a_report_for_people(vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "home")
    vendor.faults["000001.SZ"] = ["error"] * 5
    code, out, _ = ask(capsys, "--home", home, "fetch", "baostock:csi300", "--since", "2024-04-01")
    assert code == 0
    head, rows, failed, lists, *rest = out.splitlines()
    assert head.startswith("2 symbols of baostock:csi300 until 20")
    assert head.endswith(" = 1 fetched + 0 up to date + 1 failed")
    assert rows.startswith("59 rows read = 59 new + 0 updated + 0 stored already + 0 rejected; bars of ")
    assert failed.startswith("failed: 1 x baostock failed 5 times, at last with ConnectionError: ")
    assert failed.endswith(": 000001.SZ")
    assert lists == "1 new list of members"
    assert rest[0].startswith("survivorship bias: members of csi300 are known from ")


@pytest.mark.slow
def test_a_report_for_programs(vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rejected = tmp_path / "rejected.csv"
    words = ["fetch", "baostock:600519", "--json", "--rejected", str(rejected)]
    code, out, _ = ask(capsys, "--home", str(tmp_path / "home"), *words)
    assert code == 0
    found = json.loads(out)
    assert (found["asked"], found["fetched"], found["bars"]["stored_new"]) == (1, 1, 60)
    assert rejected.read_text() == "source,row,symbol,reason,value\n"
    vendor.bars.clear()
    vendor.bars["600036.SH"] = bars_of("600036.SH", 60, 1)
    code, out, said = ask(capsys, "--home", str(tmp_path / "other"), *words)
    assert code == 1
    assert said.startswith(
        "kline: nothing could be fetched: 600519.SH: baostock has no bars of 600519.SH from 1990-01-01"
    )
    assert list(json.loads(out)["failed"]) == ["600519.SH"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["yahoo:AAPL"], "kline: source is 'yahoo:AAPL'; it must be one of akshare, baostock, tushare, yfinance"),
        (["baostock:600519", "--since", "soon"], "kline: since is 'soon', which is no date"),
        (
            ["baostock:600519", "--members-since", "2024-01-01"],
            "kline: members_since is 2024-01-01, and bao",
        ),
    ],
)
def test_what_cannot_be_asked_makes_no_home(
    vendor: Vendor, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert refused(capsys, "--home", str(tmp_path / "home"), "fetch", *words).startswith(said)
    assert vendor.asked == []
    assert not (tmp_path / "home").exists()
