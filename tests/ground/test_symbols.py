import pytest

from kline_core.errors import InputError
from kline_core.symbols import check_symbol, is_symbol

UNSAFE = ["", "../../x", "a/b", "a\\b", "a'b", 'a"b', "a..b", ".a", "^a", "a b", "a\n", "0" * 33, "ä", None, 7]


@pytest.mark.parametrize("symbol", ["AAPL", "600519.SH", "BRK-B", "EURUSD=X", "a_b", "0" * 32])
def test_safe_symbols_pass(symbol: str) -> None:
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", UNSAFE)
def test_unsafe_symbols_are_refused(symbol: object) -> None:
    assert not is_symbol(symbol)
    with pytest.raises(InputError, match="--symbol is"):
        check_symbol(symbol, "--symbol")
