"""Vectors of windows of many symbols, whoever makes them and however the work is cut."""

import numpy as np
import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.encoder.encoder import BATCH, GPU_BATCH, Encoder
from kline_core.patterns import encode as module
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder, encode_windows
from kline_core.patterns.update import SLICE
from tests.support.candles import charts_of_windows
from tests.support.homes import SMALL, WINDOW_BARS, make_home, market, write_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(write_encoder(tmp_path_factory.mktemp("weights") / "w"), "cpu")


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return BarsKey.newest(make_home(tmp_path_factory.mktemp("encoding") / "home", market()))


@pytest.fixture(scope="module")
def frames(bars):
    return bars.frames()


def one_by_one(frames, windows, encoder):
    return np.concatenate(
        [
            encoder.encode(charts_of_windows(frames[windows.symbols[code]], np.array([bar]), WINDOW_BARS))
            for code, bar in zip(windows.code, windows.bar, strict=True)
        ]
    )


def test_a_slice_is_whole_batches():
    """Else every slice would end in a batch that is padded for nothing."""
    assert SLICE % BATCH == 0
    assert SLICE % GPU_BATCH == 0


def test_it_says_what_it_encodes_with(encoder):
    made = LocalWindowEncoder(encoder)
    assert (made.fingerprint, made.window_bars, made.dim) == (encoder.fingerprint, WINDOW_BARS, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("piece", "threads"), [(SLICE, 1), (5, 3), (1, 2)])
def test_vectors_are_those_of_each_chart_by_itself(bars, frames, encoder, monkeypatch, piece, threads):
    monkeypatch.setattr(module, "SLICE", piece)
    windows = build_catalogue(frames, SMALL)
    progress = []
    vectors = LocalWindowEncoder(encoder, threads).vectors(bars, windows, SMALL, progress.append)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, one_by_one(frames, windows, encoder))
    assert progress == sorted(set(progress))
    assert progress[-1] == len(windows) == 63


@pytest.mark.slow
def test_symbols_may_be_any_part(frames, encoder):
    windows = build_catalogue(frames, SMALL)
    some = windows.take(windows.code == 2)
    vectors = encode_windows(frames, ["S00002"], np.zeros(len(some), np.int32), some.bar, encoder, SMALL)
    assert np.array_equal(vectors, one_by_one(frames, some, encoder))


def test_no_windows_are_no_vectors(bars, frames, encoder):
    none = build_catalogue(frames, SMALL).take(np.zeros(0, np.int64))
    assert LocalWindowEncoder(encoder).vectors(bars, none, SMALL).shape == (0, 8)
