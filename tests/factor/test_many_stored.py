"""Second values, from many, in a home: stored, used again, replayed, verified, shown, exported and judged."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import kline_core as kl
from kline_core.cli.factor_commands import run_text
from kline_core.compute.opening import open_cluster
from kline_core.compute.replay import replay, replay_keys
from kline_core.encoder.synthetic import synthetic_market
from kline_core.errors import SettingError
from kline_core.factor.export import export_values
from kline_core.factor.state import loaded_state
from kline_core.maintenance.verify import verify
from kline_core.store.run_records import read_record
from kline_core.store.schemas import MANY, MANY_FIGURES
from tests.naive import from_many
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.damage import put, rewrite
from tests.support.frames import perturbed, plain

WANTED = 40
SECOND = replace(SMALL_SETTINGS, factor=replace(SMALL_SETTINGS.factor, many=WANTED))
SAMPLES = 30


def market_with_suspensions():
    frame = plain(synthetic_market(5, 420, seed=3), start="2020-01-06")
    number, symbol = np.tile(np.arange(420), 5), np.repeat(np.arange(5), 420)
    suspended = (symbol == 2) & np.isin(number, [100, 101, 170, 171, 172, 295])
    for price in ("open", "high", "low"):
        frame[price] = np.where(suspended, frame["close"], frame[price])
    frame["volume"] = np.where(suspended, 0.0, frame["volume"])
    return frame.assign(suspended=suspended)[~((symbol == 4) & (number < 200))].reset_index(drop=True)


FRAME = market_with_suspensions()
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights, in_process):
    """A home with values of settings without a second one."""
    bench = Bench.of(tmp_path_factory.mktemp("many") / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=SAMPLES)
    return bench


@pytest.fixture(scope="module")
def report(bench, in_process):
    return bench.run(in_process, samples=SAMPLES, settings=SECOND)


def rows_of(bench, report):
    rows = bench.home.read("factors", fingerprint=report.fingerprint).to_pandas()
    return rows.sort_values(["symbol", "date"], ignore_index=True)


def bits(bench, fingerprint, without=()):
    """Rows under a fingerprint, with every float as its bits, without what depends on the run."""
    dropped = ("run_id", "fingerprint", *without)
    return [
        {name: cell for name, cell in row.items() if name not in dropped}
        for row in bench.rows("factors", without=())
        if row["fingerprint"] == fingerprint
    ]


@pytest.mark.slow
def test_they_are_those_of_the_plain_loop_and_the_values_stay(bench, report):
    plain_fingerprint = bench.key.fingerprint
    assert plain_fingerprint != report.fingerprint
    own = ("match_digest", *MANY)
    assert bits(bench, report.fingerprint, own) == bits(bench, plain_fingerprint, own)
    assert all(row[name] is None for row in bits(bench, plain_fingerprint) for name in MANY)
    rows = rows_of(bench, report)
    state = loaded_state(replace(bench.key, settings=SECOND))
    told = set()
    # The loop looks at every pattern for every window: a few samples of either kind.
    few = [rows[rows[name].notna()] for name in ("many_rank", "many_reason")]
    for row in pd.concat([few[0].iloc[::15], few[1].iloc[::15]]).itertuples():
        bars = state.frames[row.symbol]
        bar = int(bars.find(np.array([row.date], "datetime64[D]"))[0])
        code = int(state.patterns.codes_of([row.symbol])[0])
        own = state.patterns.rows_of(np.array([code], np.int32), np.array([bar], np.int32))[0]
        if own < 0:
            # A window that is no pattern yet, whose vector is nowhere to be read.
            continue
        vector, span = state.patterns.vectors[own], SECOND.patterns.span_bars
        wanted = from_many(state.patterns, vector, np.datetime64(row.date), code, bar, SECOND, span)
        if isinstance(wanted, str):
            assert row.many_reason.startswith(wanted)
            assert np.isnan(row.many_rank)
        else:
            for name in MANY_FIGURES:
                assert getattr(row, name) == pytest.approx(wanted[name], rel=1e-7, abs=1e-9)
            assert pd.isna(row.many_reason)
        told.add(isinstance(wanted, str))
    assert told == {True, False}


@pytest.mark.slow
def test_a_run_counts_them_computed_and_used_again(bench, report, in_process):
    rows = rows_of(bench, report)
    assert report.many.values == rows["many_rank"].notna().sum() > 30
    assert report.many.reasons == rows["many_reason"].value_counts().to_dict()
    again = bench.run(in_process, samples=SAMPLES, settings=SECOND)
    assert again.count("done") == 0
    assert again.many == report.many
    assert again.to_dict()["many"] == {"values": report.many.values, "reasons": dict(report.many.reasons)}
    said = run_text(again, SAMPLES, dates_named=False).splitlines()
    assert f"{report.many.values} samples have a second value, from many" in said
    reason, count = report.many.reasons.most_common(1)[0]
    assert f"no second value: {count} x {reason}" in said
    none = bench.run(in_process, samples=SAMPLES)
    assert none.many is None
    assert "many" not in none.to_dict()
    assert "second value" not in run_text(none, SAMPLES, dates_named=False)


@pytest.mark.slow
def test_a_symbol_that_comes_with_old_bars_makes_them_anew(bench, report, in_process, tmp_path):
    """It changes the ranks of old windows, and what the others were ranked beside is in their lineage."""
    newcomer = FRAME["symbol"] == FRAME["symbol"].max()
    grown = Bench.of(tmp_path / "home", FRAME[~newcomer], SECOND, bench.weights)
    grown.run(in_process, samples=SAMPLES)
    before = grown.rows("factors")
    grown.add(FRAME[newcomer])
    grown.run(in_process, samples=SAMPLES)
    after = bits(grown, report.fingerprint)
    assert after == bits(bench, report.fingerprint)
    known = {(row["symbol"], row["date"]): row for row in after}
    assert any(known[row["symbol"], row["date"]]["many_rank"] != row["many_rank"] for row in before)


@pytest.mark.slow
def test_replayed_and_verified(bench, report, in_process):
    record = read_record(bench.home, report.run_id)
    found = replay(bench.home, in_process, replay_keys(bench.home, record), record)
    assert found.same, found.failure
    for settings in (SMALL_SETTINGS, SECOND):
        checked = verify(bench.home, settings, bench.weights)
        assert checked.ok, checked.text()


@pytest.mark.slow
def test_damage_is_found_and_mended(bench, report, in_process, tmp_path):
    copy = Bench.copy(bench, tmp_path / "home")
    for table in ("factors", "matches"):
        copy.home.append(table, bench.home.read(table, fingerprint=report.fingerprint))
    assert verify(copy.home, SECOND, bench.weights).ok
    row = int(np.flatnonzero(rows_of(copy, report)["many_rank"].notna())[0])

    def kinds():
        return {finding.kind for finding in verify(copy.home, SECOND, bench.weights).findings}

    rewrite(copy.home, "factors", put("many_quarters", 7.0, row))
    assert kinds() == {"rows whose value or matches are not those that were stored"}
    rewrite(copy.home, "factors", put("many_rank", 0.6, row))
    assert "rows whose many_rank lies beyond -0.5 to 0.5, or not in the middle of its interval" in kinds()
    rewrite(copy.home, "factors", put("many_reason", "none", row))
    assert "rows with a many_rank and a reason why there is none" in kinds()
    rewrite(copy.home, "factors", put("many_quarters", 2.0, row))
    assert "rows with a many_rank of fewer than 3 windows or quarters" in kinds()
    rewrite(copy.home, "factors", put("many_rank", None, row))
    assert "rows with figures of a many_rank that is not there" in kinds()
    rewrite(copy.home, "factors", put("many_reason", None, row))
    assert "rows with neither a many_rank nor a reason why there is none" in kinds()
    again = copy.run(in_process, samples=SAMPLES, settings=SECOND)
    assert again.count("done") == 1, "a value whose tie does not hold is computed again"
    assert bits(copy, report.fingerprint) == bits(bench, report.fingerprint)
    assert verify(copy.home, SECOND, bench.weights).ok


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fast", pytest.param("full", marks=pytest.mark.long)])
def test_shards_and_modes_give_the_same(mode, bench, report, standing, tmp_path):
    factor = kl.FactorSettings.of_mode(
        mode, many=WANTED, return_horizon=3, isolation_bars=5, top_k=5, min_matches=5, search_k=30
    )
    settings = replace(SECOND, factor=factor)
    with open_cluster(standing) as cluster:
        whole = bench.copy(tmp_path / "whole")
        whole.run(cluster, samples=SAMPLES, settings=settings)
    with open_cluster(standing, shards=3) as cluster:
        divided = bench.copy(tmp_path / "divided")
        divided.run(cluster, samples=SAMPLES, settings=settings)
    assert divided.rows("factors") == whole.rows("factors")
    second = [{name: row[name] for name in MANY} for row in divided.rows("factors")]
    assert second == [{name: row[name] for name in MANY} for row in bits(bench, report.fingerprint)]


@pytest.mark.slow
def test_another_future_leaves_the_past_as_it_was(bench, in_process, tmp_path):
    day = DAYS[340]
    dates = dict.fromkeys(FRAME["symbol"].unique(), DAYS[(day - 60 <= DAYS) & (day >= DAYS)])
    same = bench.copy(tmp_path / "same")
    other = Bench.of(tmp_path / "other", perturbed(FRAME, day, 0), weights=bench.weights)
    for home in (same, other):
        home.run(in_process, dates=dates, settings=SECOND)
    assert same.rows("factors") == other.rows("factors")
    assert sum(row["many_rank"] is not None for row in same.rows("factors")) > 50


@pytest.mark.slow
def test_an_explanation_says_them(bench, report):
    rows = rows_of(bench, report)
    there, without = rows[rows["many_rank"].notna()].iloc[0], rows[rows["many_reason"].notna()].iloc[0]

    def shown(row, **how):
        return kl.explain(bench.home, row["symbol"], row["date"], **how)

    live = {"settings": SECOND, "encoder": bench.weights, "device": "cpu"}
    for how in (live, {"run": report.run_id}):
        seen = shown(there, **how)
        assert {name: seen.to_dict()[name] for name in MANY} == {
            name: None if pd.isna(there[name]) else there[name] for name in MANY
        }
        assert (
            f"nearest 40: mean rank {there['many_rank']:+.4f} (95% {there['many_low']:+.4f} to "
            f"{there['many_high']:+.4f}) of the 3-bar returns among those of each day, of "
            f"{there['many_windows']:.0f} windows with a rank, {there['many_quarters']:.1f} effective quarters"
        ) in seen.text()
        assert f"no mean of the nearest 40: {without['many_reason']}" in shown(without, **how).text()
    plain_settings = {"settings": SMALL_SETTINGS, "encoder": bench.weights, "device": "cpu"}
    assert "nearest" not in shown(there, **plain_settings).text()
    assert not set(MANY) & shown(there, **plain_settings).to_dict().keys()


@pytest.mark.slow
def test_exported_where_there_are_some(bench, report, tmp_path):
    export_values(bench.home, tmp_path / "second.parquet", fingerprint=report.fingerprint)
    export_values(bench.home, tmp_path / "plain.parquet", fingerprint=bench.key.fingerprint)
    second, without = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("second", "plain"))
    assert set(second) - set(without) == set(MANY)
    assert (second["many_rank"].notna() ^ second["many_reason"].notna())[second["status"] == "ok"].all()


@pytest.mark.slow
def test_they_can_be_judged_in_place_of_the_values(bench, report):
    found = kl.evaluate(bench.home, settings=SECOND, encoder=bench.weights, of="many")
    rows = rows_of(bench, report)
    assert (found.of, found.values, found.samples) == ("many", report.many.values, len(rows))
    assert sum(found.failed.values()) == len(rows) - report.many.values
    assert set(rows["many_reason"].dropna()) <= set(found.failed)
    judged = rows.assign(value=rows["many_rank"])[["symbol", "date", "value"]]
    assert "many_rank" in found.text()
    values = kl.evaluate(bench.home, settings=SECOND, encoder=bench.weights)
    assert values.of == "value"
    for each, other in zip(found.horizons, values.horizons, strict=True):
        assert each.pairs <= other.pairs
    groups = found.quantiles.groups
    assert sum(group.samples for group in groups) <= judged["value"].notna().sum()
    with pytest.raises(SettingError, match="have no second one; compute it with `kline run --many N`"):
        kl.evaluate(bench.home, settings=SMALL_SETTINGS, encoder=bench.weights, of="many")
    with pytest.raises(SettingError, match="of is 'rank'; it must be one of 'value', 'many'"):
        kl.evaluate(bench.home, settings=SECOND, encoder=bench.weights, of="rank")
