"""Investing.com: "Historical Data" as CSV, in the languages of its sites.

The newest row is the first. Numbers are written for people: thousands are divided, volumes are 1.2M or -, and the sites
of the continent write a decimal comma. Days are month-first or day-first by the site, which all days of a file decide.
Prices are adjusted for splits, and not for dividends.
"""

from functools import partial
from typing import Final

import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.written_numbers import plain_numbers

_NOTE: Final = (
    "Investing.com adjusts prices for splits and not for dividends, and nothing tells these: each looks like a fall"
)
_SITES: Final = {
    # Date, close, open, high, low, volume; the decimal sign.
    "English": (("date", "price", "open", "high", "low", "vol."), "."),
    "German": (("datum", "zuletzt", "eröffn.", "hoch", "tief", "vol."), ","),
    "French": (("date", "dernier", "ouv.", "plus haut", "plus bas", "vol."), ","),
    "Spanish": (("fecha", "último", "apertura", "máximo", "mínimo", "vol."), ","),
    "Italian": (("data", "ultimo", "apertura", "massimo", "minimo", "vol."), ","),
    "Portuguese": (("data", "último", "abertura", "máxima", "mínima", "vol."), ","),
    "Chinese": (("日期", "收盘", "开盘", "高", "低", "交易量"), "."),
}
_FILE: Final = (
    r"([A-Z0-9.]{1,10})(?:_[A-Z]+)?[ _]?(?:Historical[ _]Data|Stock Price History|Historische (?:Daten|Kurse)|"
    r"Données Historiques|Datos históricos|Dati Storici|Dados Históricos|历史数据)(?: \(\d+\))?"
)
_MEANINGS: Final = ("date", "close", "open", "high", "low", "volume")


def _tidy(cells: pd.DataFrame, point: str) -> pd.DataFrame:
    return plain_numbers(cells, (*PRICES, "volume"), point)


LAYOUTS: Final = tuple(
    Layout(
        name=f"Investing.com, {language}",
        columns=dict(zip(names, _MEANINGS, strict=True)),
        telling=names,
        as_text=True,
        tidy=partial(_tidy, point=point),
        file_name=_FILE,
        note=_NOTE,
    )
    for language, (names, point) in _SITES.items()
)
"""A layout for each language."""
