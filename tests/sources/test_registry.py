"""What texts name a live source, and what is asked of it. No client is needed, and nobody is asked."""

import sys
from types import ModuleType

import pytest

from kline_core.errors import InputError, SettingError, SourceError
from kline_core.sources.registry import SOURCES, check_source, is_live, parse_universe
from kline_core.sources.yfinance import yahoo_symbol


@pytest.mark.parametrize(
    ("text", "source", "name", "symbols"),
    [
        ("akshare:csi300", "akshare", "csi300", ()),
        (" AkShare : CSI300 ", "akshare", "csi300", ()),
        ("akshare", "akshare", "all", ()),
        ("tushare:all", "tushare", "all", ()),
        ("tushare:sse50", "tushare", "sse50", ()),
        # Bare codes are shares of the mainland, in any spelling, each once.
        ("baostock:600519,000001", "baostock", None, ("600519.SH", "000001.SZ")),
        ("baostock: sh.600519, 600519.XSHG,1 ,", "baostock", None, ("600519.SH", "000001.SZ")),
        ("yfinance:AAPL,brk-b.us,600519.SS", "yfinance", None, ("AAPL", "BRK-B", "600519.SH")),
    ],
)
def test_what_is_asked_for(text: str, source: str, name: str | None, symbols: tuple[str, ...]) -> None:
    found = parse_universe(text)
    assert (found.text, found.source, found.name, found.symbols) == (text, source, name, symbols)
    assert is_live(text)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("yahoo:AAPL", SettingError, "must be one of akshare, baostock, tushare, yfinance"),
        ("yfinance", SettingError, "yfinance tells no members of all; name symbols, as in yfinance:AAPL,MSFT"),
        ("yfinance:csi300", SettingError, "tells no members of csi300"),
        # A name that another source knows is no ticker.
        ("baostock:csi1000", SettingError, "tells no members of csi1000; name csi300, csi500, sse50, all, or symbols"),
        ("akshare:,", SettingError, "name at least one symbol"),
        ("akshare:AAPL", InputError, "AAPL is no share of CN"),
        ("akshare:csi-300", InputError, "csi-300 is no share of CN.*knows .csi300"),
        ("yfinance:A B", InputError, "a symbol is 1-32"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        parse_universe(text)


@pytest.mark.parametrize("text", ["bars", "./akshare", "/data/akshare", "C:akshare", ""])
def test_folders_are_no_sources(text: str) -> None:
    assert not is_live(text)


@pytest.mark.parametrize("name", SOURCES)
def test_a_missing_client_is_named_with_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SourceError, match=f"source {name} needs the package {name}") as caught:
        check_source(f"{name}:600519")
    assert caught.value.source == name
    assert caught.value.remedy == f"pip install '.[{name}]'"
    assert str(caught.value).endswith(f"; pip install '.[{name}]'")


def test_a_missing_token_is_named_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tushare", ModuleType("tushare"))
    monkeypatch.delenv("TUSHARE_TOKEN", raising=False)
    with pytest.raises(SourceError, match="source tushare needs a token: set TUSHARE_TOKEN") as caught:
        check_source("tushare:csi300")
    assert caught.value.remedy == "TUSHARE_TOKEN"


def test_yahoo_has_a_spelling_of_its_own() -> None:
    asked = ("600519.SH", "000001.SZ", "BRK.B", "RDS/A", "7203.T", "M&M.NS", "^GSPC")
    assert [yahoo_symbol(symbol) for symbol in asked] == [
        *("600519.SS", "000001.SZ", "BRK-B", "RDS-A", "7203.T", "M&M.NS", "^GSPC")
    ]
