"""What a stored value came from, as one number, by which a run knows whether it still holds."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kline_core._hashing import mix64
from kline_core.typing import Hashes

NO_BAR: Final = 100
"""Beside the codes of `kline_core.windows.windows`: the symbol has no bar on the sample's date."""
SEEN: Final = 101
"""Likewise: the encoder was trained through the sample's date."""
NEVER_REUSED: Final = 0
"""History of a stored row that is always computed again: one whose computation broke."""


def sample_history(codes: NDArray[np.integer], windows: Hashes, visible: Hashes) -> Hashes:
    """What samples depend on beside the settings: uint64 (n,). One without a value has the hash of its reason instead.

    `codes` (n,): `USABLE` or `SEEN`. `windows` uint64 (n,): contents of their windows. `visible` uint64 (n,): history
    of the patterns that they may see.
    """
    return mix64(mix64(codes.astype(np.uint64)) ^ mix64(windows) ^ visible)
