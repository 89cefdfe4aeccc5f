"""Values and prices as alphalens takes them: a folder with `factor.parquet` and `prices.parquet`."""

from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kline_core._text import refusal
from kline_core.by_year import Fingerprint
from kline_core.errors import InputError
from kline_core.factor.export import only_fingerprint, stored_values
from kline_core.factor.frame_files import check_around, check_replaceable, write_frame
from kline_core.factor.prices import read_entry_prices, recorded_steps
from kline_core.store.home import Home

FACTOR: Final = "factor.parquet"
PRICES: Final = "prices.parquet"


def factor_series(frame: pd.DataFrame) -> "pd.Series[float]":
    """Values of a frame of `stored_values`: float64 0..1, NaN if a sample failed, a Series named factor with the sorted
    MultiIndex (date, asset)."""
    index = pd.MultiIndex.from_arrays([frame["date"], frame["symbol"]], names=["date", "asset"])
    return pd.Series(frame["value"].to_numpy(dtype="float64"), index=index, name="factor").sort_index()


def write_alphalens(home: Home, folder: Path, fingerprint: Fingerprint | None = None) -> int:
    """Write stored values and the prices at which they can be traded into a folder; returns the number of values.

    `factor.parquet`: a column `factor` with the index (date, asset). `prices.parquet`: one row per day, one column per
    symbol, see `kline_core.factor.prices.entry_prices`. pandas reads both with their indexes. The folder is made where
    it is missing, and files of an earlier export in it are replaced.

    Raises as `only_fingerprint` and `recorded_steps`, and `InputError` if the folder cannot be written.
    """
    check_around(folder)
    if folder.is_dir():
        check_replaceable(folder, _is_export)
    wanted = only_fingerprint(home, fingerprint)
    frame = stored_values(home, wanted)
    prices = read_entry_prices(home, sorted(set(frame["symbol"])), recorded_steps(home, wanted))
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({refusal(error)}); name a folder that can", source=str(folder)
        ) from error
    write_frame(factor_series(frame).to_frame(), folder / FACTOR, index=True)
    write_frame(prices, folder / PRICES, index=True)
    return len(frame)


def _is_export(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {FACTOR, PRICES} and _columns(folder / FACTOR) == {"factor"}


def _columns(file: Path) -> set[str] | None:
    """Columns of a Parquet file beside its index; None if it is none."""
    try:
        return set(pq.read_schema(file).names) - {"date", "asset"}
    except (OSError, pa.ArrowException):
        return None
