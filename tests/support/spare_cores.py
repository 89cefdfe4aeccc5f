"""Computations that have cores to spare, however little they do."""

import threading
from contextlib import contextmanager

import pytest

from kline_core import _cores
from kline_core.factor import scoring
from kline_core.search import candidates, pattern_index
from kline_core.search import search as search_module


@contextmanager
def spare_cores(count):
    """A computation of a worker of so many cores, which nobody else uses; in how many parts each of its loops is done.

    Each loop is done in as many parts as there are cores and things.
    """
    found, spread = [], _cores.spread

    def counted(things, _, work):
        made = spread(things, 1, work)
        found.append(len(made))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cores, "CORES", threading.BoundedSemaphore(count))
        patch.setattr(_cores, "_pool", None)
        for module in (candidates, pattern_index, search_module, scoring):
            patch.setattr(module, "spread", counted)
        try:
            with _cores.of_worker(_cores.Cores(count)), _cores.computing():
                yield found
        finally:
            if _cores._pool is not None:
                _cores._pool.shutdown()
    assert max(found, default=1) <= count
