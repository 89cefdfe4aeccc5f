"""What the whole evaluation says of made markets: nothing of noise more often than its level, and more of more."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binom

from kline_core.evaluation.details import Details
from kline_core.evaluation.evaluate import evaluate_frame, evaluate_values
from kline_core.settings import Settings
from tests.support.bench import Bench
from tests.support.frames import walks_together
from tests.support.made_markets import noise_market, slow_values
from tests.support.planted import planted_market


def claims(found: Details) -> dict[str, bool]:
    """By statistic, whether it says that there is something, at 5 %; without those that are not known."""
    said = {
        "independent sessions": found.tries.p <= 0.05,
        "best of the tries": found.tries.p_of_best <= 0.05,
        "Newey-West": found.newey_west.significant,
        "overlapping blocks": found.overlapping_blocks.significant,
        "permutation": found.permutation_p <= 0.05,
        "horizon": found.decay.horizon is not None,
        "half-life": found.decay.reason is None,
        "change point": bool(found.changes),
        "highest less lowest": found.portfolios.spread_error.significant,
    }
    slope = found.calibration
    if slope.reason is None:
        said["calibration slope"] = abs(slope.slope) > slope.critical * slope.slope_se
    for each in found.breakdowns:
        known = [part.p_holm for part in each.parts if part.rank_ic.known]
        if known:
            said[each.by] = min(known) <= 0.05
    return said


def counted(markets: int, sessions: int, window: int) -> tuple[Counter, Counter]:
    hits, known = Counter(), Counter()
    for seed in range(markets):
        market = noise_market(seed, symbols=16, sessions=sessions)
        found = evaluate_frame(market.rows(slow_values(seed, market, window)), market.frames)
        for name, said in claims(found.details).items():
            known[name] += 1
            hits[name] += said
    return hits, known


@pytest.mark.long
def test_no_statistic_is_significant_more_often_than_its_level():
    """200 markets of changing strength whose industries move together, and values that change slowly, alike within an
    industry, and after the symbol's own past: all that makes noise look like something."""
    hits, known = counted(200, 480, 20)
    print({name: f"{hits[name]} of {known[name]}" for name in known})
    assert {"calibration slope", "year", "board", "liquidity", "trend of the market"} <= set(known)
    for name, count in known.items():
        # Passed by a true level of 5 % in 1 of 1,000 cases.
        assert hits[name] <= binom.ppf(0.999, count, 0.05), name


@pytest.mark.slow
@pytest.mark.long
def test_values_of_one_day_are_not_significant_more_often_than_their_level():
    """The other extreme, values that the next session forgets; a few markets, for each change."""
    hits, known = counted(4, 240, 1)
    for name, count in known.items():
        assert hits[name] <= binom.ppf(0.9999, count, 0.05), name


@pytest.mark.long
def test_power_rises_with_what_was_planted_and_its_horizon_is_found():
    horizon, markets = 10, 8
    power, found_there = [], []
    for strength in (0.0, 0.05, 0.1, 0.4):
        hits, there = Counter(), 0
        for seed in range(markets):
            market = noise_market(seed, symbols=16, sessions=600)
            ahead = np.nan_to_num(market.ahead(horizon))
            away = ahead - ahead.mean(axis=1, keepdims=True)
            signal = away / np.maximum(away.std(axis=1, keepdims=True), 1e-9)
            noise = np.random.default_rng([seed, 9]).normal(size=ahead.shape)
            found = evaluate_frame(market.rows(1 / (1 + np.exp(-(strength * signal + noise)))), market.frames).details
            hits.update(name for name, said in claims(found).items() if said)
            # The neighbours hold nearly the same return.
            there += found.decay.horizon in (8, 10, 12)
        power.append(hits)
        found_there.append(there)
        print(strength, dict(hits), there)
    for name in ("independent sessions", "Newey-West", "overlapping blocks", "permutation", "horizon", "half-life"):
        rising = [hits[name] for hits in power]
        assert rising == sorted(rising), name
        assert rising[0] <= 3, name
        assert rising[-1] == markets, name
    assert power[-1]["calibration slope"] >= markets // 2
    assert power[-1]["highest less lowest"] == markets
    assert found_there[0] <= 2
    assert found_there[-1] == markets


@pytest.mark.long
def test_the_whole_pipeline_finds_nothing_in_walks_that_move_together(tmp_path, in_process):
    frame = walks_together(5, 6, 750, seed=17)
    bench = Bench.of(tmp_path / "home", frame, Settings())
    days = np.unique(frame["date"].to_numpy().astype("datetime64[D]"))
    bench.run(in_process, dates=dict.fromkeys(frame["symbol"].unique(), days[250:]))
    found = evaluate_values(bench.home)
    said = claims(found.details)
    print(found.text())
    assert len(said) >= 12
    assert sum(said.values()) <= 2
    # What values say of their own market is no probability: the slope lies far from 1.
    slope = found.details.calibration
    assert slope.slope + slope.critical * slope.slope_se < 0.5


@pytest.mark.long
def test_the_whole_pipeline_finds_what_was_planted(tmp_path, in_process):
    """Charts whose shape tells what follows: values rise with the win, in every bin that has enough of them."""
    frame, _ = planted_market(12, 750, 5, tells=True)
    bench = Bench.of(tmp_path / "home", frame, Settings())
    days = np.unique(frame["date"].to_numpy().astype("datetime64[D]"))
    bench.run(in_process, dates=dict.fromkeys(frame["symbol"].unique(), days[280:]))
    found = evaluate_values(bench.home)
    slope = found.details.calibration
    print(found.verdict, slope)
    assert slope.slope - slope.critical * slope.slope_se > 0.05
    assert found.judged.value > 2 * found.judged.se
