"""How pictures look: colours and type, a sheet to draw on, and a PNG that depends on the picture alone.

Figures are made through matplotlib's objects, never through pyplot, whose state all threads share. Nothing depends on
the time, so that the same data give the same picture, byte for byte, with the same matplotlib.
"""

from io import BytesIO
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

INK, QUIET, FAINT, PAPER = "#1d2733", "#6b7683", "#d5dae0", "#ffffff"
COLOURS: Final = {1: "#0072b2", -1: "#c44f00", 0: "#6b7683"}
"""Of what went up, what went down, and neither."""
TINTS: Final = {1: "#e4f0f8", -1: "#fbeadf", 0: "#f0f2f4"}
FONT: Final = "DejaVu Sans"


def sheet(width: float, height: float) -> Figure:
    """An empty figure of so many inches, 150 pixels each."""
    figure = Figure(figsize=(width, height), dpi=150, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, palette: bool = False) -> bytes:
    """The figure as a PNG; with a palette of 256 colours it takes a third of the bytes."""
    drawn = BytesIO()
    # Without matplotlib's version the bytes depend on the picture alone.
    figure.savefig(drawn, format="png", metadata={"Software": None})
    if not palette:
        return drawn.getvalue()
    packed = BytesIO()
    # Of Pillow's methods the one that keeps a colour that only a few pixels have.
    reduced = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE)
    reduced.save(packed, format="png", optimize=True)
    return packed.getvalue()


def bare(axes: Axes) -> None:
    """No frame and no ticks; labels small and quiet."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=QUIET, labelfontfamily=FONT, pad=2)
