import json
from dataclasses import asdict

import pytest

from kline_core.errors import SettingError
from kline_core.search import ivf_index as module
from kline_core.settings import FactorSettings, PatternSettings, Settings

# --- settings, runs, the command line ---


def test_fingerprints_of_exact_values_are_what_they_were():
    assert Settings().fingerprint("x") == "0674bd550efedbad"


def test_values_of_another_search_have_another_fingerprint():
    def made(**factor):
        return Settings(factor=FactorSettings(**factor)).fingerprint("x")

    assert made(probes=7) == made(min_recall=0.5) == made()
    assert len({made(), made(index="ivf"), made(index="ivf", probes=7)}) == 3
    assert made(index="ivf", min_recall=0.5) == made(index="ivf")


def test_time_scales_are_part_of_the_fingerprint_where_there_are_several():
    def made(**patterns):
        return Settings(PatternSettings(**patterns)).fingerprint("x")

    assert made(scales=(1,)) == made(scale_weights=(1,)) == made()
    assert "scales" not in PatternSettings().to_dict()
    usual = made(scales=(1, 5, 21))
    assert usual == made(scales=(1, 5, 21), scale_weights=(0.6, 0.3, 0.1))
    others = {made(scales=(1, 5, 21), scale_weights=(0.5, 0.3, 0.2)), made(scales=(5,)), made(scales=(1, 5))}
    assert len({made(), usual, *others}) == 5


@pytest.mark.parametrize(
    ("scales", "given", "weights"),
    [
        ((1,), (), [1]),
        ((7,), (), [1]),
        ((1, 5, 21), (), [0.6, 0.3, 0.1]),
        ((1, 5), (), [2 / 3, 1 / 3]),
        ((5, 21), (0.75, 0.25), [0.75, 0.25]),
        ((2, 3), (0.5, 0.5), [0.5, 0.5]),
    ],
)
def test_weights_of_time_scales(scales, given, weights):
    made = PatternSettings(scales=scales, scale_weights=given)
    assert list(made.weights_of_scales) == pytest.approx(weights, abs=1e-15)
    assert made == PatternSettings(scales=scales, scale_weights=made.weights_of_scales)
    assert PatternSettings.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert PatternSettings.from_dict(json.loads(json.dumps(asdict(made)))) == made
    assert made.span_bars == 20 * scales[-1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"scales": ()}, r"scales is \(\); it must be distinct, increasing and at least 1"),
        ({"scales": (5, 1)}, "scales is .* distinct, increasing and at least 1"),
        ({"scales": (1, 1)}, "scales is .* distinct, increasing and at least 1"),
        ({"scales": (0, 1)}, "scales is .* distinct, increasing and at least 1"),
        ({"scales": [1, 5]}, "scales is .* a tuple of whole numbers"),
        ({"scales": (1.0,)}, "scales is .* a tuple of whole numbers"),
        ({"scales": (1, 50_001)}, "scales is .* at most 50000 each"),
        ({"scales": tuple(range(1, 10))}, "scales is .* at most 8 scales"),
        (
            {"scales": (1, 3)},
            r"scale_weights is \(\); it must be given for the scales \(1, 3\), one for each; usual are 0",
        ),
        ({"scales": (1, 5), "scale_weights": (1.0,)}, "scale_weights is .* one for each of the scales"),
        ({"scales": (1, 5), "scale_weights": (1.0, 0.0)}, "scale_weights is .* above 0"),
        ({"scales": (1, 5), "scale_weights": (1e308, 1e308)}, "scale_weights is .* at most 1"),
        ({"scales": (1, 5), "scale_weights": (0.6, 0.3)}, "scale_weights is .* weights that sum to 1"),
        ({"scales": (1, 5), "scale_weights": (0.5, float("nan"))}, "scale_weights is .* a tuple of finite numbers"),
    ],
)
def test_time_scales_out_of_bounds(setting, message):
    with pytest.raises(SettingError, match=message):
        PatternSettings(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"index": "hnsw"}, "index is 'hnsw'; it must be 'exact' or 'ivf'"),
        ({"probes": 0}, "probes is 0; it must be between 1 and 1024"),
        ({"probes": module.LISTS + 1}, "probes is 1025; it must be between 1 and 1024"),
        ({"min_recall": 1.5}, "min_recall is 1.5; it must be between 0 and 1"),
    ],
)
def test_settings_out_of_bounds(setting, message):
    with pytest.raises(SettingError, match=message):
        FactorSettings(**setting)


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (PatternSettings, {"window_bars": 20.0}, r"window_bars is 20\.0; it must be a whole number"),
        (PatternSettings, {"window_bars": "20"}, "window_bars is '20'; it must be a whole number"),
        (
            PatternSettings,
            {"window_bars": 10**5000},
            "window_bars is a int too long to show; it must be between 2 and 250",
        ),
        (PatternSettings, {"max_gap_days": 10**9}, "max_gap_days is 1000000000; it must be at most 1000000"),
        (PatternSettings, {"horizons": 5}, "horizons is 5; it must be a tuple of whole numbers"),
        (PatternSettings, {"horizons": (True, 5)}, r"horizons is \(True, 5\); it must be a tuple of whole numbers"),
        (PatternSettings, {"horizons": (1, 10**9)}, "it must be at most 1000000"),
        (PatternSettings, {"barrier_up": float("inf")}, "barrier_up is inf; it must be a finite number"),
        (PatternSettings, {"calendar": None}, "calendar is None; it must be text"),
        (FactorSettings, {"top_k": True}, "top_k is True; it must be a whole number"),
        (FactorSettings, {"half_life_days": 10**400}, "half_life_days is 1000.* it must be a finite number"),
        (FactorSettings, {"half_life_days": None}, "half_life_days is None; it must be a finite number"),
        (FactorSettings, {"isolation_bars": 10**9}, "isolation_bars is 1000000000; it must be at most 1000000"),
        (FactorSettings, {"allow_seen": 1}, "allow_seen is 1; it must be True or False"),
        (FactorSettings, {"index": ["exact"]}, r"index is \['exact'\]; it must be text"),
        (FactorSettings, {"mode": "x" * 9_999}, "mode is 'xxx.* only 'fast' is available"),
    ],
)
def test_values_of_another_type_are_refused_by_name(kind, setting, message):
    with pytest.raises(SettingError, match=message) as caught:
        kind(**setting)
    assert caught.value.parameter in setting
    assert len(str(caught.value)) < 500


def test_equal_settings_have_one_fingerprint():
    whole, fraction = FactorSettings(half_life_days=180, barrier_weight=1), FactorSettings(barrier_weight=1.0)
    assert whole == fraction
    assert Settings(factor=whole).fingerprint("x") == Settings(factor=fraction).fingerprint("x")
