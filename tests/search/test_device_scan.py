"""The scan on a device: proposals and bounds as of any scan, on the processor where there is no GPU."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import SettingError
from kline_core.factor import state
from kline_core.factor.scoring import score_batch
from kline_core.search import device_scan as module
from kline_core.search import flat_index as index_module
from kline_core.search.device_scan import DeviceScan
from kline_core.search.flat_index import FlatIndex
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from tests.support.bench import Bench, batch_of
from tests.support.examples import examples
from tests.support.homes import market as bars_of
from tests.support.searches import assert_naive, assert_same, assert_threads_share, cases, market, some
from tests.support.vector_sets import assert_proposals, vector_sets

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@given(vector_sets(), st.integers(1, 70), st.floats(0, 1), st.sampled_from([1, 50, 1 << 20]))
@settings(deadline=None, max_examples=examples(60))
def test_proposes_from_the_prefix_and_bounds_the_rest(sets, count, share, scores):
    rows, vectors, known = sets
    had = round(share * len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SCORES", scores)
        scan = DeviceScan.of(rows[:had], "cpu").followed_by(rows[had:], rows)
        assert_proposals(scan, rows, vectors, known, count)


@pytest.mark.slow
@given(cases())
@settings(deadline=None, max_examples=examples(60))
def test_search_on_a_device_equals_the_plain_loop(case):
    patterns, queries, factor, window_bars, first_ask = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kline_core.search.candidates._FIRST_ASK", first_ask)
        patch.setattr(index_module, "_SCAN_FROM", 1)
        patch.setattr(module, "_SCORES", 64)
        matches = search(FlatIndex.build(patterns, device="cpu"), patterns, queries, factor, window_bars)
    assert_naive(matches, patterns, queries, factor, window_bars)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [3, 40, 5000])
def test_whole_blocks_equal_faiss(kinds, device, monkeypatch):
    monkeypatch.setattr(module, "_SCORES", 1 << 15)
    patterns, queries = market(3, symbols=5, bars=900, dim=32, kinds=kinds, delay=21, noise=0.05, visible=1.0)
    queries = some(queries, np.arange(0, len(queries), 11))
    index = FlatIndex.build(patterns)
    by_faiss = search(FlatIndex(index.rows, None), patterns, queries, FactorSettings(), 20)
    assert_same(search(FlatIndex.build(patterns, device=device), patterns, queries, FactorSettings(), 20), by_faiss)


@pytest.mark.slow
def test_threads_share_a_scan(device):
    patterns, queries = market(5, symbols=4, bars=60, dim=16, kinds=20, delay=21, noise=0.05)
    assert_threads_share(FlatIndex.build(patterns, device=device), patterns, queries)


@pytest.mark.parametrize("queries", [0, 1, 5])
def test_nothing_to_scan(queries, device):
    rows = np.zeros((0, 8), dtype=np.float32)
    vectors = np.zeros((queries, 8), dtype=np.float32)
    row, floor = DeviceScan.of(rows, device).nearest(vectors, np.zeros(queries, np.int64), 3)
    assert row.tolist() == [[-1] * 3] * queries
    assert floor.tolist() == [-np.inf] * queries


def test_products_have_all_bits_whatever_was_allowed(device):
    """In threads that begin and end at any moment too: the precision is one of the whole process."""
    seen = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if "matmul" in function.__name__:
                seen.append(torch.get_float32_matmul_precision())
            return super().__torch_function__(function, types, args, kwargs or {})

    rows = np.eye(4, dtype=np.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        scan = DeviceScan(DeviceScan.of(rows, device).rows.as_subclass(Watched))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: scan.nearest(rows, np.full(4, 4), 1), range(200)))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"] * 200


def test_a_device_that_is_not_there_or_has_no_room():
    says = r"^device is 'xpu:9', to which 2 vectors \(0.0 GB\) cannot be copied \(.+\); use cpu"
    with pytest.raises(SettingError, match=says):
        DeviceScan.of(np.eye(2, dtype=np.float32), "xpu:9")


def test_only_a_gpu_that_is_named_is_taken():
    names = ["cuda", "cuda:1", "auto", "cpu", "mps", "onnx"]
    assert [EncoderKey(None, "x", name).gpu for name in names] == ["cuda", "cuda:1", None, None, None, None]


def test_a_state_scans_on_the_gpu_and_has_the_values_of_the_processor(tmp_path, small_weights, monkeypatch):
    frame = bars_of(3, 60)
    days = np.sort(frame["date"].unique())
    bench = Bench.of(tmp_path / "home", frame[frame["date"] < days[-1]], weights=small_weights)

    def scored(loaded):
        result = score_batch(loaded, batch_of("S00000", loaded.frames["S00000"].dates[-20:]))
        return result.factors, result.matches

    first = state.load_state(bench.key)
    monkeypatch.setattr(EncoderKey, "gpu", "cpu")
    loaded = state.load_state(bench.key)
    assert isinstance(loaded.index.scan, DeviceScan)
    assert not isinstance(first.index.scan, DeviceScan)
    for one, other in zip(scored(loaded), scored(first), strict=True):
        assert one.equals(other)
    before = bench.key
    bench.add(frame[frame["date"] == days[-1]])
    advanced = state.advance_state(bench.key, before, loaded)
    assert isinstance(advanced.index.scan, DeviceScan)
    monkeypatch.undo()
    for one, other in zip(scored(advanced), scored(state.load_state(bench.key)), strict=True):
        assert one.equals(other)
