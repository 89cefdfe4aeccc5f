"""Factors from raw and adjusted prices, and what becomes of every row of side files."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kline_core.bars.side_files import changes_of_prices
from kline_core.typing import Floats64
from tests.support.examples import examples
from tests.support.real_data import needs_real_data, real_data
from tests.support.vendor_files import ingested

PRICES = ("open", "high", "low", "close")


def walk(seed: int, count: int, start: float) -> dict[str, Floats64]:
    """Raw prices in hundredths without payments."""
    rng = np.random.default_rng(seed)
    close = start * np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    opened = close * np.exp(rng.normal(0, 0.01, count))
    high = np.maximum(close, opened) * np.exp(rng.uniform(0, 0.02, count))
    low = np.minimum(close, opened) * np.exp(-rng.uniform(0, 0.02, count))
    return {name: np.round(part, 2) for name, part in zip(PRICES, (opened, high, low, close), strict=True)}


@pytest.mark.slow
@given(
    seed=st.integers(0, 10**6),
    start=st.floats(3, 300),
    paid=st.lists(st.tuples(st.integers(1, 58), st.floats(0.01, 0.3)), max_size=3, unique_by=lambda pair: pair[0]),
    added=st.booleans(),
    forward=st.booleans(),
)
def test_changes_are_those_of_the_reference_prices(
    seed: int, start: float, paid: list[tuple[int, float]], added: bool, forward: bool
) -> None:
    raw = walk(seed, 60, start)
    want = np.ones(60)
    factor, sum_ = np.ones(60), np.zeros(60)
    for day, share in paid:
        before = raw["close"][day - 1]
        reference = round(before * (1 - share), 2)
        want[day] = before / reference
        factor[day:] *= want[day]
        sum_[day:] += before - reference
    if forward:
        factor, sum_ = factor / factor[-1], sum_ - sum_[-1]
    adjusted = {name: np.round(raw[name] + sum_ if added else raw[name] * factor, 2) for name in PRICES}
    changes, told = changes_of_prices(raw, adjusted)
    assert np.isnan(changes[0])
    if added and paid and not told:
        # The payments are too small to be told from a factor.
        return
    # Two hundredths of the reference price at the most, and more where adjusted prices are smaller than raw ones.
    scale = 1 if added else min(1.0, factor.min())
    floor = min(raw["close"].min(), (raw["close"] / want).min())
    np.testing.assert_allclose(changes[1:], want[1:], rtol=0.045 / scale / floor)
    still = want[1:] == 1
    assert (changes[1:][still] == 1).all()


def test_one_day_has_no_change() -> None:
    raw = walk(1, 1, 10.0)
    changes, added = changes_of_prices(raw, raw)
    assert np.isnan(changes).tolist() == [True]
    assert not added


DAYS = [f"202401{day:02}" for day in (2, 3, 4)]
SYMBOLS = ["600999.SH", "000999.SZ"]
BAR = st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(DAYS), st.sampled_from(["10", "10.5", "x"]))
FACTOR = st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(DAYS), st.sampled_from(["1", "1.1", "0"]))
FILES = st.tuples(st.lists(BAR, max_size=5), st.lists(FACTOR, max_size=6), st.lists(FACTOR, max_size=3))


@pytest.mark.slow
@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=FILES)
def test_every_row_of_bars_and_factors_has_one_fate(
    tmp_path: Path, files: tuple[list[tuple[str, str, str]], list[tuple[str, str, str]], list[tuple[str, str, str]]]
) -> None:
    bars, *factors = files
    rows = [f"{symbol},{day},10,11,9,{close},100" for symbol, day, close in bars]
    texts = {"bars.csv": "\n".join(["ts_code,trade_date,open,high,low,close,vol", *rows])}
    for number, part in enumerate(factors):
        rows = [",".join(row) for row in part]
        texts[f"factors{number}.csv"] = "\n".join(["ts_code,trade_date,adj_factor", *rows])
    texts = {name: text for name, text in texts.items() if "\n" in text}
    if not texts:
        return
    report, stored = ingested(tmp_path, texts)
    assert report.read + report.joined == sum(map(len, files))
    assert report.stored_new == len(stored)
    for _, part in stored.groupby("symbol"):
        assert part["adj_factor"].notna().all() or part["adj_factor"].isna().all()
    for file in report.files:
        of_factors = "factors" in file.path
        assert file.joined == 0 or of_factors
        assert file.new == 0 or not of_factors


@needs_real_data
@pytest.mark.parametrize("added", [False, True])
def test_real_ex_dates_are_found_in_adjusted_prices(added: bool) -> None:
    folder = real_data()
    table = pq.read_table(folder / "ashare_csi300_raw.parquet").to_pandas()
    table["factor"] = pq.read_table(folder / "ashare_csi300_extra.parquet")["adjfactor"].to_numpy()
    missed = found = false = 0
    for _, bars in table[table["volume"] > 0].groupby("symbol"):
        raw = {name: bars[name].to_numpy() for name in PRICES}
        want = (bars["factor"] / bars["factor"].shift()).fillna(1).to_numpy()
        want = np.where(np.abs(want - 1) < 1e-9, 1.0, want)
        before = np.append(np.nan, raw["close"][:-1])
        paid = np.where(want == 1, 0.0, np.nan_to_num(before - before / want)).cumsum()
        factor = bars["factor"].to_numpy()
        adjusted = {name: np.round(raw[name] + paid if added else raw[name] * factor, 2) for name in PRICES}
        changes, _ = changes_of_prices(raw, adjusted)
        changes[0] = 1
        never_were = changes[(want == 1) & (changes != 1)]
        # Sums of a few hundredths look like factors, until the price jumps by the limit.
        assert np.abs(never_were - 1).max(initial=0) < 0.005
        false += len(never_were)
        missed += np.count_nonzero((want != 1) & (changes == 1))
        told = (want != 1) & (changes != 1)
        found += np.count_nonzero(told)
        # A hundredth of the reference price.
        np.testing.assert_allclose(changes[told], want[told], atol=0, rtol=0.0101 / raw["close"].min())
    assert found > 700
    assert false <= (5 if added else 0)
    # Payments of one hundredth.
    assert missed <= 0.01 * found
