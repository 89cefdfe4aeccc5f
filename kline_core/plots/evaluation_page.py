"""An evaluation as one HTML page: pictures inside it, no scripts, nothing from a network."""

import base64
from collections.abc import Iterator, Sequence
from html import escape

from kline_core.evaluation.details import Details
from kline_core.evaluation.report import Evaluation
from kline_core.plots.evaluation_plots import (
    decay_figure,
    parts_figure,
    portfolios_figure,
    reliability_figure,
    rolling_figure,
)
from kline_core.plots.factor_plots import evaluation_figure
from kline_core.plots.style import Figure, png

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; line-height: 1.35; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; border-top: 1px solid #d5dae0; padding-top: 1rem; }
img { width: 100%; height: auto; }
p.warning { background: #fff6e0; border-left: 4px solid #d39e00; padding: .5rem .8rem; }
p.read, ul.read { color: #6b7683; font-size: .88rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0; }
th { text-align: right; font-weight: 600; border-bottom: 1px solid #d5dae0; }
td { text-align: right; border-bottom: 1px solid #eef1f4; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
"""


def evaluation_page(found: Evaluation, up: str = "blue") -> str:
    """The page, whose first line is the verdict.

    `up`: colour of what lies above zero, one of `kline_core.plots.style.UP`. Raises `SettingError` for another one.
    """
    title = f"Evaluation of {found.fingerprint}, {found.first} to {found.last}"
    parts = [f"<h1>{escape(found.verdict)}</h1>"]
    if found.details is not None:
        parts.append(f'<p class="warning">{escape(found.details.tries.warning)}</p>')
    parts.append(_list(found.facts()))
    parts.append(
        _picture(evaluation_figure(found, up, head=False), "Rank IC by horizon, and mean return by fifth of the values")
    )
    parts += [_table(*each) for each in found.tables()]
    if found.details is not None:
        parts += _details(found.details, up)
    parts.append(_list(found.notes(), "read"))
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _details(found: Details, up: str) -> Iterator[str]:
    yield "<h2>Beside the verdict</h2>"
    # The warning stands at the top.
    yield _list(list(found.lines())[1:])
    yield "<h2>Decay</h2>"
    yield _picture(decay_figure(found.decay, up), "Rank IC by distance from the entry")
    yield _read(
        "Left: with the whole return from the entry to bar h. Right: with the return of that one bar. Of so many "
        "points one or two lie beyond two standard errors by chance."
    )
    if found.rolling:
        yield "<h2>Over time</h2>"
        yield _picture(rolling_figure(found.rolling, found.changes, up), "Rolling rank IC")
        yield _read("Dashed: days from which on the level differs, by a CUSUM test at 5 %.")
    tables = {title: (head, rows) for title, head, rows in found.tables()}
    if found.breakdowns:
        yield "<h2>In parts</h2>"
        yield _picture(parts_figure(found.breakdowns, up), "Rank IC by part")
        yield _read(
            "Coloured where a part is distinguishable from zero at 5 % when all parts of the same property are "
            "counted. The state of the market is what was known on the day."
        )
        titles = [f"Rank IC by {each.by}" for each in found.breakdowns]
        folded = "\n".join(_table(title, *tables[title]) for title in titles)
        yield f"<details><summary>The figures</summary>\n{folded}</details>"
    if found.calibration.bins:
        yield "<h2>Calibration</h2>"
        yield _picture(reliability_figure(found.calibration), "Realised win by value")
        yield _read(
            "The realised win of a sample is the hybrid that its value measures. On the dashed line a value of 0.7 "
            "would mean 70 %; on a level line values say nothing of it."
        )
        yield from (_table(title, *rest) for title, rest in tables.items() if title.startswith("Calibration"))
    yield "<h2>Portfolios</h2>"
    if found.portfolios.reason is not None:
        yield f"<p>None: {escape(found.portfolios.reason)}.</p>"
        return
    yield _picture(portfolios_figure(found.portfolios, up), "Worth of the portfolios after costs")
    yield _read(
        "Each session's fifths enter one close later and are held side by side for the horizon. Highest less lowest "
        "borrows for nothing, and limits of the day's price are not looked at: an upper bound."
    )
    yield from (_table(title, *rest) for title, rest in tables.items() if title.startswith("Portfolios"))


def _picture(figure: Figure, about: str) -> str:
    image = base64.b64encode(png(figure, palette=True)).decode("ascii")
    return f'<img alt="{escape(about)}" src="data:image/png;base64,{image}">'


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<h3>{escape(title)}</h3>\n<div class="wide"><table><tr>{cells}</tr>\n{body}</table></div>'


def _list(lines: Iterator[str] | Sequence[str], kind: str = "") -> str:
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f'<ul class="{kind}">\n{items}</ul>' if kind else f"<ul>\n{items}</ul>"


def _read(text: str) -> str:
    return f'<p class="read">{escape(text)}</p>'
