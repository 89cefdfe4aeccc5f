"""How rows lie in memory, and how a scan multiplies them: what `kline_core.search.scan_code` writes a program for."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

MOST: Final = 127
"""Whole numbers of 8 bits are those from its negative on."""
OFFSET: Final = 128
"""What is added to the whole numbers of rows, so that they are bytes without a sign."""
TERMS_OF_PAIRS: Final = 4
"""Fours of products that `Dots.PAIRS` adds up in 16 bits, two sums each, before it adds these up in 32."""
MOST_OF_PAIRS: Final = (2**15 - 1) // (2**8 - 1)
"""Most that the whole numbers of a query which meet in one such sum may add up to, signs aside, so that it holds
whatever the row's bytes are."""


class Dots(Enum):
    """Instructions that multiply whole numbers of 8 bits, a row's without a sign by a query's with one."""

    FOURS = "sums of four products in 32 bits: AVX-512 VNNI, AVX-VNNI"
    PAIRS = "sums of two products in 16 bits: SSSE3, AVX2, AVX-512"


@dataclass(frozen=True, slots=True)
class Part:
    """Some numbers of each row: the first `width` of `stride` in one of the two arrays of rows."""

    array: int
    stride: int
    width: int
    codes: bool = False
    """Whether they are whole numbers, as uint8 with `OFFSET` added, not float32."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows lie in memory, and the shape of a tile."""

    bounds: tuple[Part, ...]
    """What bounds are made of; several parts, or codes without `dots`, are turned to float32 a block at a time."""
    scores: tuple[Part, ...]
    """What scores are made of."""
    vector: int
    """Numbers of 32 bits in a vector of the processor."""
    vectors: int
    """Vectors of queries in a panel."""
    rows: int
    """Rows of a tile, a multiple of `rows_of_word`."""
    block: int
    """Rows whose pairs are noted down before they are scored."""
    dots: Dots | None = None
    """By what codes, which are then the only part of `bounds`, are multiplied; None if all is float32."""

    @property
    def lanes(self) -> int:
        """Queries of a panel."""
        return self.vector * self.vectors

    @property
    def rows_of_word(self) -> int:
        """Rows of a tile, each of whose pairs has a bit in one word of 64."""
        return 64 // self.lanes

    @property
    def terms(self) -> int:
        """Numbers of a row, or fours of them, that meet a query."""
        width = sum(part.width for part in self.bounds)
        return width // 4 if self.dots else width

    @property
    def decoded(self) -> bool:
        """Whether a block is turned to float32 first."""
        return not self.dots and (len(self.bounds) > 1 or self.bounds[0].codes)
