"""A study is walk-forward: no value depends on what was not known on its date, training included."""

import numpy as np
import pytest

from kline_core.errors import DateError, InputError
from kline_core.evaluation.evaluate import as_rows, joined_panel
from kline_core.learning import folds, learners
from kline_core.learning.protocol import chosen_by_year, samples_of
from kline_core.settings import Settings
from tests.support.made_markets import noise_market
from tests.support.studies import study_of

pytestmark = pytest.mark.slow
SETTINGS = Settings()
EACH = [pytest.param(name, marks=[pytest.mark.long] if "charts" in name else [], id=name) for name in learners.LEARNERS]


@pytest.mark.parametrize("learner", EACH)
def test_another_future_changes_no_value_of_before(tmp_path, noise_study, noise, learner):
    cut = np.datetime64("2016-06-01")
    later = noise["date"].to_numpy().astype("datetime64[D]") > cut
    other = noise.copy()
    prices = ["open", "high", "low", "close"]
    rng = np.random.default_rng(5)
    other.loc[later, prices] = other.loc[later, prices].to_numpy() * rng.uniform(0.9, 1.1, (later.sum(), 1))
    other.loc[later, "volume"] = rng.uniform(1, 9, later.sum())
    changed = study_of(tmp_path / "home", other, every=3)
    dates = noise_study.samples.dates[noise_study.samples.usable][noise_study.folds[2016].samples]
    before = dates <= cut
    assert before.sum() > 100
    answers = [study.answer(learner, 2016) for study in (noise_study, changed)]
    for name in ("value", "se", "low"):
        mine, others = (getattr(answer.means, name)[: len(dates)][before] for answer in answers)
        np.testing.assert_array_equal(mine, others)
        assert not np.isnan(mine).all()
    # The test has teeth: the other future is seen by what comes after it.
    mine, others = (answer.means.value[: len(dates)][~before] for answer in answers)
    assert (mine != others).any()


@pytest.mark.parametrize("learner", [each for each in EACH if each.values != ("leaves",)])
def test_the_vector_of_a_window_does_not_depend_on_the_others(noise_study, learner):
    taught = noise_study.taught
    some = noise_study.folds[2016].learned[:300]
    vectors = learners.LEARNERS[learner](taught.windows.part(some), taught.targets[some]).vectors
    together = vectors(taught.windows.part(slice(0, 700)))
    np.testing.assert_array_equal(vectors(taught.windows.part(slice(37, 391))), together[37:391])


def test_a_fold_learns_from_a_part_of_what_was_known_before_its_year(noise_study, monkeypatch):
    monkeypatch.setattr(folds, "MOST", 200)
    dates = noise_study.samples.dates[noise_study.samples.usable]
    (fold,) = folds.folds_of(noise_study.taught, dates)
    assert len(np.unique(fold.learned)) == 200
    assert noise_study.taught.patterns.known_on[fold.learned].max() < np.datetime64("2016-01-01")
    # Another sample of another year changes nothing of what is drawn.
    (again,) = folds.folds_of(noise_study.taught, dates[dates >= np.datetime64("2016-03-01")])
    np.testing.assert_array_equal(again.learned, fold.learned)


def test_a_fold_learns_from_what_was_known_before_its_year(noise_study):
    assert sorted(noise_study.folds) == [2016]
    fold = noise_study.folds[2016]
    assert noise_study.taught.patterns.known_on[fold.learned].max() < np.datetime64("2016-01-01")
    years = noise_study.samples.dates[noise_study.samples.usable].astype("datetime64[Y]")
    assert set(years[fold.samples]) == {np.datetime64("2016")}


def test_samples_are_every_third_session_of_every_symbol(noise_study):
    days = np.unique(noise_study.samples.dates)
    assert len(days) == 140
    assert len(noise_study.samples) == 140 * 8


def test_first_and_last_are_samples_themselves(noise_study):
    frames, first, last = noise_study.state.frames, np.datetime64("2015-03-02"), np.datetime64("2015-03-05")
    samples = samples_of(frames, SETTINGS, 1, first, last)
    assert (samples.dates.min(), samples.dates.max(), len(samples)) == (first, last, 4 * 8)


def test_what_holds_no_sample_is_said(noise_study):
    frames = noise_study.state.frames
    with pytest.raises(DateError, match="no sample lies from 2030-01-01 to the last; the home's sessions are 2015-"):
        samples_of(frames, SETTINGS, 1, np.datetime64("2030-01-01"), None)
    with pytest.raises(InputError, match="the home holds no traded bar; ingest some"):
        samples_of({}, SETTINGS, 1, None, None)


def test_each_year_is_answered_by_the_learner_that_ranked_best_before_it():
    market = noise_market(0, symbols=8, sessions=800)
    ahead = market.ahead(5)
    early = np.arange(len(market.days)) < 500
    good_then, good_later = (np.where((early if first else ~early)[:, None], ahead, -ahead) for first in (True, False))
    panels = {
        name: joined_panel(as_rows(market.rows(values)), market.frames, SETTINGS)
        for name, values in (("late", good_later), ("soon", good_then))
    }
    years = sorted(set(market.days.astype("datetime64[Y]").astype(int) + 1970))
    assert years == [2015, 2016, 2017, 2018]
    chosen = chosen_by_year(panels, years, market.frames, SETTINGS)
    # Nothing is known before the first year, so that the first named answers it.
    assert chosen == {2015: "late", 2016: "soon", 2017: "soon", 2018: "soon"}


def test_the_choice_knows_no_return_that_ends_in_the_year_itself():
    market = noise_market(0, symbols=8, sessions=300)
    ahead = market.ahead(5)
    year = np.datetime64("2016-01-01")
    # Good only where the return ends in 2016.
    end = np.minimum(np.arange(len(market.days)) + 6, len(market.days) - 1)
    good = np.where((market.days[end] >= year)[:, None], ahead, -ahead)
    panels = {
        name: joined_panel(as_rows(market.rows(values)), market.frames, SETTINGS)
        for name, values in (("good", good), ("nothing", np.zeros_like(ahead) + np.arange(8.0)))
    }
    assert chosen_by_year(panels, [2016], market.frames, SETTINGS) == {2016: "nothing"}
