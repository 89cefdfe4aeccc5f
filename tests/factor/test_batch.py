"""Batches and what comes of them, as they are cut and as they travel."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.factor.batch import Batch, Choice, Scored, SymbolSamples, chunks_of_each
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.scoring import plan_dates, score_batch
from kline_core.factor.state import load_state
from tests.support.bench import Bench, batch_of, chosen_batch
from tests.support.examples import examples
from tests.support.homes import market

days = st.sets(st.integers(0, 30)).map(lambda found: np.array(sorted(found), dtype="datetime64[D]"))
parts = st.lists(
    st.builds(lambda dates: SymbolSamples("S", dates, 100 + dates.astype(np.int64)), days), min_size=1, max_size=4
)
choices = st.none() | st.builds(
    Choice, st.integers(1, 9), st.none() | st.just(np.datetime64("1970-01-20")), st.just(1), st.just(3)
)


def same(one, other):
    return [(part.symbol, part.dates.tolist(), part.stored.tolist()) for part in one.parts] == [
        (part.symbol, part.dates.tolist(), part.stored.tolist()) for part in other.parts
    ] and one.choice == other.choice


@settings(max_examples=examples(100))
@given(parts, choices)
def test_a_batch_travels(samples, choice):
    batch = Batch(tuple(samples), choice)
    assert same(pickle.loads(pickle.dumps(batch)), batch)


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(days, days), max_size=4), st.booleans())
def test_a_result_travels(dates, chosen):
    table = pa.table({"a": [1]})
    scored = Scored(table, table, [a for a, _ in dates], {"plan": 1.0}, [b for _, b in dates] if chosen else None)
    found = pickle.loads(pickle.dumps(scored))
    assert [each.tolist() for each in found.reused] == [each.tolist() for each in scored.reused]
    assert (found.chosen is None) == (scored.chosen is None)
    if chosen:
        assert [each.tolist() for each in found.chosen] == [each.tolist() for each in scored.chosen]
    assert (found.factors, found.matches, found.seconds) == (table, table, {"plan": 1.0})


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(days, days), min_size=1, max_size=4), st.integers(1, 5))
def test_chosen_dates_join_those_of_the_batch(dates, count):
    batch = Batch(
        tuple(SymbolSamples(str(at), held, 100 + held.astype(np.int64)) for at, (held, _) in enumerate(dates)),
        Choice(5, None),
    )
    chunks = batch.chunks(count)
    assert len(chunks) == (count if len(dates) == 1 else 1)
    joined = [chunk.with_dates([more for _, more in dates]) for chunk in chunks]
    assert all(chunk.choice is None for chunk in joined)
    for at, (held, more) in enumerate(dates):
        own = [chunk.parts[at] for chunk in joined]
        lineage = {day: stored for part in own for day, stored in zip(part.dates, part.stored, strict=True)}
        assert sorted(lineage) == sorted({*held, *more})
        assert sum(len(part.dates) for part in own) == len(lineage)
        assert all((np.diff(part.dates) > np.timedelta64(0)).all() for part in own)
        assert lineage == {
            day: 100 + int(day.astype(np.int64)) if day in held else NEVER_REUSED for day in sorted(lineage)
        }


def test_no_more_chunks_than_samples():
    assert len(chosen_batch("S", 2).chunks(5)) == 2
    assert len(Batch(batch_of("S", np.arange(3).astype("M8[D]")).parts, Choice(2, None)).chunks(9)) == 5
    assert len(chosen_batch("S", 0).chunks(5)) == 1, "whoever chooses refuses"


@pytest.mark.parametrize("batch", [chosen_batch("S", 5), batch_of("S", np.arange(3).astype("M8[D]"))])
def test_no_chunks_hold_no_samples(batch):
    with pytest.raises(ValueError, match=r"^0 chunks hold no samples$"):
        batch.chunks(0)


@pytest.mark.parametrize(
    ("workers", "symbols", "chunks"),
    [(0, 1, 1), (0, 0, 1), (1, 1, 1), (3, 1, 3), (3, 2, 2), (3, 3, 1), (3, 50, 1), (2, 0, 2)],
)
def test_every_worker_has_a_chunk_and_no_sample_is_lost_where_none_is_there(workers, symbols, chunks):
    assert chunks_of_each(workers, symbols) == chunks


def test_a_batch_in_words():
    days = np.array(["2020-01-02", "2020-01-03"], "M8[D]")
    part = batch_of("S", days).parts[0]
    assert str(batch_of("S", days)) == "S: a chunk of 2 samples from 2020-01-02 on"
    assert str(chosen_batch("S", 9)) == str(Batch((part,), Choice(9, None))) == str(batch_of("S", days[:0])) == "S"
    assert str(Batch((part, part))) == "2 symbols from S on"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, small_weights):
    bench = Bench.of(tmp_path_factory.mktemp("batch") / "home", market(3, 70), weights=small_weights)
    return load_state(bench.key)


@pytest.mark.slow
@pytest.mark.parametrize("as_of", [None, 50, 2])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_chosen_dates_are_scored_as_if_they_had_been_named(loaded, as_of, count):
    dates = loaded.frames["S00001"].dates
    day = None if as_of is None else dates[as_of]
    planned = plan_dates(loaded, "S00001", 12, day)
    assert len(planned) == (0 if as_of == 2 else 12)
    named = score_batch(loaded, batch_of("S00001", planned))
    found = [score_batch(loaded, chunk) for chunk in chosen_batch("S00001", 12, day).chunks(count)]
    assert all([each.tolist() for each in part.chosen] == [planned.tolist()] for part in found)
    assert named.chosen is None
    for table in ("factors", "matches"):
        rows = [row for part in found for row in getattr(part, table).to_pylist()]
        assert sorted(rows, key=str) == sorted(getattr(named, table).to_pylist(), key=str)


@pytest.mark.slow
def test_what_is_stored_is_looked_at_beside_what_is_chosen(loaded):
    dates = loaded.frames["S00001"].dates
    right = score_batch(loaded, batch_of("S00001", dates[[30, 40]]))
    history = np.array(right.factors["history"].to_pylist())
    history[1] += 1
    batch = Batch(batch_of("S00001", dates[[30, 40]], history).parts, Choice(1, None))
    scored = score_batch(loaded, batch)
    # The first holds still, the second is out of date, and the last day is chosen.
    assert scored.factors["date"].to_pylist() == dates[[40, -1]].tolist()
    assert [each.tolist() for each in scored.reused] == [dates[[30]].tolist()]
    assert [each.tolist() for each in scored.chosen] == [dates[[-1]].tolist()]
