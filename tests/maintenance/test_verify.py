"""Each kind of damage is planted once, in tables that were sound, and found with the right count and an example."""

import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.errors import EncoderError
from kline_core.factor.stored_values import KEY
from kline_core.maintenance import verify as room
from kline_core.maintenance.upkeep import compact
from kline_core.maintenance.verify import verify
from kline_core.maintenance.verify_inputs import Expected
from kline_core.settings import FactorSettings
from kline_core.store.home import Home
from kline_core.store.schemas import table_schema
from tests.support.bench import SMALL_SETTINGS, Bench
from tests.support.homes import SMALL, add_bars, market, write_encoder

SYMBOLS, BARS = ("S00000", "S00001", "S00002"), 70
DAY = "2020-01-06"


@pytest.fixture(scope="module")
def sound(tmp_path_factory, small_weights, in_process):
    bench = Bench.of(tmp_path_factory.mktemp("sound") / "home", market(3, BARS), weights=small_weights)
    bench.run(in_process, samples=40)
    return bench


@pytest.fixture
def bench(sound, tmp_path, monkeypatch):
    """A copy that may be damaged."""
    monkeypatch.setattr(room, "_PATIENCE", 0.0)
    shutil.copytree(sound.home.folder, tmp_path / "home")
    return Bench(Home(tmp_path / "home"), sound.settings, sound.weights)


def checked(bench, settings=None):
    return verify(bench.home, settings or bench.settings, bench.weights)


def rewrite(home, table, change):
    """Put changed rows in the place of all rows of a table."""
    rows = home.read(table)
    order = [name for name in ("symbol", "date", "end", "rank") if name in rows.column_names]
    frame = rows.sort_by([(name, "ascending") for name in order]).to_pandas()
    changed = change(frame)
    changed = frame if changed is None else changed
    home.delete(table, [str(name) for name in rows["symbol"].unique().to_pylist()])
    home.append(table, pa.Table.from_pandas(changed, rows.schema, preserve_index=False))


def put(column, value, at=0):
    """A change of one cell; `value` may be worked out from what is there."""

    def change(frame):
        place = frame.columns.get_loc(column)
        frame[column] = frame[column].astype(object)
        frame.iloc[at, place] = value(frame.iloc[at, place]) if callable(value) else value

    return change


def twice(frame):
    return pd.concat([frame, frame.iloc[:1]])


def without_first(frame):
    return frame.iloc[1:]


def kinds(report):
    return {(finding.table, finding.kind, finding.count) for finding in report.findings}


def test_sound_tables_are_said_to_be_sound(sound):
    report = checked(sound)
    assert (report.ok, report.findings, report.notes) == (True, [], [])
    counts = {name: sound.home.read(name).num_rows for name in ("bars", "patterns", "factors", "matches")}
    assert report.rows == counts
    assert min(counts.values()) > 100
    assert report.versions == {name: sound.home.version(name) for name in counts}
    assert report.headline.startswith("tables are sound: 210 bars, ")
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["ok"] is True


BARS_DAMAGE = [
    (put("high", 0.5), "rows whose high is below low", 1, f"S00000 {DAY} (0.5)"),
    (put("close", np.inf), "rows whose close is not finite", 1, f"S00000 {DAY} (inf)"),
    (put("open", -1.0), "rows whose open is not above 0", 1, f"S00000 {DAY} (-1)"),
    (put("volume", -1.0), "rows whose volume is negative", 1, f"S00000 {DAY} (-1)"),
    (put("adj_factor", 1e300), "rows whose adj_factor is not between 1e-12 and 1e+12", 1, f"S00000 {DAY} (1e+300)"),
    (put("adj_factor", None), "rows without adj_factor of symbols that have factors", 1, f"S00000 {DAY}"),
    (put("suspended", True), "rows marked wrongly as suspended or as traded", 1, f"S00000 {DAY}"),
    (twice, "rows that share symbol and date", 2, f"S00000 {DAY}"),
]


@pytest.mark.parametrize(("change", "kind", "count", "example"), BARS_DAMAGE, ids=[case[1] for case in BARS_DAMAGE])
def test_damaged_bars_are_found_and_keep_the_rest_from_being_judged_by_them(bench, change, kind, count, example):
    rewrite(bench.home, "bars", change)
    report = checked(bench)
    assert kinds(report) == {("bars", kind, count)}
    (finding,) = report.findings
    assert finding.example == example
    assert finding.remedy == "restore the home from a copy, or ingest all files into a new one"
    assert report.notes == ["values were checked by themselves only, because the bars of S00000 are damaged"]


def test_a_factor_that_is_no_number_is_not_taken_for_one_that_was_not_given(bench):
    rows = bench.home.read("bars").sort_by([("symbol", "ascending"), ("date", "ascending")])
    factor = rows["adj_factor"].to_numpy().copy()
    factor[0] = np.nan
    bench.home.delete("bars", list(SYMBOLS))
    place = rows.column_names.index("adj_factor")
    bench.home.append("bars", rows.set_column(place, "adj_factor", pa.array(factor, from_pandas=False)))
    assert ("bars", "rows whose adj_factor is missing", 1) in kinds(checked(bench))


def other_vector(length):
    def change(raw):
        return (np.frombuffer(raw, "<f4") * np.float32(length)).tobytes()

    return change


PATTERN_DAMAGE = [
    (without_first, "windows missing", 1, "run `kline index`"),
    (twice, "rows stored more than once", 2, "run `kline index`"),
    (put("content", lambda value: value + 1), "rows made from other bars than there are", 1, "run `kline index`"),
    (put("known_on", pd.Timestamp("2020-03-02").date()), "rows with a wrong known_on", 1, "--rebuild"),
    (put("r3", lambda value: value + 0.001), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("r1", None), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("barrier", lambda value: 1 - abs(value)), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("vector", other_vector(1.01)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", other_vector(0.0)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", other_vector(np.nan)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", lambda raw: raw[:-4]), "vectors that are not 8 numbers long", 1, "--rebuild"),
]


@pytest.mark.parametrize(("change", "kind", "count", "remedy"), PATTERN_DAMAGE)
def test_damaged_patterns_are_found_and_values_are_still_judged_by_the_bars(bench, change, kind, count, remedy):
    rewrite(bench.home, "patterns", change)
    report = checked(bench)
    assert kinds(report) == {("patterns", kind, count)}
    (finding,) = report.findings
    assert finding.example == "S00000 2020-01-10"
    assert remedy in finding.remedy
    assert report.notes == []


def test_a_pattern_of_no_window_is_found(bench):
    rewrite(bench.home, "patterns", put("end", pd.Timestamp("2020-01-11").date()))
    assert kinds(checked(bench)) == {
        ("patterns", "windows missing", 1),
        ("patterns", "rows that are of no window with a known outcome", 1),
    }


@pytest.mark.parametrize(("change", "remedy"), [e[::3] for e in PATTERN_DAMAGE], ids=[e[1] for e in PATTERN_DAMAGE])
def test_the_remedy_for_patterns_heals_them(bench, change, remedy):
    from kline_core.encoder.encoder import Encoder
    from kline_core.patterns.encode import LocalWindowEncoder
    from kline_core.patterns.update import update_patterns

    rewrite(bench.home, "patterns", change)
    encoding = LocalWindowEncoder(Encoder.load(bench.weights, "cpu"))
    update_patterns(bench.home, bench.settings.patterns, encoding, rebuild=remedy == "--rebuild")
    assert checked(bench).ok


def test_bars_without_patterns_yet_are_windows_that_are_missing(bench):
    late = market(1, BARS, seed=9, prefix="T")
    add_bars(bench.home, late)
    assert kinds(checked(bench)) == {("patterns", "windows missing", BARS - 4 - 5)}
    shutil.rmtree(bench.home.folder / "patterns")
    assert kinds(checked(bench)) == {("patterns", "windows missing", 4 * (BARS - 9))}


def test_a_description_that_does_not_fit_is_found(bench):
    made = bench.home.description("patterns")
    rows = bench.home.read("patterns")
    for wrong in ({}, made | {"fingerprint": "0" * 16}, made | {"settings": {"window_bars": 1, "horizons": [1]}}):
        bench.home.create("patterns", wrong, SMALL.horizons, replace=True)
        bench.home.append("patterns", rows)
        report = checked(bench)
        ((table, kind, count),) = kinds(report)
        assert (table, count) == ("patterns", 1)
        assert kind.startswith("description that does not fit the table")
        assert report.notes == [
            "values were checked by themselves only, because bars or the settings of the patterns are not known"
        ]


def full(frame):
    """First sample that has a value."""
    return int(np.flatnonzero(frame["status"] == "ok")[0])


def of_ok(column, value):
    return lambda frame: put(column, value, full(frame))(frame)


def failing(column, value):
    return lambda frame: put(column, value, int(np.flatnonzero(frame["status"] == "failed")[0]))(frame)


FACTOR_DAMAGE = [
    (twice, {"rows that share symbol, date and fingerprint": 2}),
    (of_ok("status", "perhaps"), {"rows whose status is neither ok nor failed": 1, "rows whose status": 1}),
    (of_ok("value", None), {"rows that are ok without a value between 0 and 1": 1, "rows whose value": 1}),
    (of_ok("value", 1.5), {"rows that are ok without a value between 0 and 1": 1, "rows whose value": 1}),
    (of_ok("value", lambda value: value / 2 + 0.1), {"rows whose value": 1}),
    (of_ok("return_cvar", 0.5), {"rows whose return_cvar": 1}),
    (of_ok("matches", 4), {"rows with another number of matches than is stored": 1}),
    (failing("value", 0.5), {"rows that failed and have a value": 1, "rows whose value": 1}),
    (failing("reason", None), {"rows that failed without a reason": 1, "rows whose reason": 1}),
    (failing("reason", "bad luck"), {"rows whose reason": 1}),
]


@pytest.mark.parametrize(("change", "expected"), FACTOR_DAMAGE)
def test_damaged_values_are_found(bench, change, expected):
    rewrite(bench.home, "factors", change)
    report = checked(bench)
    assert {finding.table for finding in report.findings} == {"factors"}
    found = {finding.kind.split(" is not that of")[0]: finding.count for finding in report.findings}
    assert found == expected
    assert report.notes == []


def test_a_value_on_a_day_without_a_bar_is_found(bench):
    newest = bench.home.read("factors")["date"].to_numpy().max()

    def to_a_saturday(frame):
        here = (frame["symbol"] == "S00000") & (frame["date"] == newest.item())
        assert here.any()
        frame.loc[here, "date"] = pd.Timestamp("2031-01-04").date()

    for table in ("factors", "matches"):
        rewrite(bench.home, table, to_a_saturday)
    report = checked(bench)
    assert kinds(report) == {("factors", "rows with a value on a day on which the symbol has no bar", 1)}
    assert report.findings[0].example == "S00000 2031-01-04"


MATCH_DAMAGE = [
    (twice, "matches: rows that share sample and rank", 1),
    (without_first, "factors: rows with another number of matches than is stored", 1),
    (put("rank", 9), "matches: rows whose ranks do not count from 1 without gaps", 5),
    (put("match_end", lambda end: end.replace(year=2031)), "matches: rows whose window was not over on", 1),
    (put("match_symbol", "NOBODY"), "matches: rows that are no pattern", 1),
    (put("symbol", "NOBODY"), "matches: rows that belong to no value", 1),
    (put("barrier", lambda value: 1 - abs(value)), "matches: rows with another outcome than their pattern", 1),
    (put("r1", lambda value: value + 0.01), "matches: rows with another outcome than their pattern", 1),
    (put("weight", lambda value: value * 1.01), "factors: rows whose weight is not that of", 1),
    (put("similarity", lambda value: value - 0.5), "factors: rows whose order is not that of", 1),
    (put("similarity", lambda value: value * 1.0001), "factors: rows whose similarity is not that of", 1),
]


@pytest.mark.parametrize(("change", "kind", "count"), MATCH_DAMAGE, ids=[case[1] for case in MATCH_DAMAGE])
def test_damaged_matches_are_found(bench, change, kind, count):
    def of_one_sample_first(frame):
        frame["first"] = ~((frame["symbol"] == SYMBOLS[1]) & (frame["date"] == frame["date"].max()))
        frame = frame.sort_values(["first", "rank"], kind="stable", ignore_index=True).drop(columns="first")
        changed = change(frame)
        return frame if changed is None else changed

    newest = bench.home.read("factors")["date"].to_numpy().max()
    assert (bench.home.read("matches", symbols=[SYMBOLS[1]])["date"].to_numpy() == newest).sum() == 5
    rewrite(bench.home, "matches", of_one_sample_first)
    found = {f"{finding.table}: {finding.kind}": finding for finding in checked(bench).findings}
    (hit,) = [text for text in found if text.startswith(kind)]
    assert found[hit].count == count
    assert f"{newest}" in found[hit].example


def rematched(bench, symbol, day, rank, window, expected):
    """Let one match name another window, with that window's own outcome."""
    windows = expected.windows
    truth = {"match_symbol": windows.symbols[windows.code[window]], "match_end": windows.end[window].item()}
    truth |= {f"r{h}": expected.returns[window, column] for column, h in enumerate(SMALL.horizons)}
    truth |= {"barrier": expected.barrier[window]}

    def change(frame):
        row = np.flatnonzero((frame["symbol"] == symbol) & (frame["date"] == day) & (frame["rank"] == rank))[0]
        for column, value in truth.items():
            put(column, value, row)(frame)

    rewrite(bench.home, "matches", change)


def test_the_rules_of_matching_are_held_against_every_match(bench):
    expected = Expected.of(bench.home.read("bars"), SMALL)
    windows, symbol = expected.windows, "S00001"
    bars = expected.frames[symbol]
    sampled = np.flatnonzero(np.isin(bars.dates, bench.home.read("factors", symbols=[symbol])["date"].to_numpy()))
    here = sampled[sampled <= 60][-1]
    day = bars.dates[here]
    stored = bench.home.read("matches", symbols=[symbol]).to_pandas()
    best = stored[(stored["date"] == day.item()) & (stored["rank"] == 1)].iloc[0]
    (best_window,) = windows.find(pa.chunked_array([[best["match_symbol"]]]), pa.chunked_array([[best["match_end"]]]))

    def window(wanted):
        return int(np.flatnonzero(wanted)[0])

    code = windows.symbols.index(symbol)
    other = windows.code != code
    # Windows that end before the sample: their outcomes are known up to five bars later.
    for rank, wanted, kind in (
        (5, other & (windows.known_on > day) & (windows.end < day), "rows whose outcome was not known on"),
        (4, (windows.code == code) & (windows.bar == here - 3), "rows that overlap the sample's own window"),
        (
            3,
            (windows.code == windows.code[best_window]) & (abs(windows.bar - windows.bar[best_window]) == 5),
            "rows too near to another match",
        ),
    ):
        rematched(bench, symbol, day.item(), rank, window(wanted), expected)
        (finding,) = [one for one in checked(bench).findings if one.kind.startswith(kind)]
        assert (finding.table, finding.count) == ("matches", 1)
        assert finding.example.startswith(f"{symbol} {day} with ")


def test_values_of_other_settings_are_checked_by_themselves(bench):
    three = replace(bench.settings, factor=FactorSettings(return_horizon=3, isolation_bars=5, top_k=3, min_matches=3))
    report = checked(bench, three)
    count = bench.home.read("factors").num_rows
    assert report.ok
    (note,) = report.notes
    assert note.startswith(
        f"{count} values of other settings than fingerprint {three.fingerprint(bench.key.encoder.fingerprint)}"
    )
    rewrite(bench.home, "factors", of_ok("barrier_win_rate", lambda value: 1 - value if value != 0.5 else 0.1))
    assert kinds(checked(bench, three)) == {("factors", "rows whose barrier_win_rate is not that of their matches", 1)}
    five = replace(bench.settings.factor, return_horizon=5)
    report = verify(
        bench.home, replace(bench.settings, patterns=replace(SMALL, horizons=(1, 5)), factor=five), bench.weights
    )
    assert report.notes == ["values were checked by themselves only, because the patterns have no returns over 5 bars"]


def test_values_made_from_bars_that_have_changed_are_noted_until_the_next_run(bench, in_process):
    rewrite(bench.home, "bars", put("close", lambda value: value * 1.0001, 10))
    bench.extend()
    report = checked(bench)
    assert report.ok
    (note,) = report.notes
    assert "were made from other bars than there are now" in note
    bench.run(in_process, samples=40)
    report = checked(bench)
    assert (report.ok, report.notes) == (True, [])


def test_samples_without_a_window_or_a_bar_are_sound(bench, in_process):
    days = np.array(["2019-12-31", "2020-01-07", "2020-01-11", "2031-01-06"], "datetime64[D]")
    report = bench.run(in_process, dates={"S00000": days})
    assert report.count("failed") == 4
    report = checked(bench)
    assert (report.ok, report.notes) == (True, [])


def test_a_sample_that_broke_is_sound(bench):
    def broke(frame):
        frame.loc[0, ["value", "matches", "history", "status"]] = [None, 0, 0, "failed"]
        frame["reason"] = frame["reason"].astype(object)
        frame.loc[0, "reason"] = "ValueError: something"

    first = bench.home.read("factors").sort_by([("symbol", "ascending"), ("date", "ascending")])["date"][0].as_py()
    rewrite(bench.home, "factors", broke)
    rewrite(bench.home, "matches", lambda frame: frame[(frame["symbol"] != "S00000") | (frame["date"] != first)])
    report = checked(bench)
    assert (report.findings, report.notes) == ([], [])


def test_dates_seen_by_the_encoder_are_checked_like_others(tmp_path, in_process):
    weights = write_encoder(tmp_path / "seen.safetensors", trained_through="2020-02-28")
    factor = replace(SMALL_SETTINGS.factor, allow_seen=True)
    bench = Bench.of(tmp_path / "home", market(2, 60), replace(SMALL_SETTINGS, factor=factor), weights)
    bench.run(in_process, samples=30)
    reasons = bench.home.read("factors")["reason"].to_pylist()
    assert "encoder trained through 2020-02-28" in reasons
    report = checked(bench)
    assert (report.findings, report.notes) == ([], [])
    # The default weights are others: how long a vector is then shows in most of them.
    assert verify(bench.home, bench.settings).ok


def test_weights_that_cannot_be_read_are_refused(sound):
    with pytest.raises(EncoderError, match="cannot be read"):
        verify(sound.home, sound.settings, "nowhere.safetensors")


def test_an_empty_home_is_sound(tmp_path):
    report = verify(Home(tmp_path / "home", create=True))
    assert (report.ok, report.notes, report.rows) == (True, [], {"bars": 0})


@pytest.mark.parametrize("table", ["bars", "patterns", "factors", "matches"])
@pytest.mark.parametrize("lost", ["*.parquet", "_delta_log/*.json"])
def test_a_table_that_cannot_be_read_is_found_and_the_others_are_checked(bench, table, lost):
    for file in (bench.home.folder / table).glob(lost):
        file.write_bytes(b"garbage")
    report = checked(bench)
    assert kinds(report) == {(table, "table that cannot be read", 1)}
    assert table not in report.rows
    assert len(report.rows) == 3
    assert len(report.text().splitlines()) <= 3


def cut_off(bench, run_id="20990101T000000-abcdef"):
    """Store the matches of one more sample, and not its value: a run was cut off in between, or is at work."""
    matches = bench.home.read("matches").slice(0, 1).to_pandas()
    symbol = matches["symbol"].item()
    # Rows come in no set order, and each symbol has sample dates of its own: one that this symbol has not.
    bars, values = (bench.home.read(table, ["date"], symbols=[symbol]) for table in ("bars", "factors"))
    day = min(set(bars["date"].to_pylist()) - set(values["date"].to_pylist()))
    rows = pa.Table.from_pandas(
        matches.assign(date=day, rank=1), table_schema("matches", SMALL.horizons), preserve_index=False
    )
    bench.home.upsert("matches", rows, [*KEY, "rank"], {"run_id": run_id})
    return run_id


def test_matches_of_a_run_that_was_cut_off_are_found_with_a_remedy_that_heals_them(bench, in_process):
    cut_off(bench)
    report = checked(bench)
    assert ("matches", "rows that belong to no value", 1) in kinds(report)
    (finding,) = [one for one in report.findings if "belong" in one.kind]
    assert "kline run --dates" in finding.remedy
    symbol, day = finding.example.split()[:2]
    bench.run(in_process, dates={symbol: np.array([day], "datetime64[D]")}, max_failed_share=1)
    assert checked(bench).ok


def test_a_run_between_its_two_commits_is_waited_for(bench, monkeypatch):
    run_id = cut_off(bench)
    monkeypatch.setattr(room, "_PATIENCE", 600.0)
    waited = []

    def meanwhile(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            matches = bench.home.read("matches", version=bench.home.version("matches") - 1)
            factors = bench.home.read("factors").slice(0, 1)
            assert matches.num_rows
            bench.home.upsert("factors", factors, KEY, {"run_id": run_id})

    monkeypatch.setattr(time, "sleep", meanwhile)
    checked(bench)
    assert len(waited) == 3
    # Commits of long ago are not waited for, whatever became of them.
    cut_off(bench, "another")
    monkeypatch.setattr(room, "_RECENT", -60_000)
    assert ("matches", "rows that belong to no value", 1) in kinds(checked(bench))
    assert len(waited) == 3


def test_rows_written_while_the_tables_are_read_are_left_out(bench, monkeypatch):
    read = Home.read

    def overtaken(self, table, **words):
        if table == "factors":
            late = read(self, "matches").slice(0, 1).to_pandas().assign(date=pd.Timestamp("2020-01-15").date())
            rows = pa.Table.from_pandas(late, table_schema("matches", SMALL.horizons), preserve_index=False)
            self.upsert("matches", rows, [*KEY, "rank"], {"run_id": "late"})
        return read(self, table, **words)

    monkeypatch.setattr(Home, "read", overtaken)
    assert checked(bench).ok


def test_compacted_tables_are_as_sound_as_before(bench, monkeypatch):
    monkeypatch.setattr("kline_core.maintenance.upkeep.MANY_FILES", 1)
    before = checked(bench).rows
    compact(bench.home)
    report = checked(bench)
    assert (report.ok, report.rows) == (True, before)
