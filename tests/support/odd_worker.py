"""A worker that loads slowly, or dies of a sample: preloaded with `dask worker --preload`.

A load tells the id of its process by a file `loading-ID` in the folder around the home, and waits while that holds a
file `hold`. If it holds a file `deadly` with a date, the process kills itself where it is to score that sample.
"""

import os
import signal
import time
from pathlib import Path

SECONDS = 120.0


def dask_setup(worker):  # noqa: ARG001  Dask's
    """In the worker alone, not in its nanny."""
    import numpy as np

    from kline_core.compute import tasks

    overview, score = tasks.overview, tasks.score

    def slowly(key, *arguments):
        folder = Path(key.home).parent
        (folder / f"loading-{os.getpid()}").touch()
        deadline = time.monotonic() + SECONDS
        while (folder / "hold").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return overview(key, *arguments)

    def deadly(key, batch):
        file = Path(key.home).parent / "deadly"
        if file.exists() and any(np.datetime64(file.read_text()) in part.dates for part in batch.parts):
            os.kill(os.getpid(), signal.SIGKILL)
        return score(key, batch)

    # Under their own names, since calls travel as the names of functions.
    tasks.overview, tasks.score = slowly, deadly
