"""Full mode end to end: point in time, the same wherever it is computed, replayed, verified, explained, compared."""

from dataclasses import replace

import numpy as np
import pytest

import kline_core as kl
from kline_core.compute.opening import open_cluster
from kline_core.compute.replay import replay, replay_keys
from kline_core.encoder.weights import DEFAULT_FINGERPRINT
from kline_core.errors import FingerprintError, SettingError
from kline_core.evaluation.agreement import other_fingerprint
from kline_core.settings import FactorSettings, Settings
from kline_core.store.run_records import read_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.frames import perturbed
from tests.support.homes import SMALL
from tests.support.mixed_market import CUTS, DAYS, EVERY, FRAME, assert_same_until

FULL = Settings(
    SMALL,
    FactorSettings.of_mode("full", return_horizon=3, isolation_bars=5, search_k=60, rerank_k=12),
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory, in_process, small_weights):
    bench = Bench.of(tmp_path_factory.mktemp("full") / "home", FRAME, FULL, small_weights)
    bench.report = bench.run(in_process, samples=EVERY)
    return bench


@pytest.mark.slow
def test_the_market_has_something_to_tell(truth):
    rows = truth.home.read("factors").to_pandas()
    assert (rows["status"] == "ok").sum() > 400
    assert (rows["fingerprint"] == truth.key.fingerprint).all()
    matches = truth.home.read("matches").to_pandas()
    assert matches["rank"].max() == 10
    assert matches["similarity"].between(0, 1).all()
    by_rank = matches.sort_values(["symbol", "date", "rank"]).groupby(["symbol", "date"])["similarity"]
    assert (by_rank.diff().dropna() <= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("day", CUTS, ids=str)
def test_another_future_leaves_the_past_as_it_was(day, truth, in_process, tmp_path, small_weights):
    other = Bench.of(tmp_path / "other", perturbed(FRAME, day, 0), FULL, small_weights)
    other.run(in_process, samples=EVERY)
    assert_same_until(truth, other, day)
    assert other.rows("factors") != truth.rows("factors"), "the other future is another one"


@pytest.mark.long
@pytest.mark.slow
def test_values_are_the_same_on_workers_elsewhere_and_in_batches_of_any_size(truth, elsewhere, in_process, tmp_path):
    there = truth.copy(tmp_path / "there")
    with open_cluster(elsewhere) as cluster:
        there.run(cluster, samples=EVERY)
    assert_same_until(truth, there, DAYS[-1])
    # One day of one symbol at a time, in an order of its own.
    alone = truth.copy(tmp_path / "alone")
    for day in DAYS[[112, 75, 90]]:
        alone.run(in_process, dates={"SYN00000": [day], "SYN00003": [day]})
    wanted = {(row["symbol"], row["date"]): row for row in truth.rows("factors")}
    rows = alone.rows("factors")
    assert len(rows) == 6
    assert all(row == wanted[row["symbol"], row["date"]] for row in rows)


@pytest.mark.slow
def test_values_of_both_modes_stand_beside_each_other(truth, in_process, tmp_path):
    home = truth.copy(tmp_path / "home")
    fast = replace(SMALL_SETTINGS, factor=FactorSettings(return_horizon=3, isolation_bars=5))
    report = home.run(in_process, samples=60, settings=fast)
    first = home.rows("factors")
    again = home.run(in_process, samples=60)
    assert report.fingerprint != again.fingerprint
    assert again.count("reused") == 0
    kept = [row for row in home.rows("factors") if row["fingerprint"] == report.fingerprint]
    assert kept == first

    found = kl.compare(home.home, again.fingerprint, fingerprint=report.fingerprint)
    assert found.samples == report.count("samples")
    assert 0 < found.found[5] <= 1
    assert (found.matches <= 5, found.other_matches > 5) == (True, True)
    assert found.text().count("%") == 6
    assert found.to_dict()["found"]["5"] == found.found[5]
    turned = kl.compare(home.home, report.fingerprint, fingerprint=again.fingerprint)
    assert (turned.found, turned.other_found) == (found.other_found, found.found)
    assert turned.rank_correlation == found.rank_correlation
    one = kl.compare(home.home, again.fingerprint, ["SYN00000"], fingerprint=report.fingerprint, last=DAYS[100])
    assert 0 < one.samples < 61
    with pytest.raises(SettingError, match="no sample is stored under"):
        kl.compare(home.home, again.fingerprint, first="2030-01-01", fingerprint=report.fingerprint)
    with pytest.raises(SettingError, match="the values that are judged themselves"):
        kl.compare(home.home, report.fingerprint, fingerprint=report.fingerprint)
    with pytest.raises(FingerprintError):
        kl.compare(home.home, "0" * 16, fingerprint=report.fingerprint)


def test_a_mode_names_the_values_of_its_own_settings():
    full = Settings(SMALL, FactorSettings.of_mode("full", return_horizon=3))
    assert other_fingerprint("full", SMALL_SETTINGS, None) == full.fingerprint(DEFAULT_FINGERPRINT)
    assert other_fingerprint("0123456789abcdef", SMALL_SETTINGS, None) == "0123456789abcdef"
    with pytest.raises(SettingError, match=r"compare is 'slow'; it must be a mode \(fast, full\) or a fingerprint"):
        other_fingerprint("slow", SMALL_SETTINGS, None)


@pytest.mark.slow
def test_a_run_is_replayed_and_verified(truth, in_process):
    record = read_record(truth.home, truth.report.run_id)
    found = replay(truth.home, in_process, replay_keys(truth.home, record, truth.weights), record)
    assert found.same, found.failure
    report = kl.verify(truth.home, settings=FULL, encoder=truth.weights)
    assert report.ok, report.text()


@pytest.mark.slow
def test_an_explanation_shows_the_parts_of_the_similarity(truth):
    day = DAYS[112]
    view = kl.explain(truth.home, "SYN00000", day, settings=FULL, encoder=truth.weights, device="cpu")
    stored = truth.home.read("matches", symbols=["SYN00000"]).to_pandas()
    stored = stored[stored["date"] == day.item()].sort_values("rank")
    assert [match.similarity for match in view.matches] == stored["similarity"].tolist()
    names = ["dtw", "price", "return", "shape", "pixels", "edges"]
    weights = np.array([0.7 * 0.4, 0.7 * 0.3, 0.7 * 0.2, 0.7 * 0.1, 0.2, 0.1])
    for match in view.matches:
        assert list(match.parts) == names
        assert sum(weights * [match.parts[name] or 0.0 for name in names]) == pytest.approx(match.similarity)
        assert match.to_dict()["dtw"] == match.parts["dtw"]
    assert view.to_frame().columns[4:11].tolist() == ["similarity", *names]
    assert "edges" in view.text()
    past = [match for match in view.matches if match.parts["pixels"] is None]
    assert all(match.parts["edges"] is None for match in past)
    header, *lines = view.text().split("\n\n")[1].splitlines()
    assert len(lines) == len(view.matches)
    assert header.split()[4:11] == ["similarity", *names]

    fast = kl.explain(truth.home, "SYN00000", day, settings=SMALL_SETTINGS, encoder=truth.weights, device="cpu")
    assert all(match.parts == {} for match in fast.matches)
    assert "dtw" not in fast.to_frame()
