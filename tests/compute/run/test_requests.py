"""What may be asked of a run: dates, symbols, a day."""

import numpy as np
import pytest

from kline_core.compute.request import Request
from kline_core.compute.run import run_symbols
from kline_core.errors import DateError, RunFailedError, SettingError, UnknownSymbolError
from kline_core.store.run_records import read_record
from kline_core.symbol_lookup import AmbiguousSymbolError
from tests.support.bench import Bench
from tests.support.homes import make_home
from tests.support.runs import BARS, DAYS, FRAME, counts, first


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_dates_may_be_unordered_and_repeated(bench, in_process):
    report = bench.run(in_process, dates={"S00001": DAYS[[60, 50, 60, 40]]})
    assert counts(report) == (3, 3, 0, 0)
    assert [row["date"] for row in bench.rows("factors")] == DAYS[[40, 50, 60]].tolist()


@pytest.mark.slow
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


@pytest.mark.slow
def test_as_of_is_the_newest_sample(bench, in_process):
    bench.run(in_process, samples=10, as_of=DAYS[50])
    rows = bench.rows("factors")
    assert len(rows) == 40
    assert max(row["date"] for row in rows) == DAYS[50].item()


@pytest.mark.slow
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


@pytest.mark.slow
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


def named(frame, names):
    return frame[frame["symbol"].isin(names)].assign(symbol=lambda bars: bars["symbol"].map(names))


@pytest.mark.slow
def test_symbols_go_by_the_names_that_the_home_knows(tmp_path, in_process, small_weights):
    names = {"S00000": "600519.SH", "S00001": "000001.SZ", "S00002": "000001.SH", "S00003": "sz300750"}
    bench = Bench.of(tmp_path / "home", named(FRAME, names), weights=small_weights)
    report = bench.run(in_process, symbols=["sh600519", "600519", "300750.SZ"], samples=5)
    assert [result.symbol for result in report.symbols] == ["600519.SH", "sz300750"]
    assert {row["symbol"] for row in bench.rows("factors")} == {"600519.SH", "sz300750"}
    assert read_record(bench.home, report.run_id).request.symbols == ["600519.SH", "sz300750"]

    dates = {"600519": DAYS[[20, 21]], "SH#600519": DAYS[[21, 22]], "000001.SS": DAYS[20:21]}
    run = bench.start(in_process, dates=dates)
    assert run.symbols == ["000001.SH", "600519.SH"]
    run_symbols(run)
    assert run.asked["600519.SH"].tolist() == DAYS[20:23].tolist()

    for request in ({"symbols": ["600519", "1"]}, {"dates": {"000001": DAYS[:1]}}):
        with pytest.raises(AmbiguousSymbolError, match=r"is ambiguous: 000001.SH, 000001.SZ; name one of them"):
            bench.start(in_process, **request)
    with pytest.raises(
        UnknownSymbolError, match=r"^symbol '600518.SH' has no bars in .*check the name \(did you mean 600519.SH\?\)$"
    ):
        bench.start(in_process, symbols=["sh600518"])


@pytest.mark.slow
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
        assert run.workload.expected == {result.symbol: result.samples for result in run_symbols(run).symbols}


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("share", [None, "0.2", True, float("nan"), [0.2]])
def test_a_share_that_is_no_number_is_refused_by_name(share):
    with pytest.raises(SettingError, match=r"max_failed_share is .*; it must be between 0 and 1"):
        Request(max_failed_share=share)
