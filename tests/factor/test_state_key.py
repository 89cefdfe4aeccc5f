from dataclasses import replace

import pytest

from kline_core.bars.bars_cache import BarsKey
from kline_core.encoder.encoder import Encoder
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import StaleError
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import add_bars, market

pytestmark = pytest.mark.usefixtures("nothing_loaded")


@pytest.mark.slow
def test_the_key_names_the_newest_versions(home, extend, newest, small_weights):
    assert newest(home).patterns_version is None
    extend(home)
    key = newest(home)
    assert (key.home, key.bars.version, key.patterns_version) == (home.uri, 1, home.version("patterns"))
    assert key.encoder.fingerprint == Encoder.load(small_weights).fingerprint
    assert key.fingerprint == SMALL_SETTINGS.fingerprint(key.encoder.fingerprint)
    assert hash(replace(key)) == hash(key)
    add_bars(home, market(1, 5, prefix="T"))
    assert newest(home) != key


def test_bars_of_a_home_made_anew_are_others(home, newest):
    key = newest(home).bars
    assert sorted(key.frames()) == ["S00000", "S00001", "S00002"]
    with pytest.raises(StaleError, match="were made anew after the run was started"):
        replace(key, identity="another").frames()


@pytest.mark.slow
def test_keys_name_parts_of_a_state(home, extend, newest, small_weights):
    extend(home)
    key = newest(home)
    assert key.bars == BarsKey.newest(home)
    assert key.encoder == EncoderKey.of(str(small_weights), "cpu")
    assert EncoderKey.of().path is None
