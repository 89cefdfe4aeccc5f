"""What breaks: samples, chunks, symbols, and too many of them."""

import logging
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from kline_core.compute import tasks
from kline_core.compute.opening import open_cluster
from kline_core.compute.patience import WorkerLostError
from kline_core.compute.run import run_symbols
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.errors import DateError, RunFailedError
from kline_core.factor import scoring
from kline_core.factor.batch import Batch
from kline_core.factor.lineage import NEVER_REUSED
from tests.support.bench import break_batches, named_batch
from tests.support.runs import DAYS, SYMBOLS, counts, overheard

ASKED = {"S00000": DAYS[[30, 35, 40, 45]]}
BROKE = ValueError("it broke\non two lines")


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


def in_one_piece(bench, cluster):
    run = bench.start(cluster, dates=ASKED)
    run.score(["S00000"])
    return run.finish()


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_chunk_that_breaks_is_spoken_of_with_its_error(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS[40], BROKE)
    cluster, said = overheard(in_process)
    in_one_piece(bench, cluster)
    says = (
        f"S00000: a chunk of 4 samples from {DAYS[30]} on broke (ValueError: it broke), so it is done sample by sample"
    )
    assert said == [(logging.WARNING, says)]


@pytest.mark.slow
def test_a_chunk_of_which_all_breaks(bench, in_process, monkeypatch):
    break_batches(monkeypatch, DAYS, BROKE)
    report = in_one_piece(bench, in_process)
    assert counts(report) == (4, 0, 4, 0)
    assert [row["reason"] for row in bench.rows("factors")] == ["error: ValueError: it broke"] * 4
    assert bench.rows("matches") == []
    assert report.symbols[0].seconds == {}


@pytest.mark.slow
def test_stored_samples_of_a_chunk_that_breaks_are_still_re_used(bench, in_process, monkeypatch):
    bench.run(in_process, dates={"S00000": DAYS[[30, 40, 45]]})
    before = bench.rows("factors", without=())
    break_batches(monkeypatch, DAYS[35], BROKE)
    report = in_one_piece(bench, in_process)
    assert counts(report) == (4, 0, 1, 3)
    rows = bench.rows("factors", without=())
    assert [rows[0], *rows[2:]] == before
    assert (rows[1]["date"], rows[1]["run_id"]) == (DAYS[35].item(), report.run_id)


@pytest.mark.slow
def test_samples_of_earlier_runs_that_break_are_failed_ones(bench, in_process, monkeypatch):
    before = bench.run(in_process, samples=20)
    with monkeypatch.context() as patch:
        break_batches(patch, np.array([row["date"] for row in bench.rows("factors")], "M8[D]"), BROKE)
        report = bench.run(in_process, samples=1)
    assert report.count("samples") == report.count("failed") == before.count("samples") == 80
    assert report.reasons == {"error: ValueError: it broke": 80}
    counts(report)
    with pytest.raises(RunFailedError, match="80 of 80 samples failed"):
        report.check(0.5)
    again = bench.run(in_process, samples=20)
    assert again.count("done") == before.count("done")


@pytest.mark.slow
def test_a_refusal_is_not_tried_sample_by_sample(bench, in_process, monkeypatch):
    sizes = break_batches(monkeypatch, DAYS, DateError("not that day"))
    cluster, said = overheard(in_process)
    report = in_one_piece(bench, cluster)
    assert [(result.problem, result.broke) for result in report.broken] == [("not that day", True)]
    assert (sizes, said) == ([4], [])


@pytest.mark.slow
def test_a_sample_that_breaks_after_it_was_right_loses_its_matches(bench, in_process, monkeypatch, forgetful):
    dates = {"S00001": DAYS[[60, 70]]}
    bench.run(in_process, dates=dates)
    assert len(bench.rows("matches")) == 10
    forgetful()
    break_batches(monkeypatch, DAYS[60], BROKE)
    report = bench.run(in_process, dates=dates)
    assert counts(report) == (2, 1, 1, 0)
    assert [row["date"] for row in bench.rows("matches")] == [DAYS[70].item()] * 5


def killing(monkeypatch, days, times=1_000):
    """Have the first so many batches with one of the days kill their workers; symbols and sizes of all batches."""
    real, asked, killed = scoring.score_batch, [], []

    def score_batch(state, batch):
        named = named_batch(state, batch)
        asked.append((batch.symbols, len(named)))
        if len(killed) < times and any(np.isin(part.dates, days).any() for part in named.parts):
            killed.append(batch)
            raise WorkerLostError("the work killed worker after worker")
        return real(state, batch)

    monkeypatch.setattr(scoring, "score_batch", score_batch)
    return asked


@pytest.mark.slow
def test_a_sample_that_kills_workers_is_found_at_the_end_and_alone(bench, made, in_process, monkeypatch, tmp_path):
    whole = made.copy(tmp_path / "whole")
    dates = {symbol: DAYS[[40, 50 + at]] for at, symbol in enumerate(SYMBOLS)}
    whole.run(in_process, dates=dates)
    asked = killing(monkeypatch, DAYS[[51]])
    cluster, said = overheard(in_process)
    run = bench.start(cluster, dates=dates)
    assert run.score(SYMBOLS[:2]) == ([], {})
    assert [result.symbol for result in run.score(SYMBOLS[2:])[0]] == SYMBOLS[2:]
    assert run.unreported() == SYMBOLS[:2]
    assert all(map(run.has, SYMBOLS)), "what waits for the end is not to be tried before"
    assert [result.symbol for result in run.score_suspects()] == SYMBOLS[:2]
    assert run.score_suspects() == []
    report = run.finish()
    assert (counts(report), report.reasons) == ((8, 7, 1, 0), {"error: killed its worker": 1})
    assert asked == [
        *((SYMBOLS[:2], 4), (SYMBOLS[2:], 4)),
        *(([SYMBOLS[0]], 2), ([SYMBOLS[1]], 2)),
        *(([SYMBOLS[1]], 1), ([SYMBOLS[1]], 1), ([SYMBOLS[1]], 1)),
    ]
    right, rows = whole.rows("factors"), bench.rows("factors")
    bad = rows.pop(3)
    assert (bad["symbol"], bad["date"], bad["status"]) == ("S00001", DAYS[51].item(), "failed")
    assert (bad["value"], bad["history"]) == (None, NEVER_REUSED)
    assert rows == right[:3] + right[4:]
    assert [level for level, _ in said] == [logging.WARNING] * 2
    assert said[0][1].startswith("2 symbols from S00000 on: they are done one by one at the end (the work killed")


@pytest.mark.slow
def test_a_worker_that_died_of_something_else_costs_no_sample(bench, in_process, monkeypatch):
    killing(monkeypatch, DAYS[[40]], times=3)
    report = run_symbols(bench.start(in_process, dates=ASKED))
    assert counts(report) == (4, 4, 0, 0)


@pytest.mark.slow
def test_a_sample_that_kills_workers_is_found_among_chosen_dates(bench, made, in_process, monkeypatch, tmp_path):
    whole = made.copy(tmp_path / "whole")
    samples, done, failed, _ = counts(whole.run(in_process, samples=10))
    killing(monkeypatch, DAYS[[-1]])
    report = run_symbols(bench.start(in_process, samples=10))
    assert counts(report) == (samples, done - 4, failed + 4, 0)
    assert report.reasons["error: killed its worker"] == 4
    right = [row for row in whole.rows("factors") if np.datetime64(row["date"]) < DAYS[-1]]
    assert [row for row in bench.rows("factors") if row["value"] is not None] == [
        row for row in right if row["value"] is not None
    ]


@pytest.mark.slow
def test_a_run_ends_if_many_samples_kill_their_workers(bench, in_process, monkeypatch):
    monkeypatch.setattr("kline_core.compute.batches.MAX_KILLERS", 2)
    killing(monkeypatch, DAYS)
    run = bench.start(in_process, dates={**ASKED, "S00001": DAYS[:0]})
    with pytest.raises(WorkerLostError, match=r"^3 samples each killed the workers .* memory enough$"):
        run_symbols(run)
    assert bench.rows("factors") == []


@pytest.mark.slow
@pytest.mark.parametrize(("where", "what"), [(scoring, "plan_dates"), (tasks, "score")])
def test_a_symbol_that_breaks_does_not_stop_the_others(bench, in_process, monkeypatch, where, what):
    real = getattr(where, what)

    def broken(given, asked, *arguments):
        if "S00001" in (asked.symbols if isinstance(asked, Batch) else [asked]):
            raise OSError("no more memory\nand so on")
        return real(given, asked, *arguments)

    monkeypatch.setattr(where, what, broken)
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


@pytest.mark.slow
def test_samples_that_do_not_come_back_break_their_symbol(bench, in_process, monkeypatch):
    real = tasks.score

    def lossy(key, batch):
        scored = real(key, batch)
        return replace(scored, factors=scored.factors.slice(1)) if batch.symbols == ["S00001"] else scored

    monkeypatch.setattr(tasks, "score", lossy)
    report = bench.run(in_process, samples=10)
    assert [(result.symbol, result.problem) for result in report.broken] == [
        ("S00001", "of 10 samples of S00001 9 came back")
    ]
    assert {row["symbol"] for row in bench.rows("factors")} == {"S00000", "S00002", "S00003"}


@pytest.mark.slow
def test_a_moment_without_workers_costs_no_sample(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    with monkeypatch.context() as patch:
        patch.setattr(type(in_process), "workers", property(lambda _: {}))
        chunks = run.chunks(1)
    run.score(["S00001"], chunks)
    assert counts(run.finish())[0] == 10


@pytest.mark.slow
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


@pytest.mark.slow
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
