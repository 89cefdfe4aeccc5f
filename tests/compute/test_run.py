import dataclasses
import logging
import shutil
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest

from kline_core.compute import run as run_module
from kline_core.compute import tasks
from kline_core.compute.cluster import open_cluster
from kline_core.compute.request import Request
from kline_core.compute.run import Run, run_symbols
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.errors import DateError, HomeError, RunFailedError, SettingError, StaleError, UnknownSymbolError
from kline_core.factor import scoring
from kline_core.factor import stored_values as module
from kline_core.factor.batch import Batch
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.state import load_state
from kline_core.settings import FactorSettings
from kline_core.store.home import Home
from tests.support.bench import SMALL_SETTINGS, Bench, break_batches
from tests.support.frames import PRICES
from tests.support.homes import make_home, market, replace_bars

BARS = 80
FRAME = market(4, BARS)
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
SYMBOLS = [f"S0000{number}" for number in range(4)]
ASKED = {"S00000": DAYS[[30, 35, 40, 45]]}


def first(frame, bars):
    return frame[frame.groupby("symbol").cumcount() < bars]


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("run") / "home", FRAME, weights=small_weights)


@pytest.fixture
def bench(made, tmp_path):
    return made.copy(tmp_path / "home")


def counts(report):
    found = {name: report.count(name) for name in ("samples", "done", "failed", "reused")}
    assert found["samples"] == found["done"] + found["failed"] + found["reused"]
    for result in report.symbols:
        assert result.samples == result.done + result.failed + result.reused
        assert sum(result.reasons.values()) == result.failed
    return tuple(found.values())


# --- what a run stores and counts ---


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


def test_more_samples_keep_those_there_are(bench, in_process):
    before = counts(bench.run(in_process, samples=20))
    after = counts(bench.run(in_process, samples=40))
    assert before[0] == 80
    assert after[0] == 160
    assert after[3] == before[1]


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
    class Dying:
        uri = home.uri

        def upsert(self, table, *arguments):
            if table == "factors":
                raise HomeError("the disk is full")
            return upsert(table, *arguments)

    return Dying()


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


# --- dates that are asked for ---


def test_dates_without_a_bar_are_counted_with_their_reasons(bench, in_process):
    asked = np.array(["1999-01-04", DAYS[2], DAYS[60], "2020-02-01", "2040-01-02"], dtype="datetime64[D]")
    report = bench.run(in_process, dates={"S00001": asked, "S00002": asked[[2]]}, max_failed_share=1)
    assert counts(report) == (6, 2, 4, 0)
    assert report.reasons == {
        f"before the first bar ({DAYS[0]})": 1,
        "too few bars: 3 of 5": 1,
        "no trading day of S00001 (the one before is 2020-01-31)": 1,
        f"after the last bar ({DAYS[-1]})": 1,
    }
    assert len(bench.rows("factors")) == 6
    versions = bench.versions()
    assert counts(bench.run(in_process, dates={"S00001": asked})) == (5, 0, 4, 1)
    assert bench.versions() == versions


def test_a_reason_that_no_longer_holds_is_stored_again(tmp_path, in_process, small_weights):
    bench = Bench.of(tmp_path / "home", first(FRAME, 70), weights=small_weights)
    saturday = DAYS[74] + 1
    assert saturday not in DAYS
    dates = {"S00001": np.array([saturday])}
    assert list(bench.run(in_process, dates=dates).reasons) == [f"after the last bar ({DAYS[69]})"]
    bench.add(FRAME[FRAME.groupby("symbol").cumcount() >= 70])
    (reason,) = bench.run(in_process, dates=dates).reasons
    assert reason.startswith("no trading day of S00001")
    assert [row["reason"] for row in bench.rows("factors")] == [reason]


def test_dates_may_be_unordered_and_repeated(bench, in_process):
    report = bench.run(in_process, dates={"S00001": DAYS[[60, 50, 60, 40]]})
    assert counts(report) == (3, 3, 0, 0)
    assert [row["date"] for row in bench.rows("factors")] == DAYS[[40, 50, 60]].tolist()


def test_no_dates_are_asked_for(bench, in_process):
    report = bench.run(in_process, dates={"S00001": DAYS[:0]})
    assert report.broken[0].problem == "no dates were asked for"
    with pytest.raises(RunFailedError, match=r"no symbol has a sample \(S00001: no dates were asked for\)"):
        report.check(1.0)


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        (np.array(["2020-01-06"], dtype="datetime64[ns]"), r"dates of S00001 is an array of datetime64\[ns\]"),
        (np.array(["NaT"], dtype="datetime64[D]"), "dates of S00001 holds NaT in position 0"),
    ],
)
def test_what_is_no_date_is_refused(dates, says):
    with pytest.raises(DateError, match=says):
        Request(dates={"S00001": dates})


def test_as_of_is_the_newest_sample(bench, in_process):
    bench.run(in_process, samples=10, as_of=DAYS[50])
    rows = bench.rows("factors")
    assert len(rows) == 40
    assert max(row["date"] for row in rows) == DAYS[50].item()


@pytest.mark.parametrize(
    ("day", "says"),
    [
        ("1999-01-04", f"as-of 1999-01-04 lies outside the bars, which run from {DAYS[0]} to {DAYS[-1]}"),
        ("2040-01-02", "as-of 2040-01-02 lies outside the bars"),
        ("2020-02-01", "as-of 2020-02-01 is no trading day of any symbol; the nearest are 2020-01-31 and 2020-02-03"),
    ],
)
def test_as_of_on_no_trading_day(bench, in_process, day, says):
    with pytest.raises(DateError, match=says):
        bench.start(in_process, as_of=np.datetime64(day))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"samples": 0}, "samples is 0; it must be at least 1"),
        ({"samples": -5}, "samples is -5"),
        ({"max_failed_share": 1.5}, "max_failed_share is 1.5; it must be between 0 and 1"),
        ({"max_failed_share": float("nan")}, "max_failed_share is nan"),
    ],
)
def test_requests_out_of_bounds(request_, says):
    with pytest.raises(SettingError, match=says):
        Request(**request_)


@pytest.mark.parametrize("symbol", ["NONE", "../../x", "", "S'; DROP", 'S"1'])
def test_unknown_symbols(bench, in_process, symbol):
    for request in ({"symbols": ["S00001", symbol]}, {"dates": {symbol: DAYS[:1]}}):
        with pytest.raises(UnknownSymbolError, match=r"has no bars in .*which holds 4 symbols") as raised:
            bench.start(in_process, **request)
        assert repr(symbol) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_several_unknown_symbols(bench, in_process):
    with pytest.raises(
        UnknownSymbolError, match=r"^symbols 'A', 'B' have no bars in .*; ingest them or check the names$"
    ):
        bench.start(in_process, symbols=["S00001", "B", "A"])


def test_more_samples_than_there_are_dates(bench, in_process):
    report = bench.run(in_process, samples=10_000)
    assert counts(report)[0] == 4 * (BARS - 4)


@pytest.mark.slow
def test_how_many_samples_there_will_be_is_known_from_the_start(bench, in_process):
    for request in (
        {"samples": 7},
        {"samples": 10_000},
        {"samples": 50, "as_of": DAYS[9]},
        {"dates": {"S00001": DAYS[[9, 8, 9]]}},
    ):
        run = bench.start(in_process, **request)
        assert run.expected == {result.symbol: result.samples for result in run_symbols(run).symbols}


# --- what breaks ---


BROKE = ValueError("it broke\non two lines")


@pytest.fixture
def forgetful(monkeypatch):
    """Every stored value is out of date."""
    return lambda: monkeypatch.setattr(scoring, "_history", lambda *a: np.full(len(a[2]), 7, np.uint64))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["in process", "standing"])
def test_a_failing_sample_is_alone(bench, made, in_process, standing, monkeypatch, tmp_path, kind):
    truth = made.copy(tmp_path / "truth")
    truth.run(in_process, samples=20)
    day = np.datetime64(truth.rows("factors")[15]["date"])
    opened = nullcontext(in_process) if kind == "in process" else open_cluster(standing)
    with monkeypatch.context() as patch, opened as cluster:
        break_batches(patch, day, BROKE)
        report = bench.run(cluster, samples=20)
    broken = report.reasons["error: ValueError: it broke"]
    assert 1 <= broken <= 4
    counts(report)
    rows = {(row["symbol"], row["date"]): row for row in bench.rows("factors")}
    for right in truth.rows("factors"):
        row = rows.pop((right["symbol"], right["date"]))
        if right["date"] == day.item():
            assert (row["status"], row["reason"], row["value"], row["matches"]) == (
                *("failed", "error: ValueError: it broke", None, 0),
            )
        else:
            assert row == right
    assert rows == {}
    kept = [row for row in truth.rows("matches") if row["date"] != day.item()]
    assert bench.rows("matches") == kept
    again = bench.run(in_process, samples=20)
    assert again.count("done") == broken
    for table in ("factors", "matches"):
        assert bench.rows(table) == truth.rows(table)


def overheard(cluster):
    """The cluster, and what is said of its work from now on."""
    said = []
    return dataclasses.replace(cluster, log=lambda *record: said.append(record)), said


def in_one_piece(bench, cluster):
    run = bench.start(cluster, dates=ASKED)
    run.score(["S00000"])
    return run.finish()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("it broke\nbadly"), "error: ValueError: it broke"),
        (MemoryError(), "error: MemoryError: "),
        (KeyError("close"), "error: KeyError: 'close'"),
    ],
)
def test_a_chunk_that_breaks_is_done_sample_by_sample(bench, made, in_process, monkeypatch, tmp_path, error, reason):
    whole = made.copy(tmp_path / "whole")
    whole.run(in_process, dates=ASKED)
    sizes = break_batches(monkeypatch, DAYS[[30, 40]], error)
    in_one_piece(bench, in_process)
    assert sizes == [4, 1, 1, 1, 1]
    right, rows = whole.rows("factors"), bench.rows("factors")
    assert [rows[1], rows[3]] == [right[1], right[3]]
    for row, date in ((rows[0], DAYS[30]), (rows[2], DAYS[40])):
        assert (row["date"], row["status"], row["reason"], row["value"]) == (date.item(), "failed", reason, None)
        assert (row["matches"], row["history"]) == (0, NEVER_REUSED)
    days = DAYS[[35, 45]].tolist()
    assert bench.rows("matches") == [match for match in whole.rows("matches") if match["date"] in days]


def test_a_chunk_that_breaks_is_spoken_of_with_its_error(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS[40], BROKE)
    cluster, said = overheard(in_process)
    in_one_piece(bench, cluster)
    says = (
        f"S00000: a chunk of 4 samples from {DAYS[30]} on broke (ValueError: it broke), so it is done sample by sample"
    )
    assert said == [(logging.WARNING, says)]


def test_a_chunk_of_which_all_breaks(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS, BROKE)
    report = in_one_piece(bench, in_process)
    assert counts(report) == (4, 0, 4, 0)
    assert [row["reason"] for row in bench.rows("factors")] == ["error: ValueError: it broke"] * 4
    assert bench.rows("matches") == []
    assert report.symbols[0].seconds == {}


def test_stored_samples_of_a_chunk_that_breaks_are_still_re_used(bench, in_process, monkeypatch):
    bench.run(in_process, dates={"S00000": DAYS[[30, 40, 45]]})
    before = bench.rows("factors", without=())
    break_batches(monkeypatch, DAYS[35], BROKE)
    report = in_one_piece(bench, in_process)
    assert counts(report) == (4, 0, 1, 3)
    rows = bench.rows("factors", without=())
    assert [rows[0], *rows[2:]] == before
    assert (rows[1]["date"], rows[1]["run_id"]) == (DAYS[35].item(), report.run_id)


def test_a_refusal_is_not_tried_sample_by_sample(bench, in_process, monkeypatch):
    sizes = break_batches(monkeypatch, DAYS, DateError("not that day"))
    cluster, said = overheard(in_process)
    report = in_one_piece(bench, cluster)
    assert [(result.problem, result.broke) for result in report.broken] == [("not that day", True)]
    assert (sizes, said) == ([4], [])


def test_a_sample_that_breaks_after_it_was_right_loses_its_matches(bench, in_process, monkeypatch, forgetful):
    dates = {"S00001": DAYS[[60, 70]]}
    bench.run(in_process, dates=dates)
    assert len(bench.rows("matches")) == 10
    forgetful()
    break_batches(monkeypatch, DAYS[60], BROKE)
    report = bench.run(in_process, dates=dates)
    assert counts(report) == (2, 1, 1, 0)
    assert [row["date"] for row in bench.rows("matches")] == [DAYS[70].item()] * 5


def symbols_of(asked):
    """What `tasks.plan` or `tasks.score` is asked for."""
    return asked.symbols if isinstance(asked, Batch) else asked


@pytest.mark.parametrize("what", ["plan", "score"])
def test_a_symbol_that_breaks_does_not_stop_the_others(bench, in_process, monkeypatch, what):
    real = getattr(tasks, what)

    def broken(key, asked, *arguments):
        if "S00001" in symbols_of(asked):
            raise OSError("no more memory\nand so on")
        return real(key, asked, *arguments)

    monkeypatch.setattr(tasks, what, broken)
    report = bench.run(in_process, samples=10)
    assert [result.symbol for result in report.symbols] == SYMBOLS
    (result,) = report.broken
    assert (result.symbol, result.problem, result.broke) == ("S00001", "OSError: no more memory", True)
    assert counts(report)[0] == 30
    assert {row["symbol"] for row in bench.rows("factors")} == {"S00000", "S00002", "S00003"}
    with pytest.raises(RunFailedError, match=r"^1 of 4 symbols broke: S00001 \(OSError: no more memory\); the values"):
        report.check(1.0)
    assert report.to_dict()["symbols"][1] == {
        **{"symbol": "S00001", "samples": 0, "done": 0, "failed": 0, "reused": 0, "refreshed": 0},
        **{"problem": "OSError: no more memory", "broke": True, "reasons": {}},
    }


def test_a_symbol_that_is_tried_again_counts_once(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)

    def broken(*_):
        raise ValueError("it broke")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "score", broken)
        results, broke = run.score(["S00001"])
    assert results == []
    assert [(symbol, str(error)) for symbol, error in broke.items()] == [("S00001", "it broke")]
    assert [result.problem for result in run.finish().broken] == ["ValueError: it broke"]
    run.score(["S00001"], 3)
    run.score(["S00001"])
    report = run.finish()
    assert counts(report)[0] == 10
    assert [(result.symbol, result.problem) for result in report.symbols] == [("S00001", None)]
    assert len(bench.rows("factors")) == 10


def test_a_symbol_without_a_window_is_a_problem_but_no_failure(tmp_path, in_process, small_weights):
    short = FRAME[(FRAME["symbol"] != "S00003") | (FRAME["date"].to_numpy() < DAYS[4])]
    bench = Bench.of(tmp_path / "home", short, weights=small_weights)
    report = bench.run(in_process, samples=30)
    report.check(0.5)
    (result,) = report.broken
    assert (result.symbol, result.samples, result.broke) == ("S00003", 0, False)
    assert result.problem == "too few bars: no window of 5 consecutive bars"
    alone = bench.run(in_process, symbols=["S00003"], as_of=DAYS[20])
    with pytest.raises(RunFailedError, match=f"S00003: too few bars: no window of 5 consecutive bars up to {DAYS[20]}"):
        alone.check(1.0)


@pytest.mark.parametrize("symbols", [None, []])
def test_no_symbols_at_all(tmp_path, in_process, small_weights, symbols):
    bench = Bench.of(tmp_path / "home", FRAME.iloc[:0], weights=small_weights)
    report = bench.run(in_process, symbols=symbols)
    assert counts(report) == (0, 0, 0, 0)
    with pytest.raises(RunFailedError, match=r"no symbol has a sample \(no symbols\); ingest more bars"):
        report.check(1.0)


def test_as_of_without_any_bars(tmp_path, in_process, small_weights):
    bench = Bench(make_home(tmp_path / "home", FRAME.iloc[:0]), weights=small_weights)
    with pytest.raises(DateError, match=r"as-of 2020-01-06 is no trading day: .* holds no traded bars"):
        bench.start(in_process, as_of=np.datetime64("2020-01-06"))


def test_too_many_failures_fail_the_run_and_the_values_are_stored(bench, in_process):
    asked = {"S00001": np.array([DAYS[0], DAYS[1], DAYS[60], "2040-01-02"], dtype="datetime64[D]")}
    for _ in range(2):
        report = bench.run(in_process, dates=asked)
        with pytest.raises(RunFailedError) as raised:
            report.check(0.5)
        text = str(raised.value)
        assert text.startswith("3 of 4 samples failed, more than max_failed_share 0.5 allows: ")
        assert "1 x too few bars: 1 of 5" in text
        assert text.endswith("the values that could be computed are stored")
        report.check(0.75)
        assert sum(row["status"] == "ok" for row in bench.rows("factors")) == 1


def test_a_share_is_compared_as_it_is_written():
    def report(failed, samples):
        result = SymbolResult("A", samples, samples - failed, failed, reasons=Counter({"x": failed}))
        return RunReport("run", "f", {}, 0, [result], {})

    report(29, 100).check(0.29)
    with pytest.raises(RunFailedError, match=r"^30 of 100 samples failed, .* 0\.29 allows: 30 x x"):
        report(30, 100).check(0.29)


# --- progress ---


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


# --- several symbols as one piece of work ---


def same_rows(one, other):
    for table in ("factors", "matches"):
        assert one.rows(table) == other.rows(table)


@pytest.mark.slow
def test_symbols_scored_together_have_the_values_that_each_has_alone(bench, made, in_process, tmp_path):
    alone = made.copy(tmp_path / "alone")
    for samples, day in ((1, DAYS[70]), (20, DAYS[75]), (1, DAYS[76])):
        right = alone.run(in_process, samples=samples, as_of=day)
        seen = []
        run = bench.start(in_process, lambda result, to=seen: to.append(result.symbol), samples=samples, as_of=day)
        results, broke = run.score(run.symbols)
        assert ([result.symbol for result in results], broke, seen) == (SYMBOLS, {}, SYMBOLS)
        report = run.finish()
        assert counts(report) == counts(right)
        assert [result.to_dict() for result in report.symbols] == [result.to_dict() for result in right.symbols]
        same_rows(bench, alone)


def test_dates_asked_for_together_fail_each_with_its_reason(bench, made, in_process, tmp_path):
    alone = made.copy(tmp_path / "alone")
    dates = {"S00001": DAYS[[2, 60, 70]], "S00002": DAYS[[1]], "S00003": DAYS[:0]}
    for _ in range(2):
        right = alone.run(in_process, dates=dates, max_failed_share=1)
        run = bench.start(in_process, dates=dates, max_failed_share=1)
        run.score(run.symbols)
        report = run.finish()
        assert [result.to_dict() for result in report.symbols] == [result.to_dict() for result in right.symbols]
        same_rows(bench, alone)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["plan", "score"])
def test_what_breaks_together_is_done_one_by_one(bench, made, in_process, monkeypatch, tmp_path, what):
    alone = made.copy(tmp_path / "alone")
    alone.run(in_process, samples=10)

    real = getattr(tasks, what)

    def broken(key, asked, *arguments):
        if len(symbols_of(asked)) > 1:
            raise OSError("no more memory")
        return real(key, asked, *arguments)

    monkeypatch.setattr(tasks, what, broken)
    cluster, said = overheard(in_process)
    run = bench.start(cluster, samples=10)
    results, broke = run.score(run.symbols)
    assert ([result.symbol for result in results], broke) == (SYMBOLS, {})
    assert said == [
        (
            logging.WARNING,
            "4 symbols from S00000 on broke together (OSError: no more memory), so each is done by itself",
        )
    ]
    run.finish()
    same_rows(bench, alone)


def test_one_symbol_that_breaks_leaves_the_others_of_its_group(bench, in_process, monkeypatch):
    compute, alone = scoring.score_batch, tasks.score

    def breaks(state, batch):
        if len(batch.parts) > 1:
            raise ValueError("it broke")
        return compute(state, batch)

    def score(key, batch):
        if batch.symbols == ["S00001"]:
            raise OSError("no more memory")
        return alone(key, batch)

    monkeypatch.setattr(scoring, "score_batch", breaks)
    monkeypatch.setattr(tasks, "score", score)
    cluster, said = overheard(in_process)
    run = bench.start(cluster, samples=10)
    results, broke = run.score(run.symbols)
    assert [message for _, message in said] == [
        "4 symbols from S00000 on broke together (ValueError: it broke), so each is done by itself"
    ]
    assert [result.symbol for result in results] == ["S00000", "S00002", "S00003"]
    assert [(symbol, str(error)) for symbol, error in broke.items()] == [("S00001", "no more memory")]
    assert [result.symbol for result in run.finish().broken] == ["S00001"]
    assert {row["symbol"] for row in bench.rows("factors")} == {"S00000", "S00002", "S00003"}


def test_a_symbol_scored_alone_after_its_group_is_stored_once(bench, in_process):
    run = bench.start(in_process, samples=10)
    run.score(run.symbols)
    run.score(["S00001"])
    assert counts(run.finish())[0] == 40
    assert len(bench.rows("factors")) == 40


def test_groups_hold_what_is_worth_a_piece_of_work(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    assert run.new_samples == 40
    assert run.groups(SYMBOLS, 10) == [SYMBOLS]
    assert run.groups(SYMBOLS, 3) == [SYMBOLS[:3], SYMBOLS[3:]]
    assert run.groups([], 3) == []
    monkeypatch.setattr(run_module, "GROUP_SAMPLES", 20)
    assert run.groups(SYMBOLS, 10) == [SYMBOLS[:2], SYMBOLS[2:]]
    run.score(SYMBOLS[:2])
    run.finish()
    again = bench.start(in_process, samples=10)
    assert again.new_samples == 22, "one where all are stored, which may be a new day's"
    assert again.groups(SYMBOLS, 10) == [SYMBOLS[:3], SYMBOLS[3:]], "what is stored is little work"
    monkeypatch.setattr(run_module, "GROUP_DATES", 15)
    assert again.groups(SYMBOLS, 10) == [[symbol] for symbol in SYMBOLS]


def test_a_group_whose_rows_cannot_be_stored_is_done_one_by_one_and_reported(bench, in_process, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_ROWS", 1)

    def full(*_):
        raise HomeError("the disk is full")

    with monkeypatch.context() as patch:
        run = bench.start(in_process, samples=10)
        patch.setattr(Home, "upsert", full)
        results, broke = run.score(run.symbols)
        assert results == []
        assert {str(error) for error in broke.values()} == {"the disk is full"}
        assert list(broke) == run.symbols
        assert run.unreported() == []
    assert bench.run(in_process, samples=10).count("samples") == 40


def test_symbols_of_which_nothing_was_heard_are_known(bench, in_process):
    run = bench.start(in_process, samples=10)
    assert run.unreported() == SYMBOLS
    run.score(["S00001"])
    run.mark_broken("S00002", ValueError("it broke"))
    assert run.unreported() == ["S00000", "S00003"]
    assert 1 <= run.parallel <= in_process.threads
