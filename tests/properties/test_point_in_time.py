"""The rule that outranks every other: a sample on date t uses nothing that was not known at the close of t."""

import numpy as np
import pytest

from kline_core.compute.opening import open_cluster
from kline_core.encoder.synthetic import synthetic_market
from kline_core.patterns.patterns import Patterns
from kline_core.settings import Settings
from tests.support.bench import Bench
from tests.support.frames import perturbed, plain
from tests.support.mixed_market import CUTS, EVERY, FRAME, assert_same_until


@pytest.fixture(scope="module")
def truth(tmp_path_factory, in_process, small_weights):
    bench = Bench.of(tmp_path_factory.mktemp("truth") / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=EVERY)
    return bench


@pytest.fixture
def future(tmp_path, small_weights):
    """Another future after a day, in a home of its own."""

    def build(day, seed=0):
        return Bench.of(tmp_path / f"{day}-{seed}", perturbed(FRAME, day, seed), weights=small_weights)

    return build


@pytest.mark.slow
def test_the_market_has_something_to_tell(truth):
    rows = truth.home.read("factors").to_pandas()
    assert (rows["status"] == "ok").sum() > 400
    assert set(rows["reason"].dropna().str.split(":").str[0]) == {"too few matches"}
    assert rows.groupby("symbol").size().nunique() > 1
    assert len(truth.rows("matches", CUTS[0])) > 20


@pytest.mark.slow
@pytest.mark.parametrize("day", CUTS, ids=str)
def test_another_future_leaves_the_past_as_it_was(day, truth, future, in_process):
    other = future(day)
    other.run(in_process, samples=EVERY)
    assert_same_until(truth, other, day)
    assert other.rows("factors") != truth.rows("factors"), "the other future is another one"


@pytest.mark.parametrize("day", CUTS[1:3], ids=str)
def test_another_future_on_a_standing_cluster(day, truth, future, standing):
    other = future(day)
    with open_cluster(standing) as cluster:
        other.run(cluster, samples=EVERY)
    assert_same_until(truth, other, day)


@pytest.mark.long
def test_another_future_on_workers_elsewhere(truth, future, elsewhere):
    day = CUTS[2]
    other = future(day)
    with open_cluster(elsewhere) as cluster:
        other.run(cluster, samples=EVERY)
    assert_same_until(truth, other, day)


@pytest.mark.slow
@pytest.mark.parametrize("day", CUTS[1:], ids=str)
def test_no_future_at_all(day, truth, in_process, tmp_path, small_weights):
    then = Bench.of(tmp_path / "then", FRAME[FRAME["date"].to_numpy() <= day], weights=small_weights)
    then.run(in_process, samples=EVERY)
    assert_same_until(truth, then, day)


@pytest.mark.slow
def test_the_choice_of_dates_up_to_a_day_does_not_see_further(future, in_process, truth, tmp_path):
    day = CUTS[2]
    here, other = truth.copy(tmp_path / "here"), future(day)
    for bench in (here, other):
        bench.run(in_process, samples=20, as_of=day)
    assert len(here.rows("factors")) > 60
    assert_same_until(here, other, day)
    assert here.rows("factors", day) == here.rows("factors")


@pytest.mark.slow
def test_with_the_default_settings_and_encoder(in_process, tmp_path):
    frame = plain(synthetic_market(4, 150, seed=5))
    days = np.unique(frame["date"].to_numpy()).astype("datetime64[D]")
    here = Bench.of(tmp_path / "here", frame, Settings())
    here.run(in_process, samples=EVERY)
    assert (here.home.read("factors")["status"].to_numpy() == "ok").sum() > 250
    for day in days[[90, 120]]:
        other = Bench.of(tmp_path / str(day), perturbed(frame, day, 1), Settings())
        other.run(in_process, samples=EVERY)
        assert_same_until(here, other, day)


@pytest.mark.slow
def test_the_test_has_teeth(future, in_process, monkeypatch, tmp_path, truth):
    """With the common rule, that a window may be matched once it has ended, the same comparison fails."""

    def ended(self, dates):
        return np.searchsorted(np.maximum.accumulate(self.end), dates, side="right").astype(np.int64)

    monkeypatch.setattr(Patterns, "n_known", ended)
    here = truth.copy(tmp_path / "here")
    here.run(in_process, samples=EVERY)
    changed = []
    for day in CUTS:
        other = future(day)
        other.run(in_process, samples=EVERY)
        rows = zip(here.rows("factors", day), other.rows("factors", day), strict=True)
        changed.append([one["date"] for one, two in rows if one["value"] != two["value"]])
        # An outcome reaches five bars past its window's end: that is how far the future is seen.
        assert all(date > (day - 8).item() for date in changed[-1])
    assert sum(len(dates) > 0 for dates in changed) >= 3, changed
