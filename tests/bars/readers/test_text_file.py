"""Verdicts on the rows of one file: a cell means the same whatever the other rows hold."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.readers import csv_text, read_file, text_file
from kline_core.bars.row_checks import check_rows
from kline_core.errors import InputError
from tests.support.examples import examples

HEADER = "symbol,date,open,high,low,close,volume,note"
GOOD = "A,2020-01-01,10,11,9,10.5,100,x"
NUMBERS = ["10", "10.5", "", "nan", "-nan(ind)", "nan(ind)", "inf", "-Infinity", "1_0", "0xA", "+10", "1e1", "1e400"]
NUMBERS = [
    *NUMBERS,
    " 10 ",
    "\t10",
    '"10"',
    '"10',
    '10"',
    '"1"0',
    "１０",
    "١٠",
    "1.",
    ".5",
    "1,0",
    "1d1",
    "10f",
    "TRUE",
]
NUMBERS = [*NUMBERS, "null", "NA", "1\r0", "\x0010"]
CELL = st.sampled_from(NUMBERS) | st.text('0123456789.eE+-naif_x() "', max_size=5)
ROW = st.one_of(
    st.just(GOOD),
    CELL.map(lambda cell: f"A,2020-01-02,10,11,9,10,{cell},"),
    CELL.map(lambda cell: f"A,2020-01-02,10,11,{cell},10,5,"),
    st.tuples(st.sampled_from(["A", "", "NA", "1", "a\x1bb", '"A"']), CELL).map(
        lambda c: f"{c[0]},{c[1]},10,11,9,10,5,x"
    ),
    st.sampled_from(["", ",,,,,,,", ",,,,,,,x", "A", '"', "," * 20]),
)


def shown(value: str) -> str:
    try:
        return str(float(value))
    except ValueError:
        return value


def verdicts(path: Path, rows: list[str]) -> list[tuple[object, ...]]:
    """What became of each row: its bar, or why there is none and the cell; blank lines are no rows.

    Numbers may be shown as they are written or as they are, so that they are compared as numbers.
    """
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8", newline="")
    if not set(rows) - {"", ",,,,,,,"}:
        with pytest.raises(InputError, match="holds no rows"):
            read_file(path)
        return []
    raw = read_file(path)
    checked = check_rows(raw.frame, "x")
    found = {row[0]: tuple(map(str, row[1:])) for row in checked.bars.itertuples()}
    for part in (raw.malformed, checked.rejected):
        found |= {row.row: (row.reason, shown(row.value)) for row in part.itertuples()}
    assert len(found) == len(raw.frame) + len(raw.malformed)
    return [found[number] for number in sorted(found)]


@pytest.mark.slow
@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=4))
def test_rows_together_get_the_verdicts_of_each_alone(tmp_path: Path, rows: list[str]) -> None:
    path = tmp_path / "a.csv"
    assert verdicts(path, rows) == [verdict for row in rows for verdict in verdicts(path, [row])]


@pytest.mark.slow
def test_a_number_is_one_beside_good_rows_and_beside_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f"A,2020-01-02,10,11,9,10,{cell}," for cell in NUMBERS]
    together = verdicts(path, rows)
    assert len(together) == len(rows)
    assert together == [verdict for row in rows for verdict in verdicts(path, [row])]
    assert [shown("10")] * 2 == [verdict[6] for verdict in (together[0], together[NUMBERS.index(" 10 ")])]


def test_an_open_quote_swallows_no_row(tmp_path: Path) -> None:
    found = verdicts(tmp_path / "a.csv", [GOOD, GOOD.replace("x", '"x'), GOOD, GOOD.replace("x", 'x"'), GOOD])
    assert [len(row) == 2 for row in found] == [False, True, False, False, False]
    assert found[1][0] == "row has a quote or a CR out of place"


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_bars_above_the_names_are_not_passed_over_as_titles(tmp_path: Path, sign: str) -> None:
    """Such as those of two files in one whose first header is damaged, or of lines that were sorted."""
    path = tmp_path / "a.csv"
    lines = ["my shares, as of 2024", GOOD.replace(",x", ""), HEADER.replace(",note", ""), GOOD.replace(",x", "")]
    path.write_text("\n".join(lines).replace(",", sign) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"row 2 looks like a bar and stands above .* row 3"):
        read_file(path)
    path.write_text("\n".join([lines[0], *lines[2:]]).replace(",", sign) + "\n", encoding="utf-8")
    assert len(read_file(path).frame) == 1


def test_a_row_of_a_megabyte_is_rejected_in_words_of_our_own(tmp_path: Path) -> None:
    long = GOOD + "x" * 1_100_000
    for rows in ([long], [GOOD, long, GOOD]):
        found = verdicts(tmp_path / "a.csv", rows)
        assert len(found) == len(rows)
        assert found[len(rows) // 2][0] == "row is longer than 100000 bytes; give each row a line of its own"


def test_half_a_character_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\x81")
    with pytest.raises(InputError, match=r"a\.csv: "):
        read_file(tmp_path / "a.csv")


@pytest.mark.slow
def test_a_line_that_is_as_long_as_the_file_takes_no_more_memory_than_the_file(tmp_path: Path) -> None:
    size = 30_000_000
    (tmp_path / "a.csv").write_bytes(f"{HEADER}\n{GOOD}\n".encode() + b"x," * (size // 2) + b"\n\n")
    tracemalloc.start()
    try:
        raw = read_file(tmp_path / "a.csv")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(raw.frame), raw.malformed["row"].tolist()) == (1, [3])
    assert peak < 1.2 * size


def test_a_file_of_lines_that_are_no_rows_is_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "_MOST_MALFORMED", 3)
    (tmp_path / "a.csv").write_text("\n".join([HEADER, GOOD, *["x"] * 4]))
    with pytest.raises(InputError, match="more than 3 of its lines are no rows, the first is line 3, which has"):
        read_file(tmp_path / "a.csv")


def test_chunks_of_text_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_CHUNK", 2)
    assert len(verdicts(tmp_path / "a.csv", [*[GOOD] * 5, "bad", GOOD])) == 7


def test_blank_lines_in_masses_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{GOOD}\n" + "\n" * 200_000 + f"{GOOD}\n\n")
    assert read_file(tmp_path / "a.csv").frame.index.tolist() == [2, 200_003]


def test_text_that_is_not_utf8_matters_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    odd = GOOD.encode().replace(b"x", b"\x81")
    for bad in (b"", b"A,soon,1,1,1,1,1,\n"):
        path.write_bytes(HEADER.encode() + b"\n" + odd + b"\n" + bad)
        assert len(read_file(path).frame) == 1 + bool(bad)
    path.write_bytes(HEADER.encode() + b"\n" + GOOD.encode() + b"\n\x81" + odd + b"\n" + odd)
    with pytest.raises(InputError, match="line 3 is not UTF-8"):
        read_file(path)


@pytest.mark.parametrize("name", ["AAPL.CSV", "AAPL.Csv.GZ", "AAPL.PARQUET"])
def test_the_ending_of_a_name_is_no_part_of_the_symbol(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"date": ["2020-01-01"], **dict.fromkeys(["open", "high", "low", "close", "volume"], 1.0)})
    path = tmp_path / name
    data = frame.to_csv(index=False).encode()
    if name.endswith("PARQUET"):
        frame.to_parquet(path)
    else:
        path.write_bytes(gzip.compress(data) if name.endswith("GZ") else data)
    assert read_file(path).frame["symbol"].tolist() == ["AAPL"]
    double = tmp_path / "AAPL.csv.csv"
    double.write_bytes(data)
    with pytest.raises(InputError, match=r"its name 'AAPL\.csv' is no symbol"):
        read_file(double)


def table(**columns: pa.Array) -> pa.Table:
    values = {"symbol": pa.array(["A", "B"]), "date": pa.array([20200101, 20200102])}
    values |= {name: pa.array([10.0, 10.0]) for name in ("open", "high", "low", "close", "volume")}
    return pa.table(values | columns)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"close": pa.array([[1.0], [2.0]])}, "column close holds list<.*; it must hold numbers"),
        ({"close": pa.array([{"a": 1}, {"a": 2}])}, "column close holds struct<.*; it must hold numbers"),
        ({"volume": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))}, "column volume holds map<"),
        ({"symbol": pa.array([b"A", b"B"])}, "column symbol holds binary; it must hold text"),
        ({"date": pa.array([[1], [2]])}, "column date holds list<.*; it must hold days or text"),
        ({"date": pa.array([1, 2], pa.time32("s"))}, "column date holds time32"),
        ({"symbol": pa.array([b"\xff", b"B"]).view(pa.string())}, "column symbol holds text that is not UTF-8"),
    ],
)
def test_columns_of_parquet_that_cannot_be_bars(tmp_path: Path, columns: dict[str, pa.Array], says: str) -> None:
    pq.write_table(table(**columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"a.parquet: {says}"):
        read_file(tmp_path / "a.parquet")


@pytest.mark.parametrize("zone", ["UTC", "+25:00", "Nowhere/Atall"])
def test_moments_are_days_of_the_exchange_whatever_their_zone_is_called(tmp_path: Path, zone: str) -> None:
    """Arrow stores them in UTC, and the name of the zone changes nothing."""
    moments = pa.array([hour * 3600 * 10**6 for hour in (5, 24 + 3)], pa.timestamp("us", zone))
    pq.write_table(table(date=moments), tmp_path / "a.parquet")
    checked = check_rows(read_file(tmp_path / "a.parquet").frame, "x")
    assert checked.bars["date"].dt.strftime("%Y-%m-%d").tolist() == ["1970-01-01", "1970-01-01"]


def test_a_missing_day_does_not_make_numbers_of_the_others(tmp_path: Path) -> None:
    pq.write_table(table(date=pa.array([20200101, None])), tmp_path / "a.parquet")
    checked = check_rows(read_file(tmp_path / "a.parquet").frame, "x")
    assert checked.bars["date"].tolist() == [pd.Timestamp("2020-01-01")]
    assert checked.rejected[["row", "value"]].to_numpy().tolist() == [[2, ""]]


def test_rows_that_take_no_room_in_a_file_are_bounded_all_the_same(tmp_path: Path) -> None:
    count = 20_000
    same = {name: pa.array(np.ones(count)) for name in ("open", "high", "low", "close", "volume")}
    same |= {"symbol": pa.array(["A"] * count), "date": pa.array(["20200101"] * count)}
    pq.write_table(pa.table(same), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 50_000
    with pytest.raises(InputError, match="holds more than 1000000 bytes, unpacked"):
        read_file(tmp_path / "a.parquet", 1_000_000)


def test_quotes_that_all_readers_understand_take_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("read as text")

    monkeypatch.setattr(text_file, "_as_text", refuse)
    assert len(verdicts(tmp_path / "a.csv", ['"A","2020-01-01",10,11,9,"10.5",100,"x, y"'])) == 1
    monkeypatch.setattr(csv_text, "MAX_LINE_BYTES", 90)
    assert len(verdicts(tmp_path / "a.csv", [GOOD] * 9)) == 9


@pytest.mark.parametrize("name", ["stock", "ts_code", "代码"])
def test_a_column_that_may_hold_symbols_is_not_passed_over(tmp_path: Path, name: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(f"{name},date,open,high,low,close,volume\nAAPL,2020-01-02,1,1,1,1,1\n")
    with pytest.raises(InputError, match=rf"its column {name} may hold symbols.* --columns symbol={name}"):
        read_file(path)
    assert read_file(path, mapping={"symbol": name}).frame["symbol"].tolist() == ["AAPL"]
