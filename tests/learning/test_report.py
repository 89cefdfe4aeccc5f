"""Figures of a study, worked out once more from answers that are made up."""

import numpy as np
import pandas as pd
import pytest

from kline_core.evaluation.estimate import MIN_SYMBOLS
from kline_core.factor.kernel_means import KernelMeans
from kline_core.factor.state_key import StateKey
from kline_core.learning import folds
from kline_core.learning.folds import FoldAnswer
from kline_core.learning.protocol import StudyKey
from kline_core.learning.report import LEARNED
from kline_core.learning.study import study
from kline_core.settings import Settings
from tests.support.made_markets import noise_market
from tests.support.studies import bars_of, home_of

pytestmark = pytest.mark.slow
MARKET = noise_market(7, symbols=8, sessions=800)
GOOD = {"bars": 2016, "charts": 2017}
"""Year in which a learner knows the future, a little."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "LEAST", 500)
        home = home_of(tmp_path_factory.mktemp("report") / "home", bars_of(MARKET))
        return StudyKey(StateKey.newest(home, Settings(), None, "cpu"), every=4).load()


def made_up(loaded):
    """Values of each learner, float64 (usable,), without one on the first sessions of 2016."""
    rng = np.random.default_rng(0)
    samples = loaded.samples
    dates = samples.dates[samples.usable]
    at = np.searchsorted(MARKET.days, dates)
    ahead = MARKET.ahead(5)[at, samples.code]
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    values = {}
    for name, year in GOOD.items():
        noise = rng.normal(0, {"bars": 0.02, "charts": 0.1}[name], len(dates))
        values[name] = np.where((years == year) & ~np.isnan(ahead), ahead, 0.0) + noise
        values[name][(dates >= np.datetime64("2016-01-01")) & (dates < np.datetime64("2016-02-01"))] = np.nan
    return values, dates


@pytest.fixture(scope="module")
def found(loaded):
    values, _ = made_up(loaded)

    def answers(asked):
        for name, year in asked:
            mine = values[name][loaded.folds[year].samples]
            means = KernelMeans(mine, mine * 0, mine - 1, mine + 1, mine * 0 + 9)
            yield FoldAnswer(means, np.full(len(mine), {"bars": 0.25, "charts": 0.75}[name]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kline_core.learning.study.BESIDE", ("encoder", "reversal_5", "boosting"))
        patch.setattr("kline_core.baselines.boosting.TREES", 10)
        return study(loaded, answers, ["charts", "bars"])


def by_session(loaded, values, dates):
    """Rank IC with the five-bar return by session, plainly."""
    samples = loaded.samples
    close = {name: bars.close for name, bars in loaded.state.frames.items()}
    rows = pd.DataFrame({"date": dates, "symbol": np.array(samples.names)[samples.code], "value": values})
    found = []
    for bar, name in zip(samples.bar, rows["symbol"], strict=True):
        found.append(close[name][bar + 6] / close[name][bar + 1] - 1 if bar + 6 < len(close[name]) else np.nan)
    rows["ahead"] = found
    rows = rows.dropna()
    enough = rows.groupby("date").filter(lambda day: len(day) >= MIN_SYMBOLS)
    return enough.groupby("date")[["value", "ahead"]].apply(
        lambda day: day["value"].corr(day["ahead"], method="spearman")
    )


def learned_values(loaded):
    values, dates = made_up(loaded)
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    # Nothing is known before 2016, so that the first named answers it; then the one that was good in 2016.
    chosen = {2016: "charts", 2017: "bars", 2018: "bars"}
    return np.select([years == year for year in chosen], [values[name] for name in chosen.values()], np.nan), dates


def test_the_learned_factor_takes_of_each_year_the_chosen_learner(found, loaded):
    assert found.chosen == {2016: "charts", 2017: "bars", 2018: "bars"}
    wanted = by_session(loaded, *learned_values(loaded))
    row = found.row(LEARNED)
    assert row.rank_ic.value == pytest.approx(wanted.mean())
    assert row.icir == pytest.approx(wanted.mean() / wanted.std())
    yearly = wanted.groupby(wanted.index.year).mean()
    assert row.by_year == {year: pytest.approx(mean) for year, mean in yearly.items()}
    assert row.t == pytest.approx(row.rank_ic.value / row.rank_ic.se)
    assert row.decay[5] == row.rank_ic


def test_turnover_is_what_a_ranking_changes_from_session_to_session(found, loaded):
    values, dates = learned_values(loaded)
    samples = loaded.samples
    wide = (
        pd.DataFrame({"d": dates, "s": samples.code, "v": values})
        .pivot(index="d", columns="s", values="v")
        .dropna(how="all")
    )
    kept = [wide.iloc[at].corr(wide.iloc[at - 1], method="spearman") for at in range(1, len(wide))]
    assert found.row(LEARNED).turnover == pytest.approx(1 - np.nanmean(kept), abs=1e-9)


def test_all_are_judged_by_the_same_samples(found, loaded):
    values, dates = learned_values(loaded)
    assert found.samples == (~np.isnan(values)).sum()
    assert {row.values for row in found.rows if row.name != "seed factor"} == {found.samples}
    assert found.row("seed factor").values <= found.samples
    assert found.first == dates[~np.isnan(values)].min() >= np.datetime64("2016-02-01")
    assert sum(found.without.values()) + found.samples == len(loaded.samples)


def test_how_alike_matches_look_is_that_of_the_chosen_learner(found, loaded):
    assert (found.row("bars").alike, found.row("charts").alike) == (0.25, 0.75)
    _, dates = learned_values(loaded)
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    answered = years >= 2016
    assert found.row(LEARNED).alike == pytest.approx(np.where(years == 2016, 0.75, 0.25)[answered].mean())
    assert 0.5 < found.row("seed factor").alike < 1


def test_the_verdict_says_by_how_much_it_differs_from_the_best_boosted_model(found):
    boosted = max((found.row(name) for name in ("boosting", "boosting_ranks")), key=lambda row: row.rank_ic.value)
    row = found.row(LEARNED)
    assert boosted.less.value == pytest.approx(row.rank_ic.value - boosted.rank_ic.value, abs=0.02)
    assert found.verdict.endswith(
        f"less that of the better of 2 boosted models, {boosted.rank_ic}, it is {boosted.less}."
    )
    assert ("not distinguishable" in found.verdict) == (abs(row.t) < 2)


def test_the_newest_session_is_shown_with_its_intervals(found, loaded):
    values, dates = learned_values(loaded)
    last = dates[~np.isnan(values)].max()
    assert found.last == last
    assert len(found.newest) == 8
    assert [each.value for each in found.newest] == sorted(values[dates == last], reverse=True)
    for each in found.newest:
        assert (each.low, each.high) == pytest.approx((each.value - 1, each.value + 1))
    assert f"The learned factor on {last}: highest and lowest" in found.markdown()
