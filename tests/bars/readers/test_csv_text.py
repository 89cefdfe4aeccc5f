import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.readers import csv_text
from kline_core.bars.readers.csv_text import lines, split_header
from kline_core.errors import InputError

PATH = Path("a.csv")
CELLS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=6)


@pytest.mark.slow
@given(st.lists(st.tuples(CELLS, CELLS.filter(bool)), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_as_csv_is_read_as_it_was(rows: list[tuple[str, str]], end: str, quoted: bool) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("a", "b"), *rows])
    read = list(lines(split_header(stream.getvalue().encode(), PATH)))
    assert [tuple(line.cells) for line in read] == rows
    assert [line.number for line in read] == list(range(2, 2 + len(rows)))


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(["1,2", "", '"', '"1","2"', '1,"2', "\r", "x", 'a"b,2', '"a"b,2', ' "1",2']), max_size=6)
)
def test_a_line_means_the_same_whatever_stands_around_it(texts: list[str]) -> None:
    def said(part: list[str]) -> list[tuple[list[str], str | None, str]]:
        data = "\n".join(["a,b", *part]).encode()
        return [(line.cells, line.fault, line.text) for line in lines(split_header(data, PATH))]

    assert said(texts) == [line for text in texts for line in said([text])]


def test_blank_lines_are_counted_and_passed_over() -> None:
    text = split_header(b"\xef\xbb\xbfa,b\r\n\r\n\n1,2\n" + b"\n" * 1000 + b"3,4\n\n\n", PATH)
    assert [(line.number, line.cells) for line in lines(text)] == [(4, ["1", "2"]), (1005, ["3", "4"])]
    assert text.count_lines() == 1004


@pytest.mark.parametrize(
    ("body", "simple"),
    [
        (b"1,2\n3,4", True),
        (b'"1","2"\r\n3,"4"', True),
        (b'1,"2\n3,4"', False),
        (b'"1"5,2', False),
        (b'a"b,2', False),
        (b'"a""b",2', False),
        (b'"a,"b","c', False),
        (b"1," + b"x" * 100, False),
        (b"1,2\n" * 40, True),
        (b"1,2\n" * 40 + b"1," + b"x" * 100 + b"\n1,2", False),
    ],
)
def test_lines_that_readers_of_csv_could_divide_in_several_ways(
    monkeypatch: pytest.MonkeyPatch, body: bytes, simple: bool
) -> None:
    monkeypatch.setattr(csv_text, "MAX_LINE_BYTES", 60)
    assert split_header(b"a,b\n" + body, PATH).is_simple() == simple


def test_a_line_that_is_too_long_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "MAX_LINE_BYTES", 60)
    found = list(lines(split_header(b"a,b\n1,2\n1," + "é".encode() * 300 + b"\n3,4", PATH)))
    assert [line.fault for line in found] == [None, "is longer than 60 bytes; give each row a line of its own", None]
    assert len(found[1].text) < 210


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\n1", "line 1 is not UTF-8 text"),
        (b"a,b\r1,2\r3,4\r", "its lines end in CR alone"),
        (b'a,"b\n1,2', "line 1 is no header in CSV"),
        (b"a" * 200_000, "line 1 is longer than 100000 bytes"),
    ],
)
def test_a_header_that_is_none(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        split_header(data, PATH)
