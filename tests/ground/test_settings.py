import pytest

from kline_core.errors import SettingError
from kline_core.search import ivf_index as module
from kline_core.settings import FactorSettings, Settings

# --- settings, runs, the command line ---


def test_fingerprints_of_exact_values_are_what_they_were():
    assert Settings().fingerprint("x") == "487b7247d8ad501e"


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
