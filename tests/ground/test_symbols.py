import doctest
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core import symbols as module
from kline_core.errors import InputError
from kline_core.markets import MARKETS
from kline_core.symbols import (
    NUMBER_PREFIXES,
    SYMBOL_RULE,
    canonical_symbol,
    check_symbol,
    code_of,
    is_symbol,
    market_of,
    symbol_file_name,
)

SYMBOLS = [
    *("AAPL", "600519.SH", "BRK-B", "BRK.B", "EURUSD=X", "ES=F", "a_b", "0" * 32, "7203.T", "005930.KS", "a.", "A="),
    *("^GSPC", "^A", "M&M.NS", "J&KBANK.NS", "RDS/A", "BTC/USD", "A&B/C", "ABC^"),
    # What other programs take for something else than text.
    *("NA", "NaN", "nan", "None", "null", "TRUE", "INF", "1E5", "1", "007"),
]
NO_SYMBOLS = [
    *("", "../../x", "/a", "a/", "a//b", "a/./b", "a/../b", "./a", "a\\b", "a'b", 'a"b', "a..b", ".a", "-a", "=a"),
    *("^", "^^a", "^/a", "&a", "a&", "a&&b", "a&/b", "a/.b", "a./b", "a b", "a\n", "a\0", "a%2Fb", "a;b", "<b>", "a#1"),
    *("0" * 33, "^" + "0" * 32, "ä", "６００５１９", "ſh600519", None, 7, b"A"),
]
AS_VENDORS_WRITE = {
    "600519.SH": [
        *("sh600519", "SH600519", "Sh600519", "sh.600519", "SH.600519", "SH#600519", "SHSE.600519", "600519"),
        *("600519.SH", "600519.sh", "600519.XSHG", "600519.SS", "600519.SSE"),
    ],
    "000001.SZ": ["sz000001", "sz.000001", "000001.XSHE", "000001.SZ", "000001.SZSE", "000001"],
    "430047.BJ": ["bj430047", "430047.BJ", "430047", "430047.BJSE"],
    "0700.HK": ["00700.HK", "0700.HK", "700.HK", "HK00700", "hk00700", "HK0700", "HK.00700", "HK.700", "00700.XHKG"],
    "80700.HK": ["80700.HK", "HK80700"],
    "IBM": ["IBM.US", "ibm.us", "US.IBM", "us.ibm", "IBM"],
    "BRK.B": ["BRK.B.US", "US.BRK.B", "BRK.B"],
    "BRK-B": ["brk-b.us"],
    "F": ["US.F", "F.US"],
}
AS_THEY_ARE = [
    *(
        "7203.T",
        "M&M.NS",
        "005930.KS",
        "BRK.B",
        "BF-B",
        "nan",
        "NaN",
        "aapl",
        "^GSPC",
        "RDS/A",
        "EURUSD=X",
        "A.L",
        "US",
    ),
    *(
        "400001",
        "399001",
        "1",
        "60051",
        "6005190",
        "00700",
        "000700.HK",
        "1.SZ",
        "60051.SH",
        "sh60051",
        "HK1",
        "HK000700",
    ),
    # Exchanges that contradict each other, and texts that are no symbols.
    *("US.600519.SH", "600519.SH.US", "US.US.IBM", "US.sh600519", "7203.T.US", "sh600519.SZ"),
    *("", ".", ".SH", "US.", ".US", " sh600519", "ſh600519", "ß.US", "sh６００５１９", "sh..600519"),
]

texts = st.text(max_size=8) | st.text("0123456789", max_size=7) | st.text("ABsh./-&^=", max_size=6)
names = st.sampled_from(["", "sh", "SZ", "bj", "HK", "US", "us", "XSHG", "SS", "T", "TWO", "L"])
dots = st.sampled_from([".", "#", ""])
symbol_texts = st.one_of(
    texts,
    st.tuples(names, dots, texts).map("".join),
    st.tuples(texts, dots, names).map("".join),
    st.tuples(names, dots, texts, dots, names).map("".join),
)


def test_examples_run_as_they_stand() -> None:
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_symbols(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", NO_SYMBOLS)
def test_what_is_no_symbol_is_refused_with_the_rule(symbol: object) -> None:
    assert not is_symbol(symbol)
    with pytest.raises(InputError, match="--symbol is") as caught:
        check_symbol(symbol, "--symbol")
    assert SYMBOL_RULE in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@given(symbol_texts)
def test_the_rule_says_what_is_a_symbol(text: str) -> None:
    inner = text[1:] if text.startswith("^") else text
    letters = {letter for letter in map(chr, range(128)) if letter.isalnum()}
    joined = all(
        text[at - 1 : at] in letters and text[at + 1 : at + 2] in letters
        for at, letter in enumerate(text)
        if letter in "&/"
    )
    follows = (
        1 <= len(text) <= 32
        and set(text) <= letters | set("._^=-&/")
        and inner[:1] in letters
        and ".." not in text
        and joined
    )
    assert is_symbol(text) == follows


def test_files_of_symbols_stay_in_their_folder_and_apart() -> None:
    names = [symbol_file_name(symbol) for symbol in SYMBOLS]
    assert len({name.lower() for name in names}) == len(SYMBOLS)
    for symbol, name in zip(SYMBOLS, names, strict=True):
        assert unquote(name) == symbol
        assert name.isascii()
        assert "/" not in name
        assert not name.startswith((".", "-"))
    assert symbol_file_name("600519.SH") == "600519.SH"
    with pytest.raises(InputError, match="a symbol is"):
        symbol_file_name("../x")


@pytest.mark.slow
@given(symbol_texts, symbol_texts)
def test_two_symbols_never_share_a_file(first: str, second: str) -> None:
    if is_symbol(first) and is_symbol(second) and first != second:
        assert symbol_file_name(first).lower() != symbol_file_name(second).lower()


@pytest.mark.parametrize(
    ("canonical", "text"), [(to, text) for to, texts in AS_VENDORS_WRITE.items() for text in texts]
)
def test_what_vendors_write_becomes_canonical(canonical: str, text: str) -> None:
    assert canonical_symbol(text) == canonical
    assert canonical_symbol(canonical) == canonical
    assert is_symbol(canonical)


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_other_texts_stay(text: str) -> None:
    assert canonical_symbol(text) == text


def test_the_number_tells_the_exchange() -> None:
    for exchange, prefixes in NUMBER_PREFIXES.items():
        for prefix in prefixes:
            assert canonical_symbol(prefix.ljust(6, "1")) == f"{prefix.ljust(6, '1')}.{exchange}"
    # Bonds, codes of Korea, and what no board has.
    for code in ("110059", "005930", "207940", "068270", "680001", "901234"):
        assert canonical_symbol(code) == code


def test_lost_zeros_come_back_only_where_it_is_said() -> None:
    for text, canonical in (("1", "000001.SZ"), ("2594", "002594.SZ"), ("600519", "600519.SH"), ("1.SZ", "000001.SZ")):
        assert canonical_symbol(text, lost_zeros=True) == canonical
    assert canonical_symbol("1", "SH", lost_zeros=True) == "000001.SH"
    for text in ("AAPL", "7203.T", "0700.HK", "1234567", "110059", ""):
        assert canonical_symbol(text, lost_zeros=True) == text


@pytest.mark.parametrize(
    ("text", "exchange", "canonical"),
    [
        ("000001", "SH", "000001.SH"),
        ("000001", "XSHG", "000001.SH"),
        ("600519.SS", "sse", "600519.SH"),
        ("700", "HKEX", "0700.HK"),
        ("005930", "KS", "005930.KS"),
        ("7203", "T", "7203.T"),
        ("7203.T", "T", "7203.T"),
        ("M&M", "NS", "M&M.NS"),
        ("ibm.us", "NYSE", "IBM"),
        ("BRK.B", "US", "BRK.B"),
    ],
)
def test_the_exchange_may_be_known_from_elsewhere(text: str, exchange: str, canonical: str) -> None:
    assert canonical_symbol(text, exchange) == canonical
    assert canonical_symbol(canonical, exchange) == canonical


@pytest.mark.parametrize(
    ("text", "exchange", "says"),
    [
        ("600519", "MARS", "exchange is 'MARS'; it must be one of SH, "),
        ("600519", "", "exchange is ''"),
        ("sh600519", "SZ", "'sh600519' names the exchange SH, not SZ; correct the one or the other"),
        ("7203.T", "US", "names the exchange T, not US"),
        ("AAPL", "SH", "'AAPL' is no code of the exchange SH, whose codes have six digits; correct it"),
        ("1", "SZ", "no code of the exchange SZ"),
        ("600519", "US", "'600519' is no code of the exchange US; correct it"),
        ("US", "T", "'US' is no code of the exchange T"),
        ("", "T", "'' is no code of the exchange T"),
        ("600519", "HK", "no code of the exchange HK, whose codes have up to five digits"),
    ],
)
def test_exchanges_that_do_not_fit_are_refused(text: str, exchange: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        canonical_symbol(text, exchange)


@pytest.mark.slow
@given(symbol_texts, st.booleans())
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str, lost_zeros: bool) -> None:
    canonical = canonical_symbol(text, lost_zeros=lost_zeros)
    assert canonical_symbol(canonical) == canonical
    assert canonical_symbol(canonical, lost_zeros=lost_zeros) == canonical
    assert market_of(canonical) in {*MARKETS, None}


@pytest.mark.slow
@given(symbol_texts, st.sampled_from(["SH", "XSHE", "BJ", "HK", "US", "T", "L"]))
def test_the_canonical_form_of_an_exchange_is_of_this_exchange(text: str, exchange: str) -> None:
    try:
        canonical = canonical_symbol(text, exchange)
    except InputError:
        return
    assert canonical_symbol(canonical, exchange) == canonical
    assert canonical_symbol(canonical) == canonical


@pytest.mark.parametrize("part", ["US.", ".US", "A.", "9", "sh", "^&/", "A/"])
def test_long_texts_take_no_time(part: str) -> None:
    text = part * 100_000
    assert canonical_symbol(text) == text
    assert len(canonical_symbol(f"{text}A.US")) >= len(text)
    assert not is_symbol(text)
    assert market_of(text) is None


def test_codes() -> None:
    symbols = ["sh600519", "0700.HK", "7203.T", "005930.KS", "1", "AAPL", "M&M.NS", "^GSPC", "130A.T"]
    assert [code_of(symbol) for symbol in symbols] == ["600519", "00700", "7203", "005930", "1", None, None, None, None]


@pytest.mark.parametrize(
    ("market", "symbols"),
    [
        ("CN", ["600519.SH", "000001.SZ", "430047.BJ", "sh600519", "SH#600519", "600519"]),
        ("HK", ["0700.HK", "HK.00700"]),
        ("US", ["AAPL", "F", "BRK.B", "BF-B", "RDS/A", "BAC-PL", "NA", "nan", "ibm.us"]),
        ("JP", ["7203.T", "130A.T"]),
        ("KR", ["005930.KS", "035720.KQ"]),
        ("IN", ["M&M.NS", "500325.BO"]),
        ("GB", ["BP.L", "BT-A.L"]),
        ("DE", ["SAP.DE", "SAP.F"]),
        ("FR", ["MC.PA"]),
        ("CA", ["RY.TO", "ABX.V"]),
        ("AU", ["BHP.AX"]),
        ("TW", ["2330.TW", "6488.TWO"]),
        ("SG", ["D05.SI"]),
        (None, ["^GSPC", "^N225", "ES=F", "EURUSD=X", "BTC-USD", "EUR/USD", "DX-Y.NYB", "ABCDEF", "S00001", "1E5"]),
        (None, ["1", "7203", "M&M", "ABC.XX", "", "../x", "^X.T", "A B.T"]),
    ],
)
def test_markets_of_symbols(market: str | None, symbols: list[str]) -> None:
    assert {symbol: market_of(symbol) for symbol in symbols} == dict.fromkeys(symbols, market)
