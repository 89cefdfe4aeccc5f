"""The encoder by ONNX Runtime: within some 1e-7 of torch's, the same vector of a chart whatever else is encoded."""

import numpy as np
import pytest

import kline_core as kl
from kline_core import _cache
from kline_core.compute.opening import open_cluster
from kline_core.compute.replay import replay, replay_keys
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.network import AttentionEncoder
from kline_core.errors import EncoderError
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.recent import RecentVectors
from kline_core.store.run_records import read_record
from kline_core.windows.chart_rows import HEIGHT
from tests.support.bench import SMALL_SETTINGS
from tests.support.charts import assert_threads_encode_the_same, some_charts
from tests.support.homes import SMALL, make_home, market, write_encoder

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="module")
def charts():
    return some_charts()


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load(device="onnx")


@pytest.fixture(scope="module")
def vectors(encoder, charts):
    return encoder.encode(charts)


def test_vectors_are_those_of_torch_but_for_their_last_bits(vectors, charts):
    np.testing.assert_allclose(vectors, Encoder.load(device="cpu").encode(charts), rtol=0, atol=1e-6)


def test_a_vector_does_not_depend_on_position_or_company(encoder, vectors, charts):
    order = np.random.default_rng(0).permutation(len(charts))
    np.testing.assert_array_equal(encoder.encode(charts[order]), vectors[order])
    np.testing.assert_array_equal(encoder.encode(charts[-1:]), vectors[-1:])
    np.testing.assert_array_equal(Encoder.load(device="onnx").encode(charts), vectors)


def test_threads_encode_the_same(encoder, vectors, charts):
    assert_threads_encode_the_same(encoder, vectors, charts)


@pytest.mark.parametrize("window_bars", [4, 5, 7])
def test_other_window_lengths(tmp_path, window_bars):
    path = write_encoder(tmp_path / "w", dim=6, window_bars=window_bars)
    charts = np.random.default_rng(0).integers(0, 256, (3, 3 * window_bars, HEIGHT), np.uint8)
    expected = Encoder.load(path, "cpu").encode(charts)
    np.testing.assert_allclose(Encoder.load(path, "onnx").encode(charts), expected, rtol=0, atol=1e-6)


def test_vectors_without_a_direction_are_refused(charts):
    network = AttentionEncoder(8).requires_grad_(False)
    network.latent.weight.zero_()
    network.latent.bias.zero_()
    with pytest.raises(EncoderError, match=r"made a vector of length nan on onnx, and each must have the length 1"):
        Encoder(network, "zero", onnx=True).encode(charts[:3])


def test_the_device_is_chosen_by_name_alone(encoder):
    assert LocalWindowEncoder(encoder).devices == ("onnx",)
    assert "onnx" not in LocalWindowEncoder(Encoder.load()).devices


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_loaded", "small_homes_cached")
def test_a_home_of_this_device_gives_the_same_values_again(tmp_path, small_weights):
    home = make_home(tmp_path, market(3, 60))
    chosen = {"encoder": str(small_weights), "device": "onnx"}
    kl.update_patterns(home, settings=SMALL, **chosen)
    fingerprint = Encoder.load(small_weights, "onnx").fingerprint
    held = {name: len(RecentVectors.of(home, SMALL, fingerprint, name).content) for name in ("onnx", "cpu", "auto")}
    assert held == {"onnx": 3 * SMALL.outcome_bars, "cpu": 0, "auto": 0}, "none passes for another device's"
    with open_cluster(threads=2) as cluster:
        asked = {"settings": SMALL_SETTINGS, "cluster": cluster, "check": False, **chosen}
        record = read_record(home, kl.compute_factor(home, samples=40, **asked).report.run_id)
        assert record.encoder.device == "onnx"
        _cache._caches.clear()
        assert replay(home, cluster, replay_keys(home, record), record).same
