"""Windows with charts in several time scales: every rule holds as it does with one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import kline_core as kl
from kline_core.compute.opening import open_cluster
from kline_core.encoder.encoder import Encoder
from kline_core.factor.scoring import score_batch
from kline_core.factor.state import load_state
from kline_core.maintenance.verify import verify
from kline_core.patterns import encode
from tests import naive
from tests.support.bench import Bench, batch_of
from tests.support.frames import perturbed, times
from tests.support.homes import WINDOW_BARS
from tests.support.scaled_market import CUTS, EVERY, FRAME, SCALES, SETTINGS, SPAN, STEPS, WEIGHTS


@pytest.fixture(scope="module")
def truth(tmp_path_factory, in_process, small_weights):
    bench = Bench.of(tmp_path_factory.mktemp("scales") / "home", FRAME, SETTINGS, small_weights)
    bench.run(in_process, samples=EVERY)
    return bench


@pytest.fixture(scope="module")
def loaded(truth):
    return load_state(truth.key)


@pytest.fixture
def future(tmp_path, small_weights):
    return lambda day: Bench.of(tmp_path / str(day), perturbed(FRAME, day, 0), SETTINGS, small_weights)


def assert_same_until(truth, other, day):
    for table in ("factors", "matches"):
        assert other.rows(table, day) == truth.rows(table, day)
    assert other.rows("factors") != truth.rows("factors"), "the other future is another one"


@pytest.mark.slow
def test_vectors_equal_the_plain_loop(loaded):
    patterns = loaded.patterns
    assert patterns.dim == 3 * loaded.encoder.dim
    for row in range(0, len(patterns), 29):
        bars = loaded.frames[patterns.symbols[patterns.code[row]]]
        expected = naive.vector(loaded.encoder, bars, int(patterns.bar[row]), WINDOW_BARS, SCALES, WEIGHTS)
        assert np.array_equal(patterns.vectors[row], expected)


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["S00000", "S00001", "S00003", "S00004"])
def test_values_equal_the_plain_loop(truth, loaded, symbol):
    bars, patterns = loaded.frames[symbol], loaded.patterns
    rows = {row["date"]: row for row in truth.rows("factors") if row["symbol"] == symbol}
    matches = truth.rows("matches")
    for date in [*bars.dates[SPAN - 1 :: 15], bars.dates[-1]]:
        end = int(np.flatnonzero(bars.dates == date)[0])
        if naive.usable_window(bars.dates, end, SPAN, STEPS.max_gap_days) != 0:
            assert date.item() not in rows
            continue
        vector = naive.vector(loaded.encoder, bars, end, WINDOW_BARS, SCALES, WEIGHTS)
        code = patterns.symbols.index(symbol) if symbol in patterns.symbols else -1
        kept, _ = naive.search_one(patterns, vector, date, code, end, SETTINGS.factor, SPAN)
        named = [(patterns.symbols[patterns.code[row]], patterns.end[row].item(), score.hex()) for row, score in kept]
        assert named == [
            (match["match_symbol"], match["match_end"], match["similarity"])
            for match in matches
            if (match["symbol"], match["date"]) == (symbol, date.item())
        ]
        expected = naive.factor_one(patterns, kept, date, SETTINGS)
        if isinstance(expected, str):
            assert rows[date.item()]["reason"] == expected
        else:
            found = [float.fromhex(rows[date.item()][name]) for name in expected]
            np.testing.assert_allclose(found, list(expected.values()), rtol=1e-12)


@pytest.mark.slow
def test_the_market_has_something_to_tell(truth):
    rows = truth.home.read("factors").to_pandas()
    assert (rows["status"] == "ok").sum() > 200
    assert len(truth.rows("matches", CUTS[0])) > 20


@pytest.mark.slow
@pytest.mark.parametrize("day", CUTS, ids=str)
def test_another_future_leaves_the_past_as_it_was(day, truth, future, in_process):
    other = future(day)
    other.run(in_process, samples=EVERY)
    assert_same_until(truth, other, day)


@pytest.mark.long
def test_another_future_on_a_cluster(truth, future, elsewhere):
    day = CUTS[1]
    other = future(day)
    shutil.rmtree(other.home.folder / "patterns")
    with open_cluster(elsewhere) as cluster:
        cluster.update_patterns(other.home, STEPS, other.weights, "cpu")
        other.run(cluster, samples=EVERY)
    assert_same_until(truth, other, day)


@pytest.mark.slow
def test_no_value_depends_on_how_the_work_is_cut(truth, loaded, monkeypatch):
    dates = loaded.frames["S00004"].dates[SPAN::13]
    whole = score_batch(loaded, batch_of("S00004", dates))
    singly = [score_batch(loaded, batch_of("S00004", dates[at : at + 1])) for at in range(len(dates))]
    assert whole.factors.to_pylist() == [row for each in singly for row in each.factors.to_pylist()]
    assert whole.matches.to_pylist() == [row for each in singly for row in each.matches.to_pylist()]
    monkeypatch.setattr(encode, "SLICE", 50)
    windows = truth.key.catalogue.windows().take(slice(0, 180))
    made = encode.LocalWindowEncoder(Encoder.load(truth.weights, "cpu"), 3).vectors(truth.key.bars, windows, STEPS)
    assert np.array_equal(made, loaded.patterns.vectors[:180])


@pytest.mark.long
def test_no_unit_of_the_prices_changes_a_value(truth, tmp_path, in_process):
    other = Bench.of(tmp_path / "scaled", times(FRAME, 7.3), SETTINGS, truth.weights)
    other.run(in_process, samples=EVERY)
    for table, made_of_bars in (("factors", ("history", "match_digest")), ("matches", ("digest",))):
        rows = [bench.rows(table, without=("run_id", *made_of_bars)) for bench in (truth, other)]
        assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_history_that_is_too_short_for_a_scale_says_so(loaded):
    bars = loaded.frames["S00001"]
    asked = bars.dates[[3, SPAN - 2, SPAN - 1, 55]]
    rows = score_batch(loaded, batch_of("S00001", asked)).factors.to_pylist()
    reasons = {row["date"]: row["reason"] for row in rows}
    assert reasons[asked[0].item()] == f"too few bars: 4 of {SPAN} (scale 6)"
    assert reasons[asked[1].item()] == f"too few bars: {SPAN - 1} of {SPAN} (scale 6)"
    assert not str(reasons[asked[2].item()]).startswith("too few bars")
    assert reasons[asked[3].item()] == "a hole of more than 20 days inside the window"


@pytest.mark.slow
def test_an_explanation_lists_the_candles_of_each_scale(truth, loaded, in_process):
    """Candle k of a scale spans the bars that a loop over them would take, and is named by the last of them."""
    view = kl.explain(truth.home, "S00004", settings=SETTINGS, encoder=truth.weights, device="cpu")
    bars = loaded.frames["S00004"]
    end = int(bars.find(np.array([view.date]))[0])
    run = truth.run(in_process, dates={"S00004": [view.date]}).run_id
    past = kl.explain(truth.home, "S00004", view.date, run=run)
    found = json.loads(json.dumps(view.to_dict()))["candles"]
    assert past.to_dict()["candles"] == found
    assert list(found) == ["3", "6"]
    for name, candles in found.items():
        scale = int(name)
        assert len(candles) == WINDOW_BARS
        for back, candle in enumerate(reversed(candles)):
            at = slice(end + 1 - scale * (back + 1), end + 1 - scale * back)
            assert candle == {
                "date": str(bars.dates[at][-1]),
                "open": bars.open[at][0],
                "high": bars.high[at].max(),
                "low": bars.low[at].min(),
                "close": bars.close[at][-1],
            }
    alone = replace(view, candles={}, candle_dates={})
    assert "candles" not in alone.to_dict()


@pytest.mark.slow
def test_no_match_shares_a_bar_with_the_sample(truth, loaded):
    """Daily windows further apart than their own bars overlap still, in their larger candles."""
    distances = []
    for match in truth.rows("matches"):
        if match["symbol"] == match["match_symbol"]:
            days = np.array([match["date"], match["match_end"]], "datetime64[D]")
            sample, end = loaded.frames[match["symbol"]].find(days)
            distances.append(sample - end)
    assert min(distances) >= SPAN
    assert len(distances) > 50


@pytest.mark.slow
def test_values_are_used_again_and_verified(truth, in_process):
    stored = truth.versions()
    assert truth.run(in_process, samples=EVERY).count("reused") > 200
    assert truth.versions() == stored
    assert verify(truth.home, SETTINGS, truth.weights).text().startswith("tables are sound: ")
