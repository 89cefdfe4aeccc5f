from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from kline_core.api.data import verify
from kline_core.maintenance.home_checks import check_home
from kline_core.maintenance.upkeep import compact, vacuum
from kline_core.store.home import Home


def rows(*listed: tuple[str, date]) -> pa.Table:
    columns = {
        "universe": pa.array(["csi300"] * len(listed)),
        "symbol": pa.array([symbol for symbol, _ in listed]),
        "date": pa.array([day for _, day in listed], pa.date32()),
        "source": pa.array(["baostock"] * len(listed)),
    }
    return pa.table(columns)


DAY = date(2024, 3, 1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", create=True)
    home.append("members", rows(("600519.SH", DAY), ("000001.SZ", DAY)))
    return home


@pytest.mark.slow
def test_members_are_part_of_what_is_looked_at(home: Home) -> None:
    report = verify(home)
    assert report.ok
    assert report.to_dict()["rows"]["members"] == 2
    assert {check.subject: check.state for check in check_home(home)}["members"] == "ok"
    assert "members" in [part.table for part in compact(home).tables]
    assert "members" in vacuum(home).kept_days


def test_a_home_without_members_is_as_it_was(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    assert verify(home).ok
    assert "members" not in verify(home).versions
    assert "members" not in {check.subject for check in check_home(home)}
    assert home.version("members") is None


@pytest.mark.parametrize(
    ("listed", "kind", "example"),
    [
        (("600519.SH", DAY), "rows that are stored more than once", "csi300 2024-03-01 600519.SH"),
        (("sh600036", DAY), "symbols that are none, or not in their one form", "csi300 2024-03-01 sh600036"),
        (("600036.SH", date.today() + timedelta(days=3)), "lists of days to come", ""),
    ],
)
def test_what_cannot_be_is_damage(home: Home, listed: tuple[str, date], kind: str, example: str) -> None:
    home.append("members", rows(listed))
    (finding,) = verify(home).findings
    assert (finding.table, finding.kind, finding.count, finding.state) == ("members", kind, 1, "damaged")
    assert example in finding.example
    assert "`kline fetch`" in finding.remedy


def test_a_table_that_cannot_be_read_is_damage_with_a_remedy(home: Home) -> None:
    assert home.folder is not None
    for file in (home.folder / "members").glob("*.parquet"):
        file.unlink()
    (finding,) = verify(home).findings
    assert (finding.table, finding.kind) == ("members", "table that cannot be read")
    assert finding.remedy.startswith("restore a copy, or remove the folder `members`")
