"""Changes of the factor from real adjusted closes, and from the splits and dividends beside them."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kline_core.bars.increments import changes_in_file
from kline_core.bars.row_errors import RowErrors
from kline_core.typing import Floats64
from tests.support.real_data import needs_real_data, real_data

pytestmark = needs_real_data


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    folder = real_data()
    raw, extra = (pq.read_table(folder / f"us_sp500_{name}.parquet").to_pandas() for name in ("raw", "extra"))
    return pd.concat([raw, extra.drop(columns=["symbol", "date"])], axis=1)


def changes(bars: pd.DataFrame, **hints: str) -> Floats64:
    numbers = {meaning: bars[name].to_numpy() for meaning, name in hints.items()}
    numbers |= {"close": bars["close"].to_numpy(), "adj_factor": np.full(len(bars), np.nan)}
    frame = bars.assign(**{name: bars[column] for name, column in hints.items()})
    faults = RowErrors(frame)
    found = changes_in_file(bars["symbol"], bars["date"].to_numpy().astype("datetime64[D]"), numbers, faults)
    assert not faults.any().any()
    return np.asarray(found.columns["change"], dtype=np.float64)


def test_adjusted_closes_and_payments_tell_the_same_days(bars: pd.DataFrame) -> None:
    adjusted = changes(bars, adj_close="adjusted_close")
    paid = changes(bars, split="split_coefficient", dividend="dividend_amount")
    first = (bars["symbol"] != bars["symbol"].shift()).to_numpy()
    assert np.isnan(adjusted[first]).all()
    inner = ~first
    # The vendor's own adjusted returns.
    ours = (bars["close"] / bars["close"].shift()).to_numpy() * adjusted
    theirs = (bars["adjusted_close"] / bars["adjusted_close"].shift()).to_numpy()
    own = np.abs(ours / theirs - 1)[inner].max()
    assert own < 1e-9
    assert ((adjusted != 1) == (paid != 1))[inner].all()
    # The vendor reinvests a dividend at the close of the ex-date, CRSP's factor at the close before less the dividend.
    reinvested = (bars["split_coefficient"] * (1 + bars["dividend_amount"] / bars["close"])).to_numpy()
    apart, methods = np.abs(adjusted / reinvested - 1)[inner], np.abs(adjusted / paid - 1)[inner]
    days = int((adjusted != 1)[inner].sum())
    print(
        f"\n{days} changes of 60 symbols; adjusted returns against the vendor's: {own:.1e}; changes against reinvested "
        f"dividends: {apart.max():.1e}, {(apart > 1e-6).sum()} above 1e-6; against CRSP's: {methods.max():.1e}, "
        f"{(methods > 1e-3).sum()} above 1e-3"
    )
    worst = bars[inner].assign(apart=apart, methods=methods).nlargest(5, "methods")
    print(worst[["symbol", "date", "close", "dividend_amount", "split_coefficient", "apart", "methods"]].to_string())
    assert methods.max() < 0.05


def test_wrong_coefficients_of_the_source_are_known(bars: pd.DataFrame) -> None:
    adjusted = changes(bars, adj_close="adjusted_close")
    step = np.log((bars["close"] / bars["close"].shift()).to_numpy())
    inner = (bars["symbol"] == bars["symbol"].shift()).to_numpy()
    adjusted_step = step + np.log(adjusted)
    # A split that the price did not follow, and a fall that no split explains.
    unfollowed = inner & (np.abs(np.log(bars["split_coefficient"])) > 0.2) & (np.abs(adjusted_step) > 0.3)
    unexplained = inner & ~unfollowed & (np.abs(adjusted_step) > np.log(1 / 0.6))
    listed = bars.assign(ours=np.exp(adjusted_step) - 1)
    shown = ["symbol", "date", "close", "split_coefficient", "dividend_amount", "ours"]
    print(f"\nSplits that the price did not follow:\n{listed[unfollowed][shown].to_string()}")
    print(f"Jumps that nothing explains:\n{listed[unexplained][shown].to_string()}")
    both = inner & (bars["split_coefficient"] != 1) & (bars["dividend_amount"] > 0.02 * bars["close"])
    print(f"Splits with a large dividend on the same day:\n{listed[both][shown].to_string()}")
    assert not unfollowed.any()
    # Falls that happened.
    assert set(listed[unexplained]["symbol"]) == {"AAPL", "DLTR", "NFLX", "OXY", "REGN"}
