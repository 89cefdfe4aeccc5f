"""What the values say of markets that we made: nothing where there is nothing, and something where it was planted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core.encoder.synthetic import random_walk
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.patterns.patterns import Patterns
from kline_core.settings import Settings
from tests.support.bench import Bench
from tests.support.frames import plain, walks_together
from tests.support.planted import planted_market

SYMBOLS, BARS = 30, 1500
APART = 6
"""Bars until two samples share no bar of their returns: five of the return, one of the entry."""


def market_ic(bench: Bench, frame: pd.DataFrame, cluster):
    """Rank IC across symbols of the values of every fifth session of the last two thirds with the returns they ask for.

    All symbols share their sessions, so that each is compared with the others on the same day.
    """
    close = frame.pivot(index="date", columns="symbol", values="close")
    days = close.index.to_numpy().astype("datetime64[D]")
    returns = (close.shift(-APART) / close.shift(-1) - 1).to_numpy()
    sessions = np.arange(BARS // 3, BARS - APART, 5)
    report = bench.run(cluster, dates=dict.fromkeys(close.columns, days[sessions]))
    assert (report.count("done"), report.count("failed")) == (SYMBOLS * len(sessions), 0)
    rows = bench.home.read("factors", ["symbol", "date", "value"])
    session = np.searchsorted(days, rows["date"].to_numpy().astype("datetime64[D]"))
    symbol = close.columns.get_indexer(rows["symbol"].to_pylist())
    return cross_section_rank_ic(session, rows["value"].to_numpy(), returns[session, symbol], APART, SYMBOLS // 2)


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("truth")


@pytest.fixture(scope="module")
def together(homes):
    """Walks of five groups whose members move together; encoded once for two tests."""
    frame = walks_together(5, SYMBOLS // 5, BARS, seed=11)
    return frame, Bench.of(homes / "together", frame, Settings())


@pytest.mark.long
@pytest.mark.slow
def test_nothing_is_found_in_independent_walks(homes, in_process):
    frame = plain(random_walk(SYMBOLS, BARS, seed=7))
    ic = market_ic(Bench.of(homes / "independent", frame, Settings()), frame, in_process)
    print(f"independent walks: rank IC {ic.value:+.4f}, standard error {ic.se:.4f}, {ic.n_independent} sessions")
    assert ic.n_independent >= 90
    assert ic.se < 0.025
    assert abs(ic.value) <= 2 * ic.se


@pytest.mark.long
def test_nothing_is_found_in_walks_that_move_together(together, in_process):
    frame, bench = together
    ic = market_ic(bench, frame, in_process)
    print(f"walks together: rank IC {ic.value:+.4f}, standard error {ic.se:.4f}, {ic.n_independent} sessions")
    assert ic.se < 0.025
    # Wider than for the independent walks: it is there for the comparison with the next test.
    assert abs(ic.value) <= 3 * ic.se


@pytest.mark.long
def test_the_noise_test_has_teeth(together, homes, in_process, monkeypatch):
    """With the common rule, that a window may be matched once it has ended, the same measurement finds a treasure.

    Walks that move together show it: the best matches are windows of the same group that ended days ago, and what
    followed them is what is still to come. Between independent walks this rule would let nothing through, since the
    windows of the sample's own symbol that could tell overlap the sample's, and are left out by another rule.
    """

    def ended(self, dates):
        # All symbols trade on the same days, so that the order by `known_on` is one by `end` too.
        assert (np.diff(self.end) >= np.timedelta64(0)).all()
        return np.searchsorted(self.end, dates, side="right").astype(np.int64)

    frame, bench = together
    monkeypatch.setattr(Patterns, "n_known", ended)
    ic = market_ic(bench.copy(homes / "leak"), frame, in_process)
    print(f"window ended by t: rank IC {ic.value:+.4f}, standard error {ic.se:.4f}")
    assert ic.value > 0.2
    assert ic.value > 10 * ic.se


def planted_auc(home: Path, cluster, tells: bool) -> tuple[float, int]:
    """How often the value on a plant before a rise lies above that of one before a fall, and the number of plants.

    Plants of the later half of the time are scored; those before them are what there is to learn from.
    """
    n_bars = 750
    frame, plants = planted_market(16, n_bars, 5, tells)
    days = np.unique(frame["date"].to_numpy()).astype("datetime64[D]")
    names = frame["symbol"].unique()
    scored = [(names[symbol], days[bar], is_v, rose) for symbol, bar, is_v, rose in plants if bar >= n_bars // 2]
    dates = {name: np.array([day for symbol, day, *_ in scored if symbol == name]) for name in {s for s, *_ in scored}}
    bench = Bench.of(home, frame, Settings())
    bench.run(cluster, dates=dates)
    rows = bench.home.read("factors").to_pylist()
    assert {row["status"] for row in rows} == {"ok"}
    value = {(row["symbol"], np.datetime64(row["date"])): row["value"] for row in rows}
    rose, fell = ([value[name, day] for name, day, _, up in scored if up == way] for way in (True, False))
    assert min(len(rose), len(fell)) >= 15
    above = np.sign(np.subtract.outer(rose, fell))
    return float((above + 1).mean() / 2), len(scored)


@pytest.mark.slow
def test_what_was_planted_is_found(homes, in_process):
    auc, plants = planted_auc(homes / "planted", in_process, tells=True)
    print(f"planted: AUC {auc:.3f} of {plants} plants")
    assert auc >= 0.8


@pytest.mark.slow
def test_what_a_coin_decides_is_not(homes, in_process):
    """The same shapes, without anything to be learnt from them: an AUC near that of the plants would be foresight."""
    auc, plants = planted_auc(homes / "coin", in_process, tells=False)
    print(f"decided by a coin: AUC {auc:.3f} of {plants} plants")
    # Its standard error is about 0.08 for values that are independent; those of one shape share their matches.
    assert auc < 0.75
