"""Style of all plots: colours and type, a sheet to draw on, and reproducible PNGs.

Figures use matplotlib's objects, never pyplot, whose state all threads share. Nothing depends on the time, so that the
same data give the same picture, byte for byte, with the same matplotlib.
"""

from io import BytesIO
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

# Named here for all that draw or hand on a figure, so that no other wing knows matplotlib.
from matplotlib.figure import Figure as Figure
from PIL import Image

from kline_core._text import quoted
from kline_core.errors import SettingError

INK, QUIET, FAINT, PAPER = "#1d2733", "#6b7683", "#d5dae0", "#ffffff"
COLOURS: Final = {1: "#0072b2", -1: "#c44f00", 0: "#6b7683"}
"""Colours of a rise (1), of a fall (-1), and of neither (0)."""
RED, GREEN = "#c0272d", "#1a7f37"
UP: Final = ("blue", "red", "green")
"""Names of the colour of a rise: blue, which every kind of colour vision tells from its vermillion falls; red, with
green falls, as in Shanghai; green, with red falls, as in New York."""


def sign_colours(up: str) -> dict[int, str]:
    """Colours of above zero (1), below (-1), and of neither (0), by the colour of a rise, one of `UP`.

    Raises `SettingError` for another colour.
    """
    if up not in UP:
        names = ", ".join(UP)
        raise SettingError(f"up is {quoted(up)}; it must be one of {names}", parameter="up", value=up, bound=names)
    return {"blue": COLOURS, "red": {1: RED, -1: GREEN, 0: QUIET}, "green": {1: GREEN, -1: RED, 0: QUIET}}[up]


TINTS: Final = {1: "#e4f0f8", -1: "#fbeadf", 0: "#f0f2f4"}
FONT: Final = "DejaVu Sans"


def sheet(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches at 150 pixels per inch."""
    figure = Figure(figsize=(width, height), dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, palette: bool = False) -> bytes:
    """The figure as a PNG; a palette of 256 colours takes a third of the bytes."""
    drawn = BytesIO()
    # Without matplotlib's version the bytes depend on the picture alone.
    figure.savefig(drawn, format="png", metadata={"Software": None})
    if not palette:
        return drawn.getvalue()
    packed = BytesIO()
    # The only method of Pillow that keeps a colour of a few pixels.
    reduced = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    reduced.save(packed, format="png", optimize=True)
    return packed.getvalue()


def bare(axes: Axes) -> None:
    """Remove frame and ticks; make labels small and quiet."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=QUIET, labelfontfamily=FONT, pad=2)


def line_above(axes: Axes, text: str, points: float, color: str, weight: str, lift: float) -> None:
    """A line of text `lift` points above the axes, flush left; it may be wider than they are."""
    axes.annotate(
        text,
        (0, 1),
        (0, lift),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=points,
        weight=weight,
        color=color,
        family=FONT,
        annotation_clip=False,
    )
