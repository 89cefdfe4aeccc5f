"""Values of other settings than the default ones, from the tables: what they say, and that they leave the others be."""

from dataclasses import replace

import numpy as np
import pytest

from kline_core.api.views import explain
from kline_core.compute.replay import replay, replay_keys
from kline_core.maintenance.verify import verify
from kline_core.settings import FactorSettings
from kline_core.store.run_records import read_record
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.damage import put, rewrite
from tests.support.runs import DAYS, FRAME

VARIED = replace(
    SMALL_SETTINGS,
    factor=FactorSettings(
        top_k=8,
        min_matches=2,
        return_horizon=3,
        isolation_bars=5,
        half_life_days=None,
        min_effective_matches=6.5,
        min_similarity=0.99,
    ),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights, in_process):
    """A home with values of both kinds."""
    bench = Bench.of(tmp_path_factory.mktemp("varied") / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=60)
    return bench


@pytest.fixture(scope="module")
def varied(bench, in_process):
    before = bench.rows("factors", without=())
    report = bench.run(in_process, samples=60, settings=VARIED)
    after = bench.rows("factors", without=())
    assert [row for row in after if row["fingerprint"] != report.fingerprint] == before
    return report


def tables(bench, report):
    factors = bench.home.read("factors", fingerprint=report.fingerprint).to_pandas()
    matches = bench.home.read("matches", fingerprint=report.fingerprint).to_pandas()
    return factors.set_index(["symbol", "date"]), matches


@pytest.mark.slow
def test_they_follow_from_the_stored_matches(bench, varied):
    factors, matches = tables(bench, varied)
    assert matches["similarity"].min() >= 0.99
    assert (matches["weight"] == matches["similarity"]).all()
    seen = set()
    for key, row in factors.iterrows():
        own = matches[(matches["symbol"] == key[0]) & (matches["date"] == key[1])]
        assert row["matches"] == len(own)
        share = own["weight"] / own["weight"].sum()
        effective = 1 / (share**2).sum() if len(own) else 0.0
        if row["status"] == "ok":
            assert row["effective_matches"] == pytest.approx(effective)
            assert effective >= 6.5 * (1 - 1e-9)
            seen.add("ok")
        elif len(own) >= 2:
            assert row["reason"] == f"too few effective matches: {np.floor(100 * effective) / 100:.2f} of 6.5"
            seen.add("effective")
        elif "similarity" in row["reason"]:
            assert row["reason"] == f"too few matches: {len(own)} of 2 with a similarity of at least 0.99"
            seen.add("floor")
    assert seen == {"ok", "effective", "floor"}


@pytest.mark.slow
def test_they_are_used_again_replayed_and_verified_like_the_others(bench, varied, in_process):
    again = bench.run(in_process, samples=60, settings=VARIED)
    assert (again.count("done"), again.count("reused")) == (0, varied.count("done"))
    found = replay(
        bench.home,
        in_process,
        replay_keys(bench.home, read_record(bench.home, varied.run_id)),
        read_record(bench.home, varied.run_id),
    )
    assert found.same, found.failure
    for settings in (SMALL_SETTINGS, VARIED):
        report = verify(bench.home, settings, bench.weights)
        assert report.ok, report.text()


@pytest.mark.slow
def test_an_explanation_says_how_many_matches_count(bench, varied):
    factors, _ = tables(bench, varied)
    symbol, day = factors.index[factors["status"] == "ok"][0]
    seen = explain(bench.home, symbol, day, settings=VARIED, encoder=bench.weights, device="cpu")
    effective = factors.loc[(symbol, day), "effective_matches"]
    assert seen.to_dict()["effective_matches"] == effective
    assert f"effective matches {effective:.2f} of {len(seen.matches)} (the value is no probability)" in seen.text()


@pytest.mark.slow
def test_what_follows_does_not_change_them(bench, in_process, tmp_path):
    day = DAYS[len(DAYS) * 2 // 3]
    later = FRAME["date"] > day
    other = FRAME.copy()
    shuffled = FRAME[later].sample(frac=1, random_state=1)
    for name in ("open", "high", "low", "close"):
        other.loc[later, name] = shuffled[name].to_numpy()
    changed = Bench.of(tmp_path / "home", other, VARIED, bench.weights)
    dates = dict.fromkeys(FRAME["symbol"].unique(), DAYS[day >= DAYS])
    changed.run(in_process, dates=dates)
    same = Bench.of(tmp_path / "same", FRAME, VARIED, bench.weights)
    same.run(in_process, dates=dates)
    assert changed.rows("factors") == same.rows("factors")
    assert changed.rows("matches") == same.rows("matches")
    assert any(row["status"] == "ok" for row in same.rows("factors"))


@pytest.mark.slow
def test_damage_is_found(bench, varied, tmp_path):
    copy = Bench.copy(bench, tmp_path / "home")
    for table in ("factors", "matches"):
        rows = bench.home.read(table, fingerprint=varied.fingerprint)
        copy.home.append(table, rows)
    assert verify(copy.home, VARIED, bench.weights).ok

    def of_a_value(value):
        def change(frame):
            put("effective_matches", value, int(np.flatnonzero(frame["status"] == "ok")[0]))(frame)

        return change

    rewrite(copy.home, "factors", of_a_value(1.5))
    kinds = {finding.kind for finding in verify(copy.home, VARIED, bench.weights).findings}
    assert kinds == {"rows whose effective_matches is not that of their matches"}
    # As in a row stored before there was the column.
    rewrite(copy.home, "factors", of_a_value(None))
    assert verify(copy.home, VARIED, bench.weights).ok
    rewrite(copy.home, "matches", put("similarity", 0.5))
    kinds = {finding.kind for finding in verify(copy.home, VARIED, bench.weights).findings}
    assert "rows below min_similarity" in kinds
