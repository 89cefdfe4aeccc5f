"""The daily flow that waits half way, and stores each symbol at once; deployed by `test_power_loss`."""

from slow import daily

from kline_core.factor import stored_values

__all__ = ["daily"]

stored_values.FLUSH_ROWS = 1
