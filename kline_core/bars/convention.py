"""Habits of a vendor: units, codes and dates that a layout is written in."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kline_core.symbols import canonical_symbol

_CODE: Final = re.compile(
    r"(?:(?<![A-Z])(?:SH|SZ|BJ)[.#_]?)?(?<![0-9])[0-9]{6}(?![0-9])(?:\.[A-Z]{2,4})?", re.ASCII | re.IGNORECASE
)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)


class Adjustment(Enum):
    """What prices are."""

    RAW = "raw"
    """As they were traded."""
    FORWARD = "forward adjusted"
    """The last ones as they were traded, all others moved at every payment (qfq)."""
    BACKWARD = "backward adjusted"
    """The first ones as they were traded, and payments added to later ones (hfq)."""


class FactorRows(Enum):
    """How rows that hold factors are meant."""

    DAILY = "daily"
    """Each is the factor of its day."""
    STEPS = "steps"
    """Each holds from its day on, until the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How the cells of a layout are meant."""

    volume_unit: float = 1.0
    """Shares in one unit of the volume: 100 for a vendor that counts lots."""
    amount_unit: float = 1.0
    """Units of the currency in one of the amount: 1000 for a vendor that counts thousands."""
    chinese: bool = False
    """Codes are those of the mainland's exchanges, and may have lost their leading zeros."""
    month_first: bool | None = None
    """Whether 03/04/2024 is in March; None to decide it by all the dates of a file."""

    def symbol(self, value: object) -> str:
        """The canonical symbol that a vendor's cell stands for."""
        text = str(value)
        # What begins with a zero has lost none: it is a code of five digits, of Hong Kong.
        if self.chinese and text.startswith("0") and len(text) < 6 and _DIGITS.fullmatch(text):
            return ""
        return canonical_symbol(text, lost_zeros=self.chinese)

    def symbol_of_name(self, stem: str) -> str:
        """The canonical symbol that the name of a file, without its ending, stands for.

        In the name of a file of Chinese bars there may be more than the code: 600519_daily, sh600519 贵州茅台.
        """
        codes = _CODE.findall(stem) if self.chinese else []
        return self.symbol(codes[0] if len(codes) == 1 else stem)


PLAIN = Convention()
"""Shares, units of the currency, any symbol, and dates that say what is the month."""
