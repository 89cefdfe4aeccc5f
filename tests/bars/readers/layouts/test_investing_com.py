"""Investing.com in its languages."""

from datetime import date
from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, error_of, prices, taken_text

HEADER = '"Date","Price","Open","High","Low","Vol.","Change %"'
SAMPLE = Sample(
    "ABC.csv",
    HEADER,
    lambda day: f'"{day}","1,010.50","1,000.00","1,100.00","900.00","1.2M","0.10%"',
    lambda day: day.strftime("%m/%d/%Y"),
    '","',
)
BAR = [1000.0, 1100.0, 900.0, 1010.5, 1_200_000.0]
test_bad_input = bad(SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("header", "line", "days"),
    [
        (HEADER, SAMPLE.line("@"), ["Feb 28, 2024", "Feb 27, 2024"]),
        (HEADER, SAMPLE.line("@"), ["28/02/2024", "27/02/2024"]),
        (
            '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"',
            '"@","1.010,50","1.000,00","1.100,00","900,00","1,20M","0,10%"',
            ["28.02.2024", "27.02.2024"],
        ),
        (
            "Datum;Zuletzt;Eröffn.;Hoch;Tief;Vol.;+/- %",
            "@;1.010,50;1.000,00;1.100,00;900,00;1,20M;0,10%",
            ["28.02.2024", "27.02.2024"],
        ),
        (
            '"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"',
            '"@","1 010,50","1\u202f000,00","1\u00a0100,00","900,00","1,20M","0,10%"',
            ["28/02/2024", "27/02/2024"],
        ),
        (
            '"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."',
            '"@","1.010,50","1.000,00","1.100,00","900,00","1,20M","0,10%"',
            ["28.02.2024", "27.02.2024"],
        ),
        (
            '"日期","收盘","开盘","高","低","交易量","涨跌幅"',
            '"@","1,010.50","1,000.00","1,100.00","900.00","1.20M","0.10%"',
            ["2024年2月28日", "2024年2月27日"],
        ),
    ],
)
def test_numbers_and_days_of_a_site(tmp_path: Path, header: str, line: str, days: list[str]) -> None:
    text = "\n".join([header, *(line.replace("@", day) for day in days)])
    report, bars = taken_text(tmp_path, "ABC.csv", "\ufeff" + text)
    assert (report.files[0].layout or "").startswith("Investing.com")
    assert "not for dividends" in report.files[0].notes[0]
    assert bars["date"].dt.day.tolist() == [27, 28]
    assert prices(bars) == [BAR, BAR]


@pytest.mark.slow
def test_a_header_of_western_windows_is_read(tmp_path: Path) -> None:
    text = 'Datum;Zuletzt;Eröffn.;Hoch;Tief;Vol.;+/- %\n28.02.2024;"10,5";10;11;9;1,20K;0,10%\n'
    assert prices(taken_text(tmp_path, "ABC.csv", text.encode("cp1252"))[1]) == [[10, 11, 9, 10.5, 1200]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("volume", "shares"),
    [("0.3007M", 300_700.0), ("12.34K", 12_340.0), ("1.5B", 1.5e9), ("1,234", 1234.0), ("-", None), ("", None)],
)
def test_volumes(tmp_path: Path, volume: str, shares: float | None) -> None:
    text = f'{HEADER}\n"03/25/2024","10.5","10","11","9","{volume}","0.1%"\n'
    bars = taken_text(tmp_path, "ABC.csv", text)[1]
    assert bars["volume"].tolist() == [shares] if shares is not None else bars["volume"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize("price", ["1,23.50", "1.234,50", "10.5X", "1,0,0", "$", "1 2"])
def test_a_number_that_is_none_is_not_guessed(tmp_path: Path, price: str) -> None:
    text = SAMPLE.text(*SAMPLE.lines(), SAMPLE.line("02/26/2024").replace("900.00", price))
    report, bars = taken_text(tmp_path, "ABC.csv", text)
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [[5, "low is no number", price]]
    assert len(bars) == 3


def test_a_point_beside_decimal_commas_is_no_number(tmp_path: Path) -> None:
    text = '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol."\n"28.02.2024","10.5","10,0","11,0","9,0","1M"\n'
    assert "close is no number ('10.5 beside decimal commas')" in error_of(tmp_path, "ABC.csv", text)


@pytest.mark.slow
def test_days_that_may_be_either_are_refused(tmp_path: Path) -> None:
    lines = [SAMPLE.line(day.strftime("%m/%d/%Y")) for day in (date(2024, 3, 4), date(2024, 3, 5))]
    assert "is day-first or month-first" in error_of(tmp_path, "ABC.csv", SAMPLE.text(*lines))
    bars = taken_text(tmp_path, "ABC.csv", SAMPLE.text(*lines, SAMPLE.line("03/13/2024")))[1]
    assert bars["date"].dt.month.tolist() == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("ABC Historical Data.csv", "ABC Historical Data (2).csv", "ABC_Historical_Data.csv"),
        *("ABC Historische Daten.csv", "ABC Historische Kurse.csv", "ABC Datos históricos.csv", "ABC历史数据.csv"),
    ],
)
def test_the_symbol_stands_in_the_name_of_the_download(tmp_path: Path, name: str) -> None:
    assert taken_text(tmp_path, name, SAMPLE.text(*SAMPLE.lines()))[1]["symbol"].unique().tolist() == ["ABC"]
    error = error_of(tmp_path, "S&P 500 Historical Data.csv", SAMPLE.text(*SAMPLE.lines()))
    assert "its name 'S&P 500 Historical Data' is no symbol" in error
