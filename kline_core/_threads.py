"""One-thread limits of the numeric libraries, set inside the thread that calls them.

A cluster runs one batch of samples per core. If a library opened its own threads beneath each batch, the batches would
compete for the same cores. OpenMP keeps its limit per calling thread, so a limit set in the main thread does not reach
the threads of a pool: each thread has to set its own.
"""

import sys
import threading

from threadpoolctl import ThreadpoolController

_limited = threading.local()


def single_threaded() -> None:
    """Limit FAISS, torch and BLAS to one thread in the calling thread.

    Cheap enough for the start of every batch: after its first call a thread pays two dictionary look-ups, and sets its
    limits again only after FAISS or torch was imported. Imports neither of them itself.

    The limits of FAISS and torch hold for the calling thread alone; an OpenBLAS with threads of its own, such as
    NumPy's, knows only one limit for the whole process.
    """
    loaded = ("faiss" in sys.modules, "torch" in sys.modules)
    if getattr(_limited, "loaded", None) == loaded:
        return
    # Not as a context manager: the limit lasts for the thread's life. FAISS's only pool is the OpenMP found here.
    ThreadpoolController().limit(limits=1)
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:
        # threadpoolctl cannot find the MKL that torch's wheel links statically.
        set_num_threads(1)
    _limited.loaded = loaded
