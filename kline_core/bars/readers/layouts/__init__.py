"""All layouts, one module each. To add one, write such a module and name it in `LAYOUTS`."""

from typing import Final

from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.layouts import baostock, plain

LAYOUTS: Final[tuple[Layout, ...]] = (baostock.LAYOUT, plain.LAYOUT)
"""The first that fits a file's columns is taken: the most particular ones first."""
