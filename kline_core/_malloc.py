"""The C library's allocator, as Dask's nanny sets it for its workers.

Dask's nannies start workers with MALLOC_TRIM_THRESHOLD_=65536, by which glibc gives memory back to the system as soon
as 64 KB are free, and no longer learns which sizes come again and again. The network's buffers do, for every batch of
charts: each time the system hands out new pages and clears them, and encoding takes more than twice as long.
"""

import ctypes
import os
from functools import cache
from typing import Final

_VARIABLE: Final = "MALLOC_TRIM_THRESHOLD_"
_DASKS: Final = "65536"
_TRIM, _MMAP = -1, -3
"""Names of two parameters in glibc's `malloc.h`: free memory from which on some is given back, and sizes from which on
each block is the system's own."""
_LEARNT: Final = 32 << 20
"""Bytes up to which glibc raises the second, and to twice as many the first, if nobody sets them."""


@cache
def undo_trimming() -> bool:
    """Set the allocator to what it would have come to by itself, if Dask's own number is set; once for each process.

    What a user set stays. Returns whether it was set; False where there is no glibc, too.
    """
    if os.environ.get(_VARIABLE) != _DASKS:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_MMAP, _LEARNT)) and bool(mallopt(_TRIM, 2 * _LEARNT))
