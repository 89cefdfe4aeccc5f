"""Tables that another program wrote or described, and places where no home can be."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from kline_core.errors import FingerprintError, HomeError
from kline_core.patterns.pattern_table import FIRST
from kline_core.patterns.verified import check_patterns
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.store.schemas import horizons_of_columns, table_schema
from tests.support.tables import bar_rows

BARS = table_schema("bars")


def changed(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Schema:
    return BARS.set(BARS.get_field_index(name), pa.field(name, kind, nullable))


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        (changed("close", pa.string()), "its column close holds string, not double"),
        (changed("close", pa.float32()), "its column close holds float, not double"),
        (changed("date", pa.string()), r"its column date holds string, not date32\[day\]"),
        (
            changed("date", pa.timestamp("us", "UTC")),
            r"date holds timestamp\[us, tz=UTC\], not date32",
        ),
        (changed("symbol", pa.int64()), "its column symbol holds int64, not string"),
        (changed("close", pa.float64(), nullable=True), "its column close may be without a value"),
        (BARS.remove(BARS.get_field_index("suspended")), "it has no column suspended"),
        (BARS.append(pa.field("note", pa.string())), "it has a column 'note'"),
        (BARS.append(pa.field("r5", pa.float32())), "it has a column 'r5'"),
        (pa.schema([("x", pa.int64())]), "it has no column symbol"),
    ],
)
def test_bars_with_other_columns_are_refused(tmp_path: Path, schema: pa.Schema, named: str) -> None:
    DeltaTable.create(str(tmp_path / "home" / "bars"), schema)
    with pytest.raises(HomeError, match=f"table bars of home .*was not written by kline.*{named}.*; name another home"):
        Home(tmp_path / "home")


def test_the_same_columns_in_another_width_of_text_are_the_same(tmp_path: Path) -> None:
    wide = changed("symbol", pa.large_string())
    write_deltalake(str(tmp_path / "home" / "bars"), wide.empty_table())
    assert Home(tmp_path / "home").read("bars").num_rows == 0


@pytest.mark.parametrize("text", ["prices of my broker", "[]", "3", "null", "[" * 100_000, '"a"'])
def test_a_description_that_kline_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path / "home", create=True)
    DeltaTable.create(str(tmp_path / "home" / "patterns"), table_schema("patterns"), description=text)
    with pytest.raises(HomeError, match=r"table patterns of home .*has a description that kline did not write"):
        home.description("patterns")


@pytest.mark.parametrize("description", [{}, {"settings": "none"}, {"settings": [1]}, {"fingerprint": 3}])
def test_a_description_of_other_things_is_no_fitting_one(tmp_path: Path, description: dict[str, object]) -> None:
    home = Home(tmp_path / "home", create=True)
    version = home.create("patterns", description)
    with pytest.raises(FingerprintError, match="make them again with `kline index --rebuild`"):
        check_patterns(home, FIRST, PatternSettings(), "0" * 16, version)


def test_a_commit_with_foreign_metadata_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    home.append("bars", bar_rows("A", 3), metadata={"run": 1})
    log = max((tmp_path / "home" / "bars" / "_delta_log").glob("*.json"))
    log.write_text(log.read_text().replace(json.dumps('{"run": 1}'), '"run 1"'))
    with pytest.raises(HomeError, match="has a commit with metadata that kline did not write"):
        home.history("bars")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("~nosuchuser/x", "begins with ~nosuchuser, and there is no such user here"),
        ("x" * 300, "cannot be used \\(File name too long\\)"),
        ("a\udcff", "has bytes in its name that are no UTF-8"),
        ("a\0b", "has bytes in its name that are no UTF-8"),
        ("s3://a\udcff", "has bytes in its name that are no UTF-8"),
    ],
)
@pytest.mark.parametrize("create", [False, True])
def test_names_that_no_home_can_have(name: str, named: str, create: bool) -> None:
    with pytest.raises(HomeError, match=named):
        Home(name, create=create)


@pytest.mark.parametrize("method", ["stat", "absolute"])
def test_a_folder_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def refused(*_: object, **__: object) -> Callable[[], None]:
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(Path, method, refused)
    with pytest.raises(HomeError, match=r"cannot be used \(Permission denied\); name another folder"):
        Home(tmp_path / "home", create=True)


def test_a_log_that_another_program_wrote_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    home.append("bars", bar_rows("A", 2), {"a": 1})
    log = tmp_path / "home" / "bars" / "_delta_log" / f"{1:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for note, named in ((True, "a commit with metadata that kline did not write"), ([], "did not write")):
        for line in lines:
            line.get("commitInfo", {}).update(kline=note)
        log.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(HomeError, match=named):
            home.history("bars")


def test_columns_of_returns_are_those_that_kline_names() -> None:
    assert horizons_of_columns(["r1", "r20", "", "r", "r0", "r٣", "r²", "r" + "9" * 5_000, "symbol"]) == [1, 20]
