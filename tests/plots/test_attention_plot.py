"""The picture of an attention map: candles, ground in the colour of each drop, a strip for each match."""

from dataclasses import replace

import numpy as np
import pytest

from kline_core.factor.attention import Attention
from kline_core.plots.attention_plot import attention_figure, attention_png
from kline_core.settings import PatternSettings, Settings
from kline_core.windows.prices import WindowPrices
from tests.support.explanations import followed, view_of

MATCHES = [followed(1), followed(-1, 2)]


def drops(at, value=0.2):
    found = np.zeros((2, 20))
    found[:, at] = value
    return found


@pytest.mark.slow
def test_the_candle_with_the_largest_drop_stands_on_the_darkest_ground():
    view = replace(view_of(MATCHES), attention=Attention(np.array([0.9, 0.8]), {1: drops(7)}))
    chart, strips = attention_figure(view).axes
    wicks, bodies = chart.collections
    assert len(wicks.get_segments()) == len(bodies.get_paths()) == 20
    ground = np.array([patch.get_facecolor()[:3] for patch in chart.patches])
    assert len(ground) == 20
    assert ground.sum(axis=1).argmin() == 7
    assert len(np.unique(np.delete(ground, 7, axis=0), axis=0)) == 1
    assert np.array_equal(strips.images[0].get_array(), drops(7))
    assert [label.get_text() for label in strips.get_yticklabels()] == ["1 S +0.200", "2 S +0.200"]
    assert attention_png(view) == attention_png(view)


@pytest.mark.slow
def test_each_time_scale_has_its_chart_and_strips():
    candles = {5: WindowPrices(*(np.arange(20.0)[None] + add for add in (10.0, 11.5, 9.5, 11.0)))}
    found = Attention(np.array([0.9, 0.8]), {1: drops(3), 5: drops(4, 0.0)})
    settings = Settings(PatternSettings(scales=(1, 5)))
    figure = attention_figure(replace(view_of(MATCHES), settings=settings, candles=candles, attention=found))
    assert len(figure.axes) == 4
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert said == ["The chart", "5 bars a candle, 33 % of the similarity"]
    flat = replace(view_of(MATCHES), attention=Attention(np.array([0.9, 0.8]), {1: drops(0, 0.0)}))
    assert attention_png(flat).startswith(b"\x89PNG")


def test_without_a_map_there_is_no_picture():
    with pytest.raises(ValueError, match="no attention map"):
        attention_figure(view_of(MATCHES))
