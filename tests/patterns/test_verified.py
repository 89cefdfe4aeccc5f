import numpy as np
import pyarrow as pa
import pytest

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.encoder.encoder import Encoder
from kline_core.errors import FingerprintError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import build_catalogue
from kline_core.patterns.encode import LocalWindowEncoder
from kline_core.patterns.pattern_table import FIRST
from kline_core.patterns.update import update_patterns
from kline_core.patterns.verified import check_patterns, compare_patterns
from kline_core.settings import FactorSettings, PatternSettings, Settings
from tests.support.homes import SMALL, WINDOW_BARS, make_home, market, write_encoder

STRIDED = PatternSettings(WINDOW_BARS, horizons=(1, 3), barrier_bars=4, pattern_stride=3)


def stored_like(windows):
    names = [windows.symbols[code] for code in windows.code]
    content = windows.content.view(np.int64)
    return pa.table({"symbol": pa.array(names, pa.string()), "end": windows.end, "content": content})


def test_stored_patterns_find_their_windows():
    windows = build_catalogue(bars_by_symbol(market(3, 30)), SMALL)
    order = np.random.default_rng(0).permutation(len(windows))[:40]
    comparison = compare_patterns(stored_like(windows.take(order)), windows)
    np.testing.assert_array_equal(comparison.place, order)
    assert comparison.sound.all()
    np.testing.assert_array_equal(comparison.missing, np.setdiff1d(np.arange(len(windows)), order))


def test_patterns_that_no_longer_hold_are_told_apart():
    frame = market(3, 30)
    windows = build_catalogue(bars_by_symbol(frame), SMALL)
    stored = stored_like(windows)
    changed = frame.copy()
    changed.loc[30 + 14, "volume"] += 1
    changed.loc[60 + 14, "low"] /= 2
    now = build_catalogue(bars_by_symbol(changed[changed["symbol"] != "S00000"]), SMALL)
    comparison = compare_patterns(stored, now)
    names = np.array(stored["symbol"].to_pylist())
    assert (comparison.place[names == "S00000"] == -1).all()
    assert not comparison.sound[names == "S00000"].any()
    assert comparison.sound[names == "S00001"].all(), "no value depends on the volume"
    assert (comparison.place[names == "S00002"] >= 0).all()
    # Bar 14 lies in windows that end up to four bars later, and in outcomes of windows up to five bars earlier.
    touched = windows.take(~comparison.sound & (names == "S00002")).bar
    np.testing.assert_array_equal(touched, np.arange(9, 19))
    np.testing.assert_array_equal(now.take(comparison.missing).bar, touched)


def test_a_pattern_that_is_stored_twice_is_not_sound():
    windows = build_catalogue(bars_by_symbol(market(1, 30)), SMALL)
    stored = stored_like(windows)
    comparison = compare_patterns(pa.concat_tables([stored, stored.slice(3, 1)]), windows)
    np.testing.assert_array_equal(np.flatnonzero(~comparison.sound), [3, len(stored)])
    np.testing.assert_array_equal(comparison.missing, [3])


def test_nothing_stored_and_nothing_known():
    windows = build_catalogue(bars_by_symbol(market(1, 30)), SMALL)
    none = windows.take(np.zeros(0, int))
    assert len(compare_patterns(stored_like(none), windows).missing) == len(windows)
    assert not compare_patterns(stored_like(windows), none).sound.any()
    assert not compare_patterns(stored_like(windows), build_catalogue({}, SMALL)).sound.any()


@pytest.fixture
def indexed(tmp_path):
    home = make_home(tmp_path / "home", market(2, 20))
    encoder = Encoder.load(write_encoder(tmp_path / "w"), "cpu")
    update_patterns(home, SMALL, LocalWindowEncoder(encoder))
    return home, encoder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PatternSettings(6, horizons=(1, 3), barrier_bars=4), r"window_bars 5 \(now asked for: 6\)"),
        (PatternSettings(5, horizons=(1, 2), barrier_bars=4), r"horizons \[1, 3\] \(now asked for: \[1, 2\]\)"),
        (
            PatternSettings(5, horizons=(1, 3), barrier_bars=4, barrier_up=0.04),
            r"barrier_up 0\.05 \(now asked for: 0\.04\)",
        ),
        (STRIDED, r"calendar unset \(now asked for: XSHG\), pattern_stride 1 \(now asked for: 3\)"),
    ],
)
def test_other_settings_are_refused_by_name(indexed, settings, message):
    home, encoder = indexed
    with pytest.raises(FingerprintError, match=f"were made with {message}; .*kline index --rebuild"):
        check_patterns(home, FIRST, settings, encoder.fingerprint, home.version("patterns"))


@pytest.mark.slow
def test_other_settings_are_made_beside_the_others(indexed):
    home, _ = indexed
    settings, before = PatternSettings(6, horizons=(1, 3), barrier_bars=4), home.version("patterns")
    encoder = Encoder.load(write_encoder(home.folder / "w6", window_bars=6), "cpu")
    assert update_patterns(home, settings, LocalWindowEncoder(encoder)).added == 2 * 10
    assert home.version("patterns") == before


@pytest.mark.slow
def test_another_encoder_is_refused_by_name(indexed, tmp_path):
    home, encoder = indexed
    other = write_encoder(tmp_path / "other", seed=1)
    message = rf"encoder {encoder.fingerprint} \(now asked for: {Encoder.load(other).fingerprint}\)"
    settings = Settings(SMALL, FactorSettings(return_horizon=3))
    with pytest.raises(FingerprintError, match=message):
        StateKey.newest(home, settings, str(other))
    assert update_patterns(home, SMALL, LocalWindowEncoder(Encoder.load(other))).added == 22
    assert StateKey.newest(home, settings, str(other)).patterns_table != "patterns"
    assert StateKey.newest(home, settings, str(tmp_path / "w")).encoder.fingerprint == encoder.fingerprint


def test_no_patterns_yet_suit_every_setting(tmp_path):
    check_patterns(make_home(tmp_path / "home", market(1, 20)), FIRST, STRIDED, "any", None)
