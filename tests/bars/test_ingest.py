import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars import ingest as ingest_module
from kline_core.bars import rows_to_check
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import HomeError, InputError, SettingError
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.real_data import needs_real_data, real_data
from tests.support.vendor_files import assert_accounted

HEADER = "symbol,date,open,high,low,close,volume"
FACTORS = HEADER + ",adj_factor"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", create=True)


def line(symbol: str = "A", day: int = 1, close: object = 10.5, volume: object = 100) -> str:
    return f"{symbol},2020-01-{day:02},10,11,9,{close},{volume}"


def csv(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def run(home: Home, *paths: Path) -> IngestReport:
    report = ingest(paths, home)
    assert_accounted(report)
    return report


def refused(home: Home, *paths: Path) -> NothingUsableError:
    with pytest.raises(NothingUsableError) as caught:
        ingest(paths, home)
    assert_accounted(caught.value.report)
    assert "\n" not in str(caught.value)
    assert home.read("bars").num_rows == 0
    return caught.value


def stored(home: Home) -> list[dict[str, object]]:
    return sorted(home.read("bars").to_pylist(), key=lambda row: (row["symbol"], row["date"]))


@pytest.mark.slow
def test_rows_are_stored_and_a_second_time_change_nothing(home: Home, tmp_path: Path) -> None:
    path = csv(tmp_path / "all.csv", line(day=2), line(day=1), line("B"))
    first = run(home, path)
    assert (first.stored_new, first.changed, first.version) == (3, True, 2)
    assert [(row["symbol"], row["date"].day) for row in stored(home)] == [("A", 1), ("A", 2), ("B", 1)]
    second = run(home, path)
    assert (second.stored_new, second.unchanged, second.changed, second.version) == (0, 3, False, 2)
    assert home.version("bars") == 2


@pytest.mark.slow
def test_every_form_of_the_plain_layout_gives_the_same_bars(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "symbol": "A",
            "date": pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "open": [10.1, 0.1 + 0.2],
            "high": [11.0, 1.0],
            "low": [9.0, 0.1],
            "close": [10.5, 0.7],
            "volume": [100, 200],
            "amount": [1.5, None],
            "adj_factor": [1.0, 1 / 3],
        }
    )
    bare = frame.drop(columns="symbol")
    days = frame["date"].dt.strftime("%Y%m%d")
    files = {
        "all.csv": frame.to_csv(index=False),
        "upper.csv": frame.rename(columns=str.upper).to_csv(index=False),
        "spaced.csv": frame.to_csv(index=False).replace(",", " , ").replace("A ,", "A,"),
        "slashes.csv": frame.assign(date=frame["date"].dt.strftime("%Y/%m/%d")).to_csv(index=False),
        "numbers.csv": frame.assign(date=days).to_csv(index=False),
        "shuffled.csv": frame[frame.columns[::-1]].iloc[::-1].to_csv(index=False),
        "bom.csv": "\ufeff" + frame.to_csv(index=False, lineterminator="\r\n") + "\r\n\r\n",
        "one/A.csv": bare.to_csv(index=False),
        "other/A.csv.gz": bare.to_csv(index=False),
    }
    tables = {
        "typed.parquet": frame,
        "dates.parquet": frame.assign(date=frame["date"].dt.date),
        "numbers.parquet": frame.assign(date=days.astype(int), symbol=frame["symbol"].astype("category")),
        "text.parquet": frame.astype({"open": str, "date": str}),
        "sub/A.parquet": bare,
    }
    found = []
    for name, text in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        found.append(path)
    for name, table in tables.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path)
        found.append(path)
    expected = None
    for number, path in enumerate(found):
        one = Home(tmp_path / f"home{number}", create=True)
        report = run(one, path)
        assert report.stored_new == 2, path
        expected = expected or stored(one)
        assert stored(one) == expected, path
    assert expected is not None
    assert (expected[1]["open"], expected[1]["adj_factor"]) == (0.1 + 0.2, 1 / 3)


@pytest.mark.slow
def test_bad_rows_are_named_and_the_others_go_in(home: Home, tmp_path: Path) -> None:
    path = csv(
        tmp_path / "a.csv",
        line(day=1),
        line(day=2, close="ten"),
        "",
        line(day=3, volume=-1),
        "A,2020-01-04,10",
        "A,2020-01-05,10,9,11,10,5",
        "../x,2020-01-06,10,11,9,10,5",
        "A,2020-02-31,10,11,9,10,5",
        "A,2020-01-08,-10,11,9,10,5",
        line(day=9),
        line(day=9),
        "",
    )
    report = run(home, path)
    assert (report.read, report.stored_new) == (10, 2)
    rows = [(row["row"], row["reason"].split(":")[0], row["value"]) for row in report.rejections.to_dict("records")]
    assert rows == [
        (3, "close is no number", "ten"),
        (5, "volume is negative", "-1"),
        (6, "row has not the 7 cells of the header", "A,2020-01-04,10"),
        (7, "high is below low", "9"),
        (8, "symbol is no symbol", "../x"),
        (9, "date is missing or no date; write YYYY-MM-DD", "2020-02-31"),
        (10, "open is not above 0", "-10"),
        (12, "symbol and date are given more than once, with the same contents", "2020-01-09"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_years_that_no_table_can_hold_are_bad_dates(home: Home, tmp_path: Path, kind: pa.DataType) -> None:
    days = pa.array([5_000_000, -900_000, 18_262], pa.int32()).cast(pa.date32())
    table = pa.table({"symbol": ["A"] * 3, "date": days.cast(pa.timestamp("s")).cast(kind)})
    for name in ("open", "high", "low", "close", "volume"):
        table = table.append_column(name, pa.array([10.0] * 3))
    pq.write_table(table, tmp_path / "a.parquet")
    report = run(home, csv(tmp_path / "b.csv", line("B")), tmp_path / "a.parquet")
    assert report.rejections["row"].tolist() == [1, 2]
    assert set(report.rejections["reason"]) == {"date is missing or no date; write YYYY-MM-DD"}
    assert len(stored(home)) == 2


def test_row_numbers_are_lines_in_csv_and_rows_in_parquet(home: Home, tmp_path: Path) -> None:
    text = csv(tmp_path / "a.csv", line(day=1), line(day=2, close=99))
    pd.read_csv(text).assign(symbol="B").to_parquet(tmp_path / "b.parquet")
    report = run(home, text, tmp_path / "b.parquet")
    assert report.rejections[["row", "value"]].to_numpy().tolist() == [[3, "99"], [2, "99"]]


@pytest.mark.slow
def test_equal_rows_of_several_files_are_one_bar(home: Home, tmp_path: Path) -> None:
    first = csv(tmp_path / "a.csv", line(day=1), line(day=2))
    report = run(home, first, csv(tmp_path / "b.csv", line(day=2), line(day=3)))
    assert [row["date"].day for row in stored(home)] == [1, 2, 3]
    assert [(Path(row["source"]).name, row["row"]) for row in report.rejections.to_dict("records")] == [("b.csv", 2)]


@pytest.mark.slow
def test_a_symbol_on_which_files_contradict_each_other_is_rejected_as_a_whole(tmp_path: Path) -> None:
    # Two deliveries on different bases: days 6 and 7 of the later one would be on half the scale of day 1.
    first = csv(tmp_path / "a.csv", line(day=1), line(day=2), line(day=3), line("B"))
    second = csv(tmp_path / "b.csv", *(f"A,2020-01-{day:02},5,5.5,4.5,5.2,100" for day in (2, 3, 6, 7)), line("B", 2))
    for paths in ((first, second), (second, first)):
        again = Home(tmp_path / paths[0].stem, create=True)
        report = run(again, *paths)
        assert {row["symbol"] for row in stored(again)} == {"B"}
        assert (report.read, report.stored_new, report.rejected) == (9, 2, 7)
        assert set(report.rejections["symbol"]) == {"A"}
        assert set(report.rejections["value"]) == {"first on 2020-01-02"}
        assert report.rejections["reason"].str.startswith("the files contradict each other").all()


ROUNDED = "symbol and date are given more than once, with other rounding of volume or amount"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("volumes", "amounts", "agree"),
    [
        (("12345678", "12345600"), ("1234567.8", "1234568"), True),
        (("1234567", "1230000"), ("", "1e9"), True),
        (("150", "100"), ("1499", "1000"), True),
        (("1234567", "1300000"), ("1", "1"), False),
        (("1234567", "1234567"), ("1e9", "1e8"), False),
        (("1234567", ""), ("1", "1"), False),
    ],
)
def test_two_vendors_may_round_volumes_and_amounts(
    tmp_path: Path, volumes: tuple[str, str], amounts: tuple[str, str], agree: bool
) -> None:
    files = [
        csv(tmp_path / f"{number}.csv", line(volume=volume) + f",{amount}", line("B") + ",1", header=HEADER + ",amount")
        for number, (volume, amount) in enumerate(zip(volumes, amounts, strict=True))
    ]
    for number, order in enumerate((files, files[::-1])):
        home = Home(tmp_path / f"home{number}", create=True)
        report = run(home, *order)
        assert [row["symbol"] for row in stored(home)] == (["A", "B"] if agree else ["B"])
        if agree:
            # The first file's row, as it is.
            assert stored(home)[0]["volume"] == float(volumes[number])
            assert [row["reason"] for row in report.rejections.to_dict("records") if row["symbol"] == "A"] == [ROUNDED]
            assert report.rejections["source"].unique().tolist() == [str(order[1])]


@pytest.mark.slow
def test_rows_of_one_file_that_differ_in_volume_contradict_each_other(home: Home, tmp_path: Path) -> None:
    report = run(home, csv(tmp_path / "a.csv", line(volume=100), line(volume=101), line("B")))
    assert report.rejections["reason"].str.contains("with different contents").tolist() == [True, True]


@pytest.mark.slow
def test_a_contradiction_about_factors_rejects_rows_without_any_too(home: Home, tmp_path: Path) -> None:
    files = [csv(tmp_path / f"{f}.csv", line() + f",{f}", line("B") + ",1", header=FACTORS) for f in (1, 2)]
    report = run(home, *files, csv(tmp_path / "bare.csv", line(day=2)))
    assert [row["symbol"] for row in stored(home)] == ["B"]
    assert report.rejections["reason"].str.startswith("the files contradict").tolist() == [True, True, False, True]


def test_rows_of_one_file_that_conflict_are_rejected_alone(home: Home, tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", line(day=1), line(day=2), line(day=2, close=10.6))
    report = run(home, path, csv(tmp_path / "b.csv", line(day=3)))
    assert [row["date"].day for row in stored(home)] == [1, 3]
    assert report.rejections["row"].tolist() == [3, 4]


def test_two_symbols_in_a_file_named_after_one_are_refused(home: Home, tmp_path: Path) -> None:
    good = csv(tmp_path / "all.csv", line("C"), line("D"))
    mixed = csv(tmp_path / "A.csv", line("A"), line("B"))
    report = run(home, good, mixed)
    assert report.stored_new == 2
    assert report.errors == [
        f"{mixed}: is named after symbol A but holds 2 symbols, also B; remove the others or rename the file"
    ]


def test_two_symbols_in_a_file_without_a_symbol_column_are_none(home: Home, tmp_path: Path) -> None:
    rows = [f"2020-01-{day:02},{p},{p},{p},{p},5" for p in (10, 70) for day in (1, 2)]
    path = csv(tmp_path / "A.csv", *rows, header="date,open,high,low,close,volume")
    assert "given more than once, with different contents" in str(refused(home, path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n", "is empty"),
        ("a.csv", HEADER.encode(), "holds no rows"),
        ("a.csv", b"symbol,date,open,high,low,close\n", "column volume is missing; its columns are symbol, date"),
        ("a.csv", (HEADER + ",Close\n").encode(), "column close is there twice"),
        ("a.csv", (HEADER + "\n" + line()).encode() + b"\x81,", "line 2 is not UTF-8 text"),
        ("a.csv", "日期,开盘\n".encode("gbk"), "its columns are 日期, 开盘"),
        ("a.csv", HEADER.encode("utf-16-be"), "is no text"),
        (
            "a.csv",
            (HEADER + "\n" + line(close="x")).encode(),
            r"none of its 1 rows can be used; the first is row 2: close",
        ),
        ("a b.csv", b"date,open,high,low,close,volume\n2020-01-01,1,1,1,1,1\n", "its name 'a b' is no symbol"),
        ("a.csv.gz", b"\x1f\x8b\x08 no gzip", "cannot be read"),
        ("a.csv.gz", gzip.compress(HEADER.encode(), mtime=0)[:-9], "cannot be read"),
        ("a.parquet", b"no parquet", "cannot be read"),
        ("a.docx", b"", "its type is not known; give ."),
    ],
)
def test_an_unusable_file_is_an_error_and_the_others_go_in(
    home: Home, tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir()
    path.write_bytes(data)
    error = refused(home, path)
    assert str(path) in str(error)
    assert says in str(error)
    report = run(home, path, csv(tmp_path / "good.csv", line()))
    assert (report.stored_new, len(report.errors)) == (1, 1)


def test_a_missing_file_is_named(home: Home, tmp_path: Path) -> None:
    assert "nowhere.csv: cannot be read" in str(refused(home, tmp_path / "nowhere.csv"))
    (tmp_path / "empty").mkdir()
    for paths in ([tmp_path / "empty"], []):
        with pytest.raises(InputError, match="no file to ingest"):
            ingest(paths, home)


@pytest.mark.slow
def test_one_odd_file_keeps_out_no_other(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    csv(folder / "good.csv", line())
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.csv"))
    csv(odd, "B,2020-01-01,10,11,9,10.5,5")
    csv(folder / "esc\x1b[2J.csv", "C,2020-01-01,10,11,9,x\x1b[31m,5")
    csv(folder / "esc\\x1b[2J.csv", line("D"))
    os.mkfifo(folder / "pipe.csv")
    lists = {name: [[1.0]] for name in ("open", "high", "low", "close")}
    nested = pa.table({"symbol": ["E"], "date": ["2020-01-01"]} | lists)
    pq.write_table(nested.append_column("volume", pa.array([1])), folder / "nested.parquet")
    (folder / "sub" / "home").mkdir(parents=True)
    Home(folder / "sub" / "home", create=True)
    report = run(home, folder)
    assert [row["symbol"] for row in stored(home)] == ["A", "B", "D"]
    text = json.dumps(report.to_dict(), ensure_ascii=False)
    text.encode()
    assert "\x1b" not in text.replace("\\u001b", "")
    assert [error.split("/in/")[1].split("; ")[0] for error in report.errors] == [
        "esc\\x1b[2J.csv: none of its 1 rows can be used",
        "nested.parquet: column open holds list<element: double>",
        "pipe.csv: is a pipe, no regular file",
    ]
    assert report.left_out == [f"{folder / 'sub' / 'home'}: is a home, no delivery"]
    assert len({file.path for file in report.files}) == len(report.files) == 6


def test_whatever_breaks_in_one_file_is_its_own_error(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = rows_to_check.check_rows

    def broken(frame: pd.DataFrame, source: str, *others: object) -> object:
        if source.endswith("bad.csv"):
            raise ZeroDivisionError("by\nzero")
        return check(frame, source, *others)

    monkeypatch.setattr(rows_to_check, "check_rows", broken)
    report = run(home, csv(tmp_path / "bad.csv", line()), csv(tmp_path / "good.csv", line()))
    assert report.errors == [
        f"{tmp_path / 'bad.csv'}: cannot be read: ZeroDivisionError: by zero; write it anew as CSV in the plain layout"
    ]
    assert report.stored_new == 1


def test_a_home_is_no_delivery(home: Home, tmp_path: Path) -> None:
    run(home, csv(tmp_path / "a.csv", line()))
    with pytest.raises(InputError, match=f"no file to ingest in .* \\({home.uri}: is a home, no delivery"):
        ingest([Path(home.uri)], home)
    (part,) = (Path(home.uri) / "bars").glob("*.parquet")
    with pytest.raises(NothingUsableError, match=r"is a file of the Delta table .*, no delivery"):
        ingest([part], home)


def test_a_bound_on_what_a_file_holds(home: Home, tmp_path: Path) -> None:
    small, large = csv(tmp_path / "a.csv", line()), csv(tmp_path / "b.csv", *[line("B", day) for day in range(1, 30)])
    report = ingest([small, large], home, max_file_bytes=500)
    assert (report.stored_new, len(report.errors)) == (1, 1)
    assert report.errors[0].startswith(f"{large}: holds more than 500 bytes, unpacked; ")
    with pytest.raises(SettingError, match="max_file_bytes is 0; it must be at least 1"):
        ingest([small], home, max_file_bytes=0)


def test_folders_are_searched_in_one_order_and_files_are_read_once(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("b", "a/c", "a/a"):
        csv(folder / f"{name}.csv", line(Path(name).name.upper() * 2))
    (folder / "README.md").write_text("hello")
    seen: list[tuple[int, int]] = []
    report = ingest([folder / "b.csv", folder], home, lambda done, total: seen.append((done, total)))
    assert [Path(file.path).name for file in report.files] == ["b.csv", "a.csv", "c.csv"]
    assert [Path(path).name for path in report.skipped] == ["README.md"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_a_changed_row_and_older_history_restate_their_symbols(home: Home, tmp_path: Path) -> None:
    run(home, csv(tmp_path / "a.csv", *(line(symbol, day) for symbol in "ABC" for day in (7, 8))))
    report = run(home, csv(tmp_path / "b.csv", line("A", 8, close=10.6), line("B", 6), line("C", 8), line("C", 9)))
    assert (report.updated, report.stored_new, report.unchanged) == (1, 2, 1)
    assert report.restated == ["A", "B"]
    # The home is made, its market kept, and each ingest.
    assert report.version == 3
    assert [row["close"] for row in stored(home) if row["symbol"] == "A"] == [10.5, 10.6]


@pytest.mark.slow
def test_a_missing_amount_leaves_the_stored_one(home: Home, tmp_path: Path) -> None:
    run(home, csv(tmp_path / "a.csv", line() + ",7", header=HEADER + ",amount"))
    assert run(home, csv(tmp_path / "b.csv", line())).unchanged == 1
    assert run(home, csv(tmp_path / "c.csv", line(volume=101))).updated == 1
    assert [row["amount"] for row in stored(home)] == [7.0]


@pytest.mark.slow
def test_a_factor_is_never_made_up_for_a_symbol_that_has_some(home: Home, tmp_path: Path) -> None:
    factors = csv(tmp_path / "a.csv", line("A", 1) + ",1", line("A", 2) + ",2", header=FACTORS)
    bare = csv(tmp_path / "b.csv", line("A", 3), line("B", 3))
    for paths in ([factors, bare], [bare]):
        report = run(home, *paths)
        assert report.rejections["row"].tolist() == [2]
        assert report.rejections["reason"][0].startswith("adj_factor is missing, but the symbol is known")
        assert report.unadjusted == ["B"]
    assert [(row["symbol"], row["adj_factor"]) for row in stored(home)] == [("A", 1.0), ("A", 2.0), ("B", None)]
    prices = {symbol: bars.close.tolist() for symbol, bars in bars_by_symbol(home.read("bars")).items()}
    assert prices == {"A": [10.5, 21.0], "B": [10.5]}


@pytest.mark.slow
def test_factors_do_not_begin_in_the_middle_of_a_history(home: Home, tmp_path: Path) -> None:
    bare = csv(tmp_path / "a.csv", line("A", 1), line("A", 2, volume=0), line("B", 1))
    run(home, bare)
    assert run(home, bare).unchanged == 3
    late = csv(tmp_path / "b.csv", line("A", 2) + ",3", line("A", 3) + ",3", line("C", 3) + ",3", header=FACTORS)
    # Whether rows without factors come along makes no difference: they go on where the history has none.
    report = run(home, late, csv(tmp_path / "c.csv", line("A", 6)))
    assert (report.stored_new, report.restated, report.unadjusted) == (2, [], ["A"])
    assert report.rejections[["row", "symbol", "value"]].to_numpy().tolist() == [[2, "A", "3"], [3, "A", "3"]]
    assert report.rejections["reason"].str.startswith("adj_factor is given, but stored rows").all()
    assert [row["adj_factor"] for row in stored(home)] == [None, None, None, None, 3.0]


@pytest.mark.slow
def test_factors_for_all_that_is_stored_replace_it(home: Home, tmp_path: Path) -> None:
    run(home, csv(tmp_path / "a.csv", line("A", 1), line("A", 2), line("B", 1)))
    # A factor of 1.0 is one that was given.
    whole = [
        csv(tmp_path / f"{day}.csv", line("A", day) + f",{factor}", header=FACTORS)
        for day, factor in ((1, 1), (2, 2), (3, 2))
    ]
    report = run(home, *whole)
    assert (report.updated, report.stored_new, report.rejected, report.restated) == (2, 1, 0, ["A"])
    assert [row["adj_factor"] for row in stored(home)] == [1.0, 2.0, 2.0, None]
    assert run(home, *whole).unchanged == 3
    # A row that is rejected replaces nothing.
    lines = [line("B", day, close) + ",1" for day, close in ((1, 9.5), (1, 9.6), (2, 9.5))]
    conflict = csv(tmp_path / "c.csv", *lines, header=FACTORS)
    with pytest.raises(NothingUsableError):
        ingest([conflict], home)


@pytest.mark.slow
def test_the_first_dividend_after_a_history_of_given_ones_passes(home: Home, tmp_path: Path) -> None:
    run(home, csv(tmp_path / "a.csv", line("A", 1) + ",1", line("A", 2) + ",1", header=FACTORS))
    report = run(home, csv(tmp_path / "b.csv", line("A", 3) + ",1.5", header=FACTORS))
    assert (report.stored_new, report.rejected) == (1, 0)


@pytest.mark.slow
def test_another_writer_in_between_is_taken_into_account(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = csv(tmp_path / "a.csv", line(day=1), line(day=2))
    store, intruders = ingest_module._store, [csv(tmp_path / "b.csv", line(day=1))]

    def late(*arguments: object) -> int:
        if intruders:
            ingest([intruders.pop()], home)
        return store(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ingest_module, "_store", late)
    report = run(home, path)
    assert (report.stored_new, report.unchanged, report.version) == (1, 1, 3)
    assert len(stored(home)) == 2


@pytest.mark.parametrize("when", ["compare", "_store"])
def test_a_home_that_goes_meanwhile_is_not_made_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    real = getattr(ingest_module, when)

    def late(*arguments: object) -> object:
        shutil.rmtree(home.uri)
        return real(*arguments)

    monkeypatch.setattr(ingest_module, when, late)
    with pytest.raises(HomeError, match="is gone"):
        ingest([csv(tmp_path / "a.csv", line())], home)
    assert not Path(home.uri).exists()


CELLS = st.sampled_from(["10", "10.5", "9", "11", "x", "", "-1", "nan", "inf", " 10 ", '"10"', "1e400", "0"])
LINES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["A", "B", "../x", ""]),
            st.sampled_from(["2020-01-01", "20200102", "2020/01/03", "soon", ""]),
            CELLS,
            st.just("11") | CELLS,
            st.just("9") | CELLS,
            CELLS,
            st.sampled_from(["0", "5", "", "x", "-5"]),
        ).map(",".join),
        st.sampled_from([line("A", 4), line("B", 5), "1,2", "a,b,c,d,e,f,g,h"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=examples(8), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(LINES, min_size=1, max_size=3))
def test_any_files_are_accounted_for_in_any_order(tmp_path: Path, files: list[list[str]]) -> None:
    folder = tmp_path / os.urandom(8).hex()
    paths = [csv(folder / f"{number}_.csv", *lines) for number, lines in enumerate(files)]
    outcomes = []
    for number, order in enumerate((paths, paths[::-1])):
        home = Home(folder / f"home{number}", create=True)
        try:
            report = ingest(order, home)
        except NothingUsableError as error:
            report = error.report
        assert_accounted(report)
        assert report.read == sum(len(lines) for lines in files)
        outcomes.append(stored(home))
    assert outcomes[0] == outcomes[1]
    assert report.stored_new == len(outcomes[0])


@needs_real_data
def test_real_bars_are_accounted_for(home: Home, tmp_path: Path) -> None:
    folder = real_data()
    shares = pq.read_table(folder / "ashare_csi300_raw.parquet")
    factors = pq.read_table(folder / "ashare_csi300_extra.parquet")["adjfactor"]
    pq.write_table(shares.append_column("adj_factor", factors), tmp_path / "ashare.parquet")
    us = pq.read_table(folder / "us_sp500_raw.parquet").to_pandas()
    adjusted = pq.read_table(folder / "us_sp500_extra.parquet")["adjusted_close"].to_pandas()
    factor = adjusted / us["close"]
    us["adj_factor"] = factor / factor.groupby(us["symbol"]).transform("first")
    us.to_csv(tmp_path / "us.csv", index=False)
    report = run(home, tmp_path / "ashare.parquet", tmp_path / "us.csv")
    assert (report.read, report.stored_new, report.rejected) == (486_552, 486_552, 0)
    frames = bars_by_symbol(pa.table(home.read("bars")))
    assert len(frames) == 210
    close = frames["AAPL"].close
    expected = adjusted[us["symbol"] == "AAPL"].to_numpy()
    np.testing.assert_allclose(close / close[0], expected / expected[0], rtol=1e-12)
