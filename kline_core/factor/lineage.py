"""Lineage of a value: one number for all that it was computed from, by which a run knows whether it still holds."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kline_core._hashing import mix64
from kline_core.typing import Hashes

NO_BAR: Final = 100
"""Code beside those of `kline_core.windows.windows`: the symbol has no bar on the sample's date."""
SEEN: Final = 101
"""Code beside those of `kline_core.windows.windows`: the encoder was trained through the sample's date."""
NEVER_REUSED: Final = 0
"""Lineage of a row that is always computed again, because its computation broke."""


def sample_history(codes: NDArray[np.integer], windows: Hashes, visible: Hashes) -> Hashes:
    """Lineage of samples beside the settings: uint64 (n,). A sample without a value has the hash of its reason instead.

    `codes` (n,): `USABLE` or `SEEN`. `windows` uint64 (n,): content hash of each window. `visible` uint64 (n,): hash of
    the patterns that each sample may see (`kline_core.patterns.patterns.Patterns.history`).
    """
    return mix64(mix64(codes.astype(np.uint64)) ^ mix64(windows) ^ visible)
