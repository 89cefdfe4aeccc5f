"""The picture of a symbol's values beside its price."""

import numpy as np
import pandas as pd
import pytest

from kline_core.factor.symbol_history import SymbolHistory
from kline_core.plots.history_plot import history_figure, history_png


def of(days: int, rise: float = 1.0, failed: int = 0) -> SymbolHistory:
    dates = np.arange("2020-01-01", np.datetime64("2020-01-01") + days, dtype="datetime64[D]")
    value = np.linspace(0, 1, days)
    value[:failed] = np.nan
    rows = pd.DataFrame({"date": dates.astype("datetime64[s]"), "close": 1.0, "value": value})
    rows["status"] = np.where(np.isnan(value), "failed", "ok")
    return SymbolHistory("A", "f", rows, dates, np.linspace(10, 10 * rise, days))


def words(found: SymbolHistory) -> list[str]:
    figure = history_figure(found)
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


@pytest.mark.parametrize("days", [1, 2, 40, 3000])
def test_it_is_drawn_whatever_there_is(days: int) -> None:
    assert history_png(of(days))[:4] == b"\x89PNG"
    assert history_png(of(days)) == history_png(of(days))


def test_prices_that_rise_far_are_drawn_by_ratio() -> None:
    assert "adjusted, the first stored bar as it was traded; by ratio" in words(of(100, 9))
    assert {"10", "30", "90"} <= set(words(of(100, 9)))
    assert {"10", "15", "20"} <= set(words(of(100, 2)))


def test_time_is_in_years_or_months() -> None:
    assert {"2021", "2027"} <= set(words(of(3000)))
    assert {"2020-02", "2020-03"} <= set(words(of(80)))


def test_samples_without_a_value_are_named() -> None:
    assert any("samples without a value" in text for text in words(of(30, failed=2)))
    assert any("28 values + 2 failed" in text for text in words(of(30, failed=2)))
    assert not any("samples without a value" in text for text in words(of(30)))
    assert history_png(of(30, failed=30))


def test_without_bars() -> None:
    found = of(5)
    bare = SymbolHistory("A", "f", found.rows, found.dates[:0], found.close[:0])
    assert "no bars are stored by now" in words(bare)
