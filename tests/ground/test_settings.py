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
