import pytest

from kline_core._cache import loaded as loaded_key
from kline_core.encoder.encoder_cache import EncoderKey
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
