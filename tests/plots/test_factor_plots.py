"""Pictures of many values: what is on them, that noise is grey, and that nothing but the data decides their bytes."""

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from kline_core.evaluation.quantiles import QuantileReturn, QuantileReturns
from kline_core.evaluation.report import Estimate, Evaluation, HorizonIC, YearCoverage
from kline_core.plots import style
from kline_core.plots.factor_plots import evaluation_picture, values_picture

NAN = float("nan")
NONE = Estimate(NAN, NAN, 0, "there is no value")


def evaluation_of(ics, means=(0.0,) * 5, across=True, se=0.01):
    """An evaluation with the given rank ICs, of which None is missing, and the given mean returns."""
    horizons = []
    for horizon, ic in zip((1, 5, 10, 20), ics, strict=False):
        estimate = NONE if ic is None else Estimate(ic, se, 100, None)
        horizons.append(HorizonIC(horizon, 1000, estimate if across else NONE, NONE, NONE if across else estimate))
    groups = [QuantileReturn(at + 1, 0.1 + 0.2 * at, mean, 0.001, 200, 90) for at, mean in enumerate(means)]
    return Evaluation(
        fingerprint="0123456789abcdef",
        samples=1030,
        values=1000,
        failed={"too few matches: 0 of 5": 30},
        seen=0,
        without_bar=0,
        across_jumps=0,
        symbols=12,
        first=np.datetime64("2020-01-02"),
        last=np.datetime64("2025-04-07"),
        horizon=5,
        horizons=horizons,
        quantiles=QuantileReturns(across, groups, means[-1] - means[0], 0.0014),
        coverage=[YearCoverage(2020, 1030, 1000, 12, 90)],
    )


@pytest.fixture
def words(monkeypatch):
    """All texts of the figures that are drawn meanwhile."""
    seen = []
    finish = style.png

    def listen(figure: Figure, palette):
        texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
        seen.extend(text for text in texts if text)
        return finish(figure, palette)

    monkeypatch.setattr("kline_core.plots.factor_plots.png", listen)
    return seen


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def has(picture, colour):
    wanted = np.array([round(255 * part) for part in to_rgb(colour)])
    return bool((np.abs(pixels(picture) - wanted).max(axis=-1) <= 3).any())


@pytest.mark.slow
def test_values_are_counted(words):
    values = np.array([0.0, 0.01, 0.5, 1.0, 1.0, 1.0, NAN, NAN])
    picture = values_picture(values, "Factor values of 2024-03-07")
    assert Image.open(io.BytesIO(picture)).size == (1200, 540)
    assert "Factor values of 2024-03-07" in words
    assert any(word.startswith("8 symbols = 6 with a value + 2 failed") for word in words)
    # The bins of 0, of 0.5 and of 1, itself included.
    assert sorted(word for word in words if word.isdigit()) == ["1", "2", "3"]
    assert any("median (triangle) 0.75" in word for word in words)


def test_the_highest_value_stands_at_the_right_end():
    dark = (pixels(values_picture(np.ones(9), "")) < 140).all(axis=-1)
    # The axes take 5.5 to 97 % of the width, and the last of twenty columns a twentieth of them.
    columns = np.flatnonzero(dark.sum(axis=0) > 100)
    assert (columns.min(), columns.max()) == pytest.approx((1164 - 55, 1164), abs=4)


@pytest.mark.slow
@pytest.mark.parametrize("values", [np.full(3, NAN), np.zeros(0)])
def test_no_values_are_said_to_be_none(words, values):
    values_picture(values, "Factor values")
    assert "no symbol has a value" in words


@pytest.mark.slow
def test_an_evaluation_is_drawn_with_its_verdict(words):
    found = evaluation_of([0.001, -0.002, None, 0.003])
    picture = evaluation_picture(found)
    assert Image.open(io.BytesIO(picture)).size == (1500, 720)
    assert found.verdict in " ".join(words)
    assert {"+0.001", "-0.002", "-", "+0.003", "Rank IC across symbols"} <= set(words)
    assert any("12 symbols, 1030 samples = 1000 values + 30 failed" in word for word in words)


@pytest.mark.slow
def test_noise_is_grey_and_what_is_none_has_its_colour():
    noise = evaluation_picture(evaluation_of([0.019, -0.019], [0.0019, -0.0019, 0, 0, 0]))
    up = evaluation_picture(evaluation_of([0.021, -0.019]))
    down = evaluation_picture(evaluation_of([0.019, -0.019], [-0.0021, 0, 0, 0, 0]))
    drawn = [(has(picture, style.COLOURS[1]), has(picture, style.COLOURS[-1])) for picture in (noise, up, down)]
    assert drawn == [(False, False), (True, False), (False, True)]
    assert has(noise, style.COLOURS[0])


@pytest.mark.slow
def test_ics_over_time_stand_in_where_there_are_none_across(words):
    evaluation_picture(evaluation_of([0.001, 0.002], across=False))
    assert {"Rank IC over time", "+0.001", "Mean 5-bar return beyond that of all dates"} <= set(words)


@pytest.mark.slow
def test_nothing_known(words):
    found = replace(evaluation_of([None] * 4, (NAN,) * 5), values=0)
    evaluation_picture(found)
    assert found.verdict in " ".join(words)
    assert words.count("-") == 9


@pytest.mark.slow
def test_pictures_are_small_and_depend_on_the_data_alone():
    rng = np.random.default_rng(0)
    many = rng.random(5000)
    found = evaluation_of([0.05, 0.021, -0.03, 0.001], [0.004, 0.001, 0, -0.002, -0.005])
    draw = [lambda: values_picture(many, "Factor values"), lambda: evaluation_picture(found)] * 4
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda each: each(), draw))
    assert len(set(pictures[::2])) == len(set(pictures[1::2])) == 1
    assert all(len(picture) < 60_000 for picture in pictures)
    changed = evaluation_picture(evaluation_of([0.05, 0.021, -0.03, 0.002], [0.004, 0.001, 0, -0.002, -0.005]))
    assert all(one != two for one, two in itertools.pairwise([*pictures[:2], changed]))
