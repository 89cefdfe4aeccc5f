import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core._text import harmless, quoted
from kline_core.errors import LONGEST, InputError, SettingError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 股票 −5 % é", "plain, 股票 −5 % é"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\tc\r\x7f\x9b", r"a\nb\tc\r\x7f\x9b"),
        ("\u202egpj.exe\u2028", r"\u202egpj.exe\u2028"),
        (b"caf\xe9.csv".decode(errors="surrogateescape"), r"caf\udce9.csv"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert harmless(text) == shown
    assert str(InputError(text)) == shown


@pytest.mark.slow
@given(st.text(st.characters(), max_size=20))
def test_anything_can_be_shown_on_one_line(text: str) -> None:
    shown = harmless(text)
    assert shown.isprintable()
    assert harmless(shown) == shown
    shown.encode()


def test_lines_of_a_report_are_kept_and_long_texts_are_cut() -> None:
    assert harmless("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert harmless("abcdef", longest=3) == "abc..."


def test_a_message_of_a_megabyte_is_cut_in_its_middle_and_keeps_its_remedy() -> None:
    error = SettingError(f"x is {'9' * 1_000_000}; give another", parameter="x", value=1)
    assert len(str(error)) < LONGEST + 10
    assert str(error).startswith("x is 999")
    assert str(error).endswith("; give another")
    assert str(SettingError("x" * LONGEST)) == "x" * LONGEST


def test_a_value_is_quoted_whatever_it_is() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert quoted("a") == "'a'"
    assert quoted(10**5000) == "a int too long to show"
    assert quoted(deep) == "a list too long to show"
    assert len(quoted("x" * 9_999)) < 220
