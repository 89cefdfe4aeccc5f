"""Real daily bars of AAPL, FB, GOOG, IBM and MSFT, as the PyPI package bokeh_sampledata carries them.

Its open, high, low and close are as traded, with the splits in them (AAPL 2000-06-21 and 2005-02-28, MSFT 2003-02-18).
Only `adj_close` is adjusted, for all splits and dividends, later ones included. The adjustment factor of a day is
therefore `adj_close / close`, divided by that of the first day, so that it starts at 1 and, like every backward factor,
does not depend on what was paid after the day: a later dividend scales all of `adj_close` alike and cancels.

`adj_close` is given to 12 digits and more, not to the cent. So the ratio is constant, to 13 digits, on all days but
ex-dates (AAPL has 5 in thirteen years), and nothing is rounded or repaired. Its noise in a day's adjusted return is
below 1e-13. AAPL's fall by 52 % on 2000-09-29 is no split but a profit warning, and stays.

The series end on 2013-03-01; FB begins on 2012-05-18 and has fewer usable dates than samples are asked for.
"""

import pandas as pd

from kline_core.errors import InputError

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def load_us_stocks() -> pd.DataFrame:
    """Daily bars of five US stocks, 2000-03-01 to 2013-03-01 (FB from 2012-05-18), in the plain layout.

    Columns symbol, date (text, YYYY-MM-DD, the exchange's day), open, high, low, close (US dollars, raw), volume
    (shares) and adj_factor (cumulative backward factor, 1.0 on the first day); ordered by symbol and date.

    Raises `InputError` if bokeh_sampledata is not installed.

    Examples:
        >>> kl.load_us_stocks().groupby("symbol").size().to_dict()
        {'AAPL': 3270, 'FB': 196, 'GOOG': 2148, 'IBM': 3270, 'MSFT': 3270}
    """
    try:
        from bokeh_sampledata import stocks
    except ImportError as error:
        raise InputError(
            "the demo needs the package bokeh_sampledata, which is not installed; "
            "install it with `pip install 'kline-factor[demo]'`"
        ) from error
    frames = []
    for symbol in SYMBOLS:
        frame = pd.DataFrame(getattr(stocks, symbol))
        ratio = frame.pop("adj_close") / frame["close"]
        frame = frame.assign(adj_factor=ratio / ratio.iloc[0])
        frame.insert(0, "symbol", symbol)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)
