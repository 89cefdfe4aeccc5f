"""A run with an encoder for each year: what each year's encoder gives by itself, in one run."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import kline_core as kl
from kline_core.api.runs import replay_run
from kline_core.compute.run import run_symbols
from kline_core.compute.run_report import SymbolResult
from kline_core.compute.year_runs import joined_results
from kline_core.errors import DateError, EncoderError, RunFailedError, SettingError, StaleError
from kline_core.factor.sample_dates import choose_dates, usable_dates
from kline_core.maintenance.upkeep import _recorded
from kline_core.store.run_records import read_record, recorded_runs
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.frames import perturbed
from tests.support.homes import add_bars, make_home
from tests.support.years import FRAME, SAMPLES, SEEDS, bench_of, computed, dates_of, write_years

BEFORE = "the encoder was trained through 2020-12-31"
"""Reason of all samples before the first year."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    return write_years(tmp_path_factory.mktemp("years") / "years")


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """A home with the bars alone."""
    return make_home(tmp_path_factory.mktemp("bars") / "home", FRAME)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, bars, years):
    """A home with patterns by both encoders."""
    return bench_of(tmp_path_factory.mktemp("indexed") / "home", bars, years)


@pytest.fixture(scope="module")
def scored(tmp_path_factory, indexed, in_process):
    """The same with a run over all dates, whose result stands beside it."""
    bench = bench_of(tmp_path_factory.mktemp("scored") / "home", indexed.home, indexed.weights)
    return bench, computed(bench, in_process)


@pytest.fixture
def bench(indexed, tmp_path):
    return Bench(kl.Home(shutil.copytree(indexed.home.folder, tmp_path / "home")), SMALL_SETTINGS, indexed.weights)


def reused(report):
    return {name: report.count(name) for name in ("samples", "done", "failed", "reused", "refreshed")}


def test_each_year_has_the_values_of_its_encoder_bit_for_bit(scored, bars, years, tmp_path, in_process):
    bench, result = scored
    for year, first, last in ((2021, "1900-01-01", "2021-12-31"), (2022, "2022-01-01", "2999-12-31")):
        alone = bench_of(tmp_path / str(year), bars, years / f"{year}.safetensors")
        computed(alone, in_process, dates=dates_of(result.frame, first, last))
        own = alone.key.fingerprint
        for table in ("factors", "matches"):
            rows = alone.rows(table)
            assert rows == [row for row in bench.rows(table) if row["fingerprint"] == own]
            assert len(rows) > 20
    statuses = result.frame.groupby([result.frame["date"].dt.year, "status"]).size()
    assert {year for year, status in statuses.index if status == "ok"} == {2021, 2022}
    failed = result.failed
    assert set(failed["reason"]) == {BEFORE}
    assert (failed["date"] < "2021-01-01").all()
    assert len(failed) == (result.frame["date"] < "2021-01-01").sum() == result.report.count("failed") > 20


def test_it_is_one_run_which_a_replay_finds_bit_for_bit(scored, years, tmp_path):
    bench, result = scored
    (run_id,) = recorded_runs(bench.home)
    record, report = read_record(bench.home, run_id), result.report
    assert (record.run_id, record.request.samples, record.state) == (report.run_id, SAMPLES, "done")
    assert [each.year for each in record.years] == [2021, 2022]
    assert record.fingerprint == report.fingerprint == record.years[-1].fingerprint
    assert report.to_dict()["years"] == {str(each.year): each.fingerprint for each in record.years}
    assert record.counts == reused(report) | {"rows": len(result.frame)}
    assert record.patterns == report.n_patterns == bench.home.row_count("patterns")
    assert record.stored == bench.versions()
    # A vacuum keeps what it read of all years.
    for each in record.years:
        table, version = each.patterns.table or "patterns", each.patterns.version
        assert _recorded(bench.home, table, [record]) == {version: set(bench.home.files(table, version))}
    again = replay_run(bench.home, run_id, threads=2, encoder=years)
    assert again.same, again.failure
    assert again.own.values.total == len(result.frame)
    with pytest.raises(EncoderError, match=r"2021.safetensors is a file, and run .* had an encoder for each year"):
        replay_run(bench.home, run_id, encoder=years / "2021.safetensors")
    fewer = write_years(tmp_path / "fewer", {2021: SEEDS[2021]})
    with pytest.raises(EncoderError, match=r"folder .*fewer has no encoder of 2022, which run .* had"):
        replay_run(bench.home, run_id, encoder=fewer)
    other = write_years(tmp_path / "other", {2021: 8, 2022: 9})
    with pytest.raises(EncoderError, match=r"2021.safetensors have fingerprint .*name the run's weights"):
        replay_run(bench.home, run_id, encoder=other)


def test_what_a_run_stored_is_shown_with_the_encoder_of_the_date(scored):
    bench, result = scored
    record = read_record(bench.home, result.report.run_id)
    for day, year in (("2021-06-03", 2021), (None, 2022)):
        seen = kl.explain(bench.home, "S00000", day, run=record.run_id)
        assert seen.fingerprint == dict(result.fingerprint.by_year)[year]
        assert seen.factor["value"] == result.values.loc[(str(seen.date), "S00000")]
        live = kl.explain(bench.home, "S00000", day, settings=bench.settings, encoder=bench.weights, device="cpu")
        assert (live.fingerprint, live.date) == (seen.fingerprint, seen.date)
        assert live.factor["value"] == seen.factor["value"]
        assert seen.searchable == live.searchable
    with pytest.raises(EncoderError, match=r"trained through 2020-12-31, and 2020-12-01 is not after it"):
        kl.explain(bench.home, "S00000", "2020-12-01", settings=bench.settings, encoder=bench.weights, device="cpu")
    add_bars(bench.home, FRAME[FRAME["symbol"] == "S00000"].head(2).assign(symbol="NEW"))
    with pytest.raises(DateError, match=r"no symbol has a usable day"):
        kl.explain(bench.home, "NEW", settings=bench.settings, encoder=bench.weights, device="cpu")


def test_a_second_run_computes_nothing_and_is_replayed_when_patterns_have_grown(bench, in_process):
    first = computed(bench, in_process, samples=60)
    again = computed(bench, in_process, samples=60)
    # Chosen over all years, as for one encoder.
    for symbol, days in usable_dates(bench.home, bench.settings.patterns).items():
        assert (first.asked[symbol] == choose_dates(symbol, days, 60)).all()
    done, failed = first.report.count("done"), first.report.count("failed")
    assert reused(again.report) == {"samples": 180, "done": 0, "failed": failed, "reused": done, "refreshed": 0}
    assert again.values.equals(first.values)
    assert again.matches.equals(first.matches)
    bench.add(FRAME[FRAME["symbol"] == "S00001"].assign(symbol="LATER"))
    replayed = replay_run(bench.home, again.report.run_id, threads=2)
    assert replayed.same, replayed.failure
    assert replayed.reused.values.total == 180


def test_the_encoder_of_a_new_year_leaves_earlier_years_alone(bars, tmp_path, in_process):
    bench = bench_of(tmp_path / "home", bars, write_years(tmp_path / "years", {2021: SEEDS[2021]}))
    first = computed(bench, in_process)
    write_years(tmp_path / "years")
    updated = bench.extend()
    assert {year: each.added for year, each in updated.years.items()} == {2021: 0, 2022: updated.added}
    before = bench.rows("factors")
    second = computed(bench, in_process)
    new = (second.frame["date"] >= "2022-01-01").sum()
    assert second.report.count("done") == new > 20
    assert second.report.count("reused") + second.report.count("failed") == len(second.frame) - new
    kept = [row for row in bench.rows("factors") if row["fingerprint"] == first.report.fingerprint]
    assert kept == before
    assert first.values[first.values.index.get_level_values("date") < "2022-01-01"].equals(
        second.values[second.values.index.get_level_values("date") < "2022-01-01"]
    )


def test_the_share_of_failed_samples_is_that_of_all_years(bench, in_process):
    # Most of the first part fail, and less than half of the whole.
    early, late = (np.arange(day, np.datetime64(day) + 42) for day in ("2020-11-30", "2022-01-03"))
    days = [day for day in (*early, *late) if np.is_busday(day)]
    asked = dict.fromkeys(("S00000", "S00001"), days)
    result = computed(bench, in_process, dates=asked, max_failed_share=0.5)
    record = read_record(bench.home, result.report.run_id)
    assert (record.state, record.problem) == ("done", None)
    assert record.request.dates.count == sum(map(len, asked.values()))
    with pytest.raises(RunFailedError, match=r"samples failed, more than max_failed_share 0.1 allows") as caught:
        computed(bench, in_process, dates=asked, max_failed_share=0.1, check=True)
    assert caught.value.result.frame["status"].eq("failed").any()
    assert read_record(bench.home, caught.value.result.report.run_id).state == "failed"


def test_a_run_that_is_cut_off_in_an_earlier_year_keeps_the_later_one(bench, in_process):
    def breaks(run):
        if len(began) == 1:
            raise OSError("the power went")
        began.append(run)
        return run_symbols(run)

    began = []
    with pytest.raises(OSError, match="the power went"):
        computed(bench, in_process, samples=60, execute=breaks)
    (run_id,) = recorded_runs(bench.home)
    record = read_record(bench.home, run_id)
    assert (record.state, record.problem) == ("cut off", "OSError: the power went")
    kept = len(bench.rows("factors"))
    assert kept == began[0].results.all()[0].samples * 3
    result = computed(bench, in_process, samples=60)
    assert result.report.count("reused") == kept


def test_a_run_that_is_interrupted_between_two_years_is_cut_off(bench, in_process):
    def interrupted(run):
        run_symbols(run)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        computed(bench, in_process, execute=interrupted)
    (run_id,) = recorded_runs(bench.home)
    record = read_record(bench.home, run_id)
    assert (record.state, record.problem) == ("cut off", "3 symbols were not reached; run again for the rest")
    assert record.counts["rows"] == len(bench.rows("factors")) > 0


def test_a_symbol_that_breaks_in_one_year_breaks_the_run(bench, in_process):
    def breaks(run):
        if run.key.encoder.path.endswith("2021.safetensors"):
            run.mark_broken("S00001", ValueError("odd"))
            run.score(["S00000", "S00002"])
            return run.finish()
        return run_symbols(run)

    report = computed(bench, in_process, samples=60, execute=breaks).report
    (broken,) = [each for each in report.symbols if each.broke]
    assert (broken.symbol, broken.problem) == ("S00001", "ValueError: odd")
    assert broken.samples > 0
    with pytest.raises(RunFailedError, match=r"1 of 3 symbols broke: S00001"):
        report.check(1)


def test_a_symbol_without_dates_says_why(bench, in_process):
    bench.add(FRAME[FRAME["symbol"] == "S00001"].head(2).assign(symbol="SHORT"))
    report = computed(bench, in_process, samples=20).report
    assert [(each.symbol, each.problem) for each in report.broken] == [
        ("SHORT", "too few bars: no window of 5 consecutive bars")
    ]
    assert report.count("samples") == 60
    report = computed(bench, in_process, samples=20, dates={"SHORT": [], "S00000": ["2021-06-01"]}).report
    assert [(each.symbol, each.samples, each.problem) for each in report.symbols] == [
        ("S00000", 1, None),
        ("SHORT", 0, "no dates were asked for"),
    ]


def test_only_years_with_dates_are_loaded(bench, in_process):
    loaded = []

    def noted(run):
        loaded.append(run.key.encoder.path[-16:])
        return run_symbols(run)

    computed(bench, in_process, samples=20, dates={"S00000": ["2021-06-01", "2021-06-02"]}, execute=noted)
    assert loaded == ["2021.safetensors"]
    computed(bench, in_process, as_of="2021-06-01", samples=20, execute=noted)
    assert loaded == ["2021.safetensors"] * 2


def test_patterns_of_an_update_are_those_of_its_folder(bench, years, in_process):
    updated = bench.extend()
    assert updated.years.keys() == {2021, 2022}
    assert (updated.added, updated.total) == (0, 2 * bench.home.row_count("patterns"))
    assert computed(bench, in_process, samples=20, patterns=updated).report.count("done")
    alone = kl.update_patterns(
        bench.home, settings=bench.settings.patterns, encoder=years / "2021.safetensors", device="cpu"
    )
    with pytest.raises(SettingError, match=r"patterns are of one encoder, and .*years has encoders of 2021, 2022"):
        computed(bench, in_process, patterns=alone)
    # On the workers of a cluster too.
    on_workers = kl.update_patterns(
        bench.home, settings=bench.settings.patterns, encoder=years, device="cpu", cluster=in_process
    )
    assert on_workers == updated


def test_a_rebuild_makes_the_patterns_of_each_year_in_their_own_table(bench, bars, years, tmp_path):
    def rebuilt(home):
        return kl.update_patterns(home, settings=bench.settings.patterns, encoder=years, device="cpu", rebuild=True)

    tables = {year: each.table for year, each in bench.extend().years.items()}
    again = rebuilt(bench.home)
    assert {year: each.table for year, each in again.years.items()} == tables
    assert again.added == again.total
    # Where there are none, no year takes the place of another.
    first = rebuilt(kl.Home(shutil.copytree(bars.folder, tmp_path / "none")))
    assert {year: each.table for year, each in first.years.items()} == tables


@pytest.mark.parametrize(
    ("day", "seeds", "samples"),
    [
        ("2021-08-16", SEEDS | {2022: 77}, SAMPLES),
        pytest.param("2022-01-17", SEEDS, 100_000, marks=pytest.mark.long),
        pytest.param("2021-03-03", SEEDS | {2022: 77}, 100_000, marks=pytest.mark.long),
    ],
)
def test_another_future_and_its_encoders_leave_the_past_as_it_was(
    day, seeds, samples, scored, years, tmp_path, in_process
):
    """What follows a day changes the bars, and with them the encoders of later years."""
    cut = np.datetime64(day)

    def run(name, frame, folder):
        bench = bench_of(tmp_path / name, make_home(tmp_path / f"bars-{name}", frame), folder)
        computed(bench, in_process, samples=samples)
        return bench

    one = scored[0] if samples == SAMPLES else run("one", FRAME, years)
    other = run("other", perturbed(FRAME, cut, 3), write_years(tmp_path / "years", seeds))
    for table in ("factors", "matches"):
        assert len(one.rows(table, cut)) > 60
        assert other.rows(table, cut) == one.rows(table, cut)
        assert other.rows(table) != one.rows(table)


def test_results_of_parts_add_up():
    parts = [
        SymbolResult("A", 2, 1, 1, problem=None),
        SymbolResult("B", problem="no dates"),
        SymbolResult("A", 3, 0, 0, 3),
        SymbolResult("C", problem="odd", broke=True),
        SymbolResult("C", 4, 4),
    ]
    parts[0].reasons["few"] += 1
    found = joined_results(parts)
    assert [(each.symbol, each.samples, each.done, each.failed, each.reused) for each in found] == [
        ("A", 5, 1, 1, 3),
        ("B", 0, 0, 0, 0),
        ("C", 4, 4, 0, 0),
    ]
    assert [(each.problem, each.broke) for each in found] == [(None, False), ("no dates", False), ("odd", True)]
    assert found[0].reasons == {"few": 1}
    assert joined_results(parts, "no window")[1].problem == "no window"


def test_second_values_of_all_years_are_made_and_counted(indexed, years, tmp_path, in_process):
    settings = replace(SMALL_SETTINGS, factor=replace(SMALL_SETTINGS.factor, many=40))
    place = kl.Home(shutil.copytree(indexed.home.folder, tmp_path / "home"))
    result = computed(Bench(place, settings, years), in_process)
    second = result.frame["many_rank"].notna()
    assert second.groupby(result.frame["date"].dt.year).any().to_dict() == {2020: False, 2021: True, 2022: True}
    assert result.report.many.values == second.sum() > 50
    assert result.report.many.reasons == dict(result.frame["many_reason"].dropna().value_counts())
    found = kl.evaluate(place, settings=settings, encoder=years, of="many", details=False)
    assert found.values == second.sum()
    again = replay_run(place, result.report.run_id, threads=2)
    assert again.same, again.failure


def test_patterns_that_are_missing_are_named(bars, years, in_process):
    with pytest.raises(StaleError, match="kline index"):
        computed(Bench(bars, SMALL_SETTINGS, years), in_process)
