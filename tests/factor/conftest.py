import pytest

from kline_core.encoder.encoder import Encoder
from kline_core.factor.state_key import StateKey
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.update import update_patterns
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import SMALL, make_home, market


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home", market())


@pytest.fixture
def extend(small_weights):
    def update(home, **options):
        return update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(small_weights, "cpu")), **options)

    return update


@pytest.fixture
def newest(small_weights):
    return lambda home: StateKey.newest(home, SMALL_SETTINGS, str(small_weights), "cpu")
