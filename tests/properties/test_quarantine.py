"""A quarantined jump from end to end: no value reaches across it, and a release lets them."""

import numpy as np
import pandas as pd
import pytest

from kline_core.api.data import update_patterns, verify
from kline_core.api.factor import compute_factor
from kline_core.api.quality import check, hold_jump, release_jump
from kline_core.api.views import evaluate
from kline_core.errors import DateError, SettingError
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.store.home import Home
from tests.support.homes import WINDOW_BARS, make_home, write_encoder
from tests.support.jumps import AT, NAME, PRICES, bars_with_jump, calm

STEPS = PatternSettings(window_bars=WINDOW_BARS, horizons=(1, 3), barrier_bars=4)
FACTOR = FactorSettings(return_horizon=3, min_matches=1)
SETTINGS = Settings(STEPS, FACTOR)
ALLOWED = Settings(PatternSettings(window_bars=WINDOW_BARS, horizons=(1, 3), barrier_bars=4, allow_jumps=True), FACTOR)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("weights") / "w.safetensors")


def computed(home: Home, weights, settings=SETTINGS, rebuild=False) -> pd.DataFrame:
    update_patterns(home, settings=settings.patterns, encoder=weights, device="cpu", rebuild=rebuild)
    result = compute_factor(
        home, samples=200, settings=settings, encoder=weights, device="cpu", threads=2, max_failed_share=1.0
    )
    assert verify(home, settings=settings, encoder=weights).ok
    return result.frame.set_index(["symbol", "date"])[["value", "status", "reason"]].sort_index()


@pytest.mark.slow
def test_nothing_reaches_across_a_jump_until_it_is_released(tmp_path, weights):
    frame = bars_with_jump()
    home = make_home(tmp_path / "home", frame)
    day = frame.loc[frame["symbol"] == NAME, "date"].iloc[AT].date()
    held = computed(home, weights)
    mine = held.loc[NAME]
    dates = frame.loc[frame["symbol"] == NAME, "date"].to_numpy()
    # Sample dates are those of usable windows, and none holds the jump.
    assert not set(mine.index.to_numpy()) & set(dates[AT : AT + WINDOW_BARS - 1])
    ends = home.read("patterns").to_pandas().query("symbol == @NAME")["end"].astype("datetime64[s]").to_numpy()
    forbidden = dates[AT - STEPS.outcome_bars : AT + WINDOW_BARS - 1]
    assert not set(ends) & set(forbidden)
    assert len(ends) == 120 - (WINDOW_BARS - 1) - STEPS.outcome_bars - len(forbidden)
    asked = compute_factor(
        home,
        dates=pd.DataFrame({"symbol": [NAME], "date": [dates[AT + 1]]}),
        settings=SETTINGS,
        encoder=weights,
        device="cpu",
        max_failed_share=1.0,
    )
    assert asked.failed["reason"].tolist() == ["an unexplained jump of the price inside the window"]
    # A value of before has a return across the jump: it is left out and counted.
    evaluated = evaluate(home, settings=SETTINGS, encoder=weights)
    values = mine[(mine.index.to_numpy() >= dates[AT - 4]) & (mine.index.to_numpy() < dates[AT])]
    assert evaluated.across_jumps == values["value"].notna().sum() > 0
    assert "return across an unexplained jump" in evaluated.text()

    # Released, everything is as with the setting that lets all through, and as in a fresh home.
    release_jump(home, "600519", day, "checked by hand")
    assert check(home, NAME).counts == {"released jump": 1}
    free = computed(home, weights)
    fresh = make_home(tmp_path / "fresh", frame)
    allowed = computed(fresh, weights, ALLOWED)
    pd.testing.assert_frame_equal(free, allowed)
    assert len(free) > len(held)
    # Held again, it is as before.
    hold_jump(home, NAME, day)
    pd.testing.assert_frame_equal(computed(home, weights), held)


@pytest.mark.slow
def test_a_market_without_limits_or_jumps_has_the_values_that_it_had(tmp_path, weights):
    frame = calm(3, 80)
    frame.loc[frame["date"] >= frame["date"].iloc[40], PRICES] *= 3
    held = computed(make_home(tmp_path / "a", frame), weights)
    allowed = computed(make_home(tmp_path / "b", frame), weights, ALLOWED)
    pd.testing.assert_frame_equal(held, allowed)


@pytest.mark.slow
def test_a_release_needs_a_jump_and_a_reason(tmp_path):
    home = make_home(tmp_path / "home", bars_with_jump())
    day = str(check(home, NAME).findings["first"].iloc[0])
    with pytest.raises(SettingError, match="why is empty"):
        release_jump(home, NAME, day, " ")
    with pytest.raises(DateError, match="has no unexplained jump on 2020-01-07"):
        release_jump(home, NAME, "2020-01-07", "no")
    with pytest.raises(DateError, match="has no released jump"):
        hold_jump(home, NAME, day)
    release_jump(home, NAME, day, "real")
    release_jump(home, NAME, day, "real, and twice")
    (note,) = home.notes().values()
    assert note["why"] == "real, and twice"
    assert note["change"] == pytest.approx(1.0, abs=0.3)
    assert check(home, NAME).problems == 0
    # Another change on the same day is another jump.
    other = make_home(tmp_path / "other", bars_with_jump(3.0))
    other.set_note(next(iter(home.notes())), note)
    assert check(other, NAME).counts == {"jump": 1}


def test_a_jump_is_known_on_its_own_day(tmp_path):
    frame = bars_with_jump()
    days = np.sort(frame["date"].unique())
    for last, count in ((AT - 1, 0), (AT, 1)):
        home = make_home(tmp_path / f"home{last}", frame[frame["date"] <= days[last]])
        assert check(home).problems == count
