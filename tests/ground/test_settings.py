import json
from dataclasses import asdict, replace

import pytest

from kline_core.cli.options import pattern_settings_from
from kline_core.cli.parser import build_parser
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
        ({"half_life_days": 0}, "half_life_days is 0; it must be above 0, or None for no decay"),
        ({"min_effective_matches": 0.5}, "min_effective_matches is 0.5; it must be between 1 and top_k"),
        ({"min_effective_matches": 6}, r"min_effective_matches is 6; it must be between 1 and top_k \(5\)"),
        ({"many": 2}, "many is 2; it must be 0, or 3 to 1000000"),
        ({"many": -1}, "many is -1; it must be 0, or 3 to 1000000"),
        ({"many": 1_000_001}, "many is 1000001; it must be 0, or 3 to 1000000"),
        ({"many": 500, "index": "ivf"}, "many is 500; it must be 0 where index is 'ivf', which finds not all"),
        ({"min_similarity": 1.1}, "min_similarity is 1.1; it must be between -1 and 1, or None for no floor"),
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
        (FactorSettings, {"half_life_days": "none"}, "half_life_days is 'none'; it must be a finite number or None"),
        (FactorSettings, {"half_life_days": float("inf")}, "half_life_days is inf; it must be a finite number or None"),
        (FactorSettings, {"min_similarity": True}, "min_similarity is True; it must be a finite number or None"),
        (FactorSettings, {"isolation_bars": 10**9}, "isolation_bars is 1000000000; it must be at most 1000000"),
        (FactorSettings, {"allow_seen": 1}, "allow_seen is 1; it must be True or False"),
        (FactorSettings, {"index": ["exact"]}, r"index is \['exact'\]; it must be text"),
        (FactorSettings, {"mode": "x" * 9_999}, "mode is 'xxx.* only 'fast', 'full' are available"),
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


def test_every_setting_that_asks_for_something_has_a_fingerprint_of_its_own():
    changes = [{}, {"half_life_days": 90}, {"half_life_days": None}, {"min_effective_matches": 2}]
    changes += [{"many": 500}, {"many": 501}]
    changes += [{"min_similarity": -1.0}, {"min_similarity": 0}, {"barrier_weight": 0.5}, {"return_horizon": 10}]
    assert len({Settings(factor=FactorSettings(**each)).fingerprint("x") for each in changes}) == len(changes)
    neutral = FactorSettings(min_effective_matches=1, min_similarity=None, many=0)
    assert Settings(factor=neutral).fingerprint("x") == "0674bd550efedbad"


@pytest.mark.parametrize(
    "change", [{}, {"half_life_days": None}, {"min_effective_matches": 3, "min_similarity": 0, "many": 9}]
)
def test_settings_go_through_json_and_come_back(change):
    factor = FactorSettings(**change)
    assert FactorSettings(**json.loads(json.dumps(factor.to_dict()))) == factor


def test_presets():
    assert Settings.preset() == Settings.preset("seed") == Settings()
    broad = Settings.preset("broad").factor
    assert (broad.top_k, broad.search_k, broad.half_life_days, broad.min_effective_matches) == (50, 2000, None, 10)
    assert Settings.preset("broad").patterns == PatternSettings()
    mixed = Settings.preset("broad", half_life_days=720, horizons=(5, 10), min_matches=5)
    assert (mixed.factor.half_life_days, mixed.factor.top_k, mixed.factor.min_matches) == (720, 50, 5)
    assert mixed.patterns.horizons == (5, 10)


def test_a_preset_goes_before_the_mode():
    assert Settings.preset(mode="full").factor == FactorSettings.of_mode("full")
    broad = Settings.preset("broad", mode="full").factor
    assert (broad.mode, broad.top_k, broad.search_k, broad.rerank_k) == ("full", 50, 2000, 80)
    assert Settings.preset(mode="full", top_k=3).factor == FactorSettings.of_mode("full", top_k=3, min_matches=3)
    with pytest.raises(SettingError, match="mode is 'half'"):
        Settings.preset(mode="half")


def test_fewer_matches_lower_what_must_stand_behind_a_value():
    few = Settings.preset("broad", top_k=8).factor
    assert (few.min_matches, few.min_effective_matches) == (8, 8)
    assert Settings.preset("broad", top_k=30).factor == Settings.preset("broad", top_k=30, min_matches=20).factor
    assert Settings.preset(top_k=3).factor == FactorSettings(top_k=3, min_matches=3)
    assert Settings.preset(top_k=50, search_k=400).factor == FactorSettings(top_k=50, search_k=400)
    with pytest.raises(SettingError, match="min_matches is 9; it must be between 1 and top_k"):
        Settings.preset("broad", top_k=8, min_matches=9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "wide"}, "preset is 'wide'; it must be one of 'seed', 'broad'"),
        ({"name": None}, "preset is None; it must be one of"),
        ({"halflife": 3}, "setting is 'halflife'; it must be a field of PatternSettings or FactorSettings"),
        ({"top_k": "5"}, "top_k is '5'; it must be a whole number"),
    ],
)
def test_what_no_preset_can_be_made_of(arguments, message):
    with pytest.raises(SettingError, match=message):
        Settings.preset(**arguments)


def test_zero_has_one_sign():
    for name in ("barrier_weight", "min_similarity"):
        some, other = (FactorSettings(**{name: value}) for value in (0.0, -0.0))
        assert Settings(factor=some).fingerprint("x") == Settings(factor=other).fingerprint("x")


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (PatternSettings(), ""),
        (PatternSettings(calendar="XNYS"), ""),
        (PatternSettings(scales=(1, 5), market_relative=True), "--market-relative --scales 1,5"),
        (PatternSettings(scales=(1, 2), scale_weights=(0.75, 0.25)), "--scales 1,2 --scale-weights 0.75,0.25"),
        (PatternSettings(pattern_stride=5, calendar="XNYS"), "--pattern-stride 5 --calendar XNYS"),
        (PatternSettings(barrier_up=0.1, horizons=(5, 8)), "--horizons 5,8 --barrier-up 0.1"),
    ],
)
def test_options_that_ask_for_settings_are_taken_back(settings, options):
    assert settings.options == options
    assert pattern_settings_from(build_parser().parse_args(["index", *options.split()])) == replace(
        settings, calendar=settings.calendar if settings.pattern_stride > 1 else "XSHG"
    )


# --- full mode ---


def test_candidates_have_one_fingerprint_whichever_bound_they_meet():
    few, checked = ({"search_k": 500}, {"max_price_checks": 500})
    assert len({Settings.preset(mode="full", **each).fingerprint("x") for each in (few, checked, few | checked)}) == 1


def test_full_mode_has_its_own_defaults_and_explicit_values_go_before_them():
    assert FactorSettings.of_mode("fast") == FactorSettings()
    full = FactorSettings.of_mode("full")
    assert (full.top_k, full.search_k, full.candidates, full.rerank_k) == (10, 2000, 2000, 80)
    other = FactorSettings.of_mode("full", top_k=7, search_k=50, half_life_days=30.0)
    assert (other.top_k, other.search_k, other.half_life_days) == (7, 50, 30.0)
    assert FactorSettings.of_mode("full", max_price_checks=100).candidates == 100
    with pytest.raises(SettingError, match="mode is 'half'; only 'fast', 'full' are available"):
        FactorSettings.of_mode("half")


def test_what_full_mode_alone_uses_is_in_its_fingerprint_alone():
    used = {"max_price_checks": 99, "rerank_k": 9, "pixel_weight": 0.3, "edge_weight": 0.0}

    def made(mode, **factor):
        return Settings(factor=FactorSettings.of_mode(mode, **factor)).fingerprint("x")

    assert {made("fast", **{name: value}) for name, value in used.items()} == {made("fast")}
    assert len({made("full"), made("fast"), *(made("full", **{name: value}) for name, value in used.items())}) == 6
    # As a record of a run holds them.
    full = FactorSettings.of_mode("full", **used)
    assert FactorSettings(**full.to_dict()) == full


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_price_checks": 9}, r"max_price_checks is 9; it must be at least top_k \(10\)"),
        ({"max_price_checks": 10**7}, "max_price_checks is 10000000; it must be between 1 and 1000000"),
        ({"rerank_k": 0}, "rerank_k is 0; it must be between 1 and 1000000"),
        ({"pixel_weight": 1.1}, r"pixel_weight is 1\.1; it must be between 0 and 1"),
        ({"pixel_weight": 0.6, "edge_weight": 0.5}, r"edge_weight is 0\.5; .* pixel_weight \(0\.6\) leaves of 1"),
        ({"search_k": 9}, r"search_k is 9; it must be at least top_k \(10\)"),
    ],
)
def test_settings_of_full_mode_out_of_bounds(setting, message):
    with pytest.raises(SettingError, match=message):
        FactorSettings.of_mode("full", **setting)
