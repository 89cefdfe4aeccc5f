"""The factor beside its baselines, as a picture and as one HTML page."""

from html import escape

import numpy as np

from kline_core.baselines.compare import Comparison
from kline_core.evaluation.estimate import Estimate
from kline_core.plots.factor_plots import figure_title, points_of
from kline_core.plots.html_page import list_part, page, picture_part, table_part
from kline_core.plots.style import Figure, sheet, sign_colours
from kline_core.typing import Floats64


def baselines_figure(found: Comparison, up: str = "blue") -> Figure:
    """Rank IC of each method, and below it by how much the factor's lies above, as a figure of 1500 x 900 pixels.

    `up`: colour of what lies above zero, one of `kline_core.plots.style.UP`. Raises `SettingError` for another one.
    """
    figure, colours = sheet(10, 6), sign_colours(up)
    top, bottom = figure.add_axes((0.03, 0.56, 0.95, 0.32)), figure.add_axes((0.03, 0.07, 0.95, 0.32))
    names = [row.name for row in found.rows]
    points_of(top, *_figures([row.rank_ic for row in found.rows]), names, colours)
    figure_title(
        top, "Rank IC across symbols", f"with the {found.horizon}-bar return; bars: one and two standard errors"
    )
    points_of(bottom, *_figures([row.less for row in found.rows]), names, colours)
    figure_title(bottom, "The factor's rank IC less that of each", "session by session")
    return figure


def baselines_page(found: Comparison, up: str = "blue") -> str:
    """The page, whose first line says whether the factor beats its baselines. `up`: as for `baselines_figure`."""
    parts = [
        f"<h1>{escape(found.verdict)}</h1>",
        picture_part(baselines_figure(found, up), "Rank IC of the factor and its baselines"),
        table_part("The same samples, by each method", *found.table()),
        list_part(found.notes(), "read"),
    ]
    return page(f"Baselines of {found.fingerprint}", parts)


def _figures(estimates: list[Estimate]) -> tuple[Floats64, Floats64]:
    """Values and standard errors, which are NaN where they are not known."""
    return np.array([each.value for each in estimates]), np.array([each.se for each in estimates])
