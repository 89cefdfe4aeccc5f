"""Each kind of damage to bars and patterns, planted in sound tables, is found with its count and an example."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.store.home import Home
from tests.support.damage import BARS, SYMBOLS, checked, kinds, put, rewrite, twice, without_first
from tests.support.homes import SMALL, add_bars, market

DAY = "2020-01-06"
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

AGAIN = f"run `kline index {SMALL.options}`"


@pytest.mark.slow
@pytest.mark.parametrize(("change", "kind", "count", "example"), BARS_DAMAGE, ids=[case[1] for case in BARS_DAMAGE])
def test_damaged_bars_are_found_and_keep_the_rest_from_being_judged_by_them(bench, change, kind, count, example):
    rewrite(bench.home, "bars", change)
    report = checked(bench)
    assert kinds(report) == {("bars", kind, count)}
    (finding,) = report.findings
    assert finding.example == example
    assert finding.remedy == "restore the home from a copy, or ingest all files into a new one"
    assert report.notes == ["values were checked by themselves only, because the bars of S00000 are damaged"]


@pytest.mark.slow
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
    (without_first, "windows missing", 1, AGAIN),
    (twice, "rows stored more than once", 2, AGAIN),
    (
        put("content", lambda value: value + 1),
        "rows made from other bars than there are",
        1,
        AGAIN,
    ),
    (put("known_on", pd.Timestamp("2020-03-02").date()), "rows with a wrong known_on", 1, "--rebuild"),
    (put("r3", lambda value: value + 0.001), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("r1", None), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("barrier", lambda value: 1 - abs(value)), "rows with an outcome that the bars do not give", 1, "--rebuild"),
    (put("vector", other_vector(1.01)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", other_vector(0.0)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", other_vector(np.nan)), "vectors whose length is not 1", 1, "--rebuild"),
    (put("vector", lambda raw: raw[:-4]), "vectors that are not 8 numbers long", 1, "--rebuild"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "kind", "count", "remedy"), PATTERN_DAMAGE)
def test_damaged_patterns_are_found_and_values_are_still_judged_by_the_bars(bench, change, kind, count, remedy):
    rewrite(bench.home, "patterns", change)
    report = checked(bench)
    assert kinds(report) == {("patterns", kind, count)}
    (finding,) = report.findings
    assert finding.example == "S00000 2020-01-10"
    assert remedy in finding.remedy
    assert report.notes == []


@pytest.mark.slow
def test_a_pattern_of_no_window_is_found(bench):
    rewrite(bench.home, "patterns", put("end", pd.Timestamp("2020-01-11").date()))
    assert kinds(checked(bench)) == {
        ("patterns", "windows missing", 1),
        ("patterns", "rows that are of no window with a known outcome", 1),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("change", "remedy"), [e[::3] for e in PATTERN_DAMAGE], ids=[e[1] for e in PATTERN_DAMAGE])
def test_the_remedy_for_patterns_heals_them(bench, change, remedy):
    from kline_core.encoder.encoder import Encoder
    from kline_core.patterns.encode import LocalWindowEncoder
    from kline_core.patterns.update import update_patterns

    rewrite(bench.home, "patterns", change)
    encoding = LocalWindowEncoder(Encoder.load(bench.weights, "cpu"))
    update_patterns(bench.home, bench.settings.patterns, encoding, rebuild=remedy == "--rebuild")
    assert checked(bench).ok


@pytest.mark.slow
def test_bars_without_patterns_yet_are_pending_and_no_damage(bench):
    add_bars(bench.home, market(1, BARS, seed=9, prefix="T"))
    kind = "windows of newer bars that wait for their patterns"
    report = checked(bench)
    assert (report.ok, report.state) == (True, "pending")
    assert report.headline == f"tables are sound, and work is pending: patterns: {BARS - 9} {kind}"
    assert kinds(report) == {("patterns", kind, BARS - 9)}
    bench.extend()
    assert checked(bench).state == "sound"
    shutil.rmtree(bench.home.folder / "patterns")
    report = checked(bench)
    assert (report.state, kinds(report)) == ("pending", {("patterns", kind, 4 * (BARS - 9))})


@pytest.mark.slow
def test_restated_bars_are_pending_and_other_damage_is_found_beside_them(bench):
    rows = bench.home.read("bars").to_pandas().sort_values(["symbol", "date"])
    changed = rows[rows["symbol"] == "S00001"].iloc[:-3]
    changed = changed.assign(close=changed["low"])
    bench.home.replace("bars", pa.Table.from_pandas(changed, preserve_index=False), ["S00001"])
    pending = {
        "windows of newer bars that wait for their patterns",
        "rows of windows that newer bars no longer give",
        "rows with a value on a day on which the symbol has no bar",
    }
    report = checked(bench)
    assert (report.state, {finding.kind for finding in report.findings}) == ("pending", pending)
    rewrite(bench.home, "patterns", put("barrier", lambda label: -label or 1))
    report = checked(bench)
    assert report.state == "damaged"
    assert {finding.kind for finding in report.findings} == {*pending, "rows with an outcome that the bars do not give"}


@pytest.mark.slow
def test_an_update_that_was_cut_off_is_no_damage(bench, monkeypatch):
    add_bars(bench.home, market(1, BARS, seed=9, prefix="T"))
    monkeypatch.setattr("kline_core.patterns.update.COMMIT", 20)
    real, calls = Home.append, []

    def dies(self, table, *arguments, **words):
        calls.append(table)
        if calls.count("patterns") == 2:
            raise KeyboardInterrupt
        return real(self, table, *arguments, **words)

    with monkeypatch.context() as patch:
        patch.setattr(Home, "append", dies)
        with pytest.raises(KeyboardInterrupt):
            bench.extend()
    report = checked(bench)
    assert (report.ok, report.state) == (True, "cut off")
    assert kinds(report) == {("patterns", "windows missing", BARS - 9 - 20)}
    assert report.findings[0].remedy == AGAIN
    bench.extend()
    assert checked(bench).state == "sound"


@pytest.mark.slow
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
