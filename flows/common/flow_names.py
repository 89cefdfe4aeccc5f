"""Names of the flows."""

from typing import Final

FLOWS: Final = ("daily", "backfill", "evaluate", "maintain")
