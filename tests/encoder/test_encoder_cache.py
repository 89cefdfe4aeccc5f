import shutil

import numpy as np
import pytest

from kline_core._cache import loaded as loaded_key
from kline_core.encoder import weights
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.encoder.weights import DEFAULT_FINGERPRINT, DEFAULT_WEIGHTS
from kline_core.errors import EncoderError
from tests.support.homes import write_encoder

pytestmark = pytest.mark.usefixtures("nothing_loaded")


def test_an_encoder_that_was_trained_again_is_another(tmp_path):
    path = write_encoder(tmp_path / "w")
    first = loaded_key(EncoderKey.of(path, "cpu"))
    old = EncoderKey.of(path, "cpu")
    write_encoder(path, seed=1)
    second = loaded_key(EncoderKey.of(path, "cpu"))
    assert second.fingerprint != first.fingerprint
    assert loaded_key(old) is first, "kept, though its file is gone"


def test_the_default_encoder_is_the_released_one_and_loads_when_it_first_encodes(monkeypatch):
    loads, real = [], Encoder.load.__func__
    monkeypatch.setattr(Encoder, "load", classmethod(lambda cls, *args: loads.append(args) or real(cls, *args)))
    kept = EncoderKey.of(None, "cpu").load()
    whole = real(Encoder, None, "cpu")
    assert whole.fingerprint == kept.fingerprint == DEFAULT_FINGERPRINT
    assert (kept.dim, kept.window_bars, kept.trained_through) == (whole.dim, whole.window_bars, whole.trained_through)
    assert loads == []
    charts = np.random.default_rng(0).integers(0, 255, (3, 60, 64), dtype=np.uint8)
    assert kept.encode(charts).tobytes() == whole.encode(charts).tobytes()
    kept.encode(charts)
    assert loads == [(None, "cpu")]


def test_damaged_default_weights_are_found_before_anything_is_computed(tmp_path, monkeypatch):
    damaged = tmp_path / "default.safetensors"
    content = DEFAULT_WEIGHTS.read_bytes()
    damaged.write_bytes(content[:-1])
    shutil.copy(DEFAULT_WEIGHTS.with_suffix(".json"), damaged.with_suffix(".json"))
    monkeypatch.setattr(weights, "DEFAULT_WEIGHTS", damaged)
    with pytest.raises(EncoderError):
        EncoderKey.of(None, "cpu").load()


def test_other_weights_and_devices_are_tried_at_once(tmp_path):
    path = write_encoder(tmp_path / "w")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(EncoderError):
        EncoderKey.of(path, "cpu").load()
    with pytest.raises(EncoderError, match="device 'cuda:9' cannot be used"):
        EncoderKey.of(None, "cuda:9").load()


def test_weights_that_were_replaced_since_are_refused(tmp_path, monkeypatch):
    kept = EncoderKey.of(None, "cpu").load()
    monkeypatch.setattr(weights, "DEFAULT_WEIGHTS", write_encoder(tmp_path / "w.safetensors"))
    with pytest.raises(EncoderError, match="install the same version"):
        kept.loaded()
