"""An evaluation as one HTML page: pictures inside it, no scripts, nothing from a network."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from kline_core.evaluation.details import Details
from kline_core.evaluation.estimate import Estimate
from kline_core.evaluation.report import Evaluation
from kline_core.plots.evaluation_plots import (
    decay_figure,
    parts_figure,
    portfolios_figure,
    reliability_figure,
    rolling_figure,
)
from kline_core.plots.factor_plots import evaluation_figure
from kline_core.plots.html_page import list_part, page, picture_part, reading_part, table_part
from kline_core.plots.style import Figure


def evaluation_page(found: Evaluation, up: str = "blue") -> str:
    """The page, whose first line is the verdict.

    `up`: colour of what lies above zero, one of `kline_core.plots.style.UP`. Raises `SettingError` for another one.
    """
    title = f"Evaluation of {found.fingerprint}, {found.first} to {found.last}"
    parts = [f"<h1>{escape(found.verdict)}</h1>"]
    if found.details is not None:
        parts.append(f'<p class="warning">{escape(found.details.tries.warning)}</p>')
    parts.append(list_part(found.facts()))
    parts.append(
        picture_part(
            evaluation_figure(found, up, head=False), "Rank IC by horizon, and mean return by fifth of the values"
        )
    )
    parts += [table_part(*each) for each in found.tables()]
    if found.details is not None:
        parts += _details(found.details, up)
    parts.append(list_part(found.notes(), "read"))
    return page(title, parts)


def _details(found: Details, up: str) -> Iterator[str]:
    yield "<h2>Beside the verdict</h2>"
    # The warning stands at the top.
    yield list_part(list(found.lines())[1:])
    yield "<h2>Decay</h2>"
    sides = [each for point in found.decay.points for each in (point.over, point.alone)]
    yield from _drawn(
        sides,
        lambda: decay_figure(found.decay, up),
        "Rank IC by distance from the entry",
        "Left: with the whole return from the entry to bar h. Right: with the return of that one bar. Of so many "
        "points one or two lie beyond two standard errors by chance.",
    )
    if found.rolling:
        yield "<h2>Over time</h2>"
        yield picture_part(rolling_figure(found.rolling, found.changes, up), "Rolling rank IC")
        yield reading_part("Dashed: days from which on the level differs, by a CUSUM test at 5 %.")
    tables = {title: (head, rows) for title, head, rows in found.tables()}
    if found.breakdowns:
        yield "<h2>In parts</h2>"
        parts = [part.rank_ic for each in found.breakdowns for part in each.parts]
        yield from _drawn(
            parts,
            lambda: parts_figure(found.breakdowns, up),
            "Rank IC by part",
            "Coloured where a part is distinguishable from zero at 5 % when all parts of the same property are "
            "counted. The state of the market is what was known on the day.",
        )
        titles = [f"Rank IC by {each.by}" for each in found.breakdowns]
        folded = "\n".join(table_part(title, *tables[title]) for title in titles)
        yield f"<details><summary>The figures</summary>\n{folded}</details>"
    if found.calibration.bins:
        yield "<h2>Calibration</h2>"
        yield picture_part(reliability_figure(found.calibration), "Realised win by value")
        yield reading_part(
            "The realised win of a sample is the hybrid that its value measures. On the dashed line a value of 0.7 "
            "would mean 70 %; on a level line values say nothing of it."
        )
        yield from (table_part(title, *rest) for title, rest in tables.items() if title.startswith("Calibration"))
    yield "<h2>Portfolios</h2>"
    if found.portfolios.reason is not None:
        yield f"<p>None: {escape(found.portfolios.reason)}.</p>"
        return
    yield picture_part(portfolios_figure(found.portfolios, up), "Worth of the portfolios after costs")
    yield reading_part(
        "Each session's fifths enter one close later and are held side by side for the horizon. Highest less lowest "
        "borrows for nothing, and limits of the day's price are not looked at: an upper bound."
    )
    yield from (table_part(title, *rest) for title, rest in tables.items() if title.startswith("Portfolios"))


def _drawn(estimates: Sequence[Estimate], draw: Callable[[], Figure], title: str, reading: str) -> Iterator[str]:
    """A picture of estimates and how to read it; the reason in its place where there would be no point on it."""
    if any(each.known for each in estimates):
        yield picture_part(draw(), title)
        yield reading_part(reading)
    else:
        reason = next((each.reason for each in estimates if each.reason is not None), "there is no value")
        yield f"<p>None: {escape(reason)}.</p>"
