import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core import symbol_lookup as module
from kline_core.symbol_lookup import AmbiguousSymbolError, did_you_mean, resolve_symbols
from kline_core.symbols import canonical_symbol, is_symbol

KNOWN = ["600519.SH", "000001.SH", "000001.SZ", "000700.SZ", "0700.HK", "9988.HK", "7203.T", "005930.KS", "AAPL", "NA"]


def test_examples_run_as_they_stand() -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [
        ("600519.SH", "600519.SH"),
        ("600519", "600519.SH"),
        ("sh600519", "600519.SH"),
        ("SH600519", "600519.SH"),
        ("sh.600519", "600519.SH"),
        ("600519.XSHG", "600519.SH"),
        ("600519.SS", "600519.SH"),
        ("sz000001", "000001.SZ"),
        ("000001.SS", "000001.SH"),
        ("000700", "000700.SZ"),
        ("00700.HK", "0700.HK"),
        ("9988", "9988.HK"),
        ("09988", "9988.HK"),
        ("7203", "7203.T"),
        ("5930", "005930.KS"),
        ("us.aapl", "AAPL"),
        ("NA", "NA"),
    ],
)
def test_what_is_typed_means_what_is_known(typed: str, symbol: str) -> None:
    assert resolve_symbols([typed], KNOWN) == [symbol]


@pytest.mark.parametrize(
    ("typed", "candidates"),
    [
        ("000001", ["000001.SH", "000001.SZ"]),
        ("1", ["000001.SH", "000001.SZ"]),
        ("700", ["000700.SZ", "0700.HK"]),
        ("00700", ["000700.SZ", "0700.HK"]),
    ],
)
def test_what_may_mean_several_is_asked_back(typed: str, candidates: list[str]) -> None:
    with pytest.raises(AmbiguousSymbolError) as caught:
        resolve_symbols(["AAPL", typed], KNOWN)
    assert str(caught.value) == f"'{typed}' is ambiguous: {', '.join(candidates)}; name one of them"
    assert caught.value.candidates == candidates
    assert (caught.value.column, caught.value.value) == ("symbol", typed)


def test_what_means_none_is_canonical() -> None:
    assert resolve_symbols(["sz300750", "2", "aapl", "../x", ""], KNOWN) == ["300750.SZ", "2", "aapl", "../x", ""]
    assert resolve_symbols([], KNOWN) == []


def test_homes_whose_symbols_are_not_canonical_are_found_as_they_are() -> None:
    old = ["600519", "sz000001", "600000.XSHG", "S00001"]
    assert resolve_symbols(old, old) == old
    assert resolve_symbols(["600519.SH", "sh600519", "1", "600000", "600000.SH"], old) == [
        *("600519", "600519", "sz000001", "600000.XSHG", "600000.XSHG")
    ]


def test_a_symbol_that_is_stored_in_two_ways() -> None:
    assert resolve_symbols(["sh600519", "600519"], ["600519", "600519.SH"]) == ["600519.SH", "600519"]
    with pytest.raises(AmbiguousSymbolError, match=r"'600519.SH' is ambiguous: 600519, sh600519; name one of them"):
        resolve_symbols(["600519.SH"], ["sh600519", "600519"])
    with pytest.raises(AmbiguousSymbolError, match=r"'600519' is ambiguous: 600519.SH, sh600519"):
        resolve_symbols(["600519"], ["sh600519", "600519.SH"])


texts = st.text("0123456789", max_size=6) | st.sampled_from(KNOWN) | st.text("shAB.&^/'", max_size=5)


@pytest.mark.slow
@given(st.lists(texts, max_size=5), st.sets(texts.filter(is_symbol), max_size=5))
def test_every_text_means_itself_one_known_symbol_or_its_canonical_form(typed: list[str], known: set[str]) -> None:
    refused, meant = None, []
    try:
        meant = resolve_symbols(typed, known)
    except AmbiguousSymbolError as error:
        refused = error
    if refused is not None:
        assert len(set(refused.candidates or [])) > 1
        assert set(refused.candidates or []) <= known
        assert refused.value in set(typed) - known
        return
    for text, symbol in zip(typed, meant, strict=True):
        assert symbol == text if text in known else symbol in known or symbol == canonical_symbol(text)
    assert resolve_symbols(meant, known) == meant


def test_near_names_are_offered() -> None:
    known = ["AAPL", "MSFT", "600519.SH", "GOOG", "GOOGL"]
    assert did_you_mean(["AAPK"], known) == " (did you mean AAPL?)"
    assert did_you_mean(["aapl", "600518.SH"], known) == " (did you mean AAPL, 600519.SH?)"
    assert did_you_mean(["GOOGLE"], known) == " (did you mean GOOGL, GOOG?)"
    assert did_you_mean(["NOPE", "../../x", ""], known) == ""
    assert did_you_mean([], known) == ""
    assert did_you_mean(["AAPK"], []) == ""
    assert did_you_mean(["S0000A"], [f"S{number:06}" for number in range(100_001)]) == ""
