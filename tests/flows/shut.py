"""The daily flow, which does not load while the home holds a file `shut`; deployed by `test_power_loss`."""

import os
import time
from pathlib import Path

while (Path(os.environ.get("KLINE_HOME", "")) / "shut").exists():
    time.sleep(0.05)

from flows.daily import daily  # noqa: E402

__all__ = ["daily"]
