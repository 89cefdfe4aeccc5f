"""Limits the numeric libraries to one thread, from inside the thread that calls them.

A cluster runs one chunk of samples per core. A library that opens its own threads beneath each of those chunks makes
them fight for the same cores. OpenMP keeps its limit per calling thread, so a limit set in the main thread does not
reach the threads of a pool: every one of them has to set its own.
"""

import os
import sys
import threading

from threadpoolctl import ThreadpoolController

_done = threading.local()

# The cores of this process, where the system tells them from those of the machine.
CORE_COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CORES = threading.BoundedSemaphore(CORE_COUNT)
"""Held by a thread that computes, so that no more of them do so than there are cores, however many a cluster has.

More would only take the interpreter's lock from each other: four at a time on two cores took a third longer."""


def single_threaded() -> None:
    """Limit FAISS, torch and BLAS to one thread wherever the calling thread uses them.

    Cheap enough for the start of every chunk of work: after the first call a thread pays a dictionary look-up, until
    one of the libraries has been imported since. A library that nobody imported is not imported here.

    FAISS and torch are limited for the calling thread alone; an OpenBLAS with threads of its own, such as NumPy's,
    knows only one limit for the whole process.
    """
    loaded = ("faiss" in sys.modules, "torch" in sys.modules)
    if getattr(_done, "loaded", None) == loaded:
        return
    # Kept for the thread's life, so no context manager. FAISS has no pool but that of the OpenMP found here.
    ThreadpoolController().limit(limits=1)
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        # The wheel's MKL is linked in statically, where threadpoolctl cannot find it.
        set_num_threads(1)
    _done.loaded = loaded
