"""The page stands by itself, begins with the verdict, and shows what there is."""

import re

import numpy as np
import pytest

from kline_core.errors import SettingError
from kline_core.evaluation.evaluate import evaluate_frame
from kline_core.plots.evaluation_page import evaluation_page
from kline_core.plots.evaluation_plots import parts_figure, portfolios_figure, reliability_figure, rolling_figure
from kline_core.plots.style import COLOURS, GREEN, RED, sign_colours
from tests.support.made_markets import noise_market, slow_values


@pytest.fixture(scope="module")
def found():
    market = noise_market(41, symbols=16, sessions=480)
    market.names[:8] = [f"{600000 + n}.SH" for n in range(8)]
    ahead = np.nan_to_num(market.ahead(5))
    ahead[:240] = 0
    return evaluate_frame(market.rows(np.clip(slow_values(41, market) + 8 * ahead, 0, 1)), market.frames, tried=4)


@pytest.fixture(scope="module")
def page(found):
    return evaluation_page(found)


@pytest.mark.slow
def test_the_page_needs_nothing_from_elsewhere(found, page):
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert page.count('src="data:image/png;base64,') == page.count("<img ") == 6
    assert all(re.findall(r'<img alt="[^"]+"', page))
    # The verdict is the first thing to read, how much was tried the second.
    body = page[page.index("<body>") :]
    assert body.index(found.verdict.replace(">", "&gt;")) < body.index(found.details.tries.warning) < body.index("<img")
    for title, head, rows in found.details.tables():
        assert title in page
        assert all(f"<th>{name}</th>" in page for name in head)
        assert all(f"<td>{cell}</td>" in page for row in rows for cell in row)


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_page_and_colours_follow_the_setting(found, page):
    assert evaluation_page(found) == page
    assert sign_colours("blue") == COLOURS
    assert (sign_colours("red")[1], sign_colours("red")[-1]) == (RED, GREEN)
    assert (sign_colours("green")[1], sign_colours("green")[-1]) == (GREEN, RED)
    for up in ("blue", "red", "green"):
        drawn = {line.get_color() for line in portfolios_figure(found.details.portfolios, up).axes[0].lines}
        assert {sign_colours(up)[1], sign_colours(up)[-1]} <= drawn
    with pytest.raises(SettingError, match="up is 'pink'; it must be one of blue, red, green"):
        evaluation_page(found, "pink")


@pytest.mark.slow
def test_what_is_missing_is_said():
    market = noise_market(42, symbols=4, sessions=60)
    few = evaluate_frame(market.rows(slow_values(42, market)), market.frames)
    page = evaluation_page(few)
    assert few.details.portfolios.reason in page
    assert "<h2>Over time</h2>" not in page
    # Four symbols have no figure across them: no axes without a point, but the reason.
    said = [part.partition("<h2>")[0] for part in page.split("<h2>") if part.startswith(("Decay", "In parts"))]
    assert len(said) == 2
    assert not any("<img " in part for part in said)
    assert all("None: 0 sessions with returns that do not overlap" in part for part in said)
    plain = evaluation_page(evaluate_frame(market.rows(slow_values(42, market)), market.frames, details=False))
    assert plain.count("<img ") == 1


def test_names_from_outside_are_text():
    market = noise_market(43, symbols=2, sessions=30)
    rows = market.rows(slow_values(43, market)).assign(status="failed", reason="<b>&", value=np.nan)
    page = evaluation_page(evaluate_frame(rows, market.frames, name="<i>", details=False))
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page
    assert "<i>" not in page


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.slow
def test_pictures_carry_the_figures(found):
    details = found.details
    (change,) = details.changes
    assert f"{change.date}: {change.before:+.3f} to {change.after:+.3f}" in words(
        rolling_figure(details.rolling, [change])
    )
    shown = words(parts_figure(details.breakdowns))
    for each in details.breakdowns:
        assert f"by {each.by}" in shown
        known = [part for part in each.parts if part.rank_ic.known]
        assert all(f"{part.rank_ic.value:+.3f}   {part.rank_ic.n} sessions" in shown for part in known)
    counts = [f"{each.samples}" for each in details.calibration.bins if each.samples]
    assert set(counts) <= set(words(reliability_figure(details.calibration)))
    names = {each.name for each in details.portfolios.portfolios}
    assert names <= set(words(portfolios_figure(details.portfolios)))
