"""A study as a picture and as one HTML page."""

from html import escape

import numpy as np

from kline_core.learning.report import Study
from kline_core.plots.factor_plots import figure_title, points_of
from kline_core.plots.html_page import list_part, page, picture_part, table_part
from kline_core.plots.style import Figure, sheet, sign_colours


def study_figure(found: Study, up: str = "blue") -> Figure:
    """Rank IC of each method, as a figure of 1500 x 525 pixels.

    `up`: colour of what lies above zero, one of `kline_core.plots.style.UP`. Raises `SettingError` for another one.
    """
    figure, colours = sheet(10, 3.5), sign_colours(up)
    axes = figure.add_axes((0.03, 0.13, 0.95, 0.62))
    estimates = [row.rank_ic for row in found.rows]
    values, errors = (np.array([getattr(each, name) for each in estimates]) for name in ("value", "se"))
    points_of(axes, values, errors, [row.name for row in found.rows], colours)
    figure_title(
        axes, "Rank IC across symbols", f"with the {found.horizon}-bar return; bars: one and two standard errors"
    )
    return figure


def study_page(found: Study, up: str = "blue") -> str:
    """The page, whose first line says what the learned factor is worth. `up`: as for `study_figure`."""
    parts = [
        f"<h1>{escape(found.verdict)}</h1>",
        picture_part(study_figure(found, up), "Rank IC of the learned factor and of what stands beside it"),
        *(table_part(title, *rows) for title, rows in found.tables()),
        list_part(found.notes(), "read"),
    ]
    return page("Study of what to call similar", parts)
