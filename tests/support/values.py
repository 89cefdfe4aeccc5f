"""Homes with values that were not computed but made up, for tests of what is read from them."""

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core.store.schemas import table_schema

FINGERPRINT = "0123456789abcdef"


def value_rows(symbol, dates, values, reasons=None) -> pd.DataFrame:
    """Samples of one symbol; NaN for one that failed."""
    values = np.asarray(values, dtype=float)
    failed = np.isnan(values)
    reason = np.where(failed, "too few matches: 0 of 5", None) if reasons is None else reasons
    days = np.asarray(dates, "datetime64[D]")
    return pd.DataFrame({"symbol": symbol, "date": days, "value": values, "reason": reason, "failed": failed})


def store(home, rows, fingerprint=FINGERPRINT, run_id="test") -> None:
    """Add rows of `value_rows` to a home's values."""
    n = len(rows)
    filled = {
        "symbol": rows["symbol"].tolist(),
        "date": pa.array(rows["date"].to_numpy().astype("datetime64[D]"), pa.date32()),
        "fingerprint": [fingerprint] * n,
        "value": pa.array(rows["value"].to_numpy(float), from_pandas=True),
        "status": ["failed" if failed else "ok" for failed in rows["failed"]],
        "reason": pa.array(rows["reason"].tolist(), pa.string(), from_pandas=True),
        "matches": [5] * n,
        "history": [0] * n,
        "run_id": [run_id] * n,
    }
    schema = table_schema("factors")
    columns = [filled.get(field.name, pa.nulls(n, field.type)) for field in schema]
    home.append("factors", pa.table([pa.array(c) if isinstance(c, list) else c for c in columns], schema.names))
