"""Baselines equal plain loops, see no future, and stand beside the factor on the same samples."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import kline_core as kl
from kline_core.baselines import boosting, compare, likeness, trend
from kline_core.baselines.samples import NO_WINDOW, Samples
from kline_core.encoder.synthetic import synthetic_market
from kline_core.errors import SettingError
from kline_core.evaluation.estimate import Estimate
from kline_core.factor.export import stored_values
from kline_core.factor.state import load_state
from kline_core.factor.state_key import StateKey
from kline_core.plots.baselines_page import baselines_figure, baselines_page
from kline_core.settings import FactorSettings, PatternSettings, Settings
from kline_core.windows.charts import render_charts
from kline_core.windows.prices import WindowPrices
from tests.support.homes import make_home, market

pytestmark = pytest.mark.slow

SETTINGS = Settings(PatternSettings(), FactorSettings())
LAST = "2020-07-01"


def made(folder: Path, frame: pd.DataFrame) -> kl.Home:
    home = make_home(folder / "home", frame)
    kl.update_patterns(home, device="cpu")
    kl.compute_factor(home, samples=60, as_of=LAST, device="cpu", max_failed_share=1)
    return home


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return market(6, 160, seed=11)


@pytest.fixture(scope="module")
def home(tmp_path_factory, frame) -> kl.Home:
    return made(tmp_path_factory.mktemp("baselines"), frame)


def state_of(home: kl.Home):
    return load_state(StateKey.newest(home, SETTINGS, None, "cpu"))


def samples_of(home: kl.Home, state, settings: Settings = SETTINGS) -> tuple[pd.DataFrame, Samples]:
    stored = stored_values(home, state.key.fingerprint)
    dates = stored["date"].to_numpy().astype("datetime64[D]")
    return stored, Samples.of(stored["symbol"].to_numpy(dtype=object), dates, state.frames, settings)


def test_the_encoder_gives_the_factors_own_values(home):
    state = state_of(home)
    stored, samples = samples_of(home, state)
    values = samples.values(likeness.likeness_values(state, samples, None, SETTINGS))
    np.testing.assert_array_equal(values["value"].to_numpy(), stored["value"].to_numpy())


def test_matches_by_closes_are_those_of_a_plain_loop(home):
    state = state_of(home)
    _, samples = samples_of(home, state)
    fast = likeness.likeness_values(state, samples, likeness.closes, SETTINGS)
    patterns, steps = state.patterns, SETTINGS.patterns

    def shape(symbol: str, bar: int) -> np.ndarray:
        close = state.frames[symbol].close[bar - 19 : bar + 1]
        found = (close - close.mean()) / close.std()
        return found / np.sqrt((found**2).sum())

    known = [shape(patterns.symbols[c], b) for c, b in zip(patterns.code, patterns.bar, strict=True)]
    for at in range(0, len(samples.usable), 29):
        symbol, bar = samples.names[samples.code[at]], int(samples.bar[at])
        date, mine = samples.dates[samples.usable[at]], shape(symbol, bar)
        eligible = [
            row
            for row in range(len(patterns))
            if patterns.known_on[row] <= date
            and not (patterns.symbols[patterns.code[row]] == symbol and abs(int(patterns.bar[row]) - bar) < 20)
        ]
        chosen: list[int] = []
        for row in sorted(eligible, key=lambda row: -float(mine @ known[row])):
            name, place = patterns.code[row], int(patterns.bar[row])
            if all(patterns.code[o] != name or abs(int(patterns.bar[o]) - place) > 20 for o in chosen):
                chosen.append(row)
            if len(chosen) == SETTINGS.factor.top_k:
                break
        if len(chosen) < SETTINGS.factor.min_matches:
            assert np.isnan(fast[at])
            continue
        ages = (date - patterns.end[chosen]).astype(int)
        weight = np.array([mine @ known[row] for row in chosen]) * 0.5 ** (ages / SETTINGS.factor.half_life_days)
        won = patterns.barrier[chosen] == 1
        rose = patterns.returns[chosen, steps.horizons.index(5)] > 0
        value = (weight * (0.7 * won + 0.3 * rose)).sum() / weight.sum()
        assert fast[at] == pytest.approx(value, abs=1e-5)


@pytest.fixture
def prices() -> WindowPrices:
    draw = np.random.default_rng(3)
    close = 10 * np.exp(np.cumsum(draw.normal(0, 0.02, (30, 20)), axis=1))
    close[0] = 7.0
    opened = close * np.exp(draw.normal(0, 0.005, close.shape))
    opened[0] = 7.0
    return WindowPrices(opened, np.maximum(opened, close), np.minimum(opened, close), close)


def test_vectors_have_the_length_1_and_no_scale(prices):
    for vectors in (likeness.closes, likeness.ohlc, likeness.pixel_components(20)):
        found = vectors(prices)
        assert found.dtype == np.float32
        np.testing.assert_allclose((found**2).sum(axis=1), 1, atol=1e-6)
        times = vectors(WindowPrices(*(price * 4.0 for price in prices)))
        np.testing.assert_allclose(times, found, atol=1e-6)


def test_windows_without_a_shape_are_like_each_other_alone():
    flat = WindowPrices(*[np.full((2, 20), 5.0)] * 4)
    for vectors in (likeness.closes, likeness.ohlc):
        both = vectors(flat)
        assert both[0] @ both[1] == 1
        assert not both[:, :-1].any()


def test_components_are_those_of_the_covariance_of_synthetic_charts(monkeypatch):
    monkeypatch.setattr(likeness, "_TRAINING", (12, 100))
    bars = 3
    market = synthetic_market(*likeness._TRAINING, seed=likeness.SEED)
    windows = [
        np.concatenate([price[:, at : at + bars] for at in range(0, likeness._TRAINING[1] - bars + 1, bars)])
        for price in (market.open, market.high, market.low, market.close)
    ]
    pixels = render_charts(*windows).reshape(len(windows[0]), -1) / 255.0
    mean = pixels.mean(axis=0)
    covariance = (pixels - mean).T @ (pixels - mean)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, : likeness.COMPONENTS]
    some = WindowPrices(*(price[::97] for price in windows))
    wanted = (render_charts(*some).reshape(len(some.close), -1) / 255.0 - mean) @ directions
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = likeness.pixel_components(bars)(some)
    # The signs of directions are arbitrary, products are not.
    np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-4)


def test_an_untrained_network_is_the_same_each_time(prices):
    encoder = kl.Encoder.load(device="cpu")
    first, again = (likeness.untrained(encoder)(prices) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, encoder.encode(render_charts(*prices)))


def test_trailing_returns_are_those_of_the_closes(home):
    state = state_of(home)
    _, samples = samples_of(home, state)
    for bars in (5, 20, 60):
        found = trend.trailing_returns(state.frames, samples, bars, SETTINGS)
        for at in range(len(found)):
            close, end = state.frames[samples.names[samples.code[at]]].close, samples.bar[at]
            wanted = close[end] / close[end - bars] - 1 if end >= bars else np.nan
            np.testing.assert_array_equal(found[at], wanted)


def test_a_jump_between_leaves_no_return(home):
    state = state_of(home)
    _, samples = samples_of(home, state)
    name = samples.names[samples.code[0]]
    bars = state.frames[name]
    jumps = np.zeros(len(bars), dtype=bool)
    jumps[samples.bar[0] - 2] = True
    frames = {**state.frames, name: replace(bars, jumps=jumps)}
    assert np.isnan(trend.trailing_returns(frames, samples, 5, SETTINGS)[0])
    allowed = replace(SETTINGS, patterns=PatternSettings(allow_jumps=True))
    assert not np.isnan(trend.trailing_returns(frames, samples, 5, allowed)[0])


def test_features_are_those_of_a_plain_loop(home):
    state = state_of(home)
    _, samples = samples_of(home, state)
    found = boosting.features(state.frames, samples.names, samples.code, samples.bar, 20)
    for at in (0, 7, len(found) - 1):
        bars, end = state.frames[samples.names[samples.code[at]]], int(samples.bar[at])
        wanted = []
        for column in (bars.open, bars.high, bars.low, bars.close):
            wanted += [np.log(column[end - 19 + step] / bars.close[end]) for step in range(20)]
        mean = bars.volume[end - 19 : end + 1].mean()
        wanted += [np.log(bars.volume[end - 19 + step] / mean) for step in range(20)]
        np.testing.assert_allclose(found[at], wanted, rtol=1e-5, atol=1e-6)


def test_the_boosted_model_finds_what_was_planted_and_learns_from_the_past_alone(home, monkeypatch):
    pytest.importorskip("sklearn")
    state = state_of(home)
    _, samples = samples_of(home, state)
    monkeypatch.setattr(boosting, "LEAST", 100)
    monkeypatch.setattr(boosting, "TREES", 30)
    # All samples in a later year than the patterns, whose returns are the last day's move.
    later = replace(samples, dates=samples.dates + np.timedelta64(366, "D"))
    patterns = state.patterns
    move = boosting.features(state.frames, patterns.symbols, patterns.code, patterns.bar.astype(np.int64), 20)[:, 78]
    planted = replace(patterns, returns=np.repeat(move[:, None], 4, axis=1).astype(np.float32))
    asked = boosting.features(state.frames, samples.names, samples.code, samples.bar, 20)[:, 78]
    with threadpool_limits(1):
        found = boosting.boosted_values(replace(state, patterns=planted), later, SETTINGS)
    assert np.corrcoef(found, asked)[0, 1] > 0.9
    # In the year of the samples itself nothing was known before the year began.
    assert np.isnan(boosting.boosted_values(state, samples, SETTINGS)).all()


QUICK = ("closes", "reversal_5")


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.long)
        for name in compare.BASELINES
        if name != "boosting"
    ],
)
def test_another_future_leaves_every_value_as_it_was(name, home, frame, tmp_path_factory):
    day = np.datetime64("2020-06-01")
    changed = frame.copy()
    after = changed["date"].to_numpy().astype("datetime64[D]") > day
    draw = np.random.default_rng(5)
    factor = np.exp(draw.normal(0, 0.1, after.sum()))
    for column in ("open", "high", "low", "close"):
        changed.loc[after, column] *= factor
    other = _other(tmp_path_factory, changed)
    here, there = state_of(home), state_of(other)
    stored = stored_values(home, here.key.fingerprint)
    stored = stored[stored["date"] <= day]
    dates = stored["date"].to_numpy().astype("datetime64[D]")
    values = []
    for state in (here, there):
        samples = Samples.of(stored["symbol"].to_numpy(dtype=object), dates, state.frames, SETTINGS)
        values.append(compare.BASELINES[name](state, samples, SETTINGS))
    assert (~np.isnan(values[0])).sum() > 20
    np.testing.assert_array_equal(*values)


_OTHERS: dict[str, kl.Home] = {}


def _other(factory, frame: pd.DataFrame) -> kl.Home:
    if "home" not in _OTHERS:
        _OTHERS["home"] = home = make_home(factory.mktemp("other") / "home", frame)
        kl.update_patterns(home, device="cpu")
    return _OTHERS["home"]


def test_samples_without_a_window_are_counted(home):
    state = state_of(home)
    first = state.frames["S00000"].dates[0]
    samples = Samples.of(
        np.array(["S00000", "S00000", "NONE"], dtype=object),
        np.array([first, state.frames["S00000"].dates[40], first]),
        state.frames,
        SETTINGS,
    )
    rows = samples.values(np.array([0.5]))
    assert rows["status"].tolist() == ["failed", "ok", "failed"]
    assert rows["reason"].fillna("").tolist() == [NO_WINDOW, "", NO_WINDOW]


def test_all_stand_beside_the_factor(home):
    told = []
    found = kl.compare_baselines(home, only=["closes", "reversal_5"], progress=told.append, device="cpu")
    assert told == ["closes", "reversal_5"]
    assert [row.name for row in found.rows] == ["factor", "closes", "reversal_5"]
    assert found.samples == len(kl.read_factor(home).values)
    assert found.text().startswith(found.verdict)
    assert found.to_dict()["methods"][0]["seconds"] is None
    for row in found.rows[1:]:
        single = found.evaluations[row.name]
        main = next(each for each in single.horizons if each.horizon == 5)
        assert row.over_time == main.over_time
    with pytest.raises(SettingError, match="baseline 'closing' is not known; there are closes, ohlc"):
        kl.compare_baselines(home, only=["closing"])


def test_without_patterns_only_what_needs_none_has_values(tmp_path):
    found = kl.compare_baselines(made(tmp_path, market(2, 23, seed=3, start="2020-06-01")), device="cpu")
    assert {row.name for row in found.rows} == {"factor", *compare.BASELINES}
    assert all(row.problem is None for row in found.rows)
    assert {row.name for row in found.rows if row.values} == {"momentum_20", "reversal_5"}


def test_a_baseline_whose_library_is_missing_is_said(home):
    def missing(*_: object) -> None:
        raise ImportError("No module named 'sklearn'")

    state = state_of(home)
    stored, _ = samples_of(home, state)
    found = compare.compare(state, stored, SETTINGS, "f", {"boosting": missing})
    assert "No module named 'sklearn'; pip install" in found.text()
    assert found.verdict == "The factor was compared with no baseline."


def of(name: str, less: float, se: float = 0.01) -> compare.Row:
    known = Estimate(less, se, 100, None) if not np.isnan(less) else Estimate(less, se, 3, "few")
    return compare.Row(name, 10, Estimate(0.02, 0.01, 100, None), known, known, 1.0)


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.03, 0.05], "lies above that of each of its 2 baselines by more than two standard errors"),
        ([0.03, 0.01], "The factor does not beat its baselines: .* not above that of b1 by two standard errors"),
        ([-0.03, 0.01], "The factor does not beat its baselines: .* that of b0, b1 by"),
        ([0.03, float("nan")], "cannot be said"),
    ],
)
def test_the_first_line_says_whether_it_beats_them(differences, said):
    rows = [of("factor", float("nan")), *(of(f"b{at}", less) for at, less in enumerate(differences))]
    found = compare.Comparison("f", 10, 5, rows, {})
    assert re.search(said, found.verdict)


def test_the_page_begins_with_the_verdict_and_needs_nothing_else():
    rows = [of("factor", float("nan")), of("<b>", 0.01), of("b1", float("nan"))]
    found = compare.Comparison("f&", 10, 5, rows, {})
    page = baselines_page(found, "red")
    assert page.split("<body>")[1].strip().startswith(f"<h1>{html.escape(found.verdict)}</h1>")
    assert "<b>" not in page
    assert "<script" not in page
    assert set(re.findall(r'(?:src|href)="([^"]{5})', page)) == {"data:"}
    figure = baselines_figure(found)
    names = [text.get_text() for axes in figure.axes for text in axes.get_xticklabels()]
    assert names == 2 * ["factor", "<b>", "b1"]


def test_several_time_scales_have_the_factors_rules(frame, tmp_path):
    settings = Settings(PatternSettings(scales=(1, 2), scale_weights=(0.75, 0.25)), FactorSettings())
    home = make_home(tmp_path / "home", frame)
    kl.update_patterns(home, settings=settings.patterns, device="cpu")
    kl.compute_factor(home, samples=15, settings=settings, device="cpu", max_failed_share=1)
    found = kl.compare_baselines(home, only=["encoder", "closes"], settings=settings, device="cpu")
    state = load_state(StateKey.newest(home, settings, None, "cpu"))
    stored, samples = samples_of(home, state, settings)
    values = samples.values(likeness.likeness_values(state, samples, None, settings))
    np.testing.assert_array_equal(values["value"].to_numpy(), stored["value"].to_numpy())
    assert [row.name for row in found.rows] == ["factor", "encoder", "closes"]
    assert found.rows[1].values == found.rows[0].values > 0
