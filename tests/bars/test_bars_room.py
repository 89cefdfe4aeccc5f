"""Room behind the bars of each symbol: versions that share it are what copies would be."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.bars import bars_room
from kline_core.bars.bars_cache import _joined
from kline_core.bars.symbol_bars import BARS, SymbolBars
from tests.support.examples import examples

SYMBOLS = "ABCDEF"


def drawn(rng, symbol, first, count):
    """Bars of a symbol from its bar `first` on."""
    days = np.datetime64("2020-01-01") + np.arange(first, first + count)
    prices = [rng.integers(1, 99, count).astype(float) for _ in range(6)]
    content, jumps = rng.integers(0, 2**63, count).astype(np.uint64), rng.integers(0, 2, count).astype(bool)
    return SymbolBars(symbol, days.astype("datetime64[D]"), *prices, content, jumps)


def content(frames):
    return {
        symbol: {name: (getattr(bars, name).dtype, getattr(bars, name).tobytes()) for name in BARS}
        for symbol, bars in frames.items()
    }


def after(frames, newer):
    """The plain form: copies."""
    parts = {symbol: [each[symbol] for each in (frames, newer) if symbol in each] for symbol in {*frames, *newer}}
    return {
        symbol: SymbolBars(symbol, *(np.concatenate([getattr(bars, name) for bars in parts[symbol]]) for name in BARS))
        for symbol in sorted(parts)
    }


def next_bars(rng, frames, symbols, count):
    return {
        symbol: drawn(rng, symbol, len(frames[symbol]) if symbol in frames else 0, count) for symbol in sorted(symbols)
    }


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 4),
    st.lists(
        st.tuples(st.integers(0, 9), st.sets(st.sampled_from(SYMBOLS), min_size=1), st.integers(0, 3)), max_size=14
    ),
)
def test_versions_that_go_on_from_any_other_are_what_copies_would_be(seed, behind, steps):
    rng = np.random.default_rng(seed)
    first = {symbol: drawn(rng, symbol, 0, int(rng.integers(0, 5))) for symbol in "ABC"}
    versions = [(first, None, content(first))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bars_room, "BARS_BEHIND", behind)
        for which, symbols, count in steps:
            frames, room, _ = versions[which % len(versions)]
            newer = next_bars(rng, frames, symbols, count)
            expected = content(after(frames, newer))
            versions.append((*_joined(frames, newer, room), expected))
    for frames, _, expected in versions:
        assert list(frames) == sorted(frames)
        assert content(frames) == expected
    for frames, _, _ in versions[1:]:
        assert {symbol: bars.symbol for symbol, bars in frames.items()} == {symbol: symbol for symbol in frames}


def roomy(rng, count=20):
    frames = {symbol: drawn(rng, symbol, 0, count) for symbol in SYMBOLS}
    return _joined(frames, next_bars(rng, frames, SYMBOLS, 1), None)


def test_a_day_is_written_behind_the_bars_held_and_shares_their_memory():
    rng = np.random.default_rng(0)
    frames, room = roomy(rng)
    for day in range(bars_room.BARS_BEHIND + 1):
        held = content(frames)
        more, same = _joined(frames, next_bars(rng, frames, SYMBOLS, 1), room)
        assert content(frames) == held
        assert all(not getattr(bars, name).flags.writeable for bars in more.values() for name in BARS)
        shared = all(np.shares_memory(more[symbol].close, frames[symbol].close) for symbol in SYMBOLS)
        assert shared == (same is room) == (day < bars_room.BARS_BEHIND)
        frames = more


def test_what_a_symbol_alone_has_leaves_the_room_of_the_others():
    rng = np.random.default_rng(1)
    frames, room = roomy(rng)
    listed, same = _joined(frames, next_bars(rng, frames, ["Z"], 2), room)
    assert same is room
    assert all(listed[symbol] is frames[symbol] for symbol in SYMBOLS)
    both, same = _joined(listed, next_bars(rng, listed, "ABCDEFZ", 1), room)
    assert same is room
    assert len(both["Z"]) == 3
    assert np.shares_memory(both["A"].close, frames["A"].close)


def test_threads_that_go_on_from_the_same_version_do_not_meet():
    rng = np.random.default_rng(2)
    frames, room = roomy(rng)
    days = [next_bars(np.random.default_rng(seed), frames, SYMBOLS, 2) for seed in range(8)]
    start = threading.Barrier(8)

    def go(newer):
        start.wait()
        return _joined(frames, newer, room)[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(go, days))
    for newer, joined in zip(days, found, strict=True):
        assert content(joined) == content(after(frames, newer))
