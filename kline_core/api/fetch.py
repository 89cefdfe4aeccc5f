"""Fetch of bars from live sources."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kline_core.api.data import Count, as_home, shown
from kline_core.dates import optional_date
from kline_core.store.home import Home

if TYPE_CHECKING:
    from kline_core.sources.fetch_report import FetchReport


def fetch(
    home: Home | str | Path,
    source: str,
    *,
    since: str | datetime.date | np.datetime64 | None = None,
    members_since: str | datetime.date | np.datetime64 | None = None,
    progress: bool | Count = False,
) -> "FetchReport":
    """Bring the bars of a universe up to date from a live source, each symbol since its last stored bar.

    Bars of a session that is not over are left alone. What came before a call was cut off is stored, but for a batch of
    symbols at the most, and the next call goes on from there. The members of an index are kept with the day.

    .. warning::
        An index of today's members knows who did not fail. A report says ``survivorship bias`` in `bias` where members
        are not known as far back as bars are.

    Args:
        home: A home, or the folder or URL of one, which is made if it is missing.
        source: Source and universe: ``akshare:csi300``, ``baostock:600519,000001``, ``tushare:all``,
            ``yfinance:AAPL,MSFT``. Each needs the extra of its name (``pip install '.[akshare]'``), and tushare the
            variable TUSHARE_TOKEN.
        since: First day of symbols that the home does not hold yet; None for all that the source has.
        members_since: First day for which the members of the index are asked for too, where the source can tell them.
        progress: True shows a bar on standard error; a function is called with the symbols done and the total.

    Returns:
        What became of each symbol: ``asked == up_to_date + fetched + failed``, with the reasons in ``.failed``; and of
        every row in ``.bars``, an ingest's report.

    Raises:
        NothingFetchedError: No symbol could be fetched; it carries the report.
        SourceError: The source's client is not installed, its token is not set, or it does not tell the members.
        SettingError: There is no such source, or it cannot be asked for that; or the home is of another market.
        InputError: A symbol that is named is none.
        DateError: A day cannot be parsed, or the exchange's calendar has ended.
        HomeError: The home cannot be made, read or written.

    Examples:
        >>> try:
        ...     kl.fetch(folder / "my-home", "yfinance:csi300")
        ... except kl.errors.SettingError as error:
        ...     print(error)
        source is 'yfinance:csi300', and yfinance tells no members of csi300; name symbols, as in yfinance:AAPL,MSFT
    """
    from kline_core.sources.fetch import check_past, fetch_universe
    from kline_core.sources.registry import check_source

    first = optional_date(since, "since")
    past = optional_date(members_since, "members_since")
    # Before a home is made.
    check_past(check_source(source), past)
    with shown(progress, "fetch", " symbols") as told:
        return fetch_universe(as_home(home, create=True), source, first, past, told)
