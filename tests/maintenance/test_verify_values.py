"""Each kind of damage to values and matches, planted in sound tables, is found with its count and an example."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kline_core.maintenance.verify_inputs import Expected
from tests.support.damage import SYMBOLS, checked, kinds, of_ok, put, rewrite, twice, without_first
from tests.support.homes import SMALL


def failing(column, value):
    return lambda frame: put(column, value, int(np.flatnonzero(frame["status"] == "failed")[0]))(frame)


TIE = "rows whose value or matches are not those that were stored"
FACTOR_DAMAGE = [
    (twice, {"rows that share symbol, date and fingerprint": 2}),
    (of_ok("status", "perhaps"), {"rows whose status is neither ok nor failed": 1, "rows whose status": 1}),
    (of_ok("value", None), {"rows that are ok without a value between 0 and 1": 1, "rows whose value": 1, TIE: 1}),
    (of_ok("value", 1.5), {"rows that are ok without a value between 0 and 1": 1, "rows whose value": 1, TIE: 1}),
    (of_ok("value", lambda value: value / 2 + 0.1), {"rows whose value": 1, TIE: 1}),
    (of_ok("return_cvar", 0.5), {"rows whose return_cvar": 1}),
    (of_ok("matches", 4), {"rows with another number of matches than is stored": 1}),
    (failing("value", 0.5), {"rows that failed and have a value": 1, "rows whose value": 1, TIE: 1}),
    (failing("reason", None), {"rows that failed without a reason": 1, "rows whose reason": 1}),
    (failing("reason", "bad luck"), {"rows whose reason": 1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "expected"), FACTOR_DAMAGE)
def test_damaged_values_are_found(bench, change, expected):
    rewrite(bench.home, "factors", change)
    report = checked(bench)
    assert {finding.table for finding in report.findings} == {"factors"}
    found = {finding.kind.split(" is not that of")[0]: finding.count for finding in report.findings}
    assert found == expected
    assert report.notes == []


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_rules_of_matching_are_held_against_every_match(bench):
    expected = Expected.of(bench.home.read("bars"), SMALL, {})
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
