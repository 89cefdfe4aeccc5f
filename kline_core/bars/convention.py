"""Habits of a vendor: units, codes and dates that a layout is written in."""

from dataclasses import dataclass

from kline_core.symbols import canonical_symbol


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
        """The canonical symbol that a vendor's cell, or the name of a file, stands for."""
        return canonical_symbol(str(value), lost_zeros=self.chinese)


PLAIN = Convention()
"""Shares, units of the currency, any symbol, and dates that say what is the month."""
