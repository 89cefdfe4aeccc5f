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


# --- full mode ---


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
