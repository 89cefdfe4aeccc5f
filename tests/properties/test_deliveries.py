"""Values of a history that came in parts are those of the history that came at once, for each kind of adjustment."""

from itertools import pairwise

import pandas as pd
import pytest

import kline_core as kl
from tests.support.bench import SMALL_SETTINGS
from tests.support.homes import SMALL, write_encoder
from tests.support.payments import ALL, DAYS, EX_DATES, KINDS, told_by


def deliver(home: kl.Home, kind: str, begin: int, end: int, weights: str) -> None:
    """Deliver some days, make their patterns, and compute the values of the last one."""
    kl.ingest(home, told_by(kind, ALL[ALL["date"].isin(DAYS[begin:end].astype("datetime64[s]"))]))
    kl.update_patterns(home, settings=SMALL, encoder=weights, device="cpu")
    values(home, weights, samples=1)


def values(home: kl.Home, weights: str, samples: int = len(DAYS)) -> pd.DataFrame:
    settings = {"settings": SMALL_SETTINGS, "encoder": weights, "device": "cpu"}
    found = kl.compute_factor(home, samples=samples, max_failed_share=1, **settings).frame
    return found.drop(columns="run_id").sort_values(["symbol", "date"], ignore_index=True)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [1, 5])
def test_a_history_that_came_in_parts_has_the_values_of_the_whole(tmp_path, kind, step):
    weights = str(write_encoder(tmp_path / "weights.safetensors"))
    parts, whole = (kl.Home(tmp_path / name, create=True) for name in ("parts", "whole"))
    deliver(whole, kind, 0, len(DAYS), weights)
    # What gives only changes must begin with a stored day.
    back = 1 if kind in ("adjusted close", "splits and dividends") else 0
    # Some days at first, before all of the split and the dividends.
    for begin, end in pairwise([0, *range(min(EX_DATES) - 1, len(DAYS), step), len(DAYS)]):
        deliver(parts, kind, max(begin - back, 0), end, weights)
    found, expected = values(parts, weights), values(whole, weights)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert expected["value"].notna().sum() > 10
