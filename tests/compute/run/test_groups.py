"""Several symbols as one piece of work."""

import logging

import pytest

from kline_core.compute import batches, tasks, workload
from kline_core.compute.run import run_symbols
from kline_core.errors import HomeError
from kline_core.factor import scoring
from kline_core.factor import stored_values as module
from kline_core.store.home import Home
from tests.support.runs import DAYS, SYMBOLS, counts, overheard


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


@pytest.mark.slow
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
def test_what_breaks_together_is_done_one_by_one(bench, made, in_process, monkeypatch, tmp_path):
    alone = made.copy(tmp_path / "alone")
    alone.run(in_process, samples=10)

    real = tasks.score

    def broken(key, batch):
        if len(batch.parts) > 1:
            raise OSError("no more memory")
        return real(key, batch)

    monkeypatch.setattr(tasks, "score", broken)
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_symbol_scored_alone_after_its_group_is_stored_once(bench, in_process):
    run = bench.start(in_process, samples=10)
    run.score(run.symbols)
    run.score(["S00001"])
    assert counts(run.finish())[0] == 40
    assert len(bench.rows("factors")) == 40


@pytest.mark.slow
def test_groups_hold_what_is_worth_a_piece_of_work(bench, in_process, monkeypatch):
    run = bench.start(in_process, samples=10)
    assert run.workload.new_samples == 40
    assert run.workload.groups(SYMBOLS, 10) == [SYMBOLS]
    assert run.workload.groups(SYMBOLS, 3) == [SYMBOLS[:3], SYMBOLS[3:]]
    assert run.workload.groups([], 3) == []
    with monkeypatch.context() as patch:
        patch.setattr(workload, "GROUP_CANDIDATES", 30 * run.key.settings.factor.candidates)
        assert run.workload.groups(SYMBOLS, 10) == [SYMBOLS[:3], SYMBOLS[3:]], "candidates take memory"
    monkeypatch.setattr(workload, "GROUP_SAMPLES", 20)
    assert run.workload.groups(SYMBOLS, 10) == [SYMBOLS[:2], SYMBOLS[2:]]
    run.score(SYMBOLS[:2])
    run.finish()
    again = bench.start(in_process, samples=10)
    assert again.workload.new_samples == 22, "one where all are stored, which may be a new day's"
    assert again.workload.groups(SYMBOLS, 10) == [SYMBOLS[:3], SYMBOLS[3:]], "what is stored is little work"
    monkeypatch.setattr(workload, "GROUP_DATES", 15)
    assert again.workload.groups(SYMBOLS, 10) == [[symbol] for symbol in SYMBOLS]


@pytest.mark.slow
def test_a_group_that_is_more_work_than_it_was_taken_for_is_cut(bench, made, in_process, monkeypatch, tmp_path):
    alone = made.copy(tmp_path / "alone")
    alone.run(in_process, samples=10)
    real, computed = scoring.score_batch, []

    def seen(state, batch):
        scored = real(state, batch)
        computed.append(len(batch))
        return scored

    monkeypatch.setattr(scoring, "score_batch", seen)
    for where in (scoring, batches):
        monkeypatch.setattr(where, "MOST_COMPUTED", 25)
    cluster, said = overheard(in_process)
    run = bench.start(cluster, samples=10)
    run.score(run.symbols)
    assert counts(run.finish())[0] == 40
    assert (computed, said) == ([20, 20], []), "nothing broke"
    same_rows(bench, alone)
    run = bench.start(cluster, samples=10)
    run.score(run.symbols)
    run.finish()
    assert computed[2:] == [40], "what is stored and holds is no work"


@pytest.mark.slow
def test_rows_that_cannot_be_stored_are_the_failure_of_the_run_and_of_no_symbol(bench, in_process, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_ROWS", 1)

    def full(*_):
        raise HomeError("the disk is full")

    with monkeypatch.context() as patch:
        run = bench.start(in_process, samples=10)
        patch.setattr(Home, "upsert", full)
        # The next commit is to hold what this one could not.
        run.score(run.symbols[:1])
        for symbol in run.symbols[1:]:
            with pytest.raises(HomeError, match=r"^the disk is full$"):
                run.score([symbol])
    assert run.unreported() == SYMBOLS[2:], "nothing more is computed"
    report = run.finish()
    assert (counts(report)[0], report.broken) == (20, [])
    assert {row["symbol"] for row in bench.rows("factors")} == set(SYMBOLS[:2]), "kept, and tried once more"


@pytest.mark.slow
def test_a_run_that_cannot_store_ends_with_that(bench, in_process, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_ROWS", 1)

    def full(*_):
        raise HomeError("the disk is full")

    cluster, said = overheard(in_process)
    with monkeypatch.context() as patch:
        patch.setattr(Home, "upsert", full)
        with pytest.raises(HomeError, match=r"^the disk is full$"):
            run_symbols(bench.start(cluster, samples=10))
    assert [message for _, message in said if "could not be stored" in message]
    assert not [message for _, message in said if "broke" in message]
    assert bench.run(in_process, samples=10).count("samples") == 40


@pytest.mark.slow
def test_symbols_of_which_nothing_was_heard_are_known(bench, in_process):
    run = bench.start(in_process, samples=10)
    assert run.unreported() == SYMBOLS
    run.score(["S00001"])
    run.mark_broken("S00002", ValueError("it broke"))
    assert run.unreported() == ["S00000", "S00003"]
    assert 1 <= run.parallel <= in_process.threads
