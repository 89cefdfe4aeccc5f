"""Vectors of windows that are no patterns yet: the same bits, and no network where they are kept."""

import shutil
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest

from kline_core import _cache
from kline_core.bars import stretches
from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.factor.scoring import plan_dates, score_batch
from kline_core.factor.state import load_state
from kline_core.patterns import recent as module
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.recent import RecentVectors, recent_windows, spanned_content
from kline_core.patterns.update import update_patterns
from kline_core.settings import Settings
from kline_core.store import array_folder
from kline_core.store.array_folder import INDEX_CACHE, array_folders
from tests import naive
from tests.support.bench import SMALL_SETTINGS, Bench, batch_of
from tests.support.homes import SMALL, add_bars, market
from tests.support.processes import output_of

pytestmark = pytest.mark.usefixtures("nothing_loaded", "small_homes_cached")

FRAME = market(3, 30)
LAST = FRAME["date"].max()


@pytest.fixture
def bench(tmp_path, small_weights):
    return Bench.of(tmp_path / "home", FRAME[FRAME["date"] < LAST], SMALL_SETTINGS, small_weights)


class Counting:
    """A `WindowEncoder` that counts what it encodes."""

    def __init__(self, encoding):
        self._encoding, self.windows = encoding, 0
        self.fingerprint, self.window_bars, self.dim = encoding.fingerprint, encoding.window_bars, encoding.dim
        self.devices = encoding.devices

    def vectors(self, bars, windows, settings, progress=None):
        self.windows += len(windows)
        return self._encoding.vectors(bars, windows, settings, progress)


def counting(bench):
    return Counting(LocalWindowEncoder(_cache.loaded(bench.key.encoder)))


def scored(key):
    _cache._caches.clear()
    state = load_state(key)
    encoded = []
    state.encoder.encode, real = lambda charts: encoded.append(len(charts)) or real(charts), state.encoder.encode
    parts = [score_batch(state, batch_of(name, plan_dates(state, name, 100, None))) for name in sorted(state.frames)]
    return [(part.factors, part.matches) for part in parts], sum(encoded)


def kept(bench):
    return [name for name in array_folders(bench.home.folder / INDEX_CACHE) if name.startswith("recent-")]


def test_they_are_the_usable_windows_without_a_pattern(bench):
    frames = bench.key.bars.frames()
    windows, patterns = recent_windows(frames, SMALL), build_catalogue(frames, SMALL)
    assert len(windows) == 3 * SMALL.outcome_bars
    assert np.isnat(windows.known_on).all()
    pairs = {(code, bar) for each in (windows, patterns) for code, bar in zip(each.code, each.bar, strict=True)}
    assert len(pairs) == len(windows) + len(patterns) == 3 * (29 - SMALL.window_bars + 1)
    np.testing.assert_array_equal(spanned_content(frames, windows, SMALL), windows.content)
    assert len(recent_windows({}, SMALL)) == 0


@pytest.mark.parametrize("at_once", [30, stretches.AT_ONCE])
def test_they_are_those_of_a_plain_loop(at_once, monkeypatch):
    """Of bars with holes and jumps, of a symbol with few bars, and of one without any."""
    monkeypatch.setattr(stretches, "AT_ONCE", at_once)
    frame = market(7, 40)
    frame = frame[np.random.default_rng(1).random(len(frame)) < 0.9]
    frame = frame[~((frame["symbol"] == "S00001") & frame["date"].between("2020-02-10", "2020-02-25"))]
    frame = frame[(frame["symbol"] != "S00002") | (frame["date"] < "2020-01-14")]
    frame.loc[(frame["symbol"] == "S00003") & (frame["date"] > "2020-02-21"), ["open", "high", "low", "close"]] *= 9
    frames = bars_by_symbol(frame.assign(suspended=frame["symbol"] == "S00004"))
    windows, expected = recent_windows(frames, SMALL), []
    for code, (symbol, bars) in enumerate(sorted(frames.items())):
        jumps = np.flatnonzero(bars.jumps).tolist()
        for end in range(max(0, len(bars) - SMALL.outcome_bars), len(bars)):
            if naive.usable_window(bars.dates, end, SMALL.window_bars, SMALL.max_gap_days, jumps) == 0:
                content = naive.window_content(bars.content, end, 1 - SMALL.window_bars, 0)
                expected.append((symbol, code, end, bars.dates[end], content))
    names = [windows.symbols[code] for code in windows.code]
    found = zip(names, windows.code.tolist(), windows.bar.tolist(), windows.end, windows.content.tolist(), strict=True)
    assert list(found) == expected
    assert 10 < len(expected) < 6 * SMALL.outcome_bars
    # Windows of any symbols, in any order.
    some = windows.take(np.random.default_rng(2).permutation(len(windows)))
    np.testing.assert_array_equal(spanned_content(frames, some, SMALL), some.content)


def test_samples_take_their_vectors_from_there_bit_for_bit(bench, monkeypatch):
    with_them, encoded = scored(bench.key)
    assert encoded == 0
    with monkeypatch.context() as patch:
        patch.setattr(RecentVectors, "of", lambda *_: RecentVectors.none())
        without, encoded = scored(bench.key)
    assert encoded == 3 * SMALL.outcome_bars
    for one, other in zip(with_them, without, strict=True):
        assert one[0].equals(other[0])
        assert one[1].equals(other[1])


def test_each_window_is_encoded_once(bench):
    again = counting(bench)
    assert update_patterns(bench.home, SMALL, again).added == 0
    assert again.windows == 0
    add_bars(bench.home, FRAME[FRAME["date"] == LAST])
    later, told = counting(bench), []
    assert update_patterns(bench.home, SMALL, later, progress=lambda *at: told.append(at)).added == 3
    assert later.windows == 3, "the newest of each symbol alone"
    assert told == [(3, 3)]
    stored = bench.home.read("patterns").sort_by([("symbol", "ascending"), ("end", "ascending")])
    whole = Bench.of(bench.home.folder.parent / "whole", FRAME, SMALL_SETTINGS, bench.weights)
    assert stored.equals(whole.home.read("patterns").sort_by([("symbol", "ascending"), ("end", "ascending")]))
    assert scored(bench.key)[1] == 0


def test_on_a_day_that_gives_no_pattern_only_the_newest_are_encoded(tmp_path, small_weights):
    """With patterns of every twelfth session that is eleven days of twelve."""
    settings = replace(SMALL_SETTINGS, patterns=replace(SMALL, pattern_stride=12, calendar="XNYS"))
    # Every weekday of these weeks is a session.
    frame = market(3, 30, start="2020-02-18")
    days = np.sort(frame["date"].unique())
    bench = Bench.of(tmp_path / "home", frame[frame["date"] < days[-2]], settings, small_weights)
    added = []
    for day in days[-2:]:
        add_bars(bench.home, frame[frame["date"] == day])
        later = counting(bench)
        added.append(update_patterns(bench.home, settings.patterns, later).added)
        assert later.windows == 3
    assert 0 in added


@pytest.mark.parametrize("what", ["code", "torch", "onnxruntime", "processor", "device"])
def test_those_that_may_have_other_bits_are_not_used(bench, monkeypatch, what):
    key = bench.key
    if what == "code":
        monkeypatch.setattr(module, "CODE", "0" * 16)
    elif what in ("torch", "onnxruntime"):
        monkeypatch.setattr(module, "version", lambda name: "0.0" if name == what else version(name))
    elif what == "processor":
        monkeypatch.setattr(module, "processor", lambda: "another")
    else:
        assert len(RecentVectors.of(bench.home, SMALL, key.encoder.fingerprint, "cpu").content)
        assert len(RecentVectors.of(bench.home, SMALL, key.encoder.fingerprint, "cuda").content) == 0
        return
    assert scored(key)[1] == 3 * SMALL.outcome_bars


def test_damaged_ones_are_said_left_and_made_again(bench):
    folder = bench.home.folder / INDEX_CACHE / kept(bench)[0]
    file = folder / "vectors.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert scored(bench.key)[1] == 3 * SMALL.outcome_bars
    bench.extend()
    assert file.read_bytes() == content
    assert scored(bench.key)[1] == 0


def test_a_home_that_takes_none_is_updated_all_the_same(bench, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(array_folder, "check_space", full)
    add_bars(bench.home, FRAME[FRAME["date"] == LAST])
    assert update_patterns(bench.home, SMALL, counting(bench)).added == 3


def test_the_last_two_are_kept(bench):
    bench.add(FRAME[FRAME["date"] == LAST])
    assert len(kept(bench)) == 2
    frame = market(3, 31)
    bench.add(frame[frame["date"] > LAST])
    assert len(kept(bench)) == 2


@pytest.mark.slow
def test_a_fresh_process_that_asks_for_what_is_kept_loads_no_network(tmp_path):
    bench = Bench.of(tmp_path / "home", market(3, 60), Settings())
    _cache._caches.clear()
    load_state(bench.key)
    code = (
        "import sys\n"
        "from kline_core.factor import index_cache\n"
        "from kline_core.factor.explain import explain_sample\n"
        "from kline_core.settings import Settings\n"
        "from kline_core.store.home import Home\n"
        "index_cache.LEAST_CACHED = 1\n"
        "for date in (None, '2020-03-02'):\n"
        "    found = explain_sample(Home(sys.argv[1]), 'S00001', date, Settings(), device='cpu')\n"
        "    print(found.factor['value'], len(found.matches))\n"
        "print('torch' in sys.modules)\n"
    )
    *said, torch = output_of(code, bench.home.uri).splitlines()
    assert torch == "False"
    shutil.rmtree(bench.home.folder / INDEX_CACHE)
    *anew, torch = output_of(code, bench.home.uri).splitlines()
    assert torch == "True"
    assert said == anew
    assert all(line.split()[1] != "0" for line in said)
