"""Plain tables as European and other desks write them: semicolons, decimal commas, tabs, days of their own."""

from datetime import date
from pathlib import Path

import pytest

from tests.support.vendor_samples import Sample, bad, error_of, prices, taken_text

HEADER = "Date;Open;High;Low;Close;Volume"
BAR = [10.0, 11.0, 9.0, 10.5, 1200.0]
test_bad_input_with_semicolons = bad(
    Sample("ABC.csv", HEADER, lambda day: f"{day};10,0;11,0;9,0;10,5;1200", lambda day: day.strftime("%d.%m.%Y"), ";")
)
test_bad_input_with_tabs = bad(
    Sample(
        "ABC.tsv", HEADER.replace(";", "\t"), lambda day: f"{day}\t10.0\t11.0\t9.0\t10.5\t1200", date.isoformat, "\t"
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "28.02.2024;10,0;11,0;9,0;10,5;1200",
        "28.02.2024;10;11;9;10,5;1.200",
        "28.02.2024;10,00;11,00;9,00;10,50;1200,0",
        "28.02.2024; 10,00 ;11;9; 10,50;1 200",
        "28.02.2024;10,00;11;9;10,50;1\u202f200",
        '28.02.2024;"10,00";"11,00";"9,00";"10,50";"1.200"',
        "2024-02-28;10.0;11;9;10.5;1200",
        "28/02/2024;10.0;11;9;10.5;1200",
        "28-02-2024;10.0;11;9;10.5;1200",
        "20240228;10.0;11;9;10.5;1200",
    ],
)
def test_semicolons_with_either_decimal_sign(tmp_path: Path, line: str) -> None:
    assert prices(taken_text(tmp_path, "ABC.csv", f"{HEADER}\n{line}\n")[1]) == [BAR]


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["\t", "|", ";", ","])
def test_every_sign_divides_cells(tmp_path: Path, sign: str) -> None:
    text = f"{HEADER}\n2024-02-28;10.0;11;9;10.5;1200\n".replace(";", sign)
    assert prices(taken_text(tmp_path, "ABC.txt", text)[1]) == [BAR]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["10.5", "1.2345,5", "10,5,5", "1.23,5", "1.200.5"])
def test_what_does_not_fit_a_decimal_comma_is_rejected(tmp_path: Path, cell: str) -> None:
    text = f"{HEADER}\n28.02.2024;10,0;11,0;9,0;10,5;1200\n29.02.2024;10,0;11,0;9,0;{cell};1200\n"
    report, bars = taken_text(tmp_path, "ABC.csv", text)
    assert prices(bars) == [BAR]
    assert report.rejections[["row", "reason", "value"]].to_numpy().tolist() == [
        [3, "close is no number", f"{cell} beside decimal commas"]
    ]


def test_a_comma_before_three_digits_is_not_guessed(tmp_path: Path) -> None:
    error = error_of(tmp_path, "ABC.csv", f"{HEADER}\n28.02.2024;10;11;9;10;1,200\n")
    assert "row 2: '1,200' has a decimal comma or a thousand, and no number of the first rows tells which" in error
    # A price with other digits behind the comma tells it.
    text = f"{HEADER}\n28.02.2024;10;11;9;10,123;1200\n29.02.2024;10;11;9;10,5;1200\n"
    assert taken_text(tmp_path, "ABC.csv", text)[1]["close"].tolist() == [10.123, 10.5]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_thousands_are_told_by_the_points_beside_them(tmp_path: Path, sign: str) -> None:
    header = HEADER.replace(";", sign)
    lines = [
        ["2024-02-28", "1,010.5", "1,011.0", "1,009.0", "1,010", "1,200"],
        ["2024-02-29", "999.5", "1,011", "999", "1,000", "12,345,600"],
    ]
    text = "\n".join([header, *(sign.join(f'"{cell}"' for cell in line) for line in lines)])
    bars = taken_text(tmp_path, "ABC.csv", text)[1]
    assert prices(bars) == [[1010.5, 1011, 1009, 1010, 1200], [999.5, 1011, 999, 1000, 12345600]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "row"),
    [
        # Nothing tells what 1,200 is: 1.234 may be a thousand.
        (["10", "11", "9", "10", "1,200"], 2),
        (["1.234", "1.300", "1.200", "1.250", "1,200"], 2),
        # A comma that divides no thousands.
        (["10.5", "11.0", "9.0", "10,25", "1,200"], 2),
        (["10.5", "11.0", "9.0", "10.5", "1,20"], 2),
        (["10.5", "11.0", "9.0", "10.5", "0,123"], 2),
    ],
)
def test_a_comma_that_may_be_a_decimal_one_is_no_number(tmp_path: Path, cells: list[str], row: int) -> None:
    quoted = ",".join(f'"{cell}"' for cell in cells)
    error = error_of(tmp_path, "ABC.csv", f"Date,Open,High,Low,Close,Volume\n2024-02-28,{quoted}\n")
    assert f"the first is row {row}: " in error
    assert "is no number" in error


def test_times_of_google_finance_are_days(tmp_path: Path) -> None:
    lines = ["3/25/2024 16:00:00,10.0,11,9,10.5,1200", "3/4/2024 16:00:00,10.0,11,9,10.5,1200"]
    bars = taken_text(tmp_path, "ABC.csv", "\n".join(["Date,Open,High,Low,Close,Volume", *lines]))[1]
    assert bars["date"].dt.date.tolist() == [date(2024, 3, 4), date(2024, 3, 25)]
    error = error_of(tmp_path, "ABC.csv", "Date,Open,High,Low,Close,Volume\n25-Mar-24,10.0,11,9,10.5,1200\n")
    assert "date " in error


@pytest.mark.slow
def test_wide_tables_of_closes_are_refused_with_the_reason(tmp_path: Path) -> None:
    for header in ("Date,ABC,DEF,GHI", "date;close", "Date,Close,Volume", "timestamp,ABC,DEF"):
        error = error_of(tmp_path, "ABC.csv", f"{header}\n2024-01-02,1,2,3\n")
        assert "a table of closes alone cannot be used" in error, header
    many = ",".join(["Date", *(f"T{number}" for number in range(3000))])
    error = error_of(tmp_path, "all.csv", f"{many}\n2024-01-02{',1' * 3000}\n")
    assert "and 2981 more" in error
    assert len(error) < 500
