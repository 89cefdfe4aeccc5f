"""The picture of a query: what is on it, and that nothing but the view decides its bytes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from kline_core.factor.searchable import Searchable
from kline_core.plots.match_plot import _touch, match_figure, match_picture
from kline_core.settings import PatternSettings, Settings
from kline_core.windows.prices import WindowPrices
from tests.support.explanations import SETTINGS, followed, view_of

TINTS = {1: "#e4f0f8", -1: "#fbeadf", 0: "#f0f2f4"}


def colours(path):
    picture = Image.open(path)
    assert (picture.format, picture.size) == ("PNG", (1800, 960))
    counted = picture.convert("RGB").getcolors(1 << 24)
    return {to_hex(np.array(colour) / 255): count for count, colour in counted}


@pytest.mark.slow
@pytest.mark.parametrize("barrier", [1, -1, 0])
def test_the_ground_tells_the_outcome(tmp_path, barrier):
    found = colours(match_picture(view_of([followed(barrier)]), tmp_path / "one.png"))
    # The legend has a small grey box, which is no chart.
    large = {tint for tint in TINTS.values() if found.get(tint, 0) > 5_000}
    assert large == {TINTS[barrier]}


def test_the_marker_stands_where_the_outcome_found_a_touch():
    # 1.1 * 1.05 is a little above 1.155.
    match = followed(1)
    flat = np.full(21, 1.1)
    after = replace(match.after, open=flat, close=flat, low=flat, high=np.where(np.arange(21) < 4, flat, 1.155))
    assert 1.1 * 1.05 > 1.155
    assert _touch(after, SETTINGS.patterns) == 4


@pytest.mark.slow
def test_the_newest_query_has_no_ground_for_what_follows(tmp_path):
    found = colours(match_picture(view_of([]), tmp_path / "query.png"))
    assert all(found.get(tint, 0) < 5_000 for tint in TINTS.values())


@pytest.mark.slow
def test_a_known_future_of_the_query_is_drawn(tmp_path):
    for after, barrier in ((21, 0), (4, None), (1, None)):
        found = colours(match_picture(view_of([], after, barrier), tmp_path / "query.png"))
        assert found[TINTS[0]] > 5_000


@pytest.mark.slow
def test_same_view_same_bytes_from_any_thread(tmp_path):
    view = view_of([followed(side, rank) for rank, side in enumerate((1, -1, 0, 1, -1), 1)], 21, 0)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda at: match_picture(view, tmp_path / f"{at}.png"), range(4)))
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.slow
def test_no_value_no_matches_and_more_matches_than_fit(tmp_path):
    assert match_picture(view_of([], value=None), tmp_path / "none.png").stat().st_size > 10_000
    many = [followed(1, rank, share=float("nan")) for rank in range(1, 9)]
    assert match_picture(view_of(many), tmp_path / "many.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_mark_of_a_seen_date_is_drawn(tmp_path):
    view = view_of([])
    marked = replace(view, factor=view.factor | {"reason": "encoder trained through 2020-03-01"})
    plain, mark = (match_picture(each, tmp_path / f"{at}.png") for at, each in enumerate((view, marked)))
    assert plain.read_bytes() != mark.read_bytes()


def lines(figure):
    return [text.get_text() for text in figure.texts][1:]


@pytest.mark.slow
def test_the_searchable_part_has_a_line():
    found = Searchable(12_345, 3, 60, *np.array(["1999-01-29", "2008-09-11", "2008-10-10"], "datetime64[D]"))
    assert lines(match_figure(replace(view_of([followed(1)]), searchable=found)))[2] == (
        "Searchable: 12,345 windows of 60 symbols that ended from 1999-01-29 to 2008-09-11, the last outcome known on "
        "2008-10-10; 3 that share bars with its own window left out."
    )
    assert len(lines(match_figure(view_of([followed(1)])))) == 2


def texts_of(figure):
    figure.canvas.draw()
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


@pytest.mark.slow
def test_no_line_above_the_charts_is_wider_than_the_picture():
    days = np.array(["2001-09-23", "2024-08-21", "2024-09-23"], "datetime64[D]")
    candles = {
        scale: WindowPrices(*(np.arange(20.0)[None] + add for add in (10.0, 11.5, 9.5, 11.0))) for scale in (5, 21)
    }
    view = replace(
        view_of([replace(followed(1), candles=candles)], 21, 0),
        searchable=Searchable(1_000_000, 12_345, 5_000, *days),
        settings=Settings.preset(mode="full", scales=(1, 5, 21), market_relative=True),
        candles=candles,
    )
    figure = match_figure(view)
    wide = figure.bbox.x1
    assert [text.get_text() for text in texts_of(figure) if text.get_window_extent().x1 > wide] == []
    said = [text.get_text() for text in texts_of(figure)]
    assert "30 % in choosing candidates" in said
    assert any("its last 20 bars, of those most like its last 420 in candles" in each for each in said)
    assert not any("of the similarity" in each for each in said)


@pytest.mark.slow
def test_a_match_whose_bars_are_gone_is_without_candles():
    match = followed(-1, 2)
    none = match.window.part(0, 0)
    gone = replace(match, window=none, after=none, known_on=None)
    view = replace(view_of([followed(1), gone, followed(0, 3)]), run="20200101T000000-abcdef", notes=("one", "two"))
    figure = match_figure(view)
    assert lines(figure)[2] == "Run 20200101T000000-abcdef: one; two."
    said = {text.get_text(): axes for axes in figure.axes for text in axes.texts}
    assert not said["its bars are gone"].collections
    assert "−3 % first" in said
    assert "Best 2 from their entries" in said
    assert gone.to_dict()["known_on"] is None
    alone = match_figure(replace(view, matches=[gone]))
    assert not any("from their entries" in text.get_text() for axes in alone.axes for text in axes.texts)


@pytest.mark.slow
def test_every_larger_time_scale_has_a_row_of_charts():
    candles = {
        scale: WindowPrices(*(np.arange(20.0)[None] + add for add in (10.0, 11.5, 9.5, 11.0))) for scale in (5, 21)
    }
    settings = Settings(PatternSettings(scales=(1, 5, 21)))
    matches = [replace(followed(1, rank), candles=candles) for rank in (1, 2)]
    figure = match_figure(replace(view_of(matches), settings=settings, candles=candles))
    assert figure.get_size_inches().tolist() == [12.0, 6.4 + 2 * 1.7]
    below = figure.subfigs[1]
    assert len(below.axes) == 2 * 3
    said = [text.get_text() for axes in below.axes for text in axes.texts]
    assert said[:4] == ["5 bars a candle", "30 % of the similarity", "1   S", "2020-01-20"]
    assert "21 bars a candle" in said
    # Each chart shows twenty candles, all of which rose.
    for axes in below.axes:
        wicks, bodies = axes.collections
        assert len(wicks.get_segments()) == len(bodies.get_paths()) == 20
    assert [text.get_text() for text in figure.subfigs[0].texts][1].startswith(
        "The 2 charts most like its last 420 bars in candles of 1, 5, 21 bars, of all whose outcome"
    )
    assert view_of([]).candles == {}


@pytest.mark.slow
def test_flat_bars(tmp_path):
    level = np.full(20, 10.0)
    view = view_of([])
    window = replace(view.window, open=level, high=level, low=level, close=level)
    assert match_picture(replace(view, window=window), tmp_path / "flat.png").exists()


@pytest.mark.slow
def test_file_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="missing"):
        match_picture(view_of([]), tmp_path / "missing" / "a.png")
