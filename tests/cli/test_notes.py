"""`kline ingest --columns` and `kline notes`, as a person meets them."""

import json
from pathlib import Path

import pytest

from tests.support.command import ask, refused

GERMAN = "Datum;Anfang;high;low;Schluss, roh;volume\n2020-01-02;10;11;9;10,5;5\n"


@pytest.mark.slow
def test_columns_are_named_kept_shown_used_and_forgotten(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place, file = ["--home", str(tmp_path / "home")], tmp_path / "SAP.csv"
    file.write_text(GERMAN)
    assert "column date is missing" in ask(capsys, *place, "ingest", str(file))[2]
    words = ["--columns", "date=Datum,open=Anfang", "--columns", 'close="Schluss, roh"', "--keep-columns"]
    code, out, _ = ask(capsys, *place, "ingest", str(file), *words)
    assert code == 0
    assert "the columns are kept with the home; `kline notes` shows them" in out
    columns, market = ask(capsys, *place, "notes")[1].splitlines()
    assert market == "market: US"
    parts = ["date=Datum", "open=Anfang", 'close="Schluss', ' roh"']
    assert sorted(columns.removeprefix("columns: ").split(",")) == sorted(parts)
    file.write_text(GERMAN.replace("01-02", "01-03"))
    code, out, _ = ask(capsys, *place, "ingest", str(file))
    assert code == 0
    assert f"note: read with the columns that are kept with the home; `kline notes` shows them: {file}" in out
    assert json.loads(ask(capsys, *place, "--json", "notes")[1]) == {
        "columns": {"date": "Datum", "open": "Anfang", "close": "Schluss, roh"},
        "market": "US",
    }
    code, out, _ = ask(capsys, *place, "notes", "--forget", "columns")
    assert (code, out) == (0, "market: US\n")
    assert "and stays with them" in refused(capsys, *place, "notes", "--forget", "market")
    assert "column date is missing" in ask(capsys, *place, "ingest", str(file))[2]
    assert "--forget is columns, and home" in refused(capsys, *place, "notes", "--forget", "columns")


@pytest.mark.parametrize("words", [["--columns", "date"], ["--columns", "day=x"], ["--keep-columns"]])
def test_wrong_columns_make_no_home(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "SAP.csv").write_text(GERMAN)
    assert "columns" in refused(capsys, "--home", str(tmp_path / "home"), "ingest", str(tmp_path / "SAP.csv"), *words)
    assert not (tmp_path / "home").exists()
