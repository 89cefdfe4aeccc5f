"""How far two kinds of values agree, on values and matches that were made up."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from kline_core.evaluation.agreement import agreement
from kline_core.store.schemas import table_schema
from tests import naive
from tests.support.homes import make_home, market
from tests.support.values import store, value_rows

ONE, OTHER = "1" * 16, "2" * 16
SYMBOLS, DAYS = ("A", "B", "C"), np.datetime64("2024-01-01") + np.arange(12)


def store_matches(home, fingerprint, matches):
    """Matches by (symbol, day): (symbol, end) each, best first."""
    rows = [
        {"symbol": symbol, "date": day.item(), "rank": rank, "match_symbol": name, "match_end": end}
        for (symbol, day), found in matches.items()
        for rank, (name, end) in enumerate(found, 1)
    ]
    schema = table_schema("matches")
    filled = {name: [row[name] for row in rows] for name in rows[0]} | {"fingerprint": [fingerprint] * len(rows)}
    columns = [
        pa.array(filled.get(field.name, [0] * len(rows)), field.type) for field in schema if field.name != "run_id"
    ]
    names = [field.name for field in schema if field.name != "run_id"]
    table = pa.table(columns, names).append_column("run_id", pa.array(["test"] * len(rows)))
    home.append("matches", table.select(schema.names).cast(schema))


def drawn(rng, count):
    ends = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(day)) for day in rng.permutation(14)[:count]]
    return [("XY"[int(which)], end) for which, end in zip(rng.integers(0, 2, count), ends, strict=True)]


@pytest.fixture
def made(tmp_path):
    rng = np.random.default_rng(0)
    home = make_home(tmp_path / "home", market(1, 30))
    values, matches = {}, {}
    for fingerprint, most, days in ((ONE, 5, DAYS), (OTHER, 10, DAYS[3:])):
        for symbol in SYMBOLS:
            # Of few values, so that there are ties; some have none.
            number = rng.integers(0, 5, len(days)) / 4
            number[rng.random(len(days)) < 0.2] = np.nan
            store(home, value_rows(symbol, days, number), fingerprint)
            values |= {(fingerprint, symbol, day): value for day, value in zip(days, number, strict=True)}
            for day in days:
                matches[fingerprint, symbol, day] = drawn(rng, rng.integers(0, most + 1))
        some = {key[1:]: found for key, found in matches.items() if key[0] == fingerprint and found}
        store_matches(home, fingerprint, some)
    return home, values, matches


def found_by_loop(matches, of, among, samples, k):
    shares = []
    for symbol, day in samples:
        first, others = matches[of, symbol, day][:k], matches[among, symbol, day]
        if matches[of, symbol, day] and others:
            shares.append(sum(each in others for each in first) / len(first))
    return sum(shares) / len(shares)


@pytest.mark.slow
def test_equal_to_the_plain_loop(made):
    home, values, matches = made
    found = agreement(home, ONE, OTHER)
    samples = [(symbol, day) for symbol in SYMBOLS for day in DAYS[3:]]
    pairs = [(symbol, values[ONE, symbol, day], values[OTHER, symbol, day]) for symbol, day in samples]
    both = [pair for pair in pairs if not np.isnan(pair[1:]).any()]
    assert (found.samples, found.values) == (len(samples), len(both))
    assert found.only_one == sum(np.isnan(a) != np.isnan(b) for _, a, b in pairs) > 0
    assert found.rank_correlation == pytest.approx(naive.spearman(*list(zip(*both, strict=True))[1:]))
    within = [
        naive.spearman([a for name, a, _ in both if name == symbol], [b for name, _, b in both if name == symbol])
        for symbol in SYMBOLS
    ]
    assert found.within_symbols == pytest.approx(np.mean(within))
    assert found.symbols == 3
    assert found.mean_difference == pytest.approx(np.mean([abs(a - b) for _, a, b in both]))
    matched = [key for key in samples if matches[ONE, *key] and matches[OTHER, *key]]
    assert found.matched == len(matched) < len(samples)
    assert found.matches == pytest.approx(np.mean([len(matches[ONE, *key]) for key in matched]))
    for k in (1, 5, 10):
        assert found.found[k] == pytest.approx(found_by_loop(matches, OTHER, ONE, samples, k))
        assert found.other_found[k] == pytest.approx(found_by_loop(matches, ONE, OTHER, samples, k))


def test_the_same_values_agree_wholly_and_opposite_ones_not_at_all(tmp_path):
    home = make_home(tmp_path / "home", market(1, 30))
    number = np.arange(12) / 11
    some = {("A", day): [("X", datetime.date(2020, 1, 1))] for day in DAYS}
    for fingerprint, values in ((ONE, number), (OTHER, number), ("3" * 16, number[::-1])):
        store(home, value_rows("A", DAYS, values), fingerprint)
        store_matches(home, fingerprint, some)
    same, opposite = agreement(home, ONE, OTHER), agreement(home, ONE, "3" * 16)
    assert (same.rank_correlation, same.mean_difference, same.found[1]) == (pytest.approx(1), 0, 1)
    assert opposite.rank_correlation == opposite.within_symbols == pytest.approx(-1)


def test_figures_that_are_not_defined_are_null(tmp_path):
    home = make_home(tmp_path / "home", market(1, 30))
    for fingerprint in (ONE, OTHER):
        store(home, value_rows("A", DAYS, np.full(12, np.nan)), fingerprint)
    found = agreement(home, ONE, OTHER)
    assert (found.values, found.matched, found.symbols) == (0, 0, 0)
    plain = found.to_dict()
    assert (
        plain["rank_correlation"] is plain["within_symbols"] is plain["mean_difference"] is plain["found"]["5"] is None
    )
    assert "rank correlation of the values -" in found.text()
