"""A symbol's stored values beside its price."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.errors import DateError, FingerprintError, UnknownSymbolError
from kline_core.factor.symbol_history import symbol_history
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.homes import make_home, market


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Values of the third, fifth and ninth of twelve days, the fifth without one, and of a day without a bar."""
    bars = market(2, 12).assign(adj_factor=2.0)
    days = np.unique(bars["date"].to_numpy().astype("datetime64[D]"))
    bars["suspended"] = (bars["date"].to_numpy().astype("datetime64[D]") == days[5]) & (bars["symbol"] == "S00000")
    home = make_home(tmp_path_factory.mktemp("history") / "home", bars)
    samples = [(days[2], 0.25, None), (days[4], None, "too few matches: 0 of 5"), (days[8], 0.75, None)]
    samples.append((days[-1] + 40, 1.0, None))
    rows = [
        {"fingerprint": "f", "run_id": "r", "symbol": "S00000", "date": day.item(), "value": value, "reason": why}
        | {"status": "failed" if why else "ok", "matches": 5, "history": 1, "barrier_win_rate": value}
        for day, value, why in samples
    ]
    home.append("factors", pa.Table.from_pylist(rows[::-1], table_schema("factors")))
    return home


def test_each_sample_stands_beside_its_close(home: Home) -> None:
    found = symbol_history(home, "S00000", "f")
    bars = home.read("bars", symbols=["S00000"]).to_pandas()
    close = 2 * bars.set_index("date")["close"]
    assert found.values == 3
    assert found.rows["date"].is_monotonic_increasing
    for row in found.rows.iloc[:3].itertuples():
        assert row.close == close[row.date.date()]
    assert np.isnan(found.rows["close"].iloc[3])
    assert found.rows["value"].fillna(-1).tolist() == [0.25, -1, 0.75, 1.0]
    # From the first sample on, without the suspended day.
    wanted = bars[~bars["suspended"]]["date"].iloc[2:].to_numpy().astype("datetime64[D]")
    assert found.dates.tolist() == wanted.tolist()
    assert len(bars) == len(wanted) + 3


def test_what_it_says(home: Home) -> None:
    found = symbol_history(home, "S00000", "f")
    text, document = found.text(), found.to_dict()
    assert text.startswith("S00000: 4 samples = 3 values + 1 failed, ")
    assert text.endswith("failed: 1 x too few matches: 0 of 5")
    assert [row["value"] for row in document["rows"]] == [0.25, None, 0.75, 1.0]
    assert document["rows"][3]["close"] is None
    pd.testing.assert_frame_equal(found.to_frame(), found.rows)


def test_only_some_dates(home: Home) -> None:
    whole = symbol_history(home, "S00000", "f")
    days = whole.rows["date"].to_numpy().astype("datetime64[D]")
    part = symbol_history(home, "S00000", "f", first=days[1], last=days[2])
    assert part.rows["date"].tolist() == whole.rows["date"].tolist()[1:3]
    assert (part.dates[0], part.dates[-1]) == (days[1], days[2])
    with pytest.raises(DateError, match="no values of S00000 are stored from 2150-01-01 to the last; they are of"):
        symbol_history(home, "S00000", "f", first=np.datetime64("2150-01-01"))


def test_without_values(home: Home) -> None:
    with pytest.raises(UnknownSymbolError, match="no values are stored of 'S00001'"):
        symbol_history(home, "S00001", "f")
    with pytest.raises(FingerprintError, match="no values are stored under fingerprint 'g'"):
        symbol_history(home, "S00000", "g")
