"""Mean outcome of the matches of each symbol's newest sample, weighted as in its value."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.by_year import Fingerprint
from kline_core.store.home import Home
from kline_core.store.schemas import OK


def weighted_outcomes(home: Home, latest: pd.DataFrame, fingerprint: Fingerprint, horizon: int) -> dict[str, float]:
    """Weighted mean return of the matches behind the values of the newest date of `latest`.

    The weights are those that are stored with the matches, with which the values were made. Symbols without a value on
    that date are left out.

    Args:
        home: Home with the matches.
        latest: Newest samples, as `kline_core.factor.stored_values.latest_values` gives them.
        fingerprint: Fingerprint of the values.
        horizon: Of the returns, in bars.

    Returns:
        By symbol, a fraction.
    """
    there = latest[(latest["date"] == latest["date"].max()) & (latest["status"] == OK)]
    if there.empty:
        return {}
    day = pa.scalar(there["date"].iloc[0].date(), pa.date32())
    rows = home.read(
        "matches",
        ["symbol", "weight", f"r{horizon}"],
        symbols=there["symbol"].tolist(),
        fingerprint=fingerprint,
        where=pc.field("date") == day,
    ).to_pandas()
    products = rows["weight"] * rows[f"r{horizon}"]
    sums = pd.DataFrame({"weight": rows["weight"], "product": products}).groupby(rows["symbol"].astype(str)).sum()
    return {str(symbol): float(mean) for symbol, mean in (sums["product"] / sums["weight"]).items()}
