"""Excel workbooks: the same rows as the CSV that one would save of them, and no more than the bound."""

import io
import sys
import tracemalloc
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.readers import excel_file, read_file, tables
from kline_core.bars.row_checks import check_rows
from kline_core.errors import InputError
from kline_core.store.home import Home
from tests.support.examples import examples
from tests.support.vendor_files import assert_accounted

openpyxl = pytest.importorskip("openpyxl")

HEADER = ["date", "open", "high", "low", "close", "volume"]
ROWS = [[datetime(2020, 1, day), 10, 11.5, 9, 10.25, 500] for day in (2, 3, 6)]
Sheets = dict[str, list[list[Any]]]


def workbook(sheets: Sheets) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def saved(path: Path, sheets: Sheets) -> Path:
    path.write_bytes(workbook(sheets))
    return path


def changed(data: bytes, member: str, old: str, new: str) -> bytes:
    """A workbook with other XML in one of its members."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            if name == member:
                # openpyxl writes empty elements in another way where lxml is installed.
                text = text.replace(b" />", b"/>").replace(b"<v></v>", b"<v/>")
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            target.writestr(name, text)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def refusal(path: Path, data: bytes, max_bytes: int = 10**8) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_file(path, max_bytes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["600519.xlsx", "600519.csv", "600519.xls"])
def test_a_workbook_is_told_by_its_contents(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, {"Sheet1": [[*HEADER, "symbol"], *([*row, "AAPL"] for row in ROWS)]})
    raw = read_file(path)
    assert raw.frame.index.tolist() == [2, 3, 4]
    bars = check_rows(raw.frame, "x").bars
    assert bars["date"].dt.strftime("%Y%m%d").tolist() == ["20200102", "20200103", "20200106"]
    assert bars[["symbol", "close", "volume"]].to_numpy().tolist() == [["AAPL", 10.25, 500.0]] * 3


@pytest.mark.slow
def test_it_says_what_its_csv_says(tmp_path: Path) -> None:
    header = ["Symbol", "Date", *HEADER[1:], "note"]
    rows: list[list[Any]] = [
        ["AAPL", datetime(2020, 1, 2), 10, 11, 9, 10.1, 5, None],
        [600519, date(2020, 1, 3), 10, 11, 9, 10.1, 5, "x"],
        ["600519", "2020-01-06", "10", 11, 9, 10.1, 5, "x"],
        ["AAPL", 20200107, 10, 11, 9, 10.1, None, "x"],
        [None] * 8,
        ["AAPL", datetime(2020, 1, 8), 10, 1, 9, 10.1, 5, None],
        ["AAPL", "soon", 10, 11, 9, 10.1, 5, None],
        ["AAPL", datetime(2020, 1, 9), "#N/A", 11, 9, 10.1, 5, None],
        ["AAPL", datetime(2020, 1, 10), 10, 11, 9, True, 5, None],
        [None, None, None, None, None, None, None, "a note"],
        ["AAPL", 45000, 10, 11, 9, 10.1, 5, None],
        ["AAPL", datetime(2020, 1, 13), 10, 11, 9, 10.1, "1e400", None],
    ]
    path = saved(tmp_path / "all.xlsx", {"Prices": [["Prices of 2020"], [], header, *rows]})
    raw = read_file(path)
    found = check_rows(raw.frame, "x")
    text = tmp_path / "all.csv"
    pd.DataFrame(rows, columns=header).map(
        lambda cell: cell.strftime("%Y-%m-%d") if isinstance(cell, date) else cell
    ).to_csv(text, index=False)
    same = check_rows(read_file(text).frame, "x")
    assert found.bars.reset_index(drop=True).equals(same.bars.reset_index(drop=True))
    assert len(found.rejected) + len(found.bars) == 11
    # Two lines above the header, as Excel counts.
    numbers = [row + 2 for row in same.rejected["row"]]
    assert found.rejected["row"].tolist() == numbers
    assert found.rejected["reason"].tolist()[:-1] == same.rejected["reason"].tolist()[:-1]


@pytest.mark.slow
def test_one_sheet_of_bars_is_the_file_and_others_are_said(tmp_path: Path) -> None:
    sheets: Sheets = {"About": [["made by", "me"]], "Sheet2": [], "data": [HEADER, *ROWS]}
    path = saved(tmp_path / "600519.xlsx", sheets)
    report = ingest([path], Home(tmp_path / "home", create=True))
    assert_accounted(report)
    assert [(file.path, file.new) for file in report.files] == [(str(path), 3)]
    assert report.skipped == [f"{path}/About"]
    assert read_file(path).frame["symbol"].unique().tolist() == ["600519.SH"]


@pytest.mark.slow
def test_several_sheets_of_bars_are_files_of_their_own(tmp_path: Path) -> None:
    path = saved(tmp_path / "all.xlsx", {"600519": [HEADER, *ROWS], "000001.SZ": [HEADER, *ROWS[:2]], "x": [[1]]})
    home = Home(tmp_path / "home", create=True)
    report = ingest([path], home)
    assert_accounted(report)
    assert [(file.path, file.new) for file in report.files] == [(f"{path}/600519", 3), (f"{path}/000001.SZ", 2)]
    assert set(home.read("bars")["symbol"].to_pylist()) == {"600519.SH", "000001.SZ"}
    with pytest.raises(InputError, match="holds 2 tables, where one is wanted"):
        read_file(path)


def test_a_title_that_nobody_gave_is_no_symbol(tmp_path: Path) -> None:
    path = saved(tmp_path / "all.xlsx", {"Sheet1": [HEADER, *ROWS], "工作表2": [HEADER, *ROWS]})
    with pytest.raises(NothingUsableError) as caught:
        ingest([path], Home(tmp_path / "home", create=True))
    for error, title in zip(caught.value.report.errors, ("Sheet1", "工作表2"), strict=True):
        assert f"has no symbol column, and its name 'sheet {title}' is no symbol" in error


def test_what_is_no_table_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    assert "is empty: none of its sheets has a cell" in refusal(path, workbook({"Sheet1": []}))
    assert "column close is missing" in refusal(path, workbook({"a": [HEADER[:4] + HEADER[5:], [1] * 5]}))
    assert "fit no layout: made by, me" in refusal(path, workbook({"a": [["made by", "me"]]}))
    assert "holds no rows" in refusal(path, workbook({"a": [HEADER]}))
    assert "cannot be read: File is not a zip file; deliver it again" in refusal(path, b"")
    assert "cannot be read: File is not a zip file; deliver it again" in refusal(path, workbook({"a": [HEADER]})[:-90])


def test_bars_above_the_names_are_not_passed_over_as_titles(tmp_path: Path) -> None:
    text = refusal(
        tmp_path / "a.xlsx", workbook({"a": [["made by me"], [str(cell) for cell in ROWS[0]], HEADER, *ROWS]})
    )
    assert "row 2 looks like a bar and stands above the names of the columns, which are in row 3" in text


def test_columns_by_hand(tmp_path: Path) -> None:
    path = saved(tmp_path / "AAPL.xlsx", {"a": [["Tag", *HEADER[1:]], *ROWS]})
    assert read_file(path, mapping={"date": "Tag"}).frame["date"].tolist() == [row[0] for row in ROWS]
    with pytest.raises(InputError, match="column date is missing"):
        read_file(path)


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "needs openpyxl: pip install 'kline-factor[excel]'" in refusal(
        tmp_path / "a.xlsx", workbook({"a": [HEADER]})
    )


def test_other_files_of_office_programs_are_none(tmp_path: Path) -> None:
    data = workbook({"a": [HEADER]}).replace(b"xl/workbook.xml", b"xl/workbook.bin")
    assert "is a file of an office program, but no .xlsx workbook" in refusal(tmp_path / "a.xlsx", data)


def test_dimensions_that_are_wrong_hide_no_row(tmp_path: Path) -> None:
    data = workbook({"a": [HEADER, *ROWS]})
    wrong = changed(data, SHEET, '<dimension ref="A1:F4"', '<dimension ref="A1:A1"')
    (tmp_path / "AAPL.xlsx").write_bytes(wrong)
    assert len(read_file(tmp_path / "AAPL.xlsx").frame) == 3


@pytest.mark.long
@pytest.mark.slow
def test_blank_rows_and_cells_far_away_cost_little(tmp_path: Path) -> None:
    data = workbook({"a": [HEADER, *ROWS]})
    path = tmp_path / "AAPL.xlsx"
    for far in ("1048576", "99999999999"):
        path.write_bytes(changed(data, SHEET, '<row r="4"', f'<row r="{far}"'))
        rows = read_file(path).frame
        assert rows.index.tolist() == ([2, 3, 1048576] if far == "1048576" else [2, 3])
    path.write_bytes(changed(data, SHEET, "</row></sheetData>", '<c r="XFD4"><v>1</v></c></row></sheetData>'))
    assert len(read_file(path).frame) == 3


@pytest.mark.slow
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.xlsx"
    data = changed(workbook({"a": [HEADER, *ROWS]}), SHEET, "<sheetData>", " " * 10**8 + "<sheetData>")
    tracemalloc.start()
    try:
        assert "holds more than 50000000 bytes" in refusal(path, data, 5 * 10**7)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    rows = workbook({"a": [HEADER, *ROWS * 4000]})
    assert "holds more than 500000 bytes" in refusal(path, rows, 5 * 10**5)
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    bomb = changed(
        workbook({"a": [HEADER, *ROWS]}), SHEET, "<worksheet", f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><worksheet'
    )
    bomb = changed(bomb, SHEET, "<sheetData>", "<x>&l9;</x><sheetData>")
    path.write_bytes(bomb)
    with pytest.raises(InputError, match="cannot be read"):
        read_file(path)


def test_formulas_count_as_what_excel_last_made_of_them(tmp_path: Path) -> None:
    data = workbook({"a": [HEADER, [*ROWS[0][:4], "=B2+1", 5], ROWS[1]]})
    data = changed(data, SHEET, "<f>B2+1</f><v/>", "<f>B2+1</f><v>11</v>")
    (tmp_path / "AAPL.xlsx").write_bytes(data)
    assert read_file(tmp_path / "AAPL.xlsx").frame["close"].tolist() == [11.0, 10.25]


WHOLE = workbook({"600519": [HEADER, *ROWS], "b": [["x"]]})
MEMBERS = zipfile.ZipFile(io.BytesIO(WHOLE)).namelist()


@pytest.mark.slow
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(MEMBERS), st.data())
def test_whatever_changes_is_bars_or_one_line(tmp_path: Path, member: str, data: st.DataObject) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            text = source.read(name)
            if name == member:
                at = data.draw(st.integers(0, len(text)))
                new = data.draw(st.sampled_from([b"", b"<", b"9", b'"', b"\0", b"</row>", b"E", b"-1", b"x", b"s"]))
                text = text[:at] + new + text[at + data.draw(st.integers(0, 9)) :]
            if data.draw(st.integers(0, 30)):
                target.writestr(name, text)
    (tmp_path / "600519.xlsx").write_bytes(out.getvalue())
    home = Home(tmp_path / "home", create=True)
    try:
        report = ingest([tmp_path / "600519.xlsx"], home, max_file_bytes=10**6)
    except NothingUsableError as error:
        report = error.report
    assert_accounted(report)
    assert all("\n" not in error for error in report.errors)


def test_a_workbook_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("600519.xlsx", WHOLE)
    found = [(path.relative_to(tmp_path), read is None) for path, read in tables(tmp_path / "a.zip")]
    assert found == [(Path("a.zip/600519.xlsx"), False), (Path("a.zip/600519.xlsx/b"), True)]


def test_a_reader_of_one_table_takes_one_sheet(tmp_path: Path) -> None:
    assert len(excel_file.read(WHOLE, tmp_path / "600519.xlsx", 10**8).frame) == 3
