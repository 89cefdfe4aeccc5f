import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kline_core.encoder.encoder import BATCH, Encoder, choose_device, load_decoder, save_weights
from kline_core.encoder.network import AttentionEncoder, ChartDecoder, to_input
from kline_core.encoder.weights import DEFAULT_WEIGHTS, weights_fingerprint
from kline_core.errors import DateError, EncoderError
from kline_core.windows.chart_rows import HEIGHT
from tests.support.charts import assert_threads_encode_the_same, some_charts
from tests.support.homes import write_encoder, write_synthetic_card
from tests.support.processes import output_of


@pytest.fixture(scope="module")
def charts():
    return some_charts()


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load(device="cpu")


@pytest.fixture(scope="module")
def vectors(encoder, charts):
    return encoder.encode(charts)


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_vectors_have_length_one_and_tell_charts_apart(encoder, vectors, charts):
    assert vectors.shape == (len(charts), encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert len(np.unique(vectors, axis=0)) == len(np.unique(charts, axis=0))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_vector_does_not_depend_on_position_or_company(encoder, vectors, charts, seed):
    order = np.random.default_rng(seed).permutation(len(charts))
    np.testing.assert_array_equal(encoder.encode(charts[order]), vectors[order])


@pytest.mark.parametrize("at", [0, 1, BATCH - 1, BATCH + 8])
def test_a_chart_alone_has_the_same_vector(encoder, vectors, charts, at):
    np.testing.assert_array_equal(encoder.encode(charts[at : at + 1]), vectors[at : at + 1])


def test_threads_encode_the_same(encoder, vectors, charts):
    assert_threads_encode_the_same(encoder, vectors, charts)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_threads_inside_torch_change_nothing(encoder, vectors, charts, torch_threads, count):
    torch_threads(count)
    np.testing.assert_array_equal(encoder.encode(charts), vectors)


def test_no_charts_have_no_vectors(encoder):
    assert encoder.encode(np.zeros((0, 60, HEIGHT), np.uint8)).shape == (0, encoder.dim)


@pytest.mark.parametrize(
    "charts",
    [
        np.zeros((2, 57, HEIGHT), np.uint8),
        np.zeros((60, HEIGHT), np.uint8),
        np.zeros((2, HEIGHT, 60), np.uint8),
        np.zeros((2, 60, HEIGHT), np.float32),
    ],
)
def test_other_charts_are_refused(encoder, charts):
    with pytest.raises(EncoderError, match=r"this encoder takes uint8 \(n, 60, 64\)"):
        encoder.encode(charts)


def test_the_loaded_network_is_the_one_that_was_trained(tmp_path, charts):
    network = AttentionEncoder(8).train()
    with torch.no_grad():
        for _ in range(3):
            network(to_input(charts[:BATCH]))
    save_weights(tmp_path / "w", network, ChartDecoder(8), {})
    write_synthetic_card(tmp_path / "w")
    with torch.no_grad():
        expected = network.eval()(to_input(charts[:BATCH])).numpy()
    # Batch normalisation is folded into the convolutions, which rounds otherwise.
    np.testing.assert_allclose(Encoder.load(tmp_path / "w", "cpu").encode(charts[:BATCH]), expected, atol=1e-5)


@pytest.mark.parametrize("window_bars", [4, 5, 7])
def test_other_window_lengths(tmp_path, window_bars):
    path = write_encoder(tmp_path / "w", dim=6, window_bars=window_bars)
    encoder = Encoder.load(path, "cpu")
    assert (encoder.dim, encoder.window_bars) == (6, window_bars)
    width = 3 * window_bars
    assert encoder.encode(np.zeros((3, width, HEIGHT), np.uint8)).shape == (3, 6)
    with torch.inference_mode():
        assert load_decoder(path)(torch.zeros(3, 6)).shape == (3, 1, width, HEIGHT)


def test_the_default_weights_come_with_the_package():
    assert DEFAULT_WEIGHTS.is_file()
    encoder = Encoder.load(device="cpu")
    assert encoder.window_bars == 20
    assert encoder.trained_through is None, "the default encoder has seen no market"
    assert encoder.fingerprint == weights_fingerprint()
    assert load_decoder().bars == 20


@pytest.mark.slow
def test_the_fingerprint_is_that_of_the_weights(tmp_path):
    one = write_encoder(tmp_path / "one", seed=1)
    other = write_encoder(tmp_path / "other", seed=2)
    for again in range(8):
        same = write_encoder(tmp_path / f"same{again}", seed=1)
        assert weights_fingerprint(same) == weights_fingerprint(one) == Encoder.load(one).fingerprint
    assert weights_fingerprint(one) != weights_fingerprint(other)
    assert len(weights_fingerprint(one)) == 16


def test_what_market_data_an_encoder_has_seen_is_kept(tmp_path):
    path = write_encoder(tmp_path / "w", trained_through="2020-03-04")
    assert Encoder.load(path).trained_through == np.datetime64("2020-03-04")


def test_missing_weights(tmp_path):
    for load in (Encoder.load, load_decoder, weights_fingerprint):
        with pytest.raises(EncoderError, match=r"nowhere cannot be read .*kline train"):
            load(tmp_path / "nowhere")
        with pytest.raises(EncoderError, match="cannot be read"):
            load(tmp_path)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda raw: raw[:-5], lambda raw: raw[:20], lambda _: b"x" * 99])
def test_damaged_weights(tmp_path, damage):
    path = write_encoder(tmp_path / "w", trained_through="2020-01-01")
    path.write_bytes(damage(path.read_bytes()))
    for load in (Encoder.load, load_decoder):
        with pytest.raises(EncoderError, match="cannot be read"):
            load(path)


@pytest.mark.parametrize("header", [None, {"format": "another"}])
def test_foreign_weights(tmp_path, header):
    save_file({"x": torch.zeros(3)}, tmp_path / "w", header)
    with pytest.raises(EncoderError, match="are no kline-attention-cae-1 file"):
        Encoder.load(tmp_path / "w")


@pytest.mark.parametrize(
    "header",
    [{"dim": "8"}, {"window_bars": "20"}, {"dim": "many", "window_bars": "20"}, {"dim": "9", "window_bars": "20"}],
)
def test_weights_that_do_not_fit_their_header(tmp_path, header):
    tensors = load_file(write_encoder(tmp_path / "w", dim=8, window_bars=20))
    save_file(tensors, tmp_path / "odd", {"format": "kline-attention-cae-1", "trained_through": "2020-01-01", **header})
    for load in (Encoder.load, load_decoder):
        with pytest.raises(EncoderError, match="do not fit the network"):
            load(tmp_path / "odd")


def test_a_file_that_lacks_a_layer(tmp_path):
    tensors = load_file(write_encoder(tmp_path / "w", dim=8, window_bars=20))
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("latent.bias")}
    header = {"format": "kline-attention-cae-1", "dim": "8", "window_bars": "20", "trained_through": "2020-01-01"}
    save_file(kept, tmp_path / "odd", header)
    with pytest.raises(EncoderError, match=r"do not fit the network .*latent\.bias"):
        Encoder.load(tmp_path / "odd")


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:99", "", "meta", "hpu", "mkldnn", "privateuseone", "cuda:-1", "onnx", "\udcff"]
)
def test_devices_that_cannot_be_used(name):
    with pytest.raises(EncoderError, match=r"cannot be used .*use auto, cpu, cuda or mps"):
        choose_device(name)


def test_what_onnx_runtime_lacks_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "kline_core.encoder.onnx_network", None)
    with pytest.raises(
        EncoderError, match=r"device 'onnx' needs ONNX Runtime .*pip install 'kline-factor\[onnx\]'"
    ) as raised:
        Encoder.load(device="onnx")
    assert raised.value.device == "onnx"


def test_a_device_is_chosen():
    assert choose_device("cpu").type == "cpu"
    assert choose_device().type in ("cuda", "mps", "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_encodes_in_float32_whatever_else_is_encoded_with_a_chart(charts):
    gpu = Encoder.load(device="cuda")
    vectors = gpu.encode(charts)
    np.testing.assert_allclose(vectors, Encoder.load(device="cpu").encode(charts), atol=5e-6)
    np.testing.assert_array_equal(gpu.encode(charts[[5, 3]]), vectors[[5, 3]])


def test_vectors_that_have_not_the_length_1_are_refused(tmp_path, charts):
    network = AttentionEncoder(8)
    with torch.no_grad():
        network.latent.weight.zero_()
        network.latent.bias.zero_()
    save_weights(tmp_path / "w", network, ChartDecoder(8), {"trained_through": "2020-01-01"})
    with pytest.raises(EncoderError, match=r"made a vector of length 0.0 on cpu, and each must have the length 1"):
        Encoder.load(tmp_path / "w", "cpu").encode(charts[:3])


@pytest.mark.parametrize("through", [np.datetime64("NaT"), np.datetime64("NaT", "D"), "NaT", "today"])
def test_an_encoder_that_has_seen_no_day_that_exists_is_refused(through):
    with pytest.raises(DateError, match="trained_through is"):
        Encoder(AttentionEncoder(8), "0" * 16, through)


@pytest.mark.long
@pytest.mark.slow
def test_an_encoder_is_loaded_without_the_compiler_of_torch():
    """Which takes two seconds to import, in every process that computes."""
    code = (
        "import sys, numpy as np; from kline_core.encoder.encoder import Encoder, load_decoder; load_decoder();"
        "Encoder.load().encode(np.zeros((1, 60, 64), np.uint8));"
        "print(*(name for name in ('torch._dynamo', 'sympy') if name in sys.modules))"
    )
    done = output_of(code)
    assert done == "\n"
