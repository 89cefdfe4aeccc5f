"""Columns named by hand: as a person writes them, and as they are kept with a home."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kline_core as kl
from kline_core.bars.ingest_report import NothingUsableError
from kline_core.bars.named_columns import check_columns, kept_columns, parse_columns, written
from kline_core.bars.readers.layout import MEANINGS
from kline_core.errors import HomeError, SettingError
from kline_core.store.home import Home

GERMAN = "Datum;Anfang;high;low;Schluss, roh;volume\n2020-01-02;10;11;9;10,5;5\n"
MAPPING = {"date": "Datum", "open": "Anfang", "close": "Schluss, roh"}


@pytest.mark.parametrize(
    ("texts", "mapping"),
    [
        (["date=Datum,close=Schluss"], {"date": "Datum", "close": "Schluss"}),
        (["date=Datum", "close=Schluss"], {"date": "Datum", "close": "Schluss"}),
        ([' date = Datum , close="Schluss, roh"'], {"date": "Datum", "close": "Schluss, roh"}),
        (['close="a ""b"", c",open=d e'], {"close": 'a "b", c', "open": "d e"}),
        (["close=a=b,volume=$vol"], {"close": "a=b", "volume": "$vol"}),
        (["date=日期,"], {"date": "日期"}),
    ],
)
def test_what_a_person_writes(texts: list[str], mapping: dict[str, str]) -> None:
    assert parse_columns(texts) == mapping
    assert parse_columns([written(mapping)]) == mapping


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it must be like date=Datum,close=Schluss"),
        ("date", "it must be like date=Datum,close=Schluss"),
        ("=Datum", "it must be like date=Datum,close=Schluss"),
        ('date="Datum', "it must be like date=Datum,close=Schluss"),
        ('date="Datum"x', "it must be like date=Datum,close=Schluss"),
        ("date=", "'' is no name of a column, for date"),
        ("day=Datum", "'day' is no meaning; known are adj_close, adj_factor, adjustment, amount, close, date"),
        ("date=a,date=b", "date is named twice"),
        ("date=a,close=A", "column 'A' is named for date and for close"),
        ("close=open", "column 'open' is named for close, and is that of open too; name another for open"),
        ("amount=Volume", "column 'Volume' is named for amount, and is that of volume too; name another for volume"),
    ],
)
def test_what_is_no_mapping_says_how_one_looks(text: str, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_columns([text])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(sorted(MEANINGS)), st.text(min_size=1), min_size=1))
def test_whatever_the_names_are_they_are_written_and_read_again(mapping: dict[str, str]) -> None:
    stripped = {meaning: name.strip() for meaning, name in mapping.items()}
    try:
        check_columns(mapping)
    except SettingError:
        return
    assert parse_columns([written(stripped)]) == stripped


@given(st.text('=,"ad te\n'))
def test_whatever_is_written_is_a_mapping_or_one_line(text: str) -> None:
    try:
        check_columns(parse_columns([text]))
    except SettingError as error:
        assert "\n" not in str(error)  # noqa: PT017  either is right


@pytest.mark.parametrize("columns", [{}, [], "date=x", {"day": "x"}, {"date": 3}, {"date": " "}])
def test_the_api_refuses_what_is_no_mapping(tmp_path: Path, columns: object) -> None:
    with pytest.raises(SettingError, match=r"columns \(--columns\) is "):
        kl.ingest(tmp_path / "home", tmp_path, columns=columns)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="keep_columns keeps the columns that are named by hand, and none are"):
        kl.ingest(tmp_path / "home", tmp_path, keep_columns=True)
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_files_and_frames_with_columns_by_hand(tmp_path: Path) -> None:
    (tmp_path / "SAP.csv").write_text(GERMAN)
    frame = pd.DataFrame(
        [["2020-01-03", 10, 11, 9, 10.5, 5, "SAP"]], columns=[*GERMAN.split("\n")[0].split(";"), "symbol"]
    )
    report = kl.ingest(tmp_path / "home", [tmp_path / "SAP.csv", frame], columns=MAPPING)
    assert [(file.new, file.layout) for file in report.files] == [(1, "columns named by hand")] * 2
    assert Home(tmp_path / "home").notes() == {"market": "US"}
    with pytest.raises(NothingUsableError, match="column date is missing"):
        kl.ingest(tmp_path / "home", tmp_path / "SAP.csv")


@pytest.mark.slow
def test_what_is_kept_is_used_later_where_no_layout_fits(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "SAP.csv").write_text(GERMAN)
    first = kl.ingest(home, tmp_path / "SAP.csv", columns=MAPPING, keep_columns=True)
    assert first.stored_new == 1
    assert kept_columns(Home(home)) == MAPPING
    (tmp_path / "SAP.csv").write_text(GERMAN.replace("01-02", "01-03"))
    (tmp_path / "IBM.csv").write_text("date,open,high,low,close,volume\n2020-01-02,1,1,1,1,1\n")
    later = kl.ingest(home, [tmp_path / "SAP.csv", tmp_path / "IBM.csv"])
    assert [(file.new, file.layout) for file in later.files] == [(1, "columns kept with the home"), (1, "plain")]
    assert list(later.notes) == ["read with the columns that are kept with the home; `kline notes` shows them"]
    # What a person says now counts, whatever is kept.
    with pytest.raises(NothingUsableError, match="has no column 'Tag'"):
        kl.ingest(home, tmp_path / "SAP.csv", columns={"date": "Tag"}, keep_columns=True)
    assert kept_columns(Home(home)) == MAPPING


@pytest.mark.parametrize("held", [3, {"day": "x"}, ["date"], {"date": None}])
def test_columns_that_kline_did_not_keep_are_refused_with_what_to_do(tmp_path: Path, held: object) -> None:
    home = Home(tmp_path / "home", create=True)
    home.set_note("columns", held)
    with pytest.raises(HomeError, match="remove them with `kline notes --forget columns`"):
        kept_columns(home)
