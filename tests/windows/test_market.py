"""Market-relative outcomes: equal to the plain loop, known in time, and made again where the market has changed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.api.views import explain
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.errors import StaleError
from kline_core.maintenance.verify import verify
from kline_core.patterns.catalogue import build_catalogue, window_outcomes
from kline_core.settings import PatternSettings, pattern_fingerprint
from tests import naive
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.examples import examples
from tests.support.homes import SMALL, add_bars, market

STEPS = replace(SMALL, market_relative=True)
SETTINGS = replace(SMALL_SETTINGS, patterns=STEPS)


def with_gaps(frame, seed):
    rng = np.random.default_rng(seed)
    frame = frame[rng.random(len(frame)) < 0.95]
    return frame.assign(suspended=rng.random(len(frame)) < 0.05)


def rows_of(frame, steps=STEPS):
    """Patterns by symbol and end: known_on, bar, content, returns and barrier."""
    frames = bars_by_symbol(frame)
    windows = build_catalogue(frames, steps)
    returns, barrier = window_outcomes(frames, windows, steps)
    names = [windows.symbols[code] for code in windows.code]
    return {
        (name, end.item()): (known.item(), bar, content, tuple(row), label)
        for name, end, known, bar, content, row, label in zip(
            names,
            windows.end,
            windows.known_on,
            windows.bar.tolist(),
            windows.content.tolist(),
            returns.tolist(),
            barrier.tolist(),
            strict=True,
        )
    }


def test_default_settings_are_what_they_were():
    assert PatternSettings().to_dict() == PatternSettings(market_relative=False).to_dict()
    assert "market_relative" not in PatternSettings().to_dict()
    assert pattern_fingerprint(PatternSettings(), "x") != pattern_fingerprint(
        PatternSettings(market_relative=True), "x"
    )
    assert PatternSettings.from_dict(STEPS.to_dict()) == STEPS


@pytest.mark.slow
@given(st.integers(0, 10_000))
@settings(max_examples=examples(8))
def test_equal_to_the_plain_loop(seed):
    frame = with_gaps(market(3, 45, seed), seed)
    jump = (frame["symbol"] == "S00001") & (frame["date"] >= frame["date"].iloc[20])
    frame = frame.assign(symbol=frame["symbol"].replace({"S00001": "600519.SH"}))
    frame.loc[jump, ["open", "high", "low", "close"]] *= 3.0
    frames = bars_by_symbol(frame)
    assert sum(bars.jumps.sum() for bars in frames.values()) >= 1
    plain, found = rows_of(frame, SMALL), rows_of(frame)
    wanted = {}
    for (name, end), (known, bar, _, _, label) in plain.items():
        bars = frames[name]
        relative = []
        for horizon in STEPS.horizons:
            entry, exit_ = bars.dates[bar + 1].item(), bars.dates[bar + 1 + horizon].item()
            mean = naive.market_return(frames, entry, exit_)
            own = round((bars.close[bar + 1 + horizon] / bars.close[bar + 1] - 1.0) * 2**26)
            relative.append(None if mean is None else float(own / 2**26 - mean))
        if None not in relative:
            wanted[name, end] = (known, bar, relative, label)
    assert wanted.keys() == found.keys()
    assert len(wanted) > 20
    for key, (known, bar, relative, label) in wanted.items():
        assert found[key][:2] == (known, bar)
        assert found[key][3] == pytest.approx(relative, abs=1e-7)
        assert found[key][4] == label


def test_returns_of_the_market_cancel_out():
    found = rows_of(market(4, 40))
    by_day = pd.DataFrame([(end, *row[3]) for (_, end), row in found.items()]).groupby(0).sum()
    assert by_day.abs().to_numpy().max() < 1e-6
    assert all(abs(row[3][0]) > 1e-6 for row in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("day", [15, 25, 39])
def test_later_bars_change_no_outcome_that_was_known(day):
    frame = with_gaps(market(3, 60, 7), 7)
    last = np.sort(frame["date"].unique())[day]
    other, later = frame.copy(), frame["date"] > last
    other.loc[later, ["open", "high", "low", "close"]] = 3.0
    one, two = rows_of(frame), rows_of(other)
    known = {key for key, row in one.items() if np.datetime64(row[0]) <= last}
    assert known == {key for key, row in two.items() if np.datetime64(row[0]) <= last}
    assert len(known) > 10
    assert all(one[key] == two[key] for key in known)
    assert any(one[key] != two.get(key) for key in one.keys() - known)


@pytest.mark.parametrize("by", [0.01, 1000.0, 0.3])
def test_the_scale_of_a_symbol_changes_nothing(by):
    frame = with_gaps(market(3, 60, 3), 3)
    own = frame["symbol"] == "S00001"
    before = rows_of(frame)
    factors = rows_of(frame.assign(adj_factor=np.where(own, by, 1.0)))
    assert factors == before
    # Raw prices are part of the hash of a bar, and so of a content.
    prices = frame.copy()
    prices.loc[own, ["open", "high", "low", "close"]] *= by
    strip = {key: (*row[:2], *row[3:]) for key, row in before.items()}
    assert {key: (*row[:2], *row[3:]) for key, row in rows_of(prices).items()} == strip


def test_one_symbol_is_no_market():
    assert rows_of(market(1, 60)) == {}
    assert len(rows_of(market(1, 60), SMALL)) > 40


def everything(bench):
    return bench.home.read("patterns").sort_by([("symbol", "ascending"), ("end", "ascending")]).to_pylist()


@pytest.fixture(scope="module")
def whole():
    return market(4, 60, 5)


@pytest.mark.slow
@pytest.mark.parametrize("late", ["a symbol", "a bar", "the newest bars"])
def test_what_joins_the_market_later_is_noticed_and_made_again(whole, late, tmp_path, small_weights, in_process):
    days = np.sort(whole["date"].unique())
    later = {
        "a symbol": whole["symbol"] == "S00003",
        "a bar": (whole["symbol"] == "S00003") & (whole["date"] == days[30]),
        "the newest bars": whole["date"] > days[54],
    }[late]
    bench = Bench.of(tmp_path / "home", whole[~later], SETTINGS, small_weights)
    before = bench.run(in_process, samples=60).count("done")
    assert verify(bench.home, SETTINGS, bench.weights).ok
    add_bars(bench.home, whole[later])
    with pytest.raises(StaleError, match="lag behind its bars"):
        bench.run(in_process, samples=60)
    update = bench.extend()
    # New days leave what was known; what joins old days changes it.
    assert (update.restated == []) == (late == "the newest bars")
    report = bench.run(in_process, samples=60)
    assert (report.count("reused") == before) == (late == "the newest bars")
    assert report.count("reused") <= before
    fresh = Bench.of(tmp_path / "fresh", whole, SETTINGS, small_weights)
    fresh.run(in_process, samples=60)
    assert everything(bench) == everything(fresh)
    assert [row for row in bench.rows("factors") if row["symbol"] != "S00003"] == [
        row for row in fresh.rows("factors") if row["symbol"] != "S00003"
    ]
    report = verify(bench.home, SETTINGS, bench.weights)
    assert report.ok, report.text()


@pytest.mark.slow
def test_an_explanation_measures_the_sample_like_its_matches(whole, tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", whole, SETTINGS, small_weights)
    frames, found = bars_by_symbol(whole), rows_of(whole)
    day = frames["S00000"].dates[40]
    seen = explain(bench.home, "S00000", day, settings=SETTINGS, encoder=bench.weights, device="cpu")
    assert [seen.outcome["r1"], seen.outcome["r3"]] == list(found["S00000", day.item()][3])
    assert [seen.matches[0].returns[name] for name in ("r1", "r3")] == list(
        found[seen.matches[0].symbol, seen.matches[0].end.item()][3]
    )
    assert "above the market 3 bars after entry" in seen.text()
    newest = explain(bench.home, "S00000", settings=SETTINGS, encoder=bench.weights, device="cpu")
    assert newest.outcome == {"r1": None, "r3": None, "barrier": None}
