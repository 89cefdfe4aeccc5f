import dataclasses

import numpy as np
import pytest

from kline_core.errors import DateError, UnknownSymbolError
from kline_core.factor.checked_samples import no_bar_reason
from kline_core.factor.scoring import check_as_of, plan_dates, score_batch
from kline_core.factor.state import load_state
from kline_core.settings import FactorSettings
from tests import naive
from tests.support.bench import SMALL_SETTINGS, Bench, batch_of
from tests.support.candles import charts_of_windows
from tests.support.homes import market, write_encoder
from tests.support.spare_cores import spare_cores

BARS = 70


def holed_market():
    """Four symbols; S00001 has a hole of 25 bars from its bar 30 on, S00002 eight bars, S00003 never trades."""
    frame = market(4, BARS)
    number = frame.groupby("symbol").cumcount()
    symbol = frame["symbol"]
    frame.loc[symbol == "S00003", "suspended"] = True
    gone = (symbol == "S00001") & number.between(30, 54) | (symbol == "S00002") & (number < BARS - 8)
    return frame[~gone].reset_index(drop=True)


FRAME = holed_market()


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("pipeline") / "home", FRAME, weights=small_weights)


@pytest.fixture(scope="module")
def loaded(bench):
    return load_state(bench.key)


def dates_of(loaded, symbol):
    return loaded.frames[symbol].dates


def scored(loaded, symbol, dates, stored=None):
    return score_batch(loaded, batch_of(symbol, dates, stored))


def by_date(result):
    return {row["date"]: row for row in result.factors.to_pylist()}


# --- which dates ---


@pytest.mark.slow
def test_the_plan_is_of_usable_dates_only(loaded):
    dates = dates_of(loaded, "S00001")
    planned = plan_dates(loaded, "S00001", 1000, None)
    assert planned.tolist() == [*dates[4:30].tolist(), *dates[34:].tolist()]
    assert plan_dates(loaded, "S00001", 5, None)[-1] == dates[-1]


def test_the_plan_up_to_a_day(loaded):
    dates = dates_of(loaded, "S00000")
    # A Saturday: the Friday before it is the newest.
    friday = dates[dates.astype(int) % 7 == 1][4]
    planned = plan_dates(loaded, "S00000", 6, friday + 1)
    assert len(planned) == 6
    assert planned[-1] == friday


def test_a_plan_of_nothing(loaded):
    assert len(plan_dates(loaded, "S00003", 10, None)) == 0
    assert len(plan_dates(loaded, "S00000", 10, dates_of(loaded, "S00000")[3])) == 0


def test_unknown_symbol(loaded):
    for ask in (lambda: plan_dates(loaded, "NONE", 1, None), lambda: scored(loaded, "NONE", np.zeros(0, "M8[D]"))):
        with pytest.raises(UnknownSymbolError, match=r"symbol 'NONE' has no bars in .*; it holds 4 symbols"):
            ask()


def test_as_of(loaded):
    dates = dates_of(loaded, "S00000")
    check_as_of(loaded, dates[0])
    check_as_of(loaded, dates[-1])
    for day, says in (
        (dates[0] - 1, f"lies outside the bars, which run from {dates[0]} to {dates[-1]}"),
        (dates[-1] + 1, "lies outside the bars"),
        (dates[4] + 1, f"is no trading day of any symbol; the nearest are {dates[4]} and {dates[5]}"),
        (np.datetime64("NaT", "D"), "as-of NaT lies outside the bars"),
    ):
        with pytest.raises(DateError, match=says):
            check_as_of(loaded, day)


# --- values ---


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["S00000", "S00001", "S00002"])
def test_values_equal_a_plain_loop(loaded, symbol):
    bars, patterns, settings = loaded.frames[symbol], loaded.patterns, SMALL_SETTINGS
    dates = plan_dates(loaded, symbol, 12, None)
    result = scored(loaded, symbol, dates)
    rows = by_date(result)
    matches = result.matches.to_pylist()
    for date in dates:
        end = int(np.flatnonzero(bars.dates == date)[0])
        (vector,) = loaded.encoder.encode(charts_of_windows(bars, np.array([end]), 5))
        code = patterns.symbols.index(symbol) if symbol in patterns.symbols else -1
        kept, _ = naive.search_one(patterns, vector, date, code, end, settings.factor, 5)
        expected = naive.factor_one(patterns, kept, date, settings)
        row = rows[date.item()]
        if isinstance(expected, str):
            assert (row["status"], row["reason"], row["value"]) == ("failed", expected, None)
        else:
            assert row["status"] == "ok"
            np.testing.assert_allclose([row[name] for name in expected], list(expected.values()), rtol=1e-12)
        found = [(m["match_symbol"], m["match_end"], m["similarity"]) for m in matches if m["date"] == date.item()]
        assert found == [
            (patterns.symbols[patterns.code[at]], patterns.end[at].item(), similarity) for at, similarity in kept
        ]
        assert row["matches"] == len(kept)


def test_a_sample_does_not_depend_on_those_it_is_computed_with(loaded):
    dates = plan_dates(loaded, "S00000", 30, None)
    whole = scored(loaded, "S00000", dates)
    for at in (0, 7, 29):
        one = scored(loaded, "S00000", dates[at : at + 1])
        assert by_date(one) == {dates[at].item(): by_date(whole)[dates[at].item()]}
        assert one.matches.to_pylist() == [row for row in whole.matches.to_pylist() if row["date"] == dates[at].item()]


def test_only_windows_that_are_no_patterns_are_encoded(loaded, monkeypatch):
    dates = plan_dates(loaded, "S00000", 1000, None)
    encoded = []
    encode = loaded.encoder.encode
    monkeypatch.setattr(loaded.encoder, "encode", lambda charts: encoded.append(len(charts)) or encode(charts))
    rows = scored(loaded, "S00000", dates)
    code = loaded.patterns.symbols.index("S00000")
    new = np.setdiff1d(dates, loaded.patterns.end[loaded.patterns.code == code])
    assert 0 < len(new) < len(dates)
    assert encoded == [len(new)]
    assert len(by_date(rows)) == len(dates)


@pytest.mark.parametrize("cores", [2, 3])
def test_no_number_of_cores_changes_a_bit(loaded, cores):
    dates = plan_dates(loaded, "S00000", 1000, None)
    alone = scored(loaded, "S00000", dates)
    with spare_cores(cores) as parts:
        shared = scored(loaded, "S00000", dates)
    # New windows are encoded, and patterns searched, for some queries twice.
    assert len(parts) >= 2
    assert set(parts) == {cores}
    for table in ("factors", "matches"):
        assert getattr(shared, table).equals(getattr(alone, table))


def test_a_symbol_without_patterns_is_matched_with_the_others(loaded):
    assert "S00002" not in loaded.patterns.symbols
    rows = scored(loaded, "S00002", dates_of(loaded, "S00002")[4:])
    assert rows.factors["status"].to_pylist() == ["ok"] * 4
    assert set(rows.matches["match_symbol"].to_pylist()) <= {"S00000", "S00001"}


@pytest.mark.slow
def test_without_any_patterns(tmp_path, small_weights):
    bench = Bench.of(tmp_path / "home", market(1, 8), weights=small_weights)
    loaded = load_state(bench.key)
    result = scored(loaded, "S00000", dates_of(loaded, "S00000"))
    assert result.factors.sort_by("date")["reason"].to_pylist()[4:] == ["too few matches: 0 of 5"] * 4
    assert result.matches.num_rows == 0


def test_no_dates(loaded):
    result = scored(loaded, "S00000", np.zeros(0, "datetime64[D]"))
    assert (result.factors.num_rows, result.matches.num_rows, [len(dates) for dates in result.reused]) == (0, 0, [0])


# --- reasons ---


def test_every_sample_without_a_window_has_its_reason(loaded):
    dates = dates_of(loaded, "S00001")
    saturday = dates[dates.astype(int) % 7 == 1][1] + 1
    asked = np.array([dates[0] - 3, dates[0], dates[3], saturday, dates[10], dates[31], dates[-1] + 1])
    assert (np.diff(asked) > np.timedelta64(0)).all()
    rows = by_date(scored(loaded, "S00001", asked))
    assert [rows[date.item()]["reason"] for date in asked if date != dates[10]] == [
        f"before the first bar ({dates[0]})",
        "too few bars: 1 of 5",
        "too few bars: 4 of 5",
        f"no trading day of S00001 (the one before is {saturday - 1})",
        "a hole of more than 20 days inside the window",
        f"after the last bar ({dates[-1]})",
    ]
    assert all(rows[date.item()]["status"] == "failed" for date in asked if date != dates[10])


def test_a_symbol_that_never_traded(loaded):
    assert len(loaded.frames["S00003"]) == 0
    rows = scored(loaded, "S00003", dates_of(loaded, "S00000")[:2])
    assert rows.factors["reason"].to_pylist() == ["S00003 never traded"] * 2
    assert no_bar_reason(loaded.frames["S00003"], np.datetime64("2020-01-06")) == "S00003 never traded"


# --- what is re-used ---


def test_what_is_stored_is_left_as_it_is(loaded):
    dates = np.append(dates_of(loaded, "S00000")[[2, 40, 50]], np.datetime64("2040-01-01"))
    first = scored(loaded, "S00000", dates)
    history = np.array([by_date(first)[date]["history"] for date in dates.tolist()])
    assert len(set(history.tolist())) == 4
    again = scored(loaded, "S00000", dates, history)
    assert again.factors.num_rows == 0
    assert again.matches.num_rows == 0
    assert np.array_equal(again.reused, [dates])
    other = history.copy()
    other[1] += 1
    partly = scored(loaded, "S00000", dates, other)
    assert list(by_date(partly)) == [dates[1].item()]
    assert by_date(partly) == {dates[1].item(): by_date(first)[dates[1].item()]}
    assert np.array_equal(partly.reused, [dates[[0, 2, 3]]])


def histories(tmp_path, frame, weights, settings=SMALL_SETTINGS):
    loaded = load_state(Bench.of(tmp_path, frame, settings, weights).key)
    dates = loaded.frames["S00000"].dates
    rows = scored(loaded, "S00000", dates).factors.to_pylist()
    return {row["date"]: row["history"] for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "bar"), [("S00000", 40), ("S00001", 20)])
def test_a_value_is_out_of_date_from_the_first_bar_that_was_changed(tmp_path, small_weights, symbol, bar):
    """Of its own symbol by its window, of another symbol by the pattern that became known on that bar's day."""
    frame = market(2, 60)
    changed = frame.copy()
    changed.loc[(frame["symbol"] == symbol) & (frame.groupby("symbol").cumcount() == bar), "high"] += 0.01
    before, after = (
        histories(tmp_path / name, each, small_weights) for name, each in (("before", frame), ("after", changed))
    )
    days = sorted(before)
    assert [day for day in days if before[day] != after[day]] == days[bar:]


# --- an encoder that has seen a market ---


@pytest.mark.slow
@pytest.mark.parametrize("allow", [False, True])
def test_dates_that_the_encoder_has_seen(tmp_path, allow):
    frame = market(2, 60)
    days = np.unique(frame["date"].to_numpy()).astype("datetime64[D]")
    weights = write_encoder(tmp_path / "seen.safetensors", trained_through=str(days[40]))
    settings = dataclasses.replace(SMALL_SETTINGS, factor=dataclasses.replace(SMALL_SETTINGS.factor, allow_seen=allow))
    loaded = load_state(Bench.of(tmp_path / "home", frame, settings, weights).key)
    rows = by_date(scored(loaded, "S00000", days[[2, 39, 40, 41, 42]]))
    reasons = [rows[day]["reason"] for day in days[[39, 40, 41, 42]].tolist()]
    statuses = [rows[day]["status"] for day in days[[39, 40, 41, 42]].tolist()]
    assert rows[days[2].item()]["reason"] == "too few bars: 3 of 5"
    if allow:
        assert statuses == ["ok"] * 4
        assert reasons == [f"encoder trained through {days[40]}"] * 2 + [None] * 2
    else:
        assert statuses == ["failed"] * 2 + ["ok"] * 2
        assert reasons == [f"the encoder was trained through {days[40]}"] * 2 + [None] * 2


@pytest.mark.slow
def test_a_failure_keeps_its_own_reason_where_seen_dates_are_allowed(tmp_path):
    weights = write_encoder(tmp_path / "seen.safetensors", trained_through="2030-01-01")
    settings = dataclasses.replace(SMALL_SETTINGS, factor=FactorSettings(return_horizon=3, allow_seen=True))
    loaded = load_state(Bench.of(tmp_path / "home", market(1, 12), settings, weights).key)
    assert scored(loaded, "S00000", dates_of(loaded, "S00000")[6:7]).factors["reason"].to_pylist() == [
        "too few matches: 0 of 5"
    ]
