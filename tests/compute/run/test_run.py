"""What a run stores and counts, and the progress that it tells."""

import dataclasses
import shutil
from collections import Counter

import numpy as np
import pytest

from kline_core.compute.run import Run, run_symbols
from kline_core.errors import HomeError, StaleError
from kline_core.factor import scoring
from kline_core.factor import stored_values as module
from kline_core.factor.state import load_state
from kline_core.settings import FactorSettings
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.frames import PRICES
from tests.support.homes import make_home, market, replace_bars
from tests.support.runs import BARS, DAYS, FRAME, SYMBOLS, counts, first


@pytest.mark.slow
def test_values_and_matches_of_every_symbol(bench, in_process):
    report = bench.run(in_process, samples=30)
    samples, done, failed, reused = counts(report)
    assert (samples, reused) == (120, 0)
    assert [result.symbol for result in report.symbols] == SYMBOLS
    factors, matches = bench.home.read("factors").to_pandas(), bench.home.read("matches").to_pandas()
    assert Counter(factors["status"]) == {"ok": done, "failed": failed}
    assert not factors.duplicated(["symbol", "date", "fingerprint"]).any()
    assert not matches.duplicated(["symbol", "date", "fingerprint", "rank"]).any()
    assert set(factors["run_id"]) == set(matches["run_id"]) == {report.run_id}
    assert set(factors["fingerprint"]) == {report.fingerprint}
    # A value and its status say the same, and every match that is counted is there.
    assert (factors["value"].isna() == (factors["status"] == "failed")).all()
    assert (factors["reason"].isna() == (factors["status"] == "ok")).all()
    kept = matches.groupby(["symbol", "date"]).size()
    counted = factors[factors["matches"] > 0].set_index(["symbol", "date"])["matches"]
    assert kept.to_dict() == counted.to_dict()
    assert report.reasons == Counter(factors["reason"].dropna())


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_writes_nothing(bench, in_process, monkeypatch):
    _, done, failed, _ = counts(bench.run(in_process, samples=30))
    versions, rows = bench.versions(), bench.rows("factors", without=())
    searched, search = [], scoring.search
    monkeypatch.setattr(scoring, "search", lambda *a: searched.append(len(a[2])) or search(*a))
    again = bench.run(in_process, samples=30)
    assert counts(again) == (120, 0, failed, done)
    assert sum(searched) == 0
    assert bench.versions() == versions
    assert bench.rows("factors", without=()) == rows


@pytest.mark.slow
def test_more_samples_keep_those_there_are(bench, in_process):
    before = counts(bench.run(in_process, samples=20))
    after = counts(bench.run(in_process, samples=40))
    assert before[0] == 80
    assert after[0] == 160
    assert after[3] == before[1]


@pytest.mark.slow
def test_other_settings_have_values_of_their_own(bench, in_process):
    assert counts(bench.run(in_process, samples=10))[3] == 0
    bench.settings = dataclasses.replace(SMALL_SETTINGS, factor=FactorSettings(return_horizon=3, top_k=7))
    assert counts(bench.run(in_process, samples=10))[3] == 0
    assert bench.home.read("factors").num_rows == 80
    assert counts(bench.run(in_process, samples=10))[1] == 0


@pytest.mark.slow
def test_one_more_day_computes_the_new_and_the_few_chosen_again(tmp_path, in_process, small_weights):
    bench = Bench.of(tmp_path / "home", first(FRAME, BARS - 1), weights=small_weights)
    bench.run(in_process, samples=40)
    before = {(row["symbol"], row["date"]): row for row in bench.rows("factors", without=())}
    bench.add(FRAME[FRAME.groupby("symbol").cumcount() == BARS - 1])
    report = bench.run(in_process, samples=40)
    counts(report)
    after = {(row["symbol"], row["date"]): row for row in bench.rows("factors", without=())}
    assert {key: after[key] for key in before} == before
    fresh = Counter(symbol for symbol, _ in after.keys() - before.keys())
    # The new day, and at most one that the larger pool chooses beside it (`choose_dates`).
    assert set(fresh) == set(SYMBOLS)
    assert all(1 <= count <= 2 for count in fresh.values())
    assert all((symbol, DAYS[-1].item()) in after for symbol in SYMBOLS)
    assert report.count("done") <= 2 * len(SYMBOLS)


@pytest.mark.slow
def test_dates_of_earlier_runs_do_not_stay_when_they_no_longer_hold(tmp_path, in_process, small_weights):
    bench = Bench.of(tmp_path / "home", first(FRAME, BARS - 6), weights=small_weights)
    for day in range(BARS - 6, BARS):
        bench.run(in_process, samples=12)
        bench.add(FRAME[FRAME.groupby("symbol").cumcount() == day])
    stored = bench.home.read("factors").num_rows
    assert stored > 4 * 12, "some of the dates are no longer among the twelve"
    restated = FRAME.copy()
    restated.loc[restated["symbol"] == "S00002", PRICES] *= np.linspace(1, 2, BARS)[:, None]
    replace_bars(bench.home, restated, "S00002")
    bench.extend()
    report = bench.run(in_process, samples=12)
    assert counts(report)[0] == 48
    assert report.count("refreshed") > 0
    # As a fresh home that is asked for the same dates.
    fresh = Bench.of(tmp_path / "fresh", restated, weights=small_weights)
    dates = {}
    for row in bench.rows("factors"):
        dates.setdefault(row["symbol"], []).append(row["date"])
    fresh.run(in_process, dates={symbol: np.array(days, "datetime64[D]") for symbol, days in dates.items()})
    for table in ("factors", "matches"):
        assert bench.rows(table) == fresh.rows(table)
    assert bench.run(in_process, samples=12).count("refreshed") == 0


@pytest.mark.slow
def test_a_date_that_is_no_bar_any_more_loses_its_value(tmp_path, in_process, small_weights):
    bench = Bench.of(tmp_path / "home", FRAME, weights=small_weights)
    bench.run(in_process, samples=12)
    newest = DAYS[-1].item()
    shorter = FRAME[(FRAME["symbol"] != "S00001") | (FRAME["date"].to_numpy() < DAYS[-1])]
    replace_bars(bench.home, shorter, "S00001")
    bench.extend()
    bench.run(in_process, samples=12)
    (row,) = [row for row in bench.rows("factors") if (row["symbol"], row["date"]) == ("S00001", newest)]
    assert (row["status"], row["value"]) == ("failed", None)
    assert row["reason"].startswith("after the last bar")
    assert not [row for row in bench.rows("matches") if (row["symbol"], row["date"]) == ("S00001", newest)]


@pytest.mark.slow
def test_a_home_made_anew_in_the_same_place_is_another_home(tmp_path, in_process, small_weights):
    first_home = Bench.of(tmp_path / "home", FRAME, weights=small_weights)
    first_home.run(in_process, samples=12)
    other = market(4, BARS, seed=9)
    shutil.rmtree(first_home.home.folder)
    again = Bench.of(tmp_path / "home", other, weights=small_weights)
    again.run(in_process, samples=12)
    elsewhere = Bench.of(tmp_path / "elsewhere", other, weights=small_weights)
    elsewhere.run(in_process, samples=12)
    assert again.rows("factors") == elsewhere.rows("factors")


@pytest.mark.slow
@pytest.mark.parametrize("stored", [False, True])
def test_a_home_that_goes_during_a_run_is_told_and_not_made_again(bench, in_process, stored):
    if stored:
        bench.run(in_process, samples=10)
    run = bench.start(in_process, samples=10)
    shutil.rmtree(bench.home.folder)
    with pytest.raises(HomeError, match=rf"^the home at {bench.home.uri} is gone: "):
        run_symbols(run)
    assert not bench.home.folder.exists()


@pytest.mark.slow
def test_values_are_not_stored_in_another_home_that_took_the_place(bench, in_process):
    run = bench.start(in_process, samples=10)
    shutil.rmtree(bench.home.folder)
    other = make_home(bench.home.folder, FRAME)
    with pytest.raises(StaleError, match="were made anew"):
        run_symbols(run)
    assert other.version("factors") is None


@pytest.mark.slow
def test_a_home_made_anew_during_a_run_is_refused(tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", FRAME, weights=small_weights)
    key = bench.key
    shutil.rmtree(bench.home.folder)
    Bench.of(tmp_path / "home", FRAME, weights=small_weights)
    with pytest.raises(StaleError, match="were made anew"):
        load_state(key)


@pytest.mark.slow
def test_a_restated_symbol_is_computed_again_with_all_that_it_touches(bench, in_process):
    bench.run(in_process, samples=100)
    before = {(row["symbol"], row["date"]): row for row in bench.rows("factors", without=("run_id",))}
    restated = FRAME.copy()
    touched = (restated["symbol"] == "S00002") & (restated["date"].to_numpy() >= DAYS[50])
    restated.loc[touched, "adj_factor"] = 2.0
    replace_bars(bench.home, restated, "S00002")
    assert bench.extend().restated == ["S00002"]
    report = bench.run(in_process, samples=100)
    counts(report)
    fresh = Bench.of(bench.home.folder.parent / "fresh", restated, weights=bench.weights)
    fresh.run(in_process, samples=100)
    for table in ("factors", "matches"):
        assert bench.rows(table) == fresh.rows(table)
    rows = bench.rows("factors", without=())
    redone = {(row["symbol"], row["date"]) for row in rows if row["run_id"] == report.run_id}
    # The first pattern that reaches a restated bar became known on that bar's day: nothing before it was touched.
    assert min(date for _, date in redone) == DAYS[50].item()
    assert {symbol for symbol, _ in redone} == set(SYMBOLS)
    assert any(before[row["symbol"], row["date"]]["value"] != row["value"] for row in rows)


@pytest.mark.slow
def test_a_sample_with_fewer_matches_than_before_leaves_no_stale_ranks(bench, in_process, monkeypatch, forgetful):
    dates = {"S00001": DAYS[[60, 70]]}
    bench.run(in_process, dates=dates)
    assert [row["rank"] for row in bench.rows("matches")] == [1, 2, 3, 4, 5] * 2
    forgetful()
    monkeypatch.setattr(scoring, "search", fewer(scoring.search, 3))
    report = bench.run(in_process, dates=dates, max_failed_share=1)
    assert report.reasons == {"too few matches: 3 of 5": 2}
    assert [row["rank"] for row in bench.rows("matches")] == [1, 2, 3] * 2


def fewer(search, kept):
    def found(*arguments):
        matches = search(*arguments)
        rows, similarity = matches.rows.copy(), matches.similarity.copy()
        rows[:, kept:], similarity[:, kept:] = -1, np.nan
        return dataclasses.replace(matches, rows=rows, similarity=similarity)

    return found


@pytest.mark.slow
def test_ranks_of_a_run_that_died_between_its_two_commits_do_not_stay(bench, in_process, monkeypatch):
    dates = {"S00001": DAYS[[60]]}
    run = bench.start(in_process, dates=dates)
    run.score(["S00001"])
    upsert = bench.home.upsert
    monkeypatch.setattr(run.writer, "home", dying_home(bench.home, upsert))
    with pytest.raises(HomeError):
        run.finish()
    assert len(bench.rows("matches")) == 5
    assert bench.rows("factors") == []
    monkeypatch.setattr(scoring, "search", fewer(scoring.search, 2))
    bench.run(in_process, dates=dates)
    assert [row["rank"] for row in bench.rows("matches")] == [1, 2]


def dying_home(home, upsert):
    class Dying(Home):
        def upsert(self, table, *arguments):
            if table == "factors":
                raise HomeError("the disk is full")
            return upsert(table, *arguments)

    return Dying(home.uri)


@pytest.mark.slow
def test_rows_that_could_not_be_written_are_written_by_the_next_attempt(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    for symbol in run.symbols:
        run.score([symbol])
    with monkeypatch.context() as patch:
        patch.setattr(run.writer, "home", dying_home(bench.home, bench.home.upsert))
        with pytest.raises(HomeError, match="the disk is full"):
            run.finish()
    assert counts(run.finish())[0] == 40
    assert len(bench.rows("factors")) == 40


@pytest.mark.slow
def test_rows_are_written_as_they_come(bench, in_process, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_ROWS", 25)
    run = bench.start(in_process, samples=10)
    stored = []
    for symbol in run.symbols:
        run.score([symbol])
        stored.append(bench.home.read("factors").num_rows)
    run.finish()
    assert stored == [0, 0, 30, 30]
    assert bench.home.read("factors").num_rows == 40


@pytest.mark.slow
def test_rows_that_come_slowly_are_written_half_a_minute_after_the_last_ones(bench, in_process, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    run = bench.start(in_process, samples=10)
    stored = []
    for symbol, now in zip(run.symbols, [29.0, 30.0, 59.9, 60.1], strict=True):
        clock[0] = now
        run.score([symbol])
        stored.append(bench.home.read("factors").num_rows)
    run.finish()
    assert stored == [0, 20, 20, 40]
    assert bench.home.history("factors")[0]["version"] == 2


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_is_done(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    scored = []

    def score(symbols, chunks):
        scored.extend(symbols)
        if len(scored) == 2:
            raise KeyboardInterrupt
        return Run.score(run, symbols, chunks)

    monkeypatch.setattr(run, "score", score)
    with pytest.raises(KeyboardInterrupt):
        run_symbols(run)
    assert bench.home.read("factors").num_rows == 10 * (len(scored) - 1) > 0


@pytest.mark.slow
def test_progress_is_told_after_every_chunk(bench, in_process):
    seen = []
    run = bench.start(in_process, lambda result: seen.append((result.symbol, counted(result))), samples=12)
    run.score(["S00001"], 3)
    run.score(["S00002"])
    run.finish()
    assert [symbol for symbol, _ in seen] == ["S00001"] * 3 + ["S00002"]
    assert [count for _, count in seen] == [4, 8, 12, 12]


def counted(result):
    return result.done + result.failed + result.reused


@pytest.mark.slow
def test_progress_that_breaks_costs_no_values(bench, in_process):
    calls = []

    def progress(result):
        calls.append(result.symbol)
        raise OSError("the terminal is gone")

    run = bench.start(in_process, progress, samples=10)
    with pytest.raises(OSError, match="the terminal is gone"):
        run_symbols(run)
    assert len(calls) == 1
    assert len(bench.rows("factors")) == 40
